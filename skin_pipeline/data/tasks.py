"""The work of the steps `ingest`, `validate` and `split`.

The door (`skin_pipeline.steps`) decides whether a result is made; these functions make it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd

from skin_pipeline import config, tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import LABELS, Dataset, Notice, Split, Validation, address
from skin_pipeline.data import (
    audit,
    changes,
    duplicates,
    grouping,
    manifest,
    metadata,
    sources,
    splitting,
    validation,
)
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import scratch

log = logging.getLogger(__name__)

SHOWN = 5  # problems of quarantined images in a message


class Found(NamedTuple):
    """The images at a source, before they are decoded.

    Attributes:
        source: What the setting `data` or `external` says.
        images: The images.
        reader: Reads the metadata tables beside them.
        labelling: Digest of the settings by which labels are read.
    """

    source: str
    images: sources.Images
    reader: metadata.Reader
    labelling: str

    @property
    def inputs(self) -> dict[str, Any]:
        """What a data set is made from, beside the settings of its geometry."""
        return {
            "content": self.images.digest,
            "synthetic": self.synthetic,
            "labelling": self.labelling,
        }

    @property
    def synthetic(self) -> bool:
        """Whether the images are drawn."""
        return self.source == config.DEMO


@contextmanager
def found(job: Job, source: str, settings: Settings) -> Generator[Found, None, None]:
    """Fetches the images of a source, and gives them back for the time of the block.

    Args:
        job: The job.
        source: A folder, an archive, a Kaggle data set, a bucket, or `demo`.
        settings: By which labels are read; those of the job for its own images.

    Raises:
        BadInput: There are no usable images, or the credentials are wrong.
        Unavailable: The source did not answer.
    """
    labelling = metadata.Labelling.of(settings)
    # The usual values are no names of folders: 0 and 1 are as often parts of a large set.
    named = labelling.meanings if settings.names_values else {}
    classes = {name: meaning for name, meaning in named.items() if meaning in LABELS}
    job.fetch()
    with sources.folder_of(job, source) as contents:
        reader = metadata.Reader(labelling)
        images = sources.find(contents, reader.labels, classes)
        yield Found(source, images, reader, address(asdict(labelling)))


def ingest(work: Work, here: Found) -> Dataset:
    """Decodes each image once, and writes the manifest, the shards and the thumbnails."""
    settings, known = work.settings, here.reader.read(here.images)
    images = known.images
    work.job.expect("ingest", len(images.files))
    with scratch() as folder:
        built = manifest.build(
            images,
            work.store,
            size=settings.image_size,
            field_of_view=settings.field_of_view,
            shard_size=settings.shard_size,
            folder=folder,
            processes=work.threads,
            with_masks=settings.masks == "warn",
        )
    table = built.table.join(known.table).reset_index(drop=True)
    # What was decoded must be what the key of this result says it is made from.
    here.images.check_unchanged(zip(table["key"], table["sha256"], strict=True))
    notices = images.notices + manifest.mask_notices(built.masks, settings.masks != "warn")
    manifest.log_outcomes(table)
    _log_notices(notices)
    classes = table["label"].value_counts()
    return Dataset(
        source=here.source,
        synthetic=here.synthetic,
        content_digest=images.digest,
        table=work.put_table("manifest.csv", table),
        shards=built.shards,
        thumbnails=built.thumbnails,
        golden=manifest.golden(table, images, work.store),
        image_size=settings.image_size,
        field_of_view=settings.field_of_view,
        classes={str(label): int(count) for label, count in classes.items()},
        unreadable=int((~table["readable"]).sum()),
        notices=notices,
    )


def _log_notices(notices: Iterable[Notice]) -> None:
    for notice in notices:
        said = (notice.kind, notice.subject, notice.count, notice.reason)
        log.warning('%s subject="%s" count=%d reason="%s"', *said)


def log_news(here: Found, dataset: Dataset) -> None:
    """Logs what is beside the images now and was not there when their data set was made.

    The data set is of the same images, so it was not made again.
    """
    for notice in here.images.notices:
        if notice not in dataset.notices:
            log.warning('beside_the_images what="%s"', notice)


def validate(
    work: Work,
    dataset: str,
    sets: Mapping[str, str],
    previous: str | None,
    bounds: Mapping[str, Any],
) -> Validation:
    """Finds duplicates and groups, audits for shortcuts, and checks all with Great Expectations.

    Args:
        work: The making of the validation.
        dataset: Key of the data set.
        sets: Keys of the external sets, by name.
        previous: Key of the validation that was accepted before, if any.
        bounds: The settings that the images are checked by, by name.
    """
    settings = work.settings
    work.job.expect("validate", sum(images_of(work, key) for key in (dataset, *sets.values())))
    table, known, overlaps = _grouped(work, dataset, sets, previous)
    shortcuts = audit.audit(table, settings.max_shortcut_auc, settings.seed)
    with scratch() as folder:
        checks = validation.check_manifest(table, folder, **bounds)
        docs = work.put_folder("docs", folder)
    validation.log_checks(checks)
    columns = ["key", "label", "bytes", "problem"]
    return Validation(
        dataset=dataset,
        external=dict(sets),
        overlaps=overlaps,
        table=tables.put(work.store, table),
        quarantine=work.put_table("quarantine.csv", table.loc[~table["readable"], columns]),
        anchors=tables.put(work.store, known.reset_index()),
        checks=checks,
        shortcuts=shortcuts,
        changes=changes.against(work.store, table, previous),
        docs=f"{docs}/index.html",
    )


def images_of(job: Job | Work, dataset: str) -> int:
    """Returns how many images a data set has."""
    return sum(job.load(dataset, Dataset).classes.values())


def _grouped(
    work: Work, dataset: str, sets: Mapping[str, str], previous: str | None
) -> tuple[pd.DataFrame, pd.Series[str], dict[str, str]]:
    """Returns the manifest with duplicates, external sets and groups; the anchors of all images so
    far; and the keys of the tables of images that are in an external set too."""
    ours = duplicates.Side.of(work.store, work.load(dataset, Dataset))
    table = ours.table
    table["duplicates"] = grouping.clusters(table, duplicates.within(ours, work.threads))
    theirs = {
        name: duplicates.Side.of(work.store, work.load(key, Dataset)) for name, key in sets.items()
    }
    shared = {name: duplicates.between(ours, side, work.threads) for name, side in theirs.items()}
    overlaps = {
        name: work.put_table(
            f"overlap-{name}.csv", duplicates.overlap(ours.table, theirs[name].table, pairs)
        )
        for name, pairs in shared.items()
    }
    table["external"] = duplicates.names_of(table, shared)
    table["group"] = grouping.groups(table)
    known = grouping.known_anchors(work.store, previous)
    table["anchor"] = grouping.anchors(table, known)
    return table, grouping.remembered(table, known), overlaps


def quarantined(job: Job, result: Validation) -> str:
    """Returns which images are quarantined, as the end of a message; "" for none."""
    problems = list(manifest.read(job.store, result.quarantine)["problem"])
    if not problems:
        return ""
    shown = "; ".join(problems[:SHOWN]) + ("; …" if len(problems) > SHOWN else "")
    link = job.store.link(result.quarantine)
    return f". {len(problems)} quarantined: {shown}. All of them: {link}"


def split(work: Work, validated: Validation, knobs: Mapping[str, Any]) -> Split:
    """Sets the test set apart, and draws the train and validation images of each run.

    Args:
        work: The making of the split.
        validated: The validation of the images.
        knobs: The settings of the split, by name.
    """
    work.job.expect("split", images_of(work, validated.dataset), knobs["runs"])
    table = splitting.split(manifest.read(work.store, validated.table), **knobs)
    counts = splitting.counts(table)
    stratification = splitting.stratification(table)
    for run, sides in counts.items():
        log.info(
            "split run=%s %s %s",
            run,
            " ".join(f"{k}={v}" for k, v in sorted(sides.items())),
            " ".join(f"{k}_error={v:.3f}" for k, v in sorted(stratification[run].items())),
        )
    with scratch() as folder:
        checks = validation.check_split(table, folder)
        docs = work.put_folder("docs", folder)
    validation.log_checks(checks)
    return Split(
        dataset=validated.dataset,
        table=work.put_table("manifest.csv", table),
        runs=work.settings.runs,
        counts=counts,
        stratification=stratification,
        checks=checks,
        docs=f"{docs}/index.html",
    )
