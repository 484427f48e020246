"""Images sorted into buckets of similar ones: none is lost, and each stands for all equal ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_disk import find_no_room
from sorted_images import buckets, points, side

from skin_pipeline.data.duplicates.buckets import WEIGHTS, Buckets, first_of_equals
from skin_pipeline.data.duplicates.common import SAMPLE


@pytest.mark.parametrize("count", [1, 2, 16, 128])
def test_each_image_is_in_one_bucket_and_all_buckets_are_of_one_size(count: int) -> None:
    prints = points(100, clustered=True)
    made = buckets(prints, count)
    assert sorted(made.images[:, 0]) == list(range(100))
    sizes = np.diff([0, *made.ends])
    assert (len(sizes), made.ends[-1]) == (count, 100)
    assert set(sizes) <= {100 // count, -(-100 // count)}
    assert (made.points == prints[made.images[:, 0]]).all()


def test_a_single_bucket_keeps_the_order_of_the_table() -> None:
    assert buckets(points(20, clustered=False)).images[:, 0].tolist() == list(range(20))


def test_similar_images_are_in_one_bucket() -> None:
    """A bucket is much smaller in the space of the fingerprints than the whole set is."""
    made = buckets(points(4_000, clustered=False), 64)
    spreads = [
        float((made.points[made.places(number)].std(axis=0) * WEIGHTS).sum())
        for number in range(64)
    ]
    whole = float((made.points.std(axis=0) * WEIGHTS).sum())
    assert max(spreads) < 0.9 * whole


def test_a_set_is_divided_where_colours_differ_rather_than_where_light_does() -> None:
    prints = np.full((40, 15), 100, np.uint8)
    prints[:, 0] += np.arange(40, dtype=np.uint8)  # light: more, but it weighs less
    prints[::2, 7] += 60
    halves = buckets(prints, 2).images[:, 0]
    assert set(halves[:20] % 2) == {1}


def test_pictures_are_those_of_the_images_at_their_places() -> None:
    made = buckets(points(30, clustered=True), 4)
    places = np.array([29, 0, 11])
    assert made.pictures(places)[:, 5, 5].tolist() == made.images[places, 0].tolist()


def test_of_equal_images_the_first_is_sorted_and_unreadable_ones_are_not() -> None:
    known = side(points(7, clustered=False))
    table = known.table
    table.loc[[1, 4], "sha256"] = "a"
    table.loc[[4, 5], "pixels_sha256"] = "p"  # 4 is the file of 1, and 5 has its pixels
    table.loc[1, "pixels_sha256"] = "p"
    table.loc[6, "readable"] = False
    assert first_of_equals(table).to_dict() == {0: 0, 1: 1, 2: 2, 3: 3, 4: 1, 5: 1}
    assert Buckets.of(known, 1).images[:, 0].tolist() == [0, 1, 2, 3]


def test_without_digests_of_pixels_no_images_have_equal_ones() -> None:
    assert first_of_equals(side(points(3, clustered=False)).table).tolist() == [0, 1, 2]


def test_the_sample_is_of_the_whole_set_and_a_part_of_it_too() -> None:
    made = buckets(points(140, clustered=True), 4)
    assert len(made.sample) == 140 < SAMPLE
    assert made.some(3)[:, 0, 0].tolist() == [0, 69, 139]
    assert len(made.some(1000)) == 140


def test_a_set_without_images_has_empty_buckets() -> None:
    made = buckets(points(0, clustered=False), 2)
    assert (made.ends, len(made.points), len(made.some(9))) == ((0, 0), 0, 0)


def test_a_full_disk_is_an_error_and_no_signal(tmp_path: Path) -> None:
    """As it would be for a file that is mapped and has holes."""
    made = buckets(points(600, clustered=True), 4)
    find_no_room(tmp_path / "disk", made.rearranged)


@pytest.mark.parametrize(("images", "count"), [(60, 4), (3, 8), (0, 2)])
def test_rearranged_thumbnails_are_in_a_file_for_each_bucket(
    tmp_path: Path, images: int, count: int, told: Callable[[], set[str]]
) -> None:
    before = buckets(points(images, clustered=True), count)
    there, files = before.rearranged(tmp_path)
    assert ("shards of thumbnails sorted" in told()) == bool(images)
    made = before._replace(images=there, thumbnails=[np.load(file) for file in files])
    assert [len(np.load(file)) for file in files] == np.diff([0, *before.ends]).tolist()
    everywhere = np.arange(images)
    assert made.pictures(everywhere)[:, 3, 3].tolist() == before.images[:, 0].tolist()
    for number in range(count):
        assert set(made.images[made.places(number), 1]) <= {number}
    assert (made.images[:, 0] == before.images[:, 0]).all()
