"""Describes a data set as the search for duplicates needs it, and the pairs that are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Dataset
from skin_pipeline.data import manifest
from skin_pipeline.data.images import THUMBNAIL
from skin_pipeline.storage import Store

# What a search in two sets reads of the other one.
SEARCHED = ("key", "readable", "sha256", "pixels_sha256", "fingerprint", "shard", "row")


class Pair(NamedTuple):
    """Two images by their index in their tables; `likeness` is 1 for the same pixels."""

    first: int
    second: int
    kind: str  # "file", "pixels" or "near"
    likeness: float


class Side(NamedTuple):
    """A data set's table, and its thumbnails, which are read only where they are needed."""

    table: pd.DataFrame
    thumbnails: list[NDArray[np.uint8]]

    @classmethod
    def of(cls, store: Store, dataset: Dataset, columns: Sequence[str] | None = None) -> Side:
        """Returns the side of a data set that `ingest` made, with these columns or all."""
        return cls.read(store, manifest.read(store, dataset.table, columns), dataset.thumbnails)

    @classmethod
    def read(cls, store: Store, table: pd.DataFrame, thumbnails: tuple[str, ...]) -> Side:
        """Returns a side with this table, and the thumbnails under these keys."""
        return cls(table, [arrays.mapped(store, key) for key in thumbnails])

    @property
    def readable(self) -> pd.DataFrame:
        """The rows of the images that are not quarantined."""
        return self.table[self.table["readable"]]

    def images(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the thumbnails (n, 64, 64) of the images with these indices in the table."""
        return pictures(self.thumbnails, self.table.loc[index, ["shard", "row"]].to_numpy())

    def sample(self, most: int) -> NDArray[np.uint8]:
        """Returns the thumbnails of `most` images at even distances in the table, or of all."""
        index = self.readable.index.to_numpy()
        chosen = np.linspace(0, len(index) - 1, min(len(index), most)).astype(np.int64)
        return self.images(index[chosen])


def pictures(
    thumbnails: Sequence[NDArray[np.uint8]], positions: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Returns the thumbnails (n, 64, 64) at positions (n, 2): the shard, and the row in it."""
    shown = np.empty((len(positions), THUMBNAIL, THUMBNAIL), np.uint8)
    for place, (shard, row) in enumerate(positions):
        shown[place] = thumbnails[shard][row]
    return shown
