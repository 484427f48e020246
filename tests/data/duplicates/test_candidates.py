"""Which images may be copies: nearest neighbours by fingerprint, and equal files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sorted_images import buckets, points, side

from skin_pipeline.data.duplicates.buckets import WEIGHTS, Buckets
from skin_pipeline.data.duplicates.candidates import NEIGHBOURS, equal, neighbours


def grey(values: list[int]) -> NDArray[np.uint8]:
    """Fingerprints that have one value in each of their bytes."""
    return np.repeat(np.array(values, np.uint8)[:, None], 15, axis=1)


def pairs_of(ours: Buckets, theirs: Buckets) -> set[tuple[int, int]]:
    """Pairs of indices in the tables, of all buckets."""
    parts = [neighbours(ours, theirs, number) for number in range(len(theirs.ends))]
    places = np.concatenate(parts)
    first, second = ours.images[places[:, 0], 0], theirs.images[places[:, 1], 0]
    return {(int(i), int(j)) for i, j in zip(first, second, strict=True)}


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_nearest_in_a_set_are_candidates_and_no_image_is_its_own(count: int) -> None:
    images = buckets(grey([0, 1, 2, 3, 4, 200, 201, 202, 203, 204]), count)
    assert pairs_of(images, images) == {
        (i, j) for part in (range(5), range(5, 10)) for i in part for j in part if i < j
    }
    assert NEIGHBOURS == 4


def test_candidates_between_two_sets_are_of_one_and_of_the_other() -> None:
    ours = Buckets.of(side(grey([10, 100]), index=[7, 8]), 1)
    assert pairs_of(ours, buckets(grey([11]))) == {(7, 0), (8, 0)}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("count", [2, 8, 64])
@pytest.mark.parametrize("clustered", [True, False])
def test_buckets_leave_no_neighbour_out(count: int, *, inside: bool, clustered: bool) -> None:
    """The distances of the neighbours are those of a comparison of each image with each other."""
    first = points(300, clustered)
    ours = buckets(first, count)
    second = first if inside else points(250, clustered, seed=1)
    theirs = ours if inside else buckets(second, count)
    found = pairs_of(ours, theirs)
    distances = np.linalg.norm((first[:, None] - second[None].astype(float)) * WEIGHTS, axis=2)
    if inside:
        np.fill_diagonal(distances, np.inf)
        found |= {(j, i) for i, j in found}
    for image in range(len(second)):
        nearest = np.sort(distances[:, image])[:NEIGHBOURS]
        candidates = np.sort([distances[i, j] for i, j in found if j == image])
        assert candidates[:NEIGHBOURS].tolist() == nearest.tolist()


def test_only_buckets_that_may_contain_something_nearer_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = buckets(points(2_000, clustered=True), 32)
    read: list[slice] = []
    whole = Buckets.weighted
    boxes = len(images.ends)

    def noted(self: Buckets, places: slice) -> NDArray[np.float64]:
        read.append(places)
        return whole(self, places)

    monkeypatch.setattr(Buckets, "weighted", noted)
    neighbours(images, images, 3)
    assert 1 <= len(read) - boxes - 1 < boxes / 2  # beside the boxes and the points themselves


def test_a_set_without_images_has_no_candidates() -> None:
    none, one = buckets(grey([])), buckets(grey([1]))
    assert neighbours(none, one, 0).shape == (0, 2)
    assert neighbours(one, none, 0).shape == (0, 2)
    assert neighbours(one, one, 0).shape == (0, 2)


def test_fewer_images_than_buckets_are_found_all_the_same() -> None:
    images = buckets(grey([0, 9, 200]), 8)
    assert pairs_of(images, images) == {(0, 1), (0, 2), (1, 2)}


def test_equal_values_are_pairs_with_the_first_of_them_and_empty_ones_are_none() -> None:
    images = pd.DataFrame({"sha256": ["a", "", "a", "b", "", "a"]})
    assert [(pair.first, pair.second) for pair in equal(images, "sha256", "file")] == [
        (0, 2),
        (0, 5),
    ]
