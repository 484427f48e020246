"""Describes a data set as the search for duplicates needs it, and the pairs that are found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Dataset
from skin_pipeline.data import manifest
from skin_pipeline.data.images import THUMBNAIL
from skin_pipeline.storage import Store

# What is read of the table of a set whose images are searched.
SEARCHED = ("readable", "sha256", "pixels_sha256", "fingerprint", "shard", "row")
MOST_MAPPED = 400  # files at a time; a process may have 1024 open, where nobody has raised that


class Pair(NamedTuple):
    """Two images by their index in their tables; `likeness` is 1 for the same pixels."""

    first: int
    second: int
    kind: str  # "file", "pixels" or "near"
    likeness: float


class Thumbnails(Protocol):
    """Thumbnails (n, 64, 64) of uint8, in numbered files or in memory."""

    def __getitem__(self, number: int, /) -> NDArray[np.uint8]:
        """Returns the thumbnails in a file."""


class Mapped:
    """Arrays of the store by their numbers; each is verified and mapped when it is asked for."""

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self._keys = keys
        self._mapped = lru_cache(MOST_MAPPED)(partial(arrays.mapped, store))

    def __getitem__(self, number: int, /) -> NDArray[np.uint8]:
        """Returns an array; raises what `arrays.mapped` does."""
        return self._mapped(self._keys[number])


class Side(NamedTuple):
    """A data set's table, and its thumbnails, which are read only where they are needed."""

    table: pd.DataFrame
    thumbnails: Thumbnails

    @classmethod
    def of(cls, store: Store, dataset: Dataset, columns: Sequence[str] | None = None) -> Side:
        """Returns the side of a data set that `ingest` made, with these columns or all."""
        return cls.read(store, manifest.read(store, dataset.table, columns), dataset.thumbnails)

    @classmethod
    def read(cls, store: Store, table: pd.DataFrame, thumbnails: tuple[str, ...]) -> Side:
        """Returns a side with this table, and the thumbnails under these keys."""
        return cls(table, Mapped(store, thumbnails))


def pictures(thumbnails: Thumbnails, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Returns the thumbnails (n, 64, 64) at positions (n, 2): the number of the file, and the row
    in it."""
    shown = np.empty((len(positions), THUMBNAIL, THUMBNAIL), np.uint8)
    for number in np.unique(positions[:, 0]):
        there = positions[:, 0] == number
        shown[there] = thumbnails[number][positions[there, 1]]
    return shown
