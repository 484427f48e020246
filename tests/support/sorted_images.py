"""Data sets of fingerprints, sorted into buckets; each thumbnail shows the number of its image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.data.duplicates import Buckets, Side


def points(count: int, clustered: bool, seed: int = 0) -> NDArray[np.uint8]:
    """Fingerprints that fill all of their space, or lie in some clusters of it."""
    random = np.random.default_rng(seed)
    if not clustered:
        return random.integers(0, 256, (count, 15)).astype(np.uint8)
    centres = random.integers(20, 236, (6, 15))[random.integers(0, 6, count)]
    return np.clip(centres + random.normal(0, 6, (count, 15)), 0, 255).astype(np.uint8)


def side(prints: NDArray[np.uint8], index: Sequence[int] | None = None) -> Side:
    """A set of readable images with these fingerprints, seven in a shard."""
    count = len(prints)
    numbers = np.arange(count)
    table = pd.DataFrame(
        {
            "readable": np.ones(count, bool),
            "sha256": [f"{number:064}" for number in numbers],
            "pixels_sha256": [""] * count,
            "fingerprint": [row.tobytes().hex() for row in prints],
            "shard": numbers // 7,
            "row": numbers % 7,
        },
        index=pd.Index(numbers if index is None else index),
    )
    shown = numbers.astype(np.uint8)[:, None, None] + np.zeros((1, 64, 64), np.uint8)
    return Side(table, [shown[start : start + 7] for start in range(0, count, 7)])


def buckets(prints: NDArray[np.uint8], count: int = 1) -> Buckets:
    """The same, sorted into so many buckets."""
    return Buckets.of(side(prints), count)
