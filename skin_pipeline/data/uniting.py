"""Unites data sets of several sources to one, and keeps which image came from where.

    united(work, {"clinic": "ingest/4f1a…/result.json", "isic": "ingest/90c2…/result.json"})

Each image keeps its shard, and gets the name of its source in front of its key and in the column
`source`. What several sources show is found by the next steps, as within one source.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

import pandas as pd

from skin_pipeline.contracts import LABELS, Dataset, Notice
from skin_pipeline.data import manifest, ranges
from skin_pipeline.data.manifest import SOURCE, Built
from skin_pipeline.data.metadata.columns import IDS
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Work

log = logging.getLogger(__name__)


def united(work: Work, sets: Mapping[str, str]) -> Dataset:
    """Returns the data sets of several sources as one.

    Args:
        work: The making of the data set.
        sets: Keys of the data sets, by the names of their sources.

    Raises:
        BadInput: A source has images of one class only.
    """
    # In the order of the names, so that the result does not depend on the order in the settings.
    found = {name: work.load(key, Dataset) for name, key in sorted(sets.items())}
    for name, one in found.items():
        _refuse_one_class(name, one)
        log.info("source name=%s images=%d unreadable=%d", name, one.images, one.unreadable)
    pieces = [_piece(work, name, one) for name, one in found.items()]
    built = ranges.united(pieces, [len(piece.table) for piece in pieces])
    table = _told_apart(built.table.reset_index(drop=True))
    copies = {
        f"{name}/{key}": copy for name, one in found.items() for key, copy in one.golden.items()
    }
    classes, first = table["label"].value_counts(), next(iter(found.values()))
    return Dataset(
        source=", ".join(f"{name}={one.source}" for name, one in found.items()),
        synthetic=False,
        content_digest=_content(found),
        table=work.put_table("manifest.parquet", table),
        shards=built.shards,
        thumbnails=built.thumbnails,
        shard_images=built.shard_images,
        golden={key: copies[key] for key in manifest.most_golden(table) if key in copies},
        image_size=first.image_size,
        field_of_view=first.field_of_view,
        regions=first.regions,
        classes={str(label): int(count) for label, count in classes.items()},
        unreadable=int((~table["readable"]).sum()),
        notices=tuple(_notice(name, each) for name, one in found.items() for each in one.notices),
        returned=sum(one.returned for one in found.values()),
        sources={name: one.classes for name, one in found.items()},
    )


def _refuse_one_class(name: str, images: Dataset) -> None:
    """Refuses a source by which alone the label of an image could be told."""
    missing = [label for label in LABELS if not images.classes.get(label)]
    if missing:
        raise BadInput(
            f"data: the source {name} has no {missing[0]} image, so a model could learn the look "
            "of the source in place of the lesion. Received: "
            f"{', '.join(f'{count} {label}' for label, count in images.classes.items())}. Give "
            "sources that have images of both classes; parts of one archive belong in one folder"
        )


def _piece(work: Work, name: str, images: Dataset) -> Built:
    table = manifest.read(work.store, images.table)
    table = table.assign(key=f"{name}/" + table["key"], **{SOURCE: name})
    sizes = images.packed(work.settings.shard_size)
    return Built(table, images.shards, images.thumbnails, tuple(sizes))


def _told_apart(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table in which patient 7 of one source is not patient 7 of another.

    Ids with more than digits are those of archives, and mean the same wherever they stand: patients
    of whom two sources have images must not be divided between training and test.
    """
    for column in IDS:
        bare = table[column].str.fullmatch(r"[0-9]+")
        named = table[SOURCE] + ":" + table[column]
        table[column] = table[column].where(~bare, named)
        _log_shared(table, column)
    return table


def _log_shared(table: pd.DataFrame, column: str) -> None:
    known = table[table[column] != ""]
    sources = known.groupby(column)[SOURCE].nunique()
    if shared := int((sources > 1).sum()):
        log.info('shared_ids column="%s" ids=%d; images of one id stay together', column, shared)


def _content(found: Mapping[str, Dataset]) -> str:
    """Returns the identity of the content: the same for the same files, wherever they are."""
    lines = [f"{name}\0{one.content_digest}" for name, one in found.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _notice(name: str, notice: Notice) -> Notice:
    return notice.model_copy(update={"subject": f"{name}: {notice.subject}"})


def between(table: pd.DataFrame) -> dict[str, int]:
    """Returns how many images of each source another source shows, too; empty for one source.

    Args:
        table: The manifest with the column `duplicates`, the name of an image's cluster.
    """
    if SOURCE not in table:
        return {}
    clusters = table[table["duplicates"] != ""].groupby("duplicates")[SOURCE]
    several = set(clusters.nunique().loc[lambda count: count > 1].index)
    shown = table["duplicates"].isin(several)
    counts = {str(name): int(count) for name, count in shown.groupby(table[SOURCE]).sum().items()}
    for name, count in counts.items():
        log.info("shown_by_other_sources name=%s images=%d", name, count)
    return counts
