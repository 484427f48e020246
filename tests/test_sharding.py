"""Which shards each mapped task works on."""

from __future__ import annotations

from collections.abc import Callable

import documents
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline import sharding
from skin_pipeline.contracts import SourceListing, Split, dump
from skin_pipeline.job import Job


@given(st.integers(0, 5000), st.integers(1, 600))
def test_every_shard_is_in_one_task_and_there_are_no_more_tasks_than_required(
    shards: int, most: int
) -> None:
    groups = sharding.divided(list(range(shards)), most)
    assert [shard for group in groups for shard in group] == list(range(shards))
    assert len(groups) == min(shards, most)
    sizes = {len(group) for group in groups}
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert 0 not in sizes


def test_a_million_images_make_no_more_tasks_than_the_scheduler_can_take(
    make_job: Callable[..., Job],
) -> None:
    job = make_job()
    shards = tuple(f"images/{number}.npy" for number in range(1_000_000 // 256 + 1))
    job.store.put(
        "ingest/large/result.json", dump(documents.dataset("ingest/large", shards=shards))
    )
    groups = sharding.groups(job, "ingest/large")
    assert len(groups) == sharding.MOST_TASKS == 512
    assert max(map(len, groups)) == 8


@pytest.mark.parametrize(
    ("shards", "called"),
    [
        ([0], "images 1 to 100"),
        ([0, 1], "images 1 to 200"),
        ([2], "images 201 to 240"),  # the last shard is not full
    ],
)
def test_a_task_is_called_by_the_images_in_its_shards(
    make_job: Callable[..., Job], shards: list[int], called: str
) -> None:
    job = make_job(shard_size=100)
    data = documents.dataset(
        "ingest/1",
        classes={"benign": 150, "malignant": 95},
        unreadable=5,
        shards=("a", "b", "c"),
    )
    split = Split(
        dataset="ingest/1", table="t", runs=1, counts={}, stratification={}, checks=(), docs="d"
    )
    for key, document in {"ingest/1": data, "split/1": split}.items():
        job.store.put(f"{key}/result.json", dump(document))
    assert sharding.images_in(job, "split/1", shards) == called


def test_images_are_counted_by_the_shards_that_there_are(make_job: Callable[..., Job]) -> None:
    """Where several tasks packed them, a shard in the middle may be smaller."""
    job = make_job(shard_size=100)
    shards = tuple(f"images/{number}.npy" for number in range(4))
    data = documents.dataset("ingest/1", shards=shards, shard_images=(100, 40, 100, 3))
    split = Split(
        dataset="ingest/1", table="t", runs=1, counts={}, stratification={}, checks=(), docs="d"
    )
    for key, document in {"ingest/1": data, "split/1": split}.items():
        job.store.put(f"{key}/result.json", dump(document))
    assert sharding.images_in(job, "split/1", [1, 2]) == "images 101 to 240"
    assert sharding.images_in(job, "split/1", [3]) == "images 241 to 243"


@pytest.mark.parametrize(
    ("ranges", "called"),
    [
        ([("", 0)], "images 1 to 320"),
        ([("", 1), ("", 2)], "images 321 to 700"),
        ([("theirs", 2)], "images 641 to 700 of theirs"),
        ([("theirs", 2), ("", 0)], "images 641 of theirs and others"),
    ],
)
def test_a_decode_task_is_called_by_the_images_in_its_ranges(
    make_job: Callable[..., Job], ranges: list[tuple[str, int]], called: str
) -> None:
    job = make_job()
    listing = SourceListing(
        images=700,
        shard_size=16,
        range_size=320,
        files=("a", "b", "c"),
        facts=("a", "b", "c"),
        content="",
        labelling="",
    )
    job.store.put("listing/1/result.json", dump(listing))
    some = [[name, "listing/1", str(number)] for name, number in ranges]
    assert sharding.files_in(job, some) == called


def test_a_small_set_has_no_range_that_is_decoded_apart(make_job: Callable[..., Job]) -> None:
    assert sharding.ranges(make_job(data="demo", weights="imagenet")) == []
