"""A data set as the search sees it: thumbnails by their file and row, mapped when asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hand_made import put_array

from skin_pipeline import arrays
from skin_pipeline.data.duplicates import Side, sides
from skin_pipeline.storage import FolderStore


@pytest.fixture
def thumbnails(store: FolderStore) -> tuple[str, ...]:
    """Six images in three files; each shows its number."""
    keys = tuple(f"images/{number}.npy" for number in range(3))
    for number, key in enumerate(keys):
        numbers = np.array([2 * number, 2 * number + 1], np.uint8)
        put_array(store, key, numbers[:, None, None] + np.zeros((2, 64, 64), np.uint8))
    return keys


def test_thumbnails_are_those_at_their_positions(
    store: FolderStore, thumbnails: tuple[str, ...]
) -> None:
    shown = Side.read(store, pd.DataFrame(), thumbnails).thumbnails
    positions = np.array([[2, 1], [0, 0], [1, 1], [0, 1]])
    assert sides.pictures(shown, positions)[:, 0, 0].tolist() == [5, 0, 3, 1]
    assert sides.pictures(shown, positions[:0]).shape == (0, 64, 64)


def test_no_more_files_are_mapped_than_a_process_may_open(
    store: FolderStore, thumbnails: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: list[str] = []
    whole = arrays.mapped

    def noted(store: FolderStore, key: str) -> object:
        mapped.append(key)
        return whole(store, key)

    monkeypatch.setattr(arrays, "mapped", noted)
    monkeypatch.setattr(sides, "MOST_MAPPED", 2)
    shown = Side.read(store, pd.DataFrame(), thumbnails).thumbnails
    assert mapped == []
    for number in (0, 1, 1, 0, 2, 1, 0):  # the third file takes the place of one of the others
        assert shown[number][0, 0, 0] == 2 * number
    assert mapped == [thumbnails[number] for number in (0, 1, 2, 1, 0)]
