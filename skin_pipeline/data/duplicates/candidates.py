"""Finds images that may be copies of each other: nearest neighbours by fingerprint.

To compare each image with each other would be half a billion pairs for 30,000 images. A k-d tree
finds the few whose fingerprints are nearest, and a copy is nearly always among them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from skin_pipeline.data.duplicates.sides import Pair
from skin_pipeline.data.images import QUANTILES

NEIGHBOURS = 4  # candidates of each image
COLOUR_WEIGHT = 3.0  # of the colour differences in a fingerprint; a crop changes them least


def equal(table: pd.DataFrame, column: str, kind: str) -> Iterator[Pair]:
    """Yields pairs of images with the same value in a column: the first with each of the others."""
    known = table[(table[column] != "") & table.duplicated(column, keep=False)]
    for indices in known.groupby(column).groups.values():
        first, *others = (int(index) for index in indices)
        yield from (Pair(first, other, kind, 1.0) for other in others)


def neighbours(ours: pd.DataFrame, theirs: pd.DataFrame) -> NDArray[np.int64]:
    """Returns pairs (n, 2) of indices in `ours` and `theirs` with similar fingerprints, each once.

    Within one set each image is its own nearest neighbour, so one more is searched there, and the
    image itself is left out.
    """
    inside = ours is theirs
    count = min(NEIGHBOURS + inside, len(ours))
    if count <= inside or theirs.empty:
        return np.empty((0, 2), np.int64)
    tree = KDTree(_points(ours))
    # A list of numbers for `k`: the result has two dimensions even for a single neighbour.
    nearest = tree.query(_points(theirs), k=np.arange(1, count + 1), workers=-1)[1]
    pairs = np.stack(
        [ours.index.to_numpy()[nearest.ravel()], np.repeat(theirs.index.to_numpy(), count)], axis=1
    )
    if inside:
        pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def _points(table: pd.DataFrame) -> NDArray[np.float32]:
    """Returns fingerprints as points (n, 15), whose distance is small for similar images."""
    data = np.frombuffer(bytes.fromhex("".join(table["fingerprint"])), np.uint8)
    weights = np.repeat([1.0, COLOUR_WEIGHT, COLOUR_WEIGHT], len(QUANTILES))
    points: NDArray[np.float32]
    points = (data.reshape(len(table), -1) * weights).astype(np.float32)
    return points
