"""What a run reads: rows of cached activations, or packed images, memory-mapped.

Only a window of them is held in memory, however many there are.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Features, load
from skin_pipeline.storage import Store

Ints = NDArray[np.int64]
WINDOW = 64 * 2**20  # bytes that may be mapped in before the pages are given back
AROUND = 64 * 2**10  # bytes that Linux maps in around those that were asked for


class Inputs(Protocol):
    """Rows are those of the table's readable images; a view is one of the dihedral ones, 0…7."""

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """What a model reads of images `rows` (b,), each in its view (b,): arrays (b, …)."""


def dihedral(images: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """One of the eight views of square images that turning and mirroring gives.

    Args:
        images: An array (n, size, size, channels).
        view: 0…7; 0 is the image itself. The first two are mirror images and the first four
            leave the axes in place, so that a run on few views has the most different ones.
    """
    if view & 1:
        images = images[:, :, ::-1]
    if view & 2:
        images = images[:, ::-1]
    if view & 4:
        images = images.transpose(0, 2, 1, 3)
    return images


class Mapped:
    """Arrays of rows in files of the store, read through memory maps.

    Args:
        store: Where they lie.
        keys: Of `.npy` arrays (rows, …) of one type.
    """

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self._arrays: list[Any] = [arrays.mapped(store, key) for key in keys]
        self._read = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return tuple(self._arrays[0].shape[1:])

    @property
    def sizes(self) -> list[int]:
        """Rows of each array."""
        return [len(array) for array in self._arrays]

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return int(self._arrays[0][:1].nbytes)

    def take(self, arrays: Ints, rows: Ints) -> NDArray[Any]:
        """Row `rows[i]` of array `arrays[i]`, for each i: an array (b, …)."""
        taken = np.empty((len(rows), *self.shape), self._arrays[0].dtype)
        for number in np.unique(arrays):
            here = arrays == number
            taken[here] = self._arrays[number][rows[here]]
        self._read += taken.nbytes + AROUND * len(rows)
        if self._read > WINDOW:
            self._give_back()
        return taken

    def _give_back(self) -> None:
        """Take the pages out of this process; the system keeps them while it has room."""
        self._read = 0
        for array in self._arrays:
            if isinstance(array, np.memmap):  # and not one without rows
                array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class Activations:
    """Cached activations of one kind.

    Args:
        store: Where they lie.
        features: Keys of the features of all shards, in the shards' order.
        kind: `pooled` or `maps`.
    """

    def __init__(self, store: Store, features: Sequence[str], kind: str) -> None:
        found = [load(store, key, Features) for key in features]
        blocks = {key: number for number, key in enumerate(_names(found, kind))}
        self._blocks = Mapped(store, list(blocks))
        places = []
        for shard in found:
            place = arrays.loaded(store, shard.places[kind])
            numbers = np.array([blocks[key] for key in shard.blocks[kind]])
            places.append(np.stack([numbers[place[..., 0]], place[..., 1]], axis=-1))
        self._places = np.concatenate(places, axis=1)

    def __len__(self) -> int:
        return int(self._places.shape[1])

    @property
    def views(self) -> int:
        """How many views there are of each image."""
        return len(self._places)

    @property
    def row_bytes(self) -> int:
        """Size of one view of one image."""
        return self._blocks.row_bytes

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """See `Inputs`."""
        places = self._places[views, rows]
        return (self._blocks.take(places[:, 0], places[:, 1]),)


def _names(found: list[Features], kind: str) -> list[str]:
    """All blocks of the shards, each once, in order."""
    return list(dict.fromkeys(key for shard in found for key in shard.blocks[kind]))


class PooledAndMaps:
    """The features that `fine_tune` leaves be, and the maps that it starts from."""

    def __init__(self, pooled: Activations, maps: Activations, shallow: int) -> None:
        self._pooled, self._maps, self._shallow = pooled, maps, shallow

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """See `Inputs`."""
        (pooled,), (maps,) = self._pooled.take(rows, views), self._maps.take(rows, views)
        return pooled[:, : self._shallow], maps


class Squares:
    """Packed images, turned and mirrored as they are read.

    Args:
        store: Where they lie.
        shards: Their keys, in order.
    """

    def __init__(self, store: Store, shards: Sequence[str]) -> None:
        self._shards = Mapped(store, shards)
        self.row_bytes = self._shards.row_bytes
        sizes = self._shards.sizes
        self._places = np.concatenate([
            np.stack([np.full(size, number), np.arange(size)], axis=1)
            for number, size in enumerate(sizes)
        ])

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """See `Inputs`."""
        places = self._places[rows]
        images = self._shards.take(places[:, 0], places[:, 1])
        for view in np.unique(views):
            here = views == view
            images[here] = dihedral(images[here], int(view))
        return (images.astype(np.float32),)


class Made:
    """Features (n, channels) that SMOTE made, in memory; they have one view only."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """See `Inputs`."""
        return (self._features[rows],)
