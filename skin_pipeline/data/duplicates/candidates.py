"""Finds images that may be copies of each other: nearest neighbours by fingerprint.

To compare each image with each other would be half a billion pairs for 30,000 images. A k-d tree
finds the few whose fingerprints are nearest, and a copy is nearly always among them.

There is a tree for each bucket. An image needs those of its own bucket and of buckets that begin
nearer to it than the neighbours that are already found; the others contain nothing nearer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from skin_pipeline.data.duplicates.buckets import Buckets
from skin_pipeline.data.duplicates.sides import Pair
from skin_pipeline.progress import reported

Float = NDArray[np.float64]

NEIGHBOURS = 4  # candidates of each image


def equal(table: pd.DataFrame, column: str, kind: str) -> Iterator[Pair]:
    """Yields pairs of images with the same value in a column: the first with each of the others."""
    known = table[(table[column] != "") & table.duplicated(column, keep=False)]
    for indices in known.groupby(column).groups.values():
        first, *others = (int(index) for index in indices)
        yield from (Pair(first, other, kind, 1.0) for other in others)


def neighbours(ours: Buckets, theirs: Buckets, number: int) -> NDArray[np.int64]:
    """Returns pairs (n, 2) of places in `ours` and `theirs` with similar fingerprints, each once.

    Within one set the first of a pair is the one that stands first in the table. There each image
    is its own nearest neighbour, so one more is searched, and the image itself is left out.

    Args:
        ours: The set in which is searched.
        theirs: The set whose images are searched; the same object within one set.
        number: The bucket of `theirs` whose images are searched.
    """
    inside, places = ours is theirs, theirs.places(number)
    count = min(NEIGHBOURS + inside, len(ours.points))
    wanted = theirs.weighted(places)
    if count <= inside or not len(wanted):
        return np.empty((0, 2), np.int64)
    found = _nearest(ours, wanted, count)
    themselves = np.repeat(np.arange(places.start, places.stop), count)
    pairs = np.column_stack([found.ravel(), themselves])
    if inside:
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        later = np.greater(*ours.images[pairs, 0].T)
        pairs[later] = pairs[later, ::-1]
    return np.unique(pairs, axis=0)


def _nearest(ours: Buckets, wanted: Float, count: int) -> NDArray[np.int64]:
    """Returns the places (n, count) of the images of a set that are nearest to points (n, 15)."""
    distances = np.full((len(wanted), count), np.inf)
    places = np.zeros((len(wanted), count), np.int64)
    away = _distances_of_buckets(ours, wanted)
    for number in np.argsort(away.mean(axis=1), kind="stable"):
        nearer = away[number] < distances[:, -1]
        if not nearer.any():
            continue
        there = ours.places(number)
        tree = KDTree(ours.weighted(there))
        # A list of numbers for `k`: the result has two dimensions even for a single neighbour.
        k = np.arange(1, min(count, tree.n) + 1)
        further, found = tree.query(wanted[nearer], k=k, workers=-1)
        both = np.hstack([distances[nearer], further])
        best = np.argsort(both, axis=1, kind="stable")[:, :count]
        distances[nearer] = np.take_along_axis(both, best, axis=1)
        both_places = np.hstack([places[nearer], found + there.start])
        places[nearer] = np.take_along_axis(both_places, best, axis=1)
    return places


def _distances_of_buckets(ours: Buckets, wanted: Float) -> Float:
    """Returns how far points are from the box around each bucket (buckets, n); inf for empty
    buckets."""
    away = np.full((len(ours.ends), len(wanted)), np.inf)
    numbers = range(len(ours.ends))
    for number in reported(numbers, "buckets looked at", len(numbers)):
        points = ours.weighted(ours.places(number))
        if len(points):
            outside = np.maximum(points.min(axis=0) - wanted, wanted - points.max(axis=0))
            away[number] = np.sqrt((np.maximum(outside, 0) ** 2).sum(axis=1))
    return away
