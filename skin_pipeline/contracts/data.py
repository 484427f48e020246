"""The results of `listing`, `decode`, `ingest`, `buckets`, `duplicates`, `validate`, `split`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from skin_pipeline.contracts.document import Address, Contract, Interval, SafeText, described


class Notice(Contract):
    """Something that was found with the images and not used, and what to do if it should be used.

    `kind` is a short name such as `table_not_used`, `files_skipped` or `images_left_out`. `subject`
    is what it is about (a file, a suffix, a value), and `count` the number of files or images.
    """

    kind: str
    subject: SafeText
    reason: SafeText
    count: int = 1

    def __str__(self) -> str:
        """Returns it for people: `METADATA.xlsx: found, not used, because it names no image`."""
        many = f" ({self.count})" if self.count > 1 else ""
        return f"{self.subject}{many}: {self.reason}"


class SourceListing(Contract):
    """Result of `listing`: what is in a source that is decoded by several tasks.

    - `files` are the keys of a table for each range of images: `key` and `label` of an image, its
      `name` in the source, `where` the source has it, and its `state` there.
    - `facts` are the keys of the tables of what is known of the same images.
    - `shard_size` and `range_size` are the numbers of images of a full shard and a full range.
    - `content` is the digest of the tables beside the images, and `labelling` that of the settings
      by which they were read.
    """

    images: int
    shard_size: int
    range_size: int
    files: tuple[str, ...]
    facts: tuple[str, ...]
    content: str
    labelling: str
    notices: tuple[Notice, ...] = ()


class DecodedRange(Contract):
    """Result of `decode`: consecutive images of a source, decoded and packed.

    - `table` is the key of a manifest of them, without metadata, whose shards count from 0.
    - `shards` and `thumbnails` are as those of a `Dataset`, of `shard_images` each.
    - `masks` are the keys of those that look like a mask.
    - `golden` maps those that may become golden images to copies of their files.
    - `content` is the digest of their keys and files.
    """

    table: str
    images: int
    shards: tuple[str, ...]
    thumbnails: tuple[str, ...]
    shard_images: tuple[int, ...]
    masks: tuple[str, ...]
    golden: dict[str, str]
    content: str


class Dataset(Contract):
    """Result of `ingest`: the images as one table and packed shards.

    - `table` is the key of the manifest: Parquet with a row for each image, readable or not. Tables
      that earlier versions wrote are CSV; `data.manifest` reads both.
    - `shards` are keys of `.npy` arrays (n, regions * size, size, 3) of uint8: the working squares,
      in the order of the table's readable rows.
    - `regions` says how many squares an image has: its centre, and that around the lesion below it.
    - `thumbnails` are keys of arrays (n, 64, 64) of uint8: the luminance of the whole images in the
      same order, by which near-duplicates are verified.
    - `golden` maps a few images to copies of their files, on which a saved model is tried.
    - `returned` counts the images that were scored first and got their label afterwards.
    - `shard_images` are the numbers of images in the shards; not there in older documents, where
      only the last shard is not full.
    - `sources` are the images of each class that each source has, where `data` names several. The
      table then has a column `source`.
    """

    source: Address
    synthetic: bool
    content_digest: str
    table: str
    shards: tuple[str, ...]
    thumbnails: tuple[str, ...]
    golden: dict[str, str]
    image_size: int
    field_of_view: float
    regions: int = 1
    classes: dict[str, int]
    unreadable: int
    notices: tuple[Notice, ...] = ()
    returned: int = 0
    shard_images: tuple[int, ...] = ()
    sources: dict[str, dict[str, int]] = Field(default_factory=dict)

    def packed(self, shard_size: int) -> tuple[int, ...]:
        """Returns how many images each shard has.

        Args:
            shard_size: Images in a full shard, for older documents.
        """
        if self.shard_images:
            return self.shard_images
        left = self.images - self.unreadable
        starts = range(0, len(self.shards) * shard_size, shard_size)
        return tuple(min(shard_size, left - start) for start in starts)

    @property
    def images(self) -> int:
        """How many images there are, quarantined ones included."""
        return sum(self.classes.values())


class ImageBuckets(Contract):
    """Result of `buckets`: the images of a data set, sorted by fingerprint.

    - `points` and `images` are keys of `.npy` arrays with a row for each image: its fingerprint
      (n, 15), and its index in the table, the number of its file in `thumbnails`, and its row there
      (n, 3).
    - `ends` are the rows after the last one of each bucket.
    - `thumbnails` are the keys of a file for each bucket; those of the data set for a single one.
    - `sample` is the key of the thumbnails of some images of the whole set.
    """

    dataset: str
    points: str
    images: str
    ends: tuple[int, ...]
    thumbnails: tuple[str, ...]
    sample: str


class NearDuplicates(Contract):
    """Result of `duplicates`: near-duplicates of the images of one bucket.

    `ours` and `theirs` are keys of buckets: the set in which was searched, and the one with the
    bucket `number`. `pairs` is the key of a table with `first`, `second`, the indices of the images
    in the tables of the two sets, and their `likeness`; there are `count` of them.
    """

    ours: str
    theirs: str
    number: int
    count: int
    pairs: str


class Check(Contract):
    """One line of the validation: what was checked, what was observed, and what is required.

    A failed `critical` check ends the run; a failed `warning` is only reported.
    """

    name: str
    severity: Literal["critical", "warning"]
    observed: str
    bound: str
    passed: bool

    def described(self) -> str:
        """Returns it for people: `readable benign images: 12, required at least 50`."""
        return described(self.name, self.observed, self.bound)


def stopping(checks: Iterable[Check]) -> str:
    """Returns the failed critical checks in words, which end a run; "" for none."""
    failed = (check for check in checks if not check.passed and check.severity == "critical")
    return "; ".join(check.described() for check in failed)


class Shortcut(Contract):
    """One line of the shortcut audit: how well a trivial feature alone predicts the label."""

    name: str
    images: int
    auc: Interval
    bound: float
    passed: bool

    def described(self) -> str:
        """Returns it for people, as of a check that failed."""
        named = f"{self.name} alone predicts the label"
        return described(named, f"AUC {self.auc}", f"at most {self.bound:g}")


class Changes(Contract):
    """What is new in a data set against the one that was accepted before it, if there is one.

    An image is known by the digest of its file. So a renamed or moved file is no change, and a file
    that was saved anew is one image removed and one added. `examples` names a few of each.
    """

    previous: str | None
    added: int
    removed: int
    relabelled: int
    examples: tuple[str, ...]


class Validation(Contract):
    """Result of `validate`: the checks, and the groups of images that stay together.

    - `external` are the data sets of another origin, by name.
    - `overlaps` is for each of them the key of a CSV that lists which of its images this data set
      contains, too.
    - `table` is the manifest with the columns `duplicates`, `external`, `group` and `anchor`.
    - `quarantine` is a CSV of the images that no later step uses, with the reasons.
    - `anchors` is a table of the name of the group that each image was first seen in, in this data
      set or an earlier one: the test set is drawn by it, so that it stays the test set.
    - `docs` is the page of the Data Docs.
    - `duplicates` are the keys of the near-duplicates that were found, by bucket.
    - `between` is how many images of each source another one shows, too, where there are several.
    """

    dataset: str
    external: dict[str, str]
    overlaps: dict[str, str]
    table: str
    quarantine: str
    anchors: str
    checks: tuple[Check, ...]
    shortcuts: tuple[Shortcut, ...]
    changes: Changes
    docs: str
    duplicates: tuple[str, ...] = ()
    between: dict[str, int] = Field(default_factory=dict)


class Split(Contract):
    """Result of `split`: the table with a column `run_0`, `run_1`, … for each run.

    A cell is the side of an image in a run: `train`, `validation`, `test` or `unused`. `counts` are
    the images of each side by run. `stratification` is, for each run and side, the difference of
    its share of malignant images from that of all images.
    """

    dataset: str
    table: str
    runs: int
    counts: dict[str, dict[str, int]]
    stratification: dict[str, dict[str, float]]
    checks: tuple[Check, ...]
    docs: str


class DataPointer(Contract):
    """The data set that was accepted last for a model's name: `datasets/<name>/current.json`.

    `validation` is the key of its validation, and `previous` that of the validation before.
    """

    dataset: str
    validation: str
    previous: str | None
    moved_at: str
