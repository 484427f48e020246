"""Writes and reads the tables of a listing: which images each range has, and what is known of them.

files, facts = put(store, survey, known, layout)
listing = read(store, files[0])          # of one range
listing.wanted                           # what a worker fetches of the source
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from skin_pipeline import tables
from skin_pipeline.contracts import DecodedRange
from skin_pipeline.data import manifest
from skin_pipeline.data.layout import Layout
from skin_pipeline.data.metadata.reader import Known
from skin_pipeline.data.sources import Found, Images, Listed, Survey, changed
from skin_pipeline.job import Job
from skin_pipeline.storage import Store


class Range(NamedTuple):
    """The images of a range: how they were listed, and the label and key of each."""

    wanted: tuple[Listed, ...]
    named: tuple[tuple[str, str], ...]

    def found(self, paths: Mapping[str, Path]) -> Images:
        """Returns the images as files.

        Args:
            paths: Of the files, by their names in the source.
        """
        pairs = zip(self.named, self.wanted, strict=True)
        return Images(
            tuple(Found(label, key, paths[item.name]) for (label, key), item in pairs), ()
        )


def put(
    store: Store, survey: Survey, known: Known, layout: Layout
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Puts two tables for each range; returns the keys of those of files, and of those of facts."""
    names = {item.path: item.name for item in survey.contents.images}
    states = {item.name: item for item in survey.listed}
    files, facts = [], []
    for numbers in layout.ranges(len(known.images.files)):
        some = known.images.files[numbers.start : numbers.stop]
        rows = [(item.key, item.label, *_state(item, names, states)) for item in some]
        columns = ["key", "label", *Listed._fields]
        files.append(tables.put(store, pd.DataFrame(rows, columns=columns, dtype=str)))
        facts.append(tables.put(store, known.table.iloc[numbers.start : numbers.stop]))
    return tuple(files), tuple(facts)


def _state(item: Found, names: Mapping[Path, str], states: Mapping[str, Listed]) -> Listed:
    if names[item.path] not in states:
        raise changed(item.path, "it was removed meanwhile")
    return states[names[item.path]]


def read(store: Store, key: str) -> Range:
    """Returns the images of a range, from the key of its table of files."""
    table = manifest.read(store, key)
    columns = (table[name] for name in Listed._fields)
    wanted = tuple(Listed(*row) for row in zip(*columns, strict=True))
    return Range(wanted, tuple(zip(table["label"], table["key"], strict=True)))


def labels(job: Job, parts: Sequence[str]) -> dict[str, str]:
    """Returns the label of each image of decoded ranges, by its digest."""
    found: dict[str, str] = {}
    for part in parts:
        decoded = job.load(part, DecodedRange)
        if decoded.images:
            table = manifest.read(job.store, decoded.table, ["sha256", "label"])
            found |= dict(zip(table["sha256"], table["label"], strict=True))
    return found
