"""What runs read: rows of cached activations, or of packed images, through memory maps.

    source = source_of(work, split, features)         # everything that the runs of a split read
    source.rows(run=0, side="train")                  # which images
    source.inputs("fine_tune", network).take(rows, views)

Only a part of the rows is in memory at a time, however many there are.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Dataset, FeatureIndex, Features, Split, Views, load
from skin_pipeline.data import manifest
from skin_pipeline.geometry import region
from skin_pipeline.job import Work
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.views import views_of

Ints = NDArray[np.int64]
FeatureKeys = str | Sequence[str]  # of an index, or of the features of some shards
WINDOW = 64 * 2**20  # bytes that may be mapped in before the pages are given back
AROUND = 64 * 2**10  # bytes that Linux maps in around those that were read


class Inputs(Protocol):
    """What the models of a strategy read of images.

    Rows are numbered as the readable images of the table, views as `views.views_of` lists them.
    """

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """Returns what a model reads of images `rows` (b,), each in its view (b,): arrays (b, …).

        A tuple, since models of some strategies read two arrays.
        """


class Mapped:
    """Arrays of rows in files of the store, read through memory maps.

    Args:
        store: The store of the arrays.
        keys: Keys of `.npy` arrays (rows, …) of one type.
    """

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        told = reported(keys, "files opened", len(keys))
        self._arrays: list[Any] = [arrays.mapped(store, key) for key in told]
        self._read = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return tuple(self._arrays[0].shape[1:])

    @property
    def sizes(self) -> list[int]:
        """Number of rows of each array."""
        return [len(array) for array in self._arrays]

    @property
    def row_bytes(self) -> int:
        """Size of a row in bytes."""
        return int(self._arrays[0][:1].nbytes)

    def take(self, arrays: Ints, rows: Ints) -> NDArray[Any]:
        """Returns row `rows[i]` of array `arrays[i]`, for each i: an array (b, …)."""
        taken = np.empty((len(rows), *self.shape), self._arrays[0].dtype)
        for number in np.unique(arrays):
            here = arrays == number
            taken[here] = self._arrays[number][rows[here]]
        self._read += taken.nbytes + AROUND * len(rows)
        if self._read > WINDOW:
            self._give_back()
        return taken

    def _give_back(self) -> None:
        """Takes the pages out of this process; the system keeps them while it has room.

        Pages that were read count as memory of the process, and a container would be stopped for
        reading a data set that is larger than its memory.
        """
        self._read = 0
        for array in self._arrays:
            if isinstance(array, np.memmap):  # an array without rows is not mapped
                array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class Activations:
    """Cached activations of one kind.

    Blocks are in the order in which they were computed, and shards may share them: so each image
    and view has an entry that gives its block and its row in it.

    Args:
        store: The store of the activations.
        features: Key of their index, or keys of the features of some shards, in their order.
        kind: `pooled` or `maps`.
    """

    def __init__(self, store: Store, features: FeatureKeys, kind: str) -> None:
        if isinstance(features, str):
            index = load(store, features, FeatureIndex)
            blocks, self._entries = index.blocks[kind], arrays.mapped(store, index.places[kind])
        else:
            found = [load(store, key, Features) for key in features]
            blocks, self._entries = joined(store, found, kind)
        self._blocks = Mapped(store, blocks)

    def __len__(self) -> int:
        return int(self._entries.shape[1])

    @property
    def views(self) -> int:
        """How many views there are of each image."""
        return len(self._entries)

    @property
    def row_bytes(self) -> int:
        """Size of one view of one image in bytes."""
        return self._blocks.row_bytes

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """Returns what a model reads of images; see `Inputs`."""
        entries = np.asarray(self._entries[views, rows])
        return (self._blocks.take(entries[:, 0], entries[:, 1]),)


def joined(
    store: Store, shards: Sequence[Features], kind: str
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Returns where the activations of several shards are, as if they were one.

    Returns:
        The keys of all blocks, each once, and an array (views, n, 2): see `Features.places`.
    """
    blocks = tuple(dict.fromkeys(key for shard in shards for key in shard.blocks[kind]))
    numbers, entries = {key: number for number, key in enumerate(blocks)}, []
    for shard in reported(shards, "shards joined", len(shards)):
        own = arrays.loaded(store, shard.places[kind])
        # A shard numbers its own blocks; here they are numbered over all shards.
        over_all = np.array([numbers[key] for key in shard.blocks[kind]], np.int32)
        entries.append(np.stack([over_all[own[..., 0]], own[..., 1].astype(np.int32)], axis=-1))
    return blocks, np.concatenate(entries, axis=1)


