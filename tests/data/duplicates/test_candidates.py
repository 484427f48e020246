"""Which images may be copies: nearest neighbours by fingerprint, and equal files."""

from __future__ import annotations

import pandas as pd

from skin_pipeline.data.duplicates.candidates import NEIGHBOURS, equal, neighbours


def table(values: list[int]) -> pd.DataFrame:
    """Images whose fingerprints have this value in each of their bytes."""
    return pd.DataFrame({"fingerprint": [bytes([value] * 15).hex() for value in values]})


def test_the_nearest_in_a_set_are_candidates_and_no_image_is_its_own() -> None:
    images = table([0, 1, 2, 3, 4, 200, 201, 202, 203, 204])
    pairs = {tuple(pair) for pair in neighbours(images, images)}
    assert pairs == {
        (i, j) for part in (range(5), range(5, 10)) for i in part for j in part if i < j
    }
    assert NEIGHBOURS == 4


def test_candidates_between_two_sets_are_of_one_and_of_the_other() -> None:
    ours = table([10, 100]).set_axis([7, 8])
    assert neighbours(ours, table([11])).tolist() == [[7, 0], [8, 0]]


def test_a_set_without_images_has_no_candidates() -> None:
    assert neighbours(table([]), table([1])).shape == (0, 2)
    assert neighbours(table([1]), table([])).shape == (0, 2)


def test_equal_values_are_pairs_with_the_first_of_them_and_empty_ones_are_none() -> None:
    images = pd.DataFrame({"sha256": ["a", "", "a", "b", "", "a"]})
    assert [(pair.first, pair.second) for pair in equal(images, "sha256", "file")] == [
        (0, 2),
        (0, 5),
    ]
