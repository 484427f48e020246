"""Sorts the images of a data set by their fingerprints, into buckets of similar images.

    buckets = Buckets.of(side, layout.buckets(images, shard_size))
    buckets.places(3)               # of the images of the fourth bucket
    buckets.pictures(places)

One task searches one bucket, in memory that does not grow with the set: the arrays are mapped, and
only the part of them is read where similar images are. Equal files and equal pixels are in it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Dataset, ImageBuckets
from skin_pipeline.data.duplicates.common import SAMPLE
from skin_pipeline.data.duplicates.sides import Side, pictures
from skin_pipeline.data.images import QUANTILES
from skin_pipeline.storage import Store

COLOUR_WEIGHT = 3.0  # of the colour differences in a fingerprint; a crop changes them least
WEIGHTS = np.repeat([1.0, COLOUR_WEIGHT, COLOUR_WEIGHT], len(QUANTILES))
ARRAYS = ("points", "images", "sample")  # what is kept in a file


class Buckets(NamedTuple):
    """The images of a set, those of a bucket one after the other; a *place* is an image in it.

    Attributes:
        points: Fingerprints (n, 15) of uint8.
        images: Index in the table of the set, shard, and row in it (n, 3).
        ends: The place after the last image of each bucket.
        sample: Thumbnails (m, 64, 64) of images of the whole set, at most `SAMPLE`.
        thumbnails: Those of all images, by shard.
    """

    points: NDArray[np.uint8]
    images: NDArray[np.int64]
    ends: tuple[int, ...]
    sample: NDArray[np.uint8]
    thumbnails: Sequence[NDArray[np.uint8]]

    @classmethod
    def of(cls, side: Side, count: int) -> Buckets:
        """Sorts the images of a set into so many buckets of equal size; a power of two."""
        table = side.table.loc[first_of_equals(side.table).drop_duplicates()]
        points = np.frombuffer(bytes.fromhex("".join(table["fingerprint"])), np.uint8)
        points = points.reshape(len(table), len(WEIGHTS))
        parts = [np.arange(len(table))]
        while len(parts) < count:
            parts = [half for part in parts for half in _halves(points, part)]
        order = np.concatenate(parts)
        places = np.column_stack([table.index, table["shard"], table["row"]]).astype(np.int64)
        ends = tuple(int(end) for end in np.cumsum([len(part) for part in parts]))
        return cls(points[order], places[order], ends, side.sample(SAMPLE), side.thumbnails)

    @classmethod
    def read(cls, store: Store, buckets: ImageBuckets, dataset: Dataset) -> Buckets:
        """Returns the buckets that a task wrote, as maps of which little is in memory."""
        points, images, sample = (arrays.mapped(store, getattr(buckets, name)) for name in ARRAYS)
        thumbnails = [arrays.mapped(store, key) for key in dataset.thumbnails]
        return cls(points, images, buckets.ends, sample, thumbnails)

    def places(self, number: int) -> slice:
        """Returns the places of the images of a bucket."""
        return slice(self.ends[number - 1] if number else 0, self.ends[number])

    def pictures(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the thumbnails (n, 64, 64) of the images at these places."""
        return pictures(self.thumbnails, self.images[places, 1:])

    def some(self, most: int) -> NDArray[np.uint8]:
        """Returns `most` thumbnails of the sample at even distances, or all of them."""
        chosen = np.linspace(0, len(self.sample) - 1, min(len(self.sample), most))
        return self.sample[chosen.astype(np.int64)]

    def weighted(self, places: slice) -> NDArray[np.float64]:
        """Returns fingerprints as points (n, 15), whose distance is small for similar images."""
        points: NDArray[np.float64] = self.points[places] * WEIGHTS
        return points


def first_of_equals(table: pd.DataFrame) -> pd.Series[int]:
    """Returns for each readable image the index of the first one with the same file or pixels."""
    readable = table[table["readable"]]
    first = readable.index.to_series().groupby(readable["sha256"]).transform("first")
    known = readable["pixels_sha256"] != ""
    same_pixels = first[known].groupby(readable.loc[known, "pixels_sha256"]).transform("min")
    first[known] = same_pixels
    return first


def _halves(points: NDArray[np.uint8], part: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yields the two halves of a part, divided where its fingerprints differ most."""
    widest = int(np.argmax(points[part].std(axis=0) * WEIGHTS)) if len(part) else 0
    order = np.argsort(points[part, widest], kind="stable")
    middle = len(part) // 2
    yield np.sort(part[order[:middle]])
    yield np.sort(part[order[middle:]])