class PooledAndMaps:
    """The features that `fine_tune` keeps frozen, and the maps that it starts from."""

    def __init__(self, pooled: Activations, maps: Activations, shallow: int) -> None:
        self._pooled, self._maps, self._shallow = pooled, maps, shallow

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """Returns what a model reads of images; see `Inputs`."""
        (pooled,), (maps,) = self._pooled.take(rows, views), self._maps.take(rows, views)
        return pooled[:, : self._shallow], maps


class Squares:
    """Packed images, turned, mirrored and corrupted as they are read.

    Args:
        store: The store of the images.
        shards: Keys of the shards, in order.
        views: What a network is shown of them; the images as they are by default.
    """

    def __init__(self, store: Store, shards: Sequence[str], views: Views | None = None) -> None:
        self._shards = Mapped(store, shards)
        self._views = views_of(views or Views(dihedral=1))
        self.row_bytes = self._shards.row_bytes
        sizes = self._shards.sizes
        self._entries = np.concatenate([
            np.stack([np.full(size, number), np.arange(size)], axis=1)
            for number, size in enumerate(sizes)
        ])

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """Returns what a model reads of images; see `Inputs`."""
        packed = self.pixels(rows)
        squares = np.empty_like(region(packed), np.float32)
        for view in np.unique(views):
            here = views == view
            squares[here] = self._views[view].of(packed[here])
        return (squares,)

    def pixels(self, rows: Ints) -> NDArray[np.uint8]:
        """Returns the images themselves (b, regions * size, size, 3)."""
        entries = self._entries[rows]
        return self._shards.take(entries[:, 0], entries[:, 1])


class Made:
    """Features (n, channels) that SMOTE made, in memory; they have one view only."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        """Returns what a model reads of images; see `Inputs`."""
        return (self._features[rows],)


@dataclass(frozen=True)
class Source:
    """Everything that the runs of a split read.

    Attributes:
        store: The store of it all.
        table: The readable images, a row each; the columns `run_0`, `run_1`, … have their sides.
        features: Key of the index of their features, or keys of the features of their shards.
        shards: Keys of the shards of packed images.
    """

    store: Store
    table: pd.DataFrame
    features: FeatureKeys
    shards: Sequence[str]

    @property
    def labels(self) -> Ints:
        """1 for malignant (n,)."""
        return manifest.labels(self.table)

    @property
    def sources(self) -> Ints | None:
        """The number of the source of each image (n,); None if there is one source only."""
        if manifest.SOURCE not in self.table:
            return None
        return np.asarray(pd.factorize(self.table[manifest.SOURCE], sort=True)[0], np.int64)

    def rows(self, run: int, side: str) -> Ints:
        """Returns the rows on one side of a run."""
        return np.flatnonzero(self.table[f"run_{run}"] == side)

    def pooled(self) -> Activations:
        """Returns the features of all images and views."""
        return Activations(self.store, self.features, "pooled")

    def squares(self, rows: Ints) -> NDArray[np.uint8]:
        """Returns the centres of images (b, size, size, 3), as the network sees them."""
        return region(Squares(self.store, self.shards).pixels(rows))

    def row_bytes(self, strategy: str) -> int:
        """Returns the size in bytes of what a model of a strategy reads of one image."""
        kinds = {"head": ["pooled"], "fine_tune": ["pooled", "maps"]}
        if strategy == "full":
            return 4 * Squares(self.store, self.shards).row_bytes  # read as floats
        parts = (Activations(self.store, self.features, kind) for kind in kinds[strategy])
        return sum(part.row_bytes for part in parts)

    def inputs(self, strategy: str, network: Network) -> Inputs:
        """Returns what the models of a strategy read."""
        if strategy == "head":
            return self.pooled()
        if strategy == "fine_tune":
            maps = Activations(self.store, self.features, "maps")
            return PooledAndMaps(self.pooled(), maps, network.shallow)
        return Squares(self.store, self.shards, self._views())

    def _views(self) -> Views:
        if isinstance(self.features, str):
            return load(self.store, self.features, FeatureIndex).views
        return load(self.store, self.features[0], Features).views


def source_of(work: Work, split: Split, features: FeatureKeys) -> Source:
    """Returns what the runs of a split read, given the index of all features, or their keys."""
    table = manifest.read_readable(work.store, split.table)
    return Source(work.store, table, features, work.load(split.dataset, Dataset).shards)
