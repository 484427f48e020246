"""Makes the results of the steps `decode`, `ingest`, `buckets`, `duplicates`, `validate`, `split`.

The door (`skin_pipeline.steps`) decides whether a result is made; these functions make it. The
module imports nearly all of the data room, so the door imports it only when there is work to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from skin_pipeline import parquet, tables
from skin_pipeline.contracts import (
    Dataset,
    DecodedRange,
    ImageBuckets,
    NearDuplicates,
    Notice,
    SourceListing,
    Split,
    Validation,
)
from skin_pipeline.data import (
    audit,
    changes,
    duplicates,
    grouping,
    listing,
    manifest,
    ranges,
    returned,
    sources,
    splitting,
    uniting,
    validation,
)
from skin_pipeline.data.fetching import Fetched
from skin_pipeline.data.layout import Layout
from skin_pipeline.data.sources import Images
from skin_pipeline.geometry import Geometry
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import scratch

log = logging.getLogger(__name__)

# What a split is made by, and what its checks read; other columns are only copied.
SPLIT_BY = (
    *("key", "label", "readable", "group", "anchor", "patient_id", "lesion_id", "duplicates"),
    *("sha256", "pixels_sha256", "width", "height"),
)
OF_OTHERS = ("key", "readable", "sha256", "pixels_sha256")  # what is read of an external set
SHOWN = 5  # problems of quarantined images in a message


def ingest(work: Work, fetched: Fetched) -> Dataset:
    """Decodes each image once, and writes the manifest, the shards and the thumbnails."""
    settings, known = work.settings, fetched.reader.read(fetched.images)
    if fetched.returned:
        known = returned.joined(known, fetched.returned)
    images = known.images
    work.job.expect("ingest", len(images.files))
    built = manifest.build(
        images,
        work.store,
        Geometry.of(settings),
        shard_size=Layout.of(len(images.files), settings).shard_size,
        processes=work.threads,
        with_masks=settings.masks == "warn",
    )
    table = built.table.join(known.table).reset_index(drop=True)
    # Files can change while they are decoded. What was decoded must be what the key of this result
    # says it is made from.
    ours = table[table["key"].isin({item.key for item in fetched.images.files})]
    fetched.images.check_unchanged(zip(ours["key"], ours["sha256"], strict=True))
    return _dataset(
        work,
        built._replace(table=table),
        notices=images.notices,
        golden=manifest.golden(table, images, work.store),
        source=fetched.source,
        synthetic=fetched.synthetic,
        content_digest=images.digest,
        returned=len(table) - len(ours),
    )


def _dataset(
    work: Work, built: manifest.Built, *, notices: tuple[Notice, ...], **known: Any
) -> Dataset:
    """Writes the manifest, and returns the document of a data set.

    Args:
        work: The making of the data set.
        built: The packed images, and the table with all that is known of them.
        notices: Of what was found and is not used.
        known: Further fields of the document.
    """
    settings, table = work.settings, built.table
    notices += manifest.mask_notices(built.masks, left_out=settings.masks != "warn")
    manifest.log_outcomes(table)
    _log_notices(notices)
    classes = table["label"].value_counts()
    return Dataset(
        table=work.put_table("manifest.parquet", table),
        shards=built.shards,
        thumbnails=built.thumbnails,
        shard_images=built.shard_images,
        image_size=settings.image_size,
        field_of_view=settings.field_of_view,
        regions=settings.region_count,
        classes={str(label): int(count) for label, count in classes.items()},
        unreadable=int((~table["readable"]).sum()),
        notices=notices,
        **known,
    )


def decode(work: Work, source: str, files: str, shard_size: int) -> DecodedRange:
    """Fetches a range of images, decodes each once, and writes its rows, shards and thumbnails.

    Args:
        work: The making of the range.
        source: Where the images are.
        files: Key of the table of its files.
        shard_size: Images in a shard; the last one may have fewer.
    """
    job, listed = work.job, listing.read(work.store, files)
    job.fetch()
    with sources.some_of(job, source, listed.wanted) as paths:
        images = listed.found(paths)
        job.expect("decode", len(images.files))
        built = _packed(work, images, shard_size)
        copies = manifest.golden(built.table, images, work.store)
        sources.check_unchanged(job, source, listed.wanted, paths)
        content = ranges.content(images, built.table)
    return DecodedRange(
        table=work.put_table("manifest.parquet", ranges.numbered(built.table)),
        images=len(built.table),
        golden=copies,
        content=content,
        **{name: getattr(built, name) for name in ranges.PACKED},
    )


def _packed(work: Work, images: Images, shard_size: int) -> manifest.Built:
    return manifest.packed(
        images,
        work.store,
        Geometry.of(work.settings),
        shard_size=shard_size,
        processes=work.threads,
        with_masks=work.settings.masks == "warn",
        hashed=True,
    )


def merge(
    work: Work,
    source: str,
    content: str,
    listed: str,
    parts: Sequence[str],
    more: returned.Returned | None,
) -> Dataset:
    """Unites ranges of images that were decoded before to one data set.

    Args:
        work: The making of the data set.
        source: Where the images are.
        content: The identity of the images.
        listed: Key of the listing.
        parts: Keys of the decoded ranges, in order.
        more: Images whose label came back, which are decoded now.
    """
    found = work.load(listed, SourceListing)
    work.job.expect("ingest", found.images)
    decoded = [work.load(key, DecodedRange) for key in parts]
    pieces = [ranges.read(work.store, part) for part in decoded]
    facts = ranges.facts(work.store, found)
    golden = {key: copy for part in decoded for key, copy in part.golden.items()}
    if more and more.files:
        work.job.expect("decode", len(more.files))
        images = Images(more.files, ())
        pieces.append(_packed(work, images, found.shard_size))
        golden |= manifest.golden(pieces[-1].table, images, work.store)
        facts = returned.with_facts(facts, more)
    built = ranges.united(pieces, [len(range_) for range_ in ranges.of(found)])
    manifest.refuse_only_masks(built)
    chosen = manifest.most_golden(built.table)
    return _dataset(
        work,
        built._replace(table=built.table.join(facts).reset_index(drop=True)),
        notices=found.notices + (more.notices if more else ()),
        golden={key: golden[key] for key in built.table["key"] if key in chosen},
        source=source,
        synthetic=False,
        content_digest=content,
        returned=len(pieces[-1].table) if len(pieces) > len(parts) else 0,
    )


def _log_notices(notices: Iterable[Notice]) -> None:
    for notice in notices:
        fields = (notice.kind, notice.subject, notice.count, notice.reason)
        log.warning('%s subject="%s" count=%d reason="%s"', *fields)


def buckets(work: Work, dataset: str, count: int) -> ImageBuckets:
    """Sorts the images of a data set by their fingerprints.

    Args:
        work: The making of the buckets.
        dataset: Key of the data set.
        count: The number of buckets, a power of two.
    """
    images = work.load(dataset, Dataset)
    work.job.expect("buckets", images.images)
    side = duplicates.Side.of(work.store, images, duplicates.SEARCHED)
    made, thumbnails = duplicates.Buckets.of(side, count), images.thumbnails
    with scratch() as folder:
        if count > 1:
            images_there, files = made.rearranged(folder)
            made = made._replace(images=images_there)
            thumbnails = tuple(work.put_file(file.name, file) for file in files)
        for name in duplicates.ARRAYS:
            np.save(folder / f"{name}.npy", getattr(made, name))
        keys = {
            name: work.put_file(f"{name}.npy", folder / f"{name}.npy") for name in duplicates.ARRAYS
        }
    return ImageBuckets(dataset=dataset, ends=made.ends, thumbnails=thumbnails, **keys)


def near(work: Work, ours: str, theirs: str, number: int) -> NearDuplicates:
    """Finds the near-duplicates of the images in a bucket.

    Args:
        work: The making of the pairs.
        ours: Key of the buckets of the set in which is searched.
        theirs: Key of the buckets whose images are searched; the same within one set.
        number: Number of the bucket.
    """
    made = {
        key: duplicates.Buckets.read(work.store, work.load(key, ImageBuckets))
        for key in {ours, theirs}
    }
    places = made[theirs].places(number)
    work.job.expect("duplicates", places.stop - places.start)
    found = duplicates.near(made[ours], made[theirs], number, work.threads)
    columns = np.array([[pair.first, pair.second] for pair in found], np.int64).reshape(-1, 2)
    table = pd.DataFrame({
        **{"first": columns[:, 0], "second": columns[:, 1]},
        "likeness": np.array([pair.likeness for pair in found], np.float64),
    })
    pairs = work.put_table("pairs.parquet", table)
    return NearDuplicates(ours=ours, theirs=theirs, number=number, count=len(found), pairs=pairs)


def validate(
    work: Work,
    dataset: str,
    sets: Mapping[str, str],
    previous: str | None,
    bounds: Mapping[str, Any],
    near_of: Callable[[str, str], Sequence[str]],
) -> Validation:
    """Finds duplicates and groups, audits for shortcuts, and checks all with Great Expectations.

    Args:
        work: The making of the validation.
        dataset: Key of the data set.
        sets: Keys of the external sets, by name.
        previous: Key of the validation that was accepted before, if any.
        bounds: The settings that the images are checked by, by name.
        near_of: Returns the keys of the near-duplicates that a data set has in another one, or in
            itself.
    """
    settings = work.settings
    found = {key: tuple(near_of(dataset, key)) for key in (dataset, *sets.values())}
    all_images = (work.load(key, Dataset).images for key in found)
    work.job.expect("validate", sum(all_images))
    table = manifest.read(work.store, work.load(dataset, Dataset).table)
    table["duplicates"] = grouping.clusters(
        table, duplicates.united(table, _pairs(work, found[dataset]))
    )
    overlaps = _mark_shared(work, table, sets, found)
    anchors = _group(work, table, previous)
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
        anchors=tables.put(work.store, anchors.reset_index()),
        checks=checks,
        shortcuts=shortcuts,
        changes=changes.against(work.store, table, previous),
        docs=f"{docs}/index.html",
        duplicates=tuple(dict.fromkeys(chain.from_iterable(found.values()))),
        between=uniting.between(table),
    )


def _pairs(work: Work, keys: Iterable[str]) -> Iterator[duplicates.Pair]:
    for key in keys:
        rows = parquet.read(work.store, work.load(key, NearDuplicates).pairs)
        for first, second, likeness in rows.itertuples(index=False):
            yield duplicates.Pair(first, second, "near", likeness)


def _mark_shared(
    work: Work, table: pd.DataFrame, sets: Mapping[str, str], found: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    """Adds the column `external` to the manifest.

    Returns:
        For each external set the key of the table of its images that ours contains too.
    """
    shared, overlaps = {}, {}
    for name, key in sets.items():
        theirs = manifest.read(work.store, work.load(key, Dataset).table, OF_OTHERS)
        shared[name] = duplicates.shared(table, theirs, _pairs(work, found[key]))
        rows = duplicates.overlap(table, theirs, shared[name])
        overlaps[name] = work.put_table(f"overlap-{name}.csv", rows)
    table["external"] = duplicates.names_of(table, shared)
    return overlaps


def _group(work: Work, table: pd.DataFrame, previous: str | None) -> pd.Series[str]:
    """Adds the columns `group` and `anchor`; returns the anchors of all images so far."""
    table["group"] = grouping.groups(table)
    known = grouping.known_anchors(work.store, previous)
    table["anchor"] = grouping.anchors(table, known)
    return grouping.remembered(table, known)


def quarantined(job: Job, result: Validation) -> str:
    """Returns which images are quarantined, as the end of a message; "" for none."""
    problems = list(manifest.read(job.store, result.quarantine, ["problem"])["problem"])
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
    images = work.load(validated.dataset, Dataset)
    work.job.expect("split", images.images, knobs["runs"])
    columns = [*SPLIT_BY, *([manifest.SOURCE] if images.sources else [])]
    known = manifest.read(work.store, validated.table, columns)
    table = splitting.split(known, **knobs)
    counts = splitting.counts(table)
    stratification = splitting.stratification(table)
    _log_split(counts, stratification)
    with scratch() as folder:
        checks = validation.check_split(table, folder)
        docs = work.put_folder("docs", folder)
    validation.log_checks(checks)
    return Split(
        dataset=validated.dataset,
        table=work.put_table(
            "manifest.parquet",
            manifest.widened(work.store, validated.table, table.drop(columns=known.columns)),
        ),
        runs=work.settings.runs,
        counts=counts,
        stratification=stratification,
        checks=checks,
        docs=f"{docs}/index.html",
    )


def _log_split(
    counts: Mapping[str, Mapping[str, int]], stratification: Mapping[str, Mapping[str, float]]
) -> None:
    for run, sides in counts.items():
        log.info(
            "split run=%s %s %s",
            run,
            " ".join(f"{k}={v}" for k, v in sorted(sides.items())),
            " ".join(f"{k}_error={v:.3f}" for k, v in sorted(stratification[run].items())),
        )
