"""Into which shards and ranges the images of a data set are divided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline.config import REGIONS, Settings
from skin_pipeline.data.layout import LARGEST_SHARD, MOST_RANGES, Layout


def laid_out(images: int, shard_size: int, image_size: int, regions: int = 1) -> Layout:
    known = {"shard_size": shard_size, "image_size": image_size, "regions": REGIONS[regions - 1]}
    return Layout.of(images, Settings().model_copy(update=known))


@pytest.mark.parametrize(
    ("images", "shard", "ranges"),
    [
        (600, 150, 1),
        (5_120, 256, 1),
        (5_121, 256, 2),
        (100_000, 256, 20),
        (1_000_000, 256, 196),
        (10_000_000, 1024, 489),
    ],
)
def test_shards_of_224_pixels_grow_when_there_would_be_more_ranges_than_tasks(
    images: int, shard: int, ranges: int
) -> None:
    layout = laid_out(images, 256, 224)
    assert (layout.shard_size, len(layout.ranges(images))) == (shard, ranges)
    assert layout.is_one(images) == (ranges == 1)


@pytest.mark.parametrize(
    ("images", "buckets"),
    [(0, 1), (5_120, 1), (5_121, 2), (10_241, 4), (1_000_000, 256), (10_000_000, 512)],
)
def test_a_bucket_has_no_more_images_than_a_range(images: int, buckets: int) -> None:
    layout = laid_out(images, 256, 224)
    assert layout.buckets(images) == buckets
    assert images <= buckets * layout.range_size
    assert Layout(256, 5_120).buckets(10**9) == MOST_RANGES


@given(
    st.integers(0, 200_000_000),
    st.integers(16, 4096),
    st.sampled_from([32, 64, 224, 512]),
    st.sampled_from([1, 2]),
)
def test_a_shard_never_takes_more_memory_than_is_allowed(
    images: int, shard_size: int, image_size: int, regions: int
) -> None:
    layout = laid_out(images, shard_size, image_size, regions)
    each = 3 * regions * image_size**2
    assert layout.shard_size <= shard_size or layout.shard_size * each <= LARGEST_SHARD
    assert layout.is_one(images) or layout.shard_size % shard_size == 0
    few = images <= MOST_RANGES * layout.range_size
    assert few or 2 * layout.shard_size * each > LARGEST_SHARD


@pytest.mark.parametrize(
    ("images", "most", "shards"),
    [
        (0, 256, []),
        (20, 256, [20]),
        (200, 256, [128, 72]),  # the start of a third task would take longer than it saves
        (300, 256, [150, 150]),
        (600, 1000, [300, 300]),
        (1144, 256, [191, 191, 191, 191, 191, 189]),
        (40, 16, [16, 16, 8]),
        (5_120, 256, [256] * 20),
    ],
)
def test_two_workers_end_a_small_set_at_the_same_time(
    images: int, most: int, shards: list[int]
) -> None:
    size = laid_out(images, most, 224).shard_size
    assert [min(size, images - start) for start in range(0, images, size)] == shards


@given(st.integers(0, 5_120), st.integers(16, 256))
def test_the_shards_of_a_small_set_are_no_larger_than_asked_for(images: int, most: int) -> None:
    layout = laid_out(images, most, 224)
    assert 1 <= layout.shard_size <= most
    assert layout.range_size == 20 * most


@given(st.integers(0, 3000), st.integers(16, 64))
def test_every_image_is_in_one_range_and_only_the_last_is_smaller(
    images: int, shard_size: int
) -> None:
    layout = laid_out(images, shard_size, 32)
    ranges = layout.ranges(images)
    assert [number for one in ranges for number in one] == list(range(images))
    assert {len(one) for one in ranges[:-1]} <= {layout.range_size}
