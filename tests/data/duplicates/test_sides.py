"""A data set as the search sees it: thumbnails by the index of their row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skin_pipeline.data.duplicates import Side


def side() -> Side:
    """Seven images in two shards, of which the second is quarantined; each shows its number."""
    table = pd.DataFrame({
        "readable": [True, False, True, True, True, True, True],
        "shard": [0, -1, 0, 0, 1, 1, 1],
        "row": [0, -1, 1, 2, 0, 1, 2],
    })
    numbers = np.array([0, 2, 3, 4, 5, 6], np.uint8)
    shown = numbers[:, None, None] + np.zeros((6, 64, 64), np.uint8)
    return Side(table, [shown[:3], shown[3:]])


def test_thumbnails_are_those_of_their_rows() -> None:
    assert side().images(np.array([4, 0, 3]))[:, 0, 0].tolist() == [4, 0, 3]


def test_a_sample_is_of_readable_images_at_even_distances() -> None:
    assert side().sample(3)[:, 0, 0].tolist() == [0, 3, 6]
    assert side().sample(100)[:, 0, 0].tolist() == [0, 2, 3, 4, 5, 6]
