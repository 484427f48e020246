"""Sorts the images of a data set by their fingerprints, into buckets of similar images.

    buckets = Buckets.of(side, layout.buckets(images))
    buckets.places(3)               # of the images of the fourth bucket
    buckets.pictures(places)

One task searches one bucket, in memory that does not grow with the set: the arrays are mapped, and
only the part of them is read where similar images are. Equal files and equal pixels are in it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import ImageBuckets
from skin_pipeline.data.duplicates.common import SAMPLE
from skin_pipeline.data.duplicates.sides import Mapped, Side, Thumbnails, pictures
from skin_pipeline.data.images import QUANTILES, THUMBNAIL
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store

COLOUR_WEIGHT = 3.0  # of the colour differences in a fingerprint; a crop changes them least
WEIGHTS = np.repeat([1.0, COLOUR_WEIGHT, COLOUR_WEIGHT], len(QUANTILES))
ARRAYS = ("points", "images", "sample")  # what is kept in a file


class Buckets(NamedTuple):
    """The images of a set, those of a bucket one after the other; a *place* is an image in it.

    Attributes:
        points: Fingerprints (n, 15) of uint8.
        images: Index in the table of the set, number of the file of the thumbnail, and row in it
            (n, 3).
        ends: The place after the last image of each bucket.
        sample: Thumbnails (m, 64, 64) of images of the whole set, at most `SAMPLE`.
        thumbnails: Those of all images, in several files.
    """

    points: NDArray[np.uint8]
    images: NDArray[np.int64]
    ends: tuple[int, ...]
    sample: NDArray[np.uint8]
    thumbnails: Thumbnails

    @classmethod
    def of(cls, side: Side, count: int) -> Buckets:
        """Sorts the images of a set into so many buckets of equal size; a power of two."""
        table = side.table.loc[first_of_equals(side.table).drop_duplicates()]
        points = np.frombuffer(bytes.fromhex("".join(table["fingerprint"])), np.uint8)
        points = points.reshape(len(table), len(WEIGHTS))
        images = np.column_stack([table.index, table["shard"], table["row"]]).astype(np.int64)
        sample = pictures(side.thumbnails, images[_even(len(table), SAMPLE), 1:])
        parts = [np.arange(len(table))]
        while len(parts) < count:
            parts = [half for part in parts for half in _halves(points, part)]
        order = np.concatenate(parts)
        ends = tuple(int(end) for end in np.cumsum([len(part) for part in parts]))
        return cls(points[order], images[order], ends, sample, side.thumbnails)

    @classmethod
    def read(cls, store: Store, buckets: ImageBuckets) -> Buckets:
        """Returns the buckets that a task wrote, as maps of which little is in memory."""
        points, images, sample = (arrays.mapped(store, getattr(buckets, name)) for name in ARRAYS)
        return cls(points, images, buckets.ends, sample, Mapped(store, buckets.thumbnails))

    def rearranged(self, folder: Path) -> tuple[NDArray[np.int64], list[Path]]:
        """Writes the thumbnails of each bucket into a file; returns `images` for these, and them.

        So a task that searches a bucket needs few files: its own, and those of similar images. Each
        file of before is read once.
        """
        files = [folder / f"bucket-{number}.npy" for number in range(len(self.ends))]
        sizes = np.diff([0, *self.ends])
        bucket, images = np.repeat(np.arange(len(files)), sizes), self.images.copy()
        written = np.zeros(len(files), np.int64)
        with ExitStack() as stack:
            made = [stack.enter_context(file.open("wb")) for file in files]
            for file, size in zip(made, sizes, strict=True):
                arrays.begin(file, np.dtype(np.uint8), (int(size), THUMBNAIL, THUMBNAIL))
            numbers = np.unique(self.images[:, 1])
            for number in reported(numbers, "shards of thumbnails sorted", len(numbers)):
                there = np.flatnonzero(self.images[:, 1] == number)
                seen = self.thumbnails[number][self.images[there, 2]]
                for one in np.unique(bucket[there]):
                    chosen = bucket[there] == one
                    made[one].write(seen[chosen].tobytes())
                    rows = written[one] + np.arange(chosen.sum())
                    images[there[chosen], 1:] = np.column_stack([np.full_like(rows, one), rows])
                    written[one] += len(rows)
        return images, files

    def places(self, number: int) -> slice:
        """Returns the places of the images of a bucket."""
        return slice(self.ends[number - 1] if number else 0, self.ends[number])

    def pictures(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns the thumbnails (n, 64, 64) of the images at these places."""
        return pictures(self.thumbnails, self.images[places, 1:])

    def some(self, most: int) -> NDArray[np.uint8]:
        """Returns `most` thumbnails of the sample at even distances, or all of them."""
        return self.sample[_even(len(self.sample), most)]

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


def _even(count: int, most: int) -> NDArray[np.int64]:
    """Returns `most` of so many indices, at even distances, or all of them."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _halves(points: NDArray[np.uint8], part: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yields the two halves of a part, divided where its fingerprints differ most."""
    widest = int(np.argmax(points[part].std(axis=0) * WEIGHTS)) if len(part) else 0
    order = np.argsort(points[part, widest], kind="stable")
    middle = len(part) // 2
    yield np.sort(part[order[:middle]])
    yield np.sort(part[order[middle:]])
