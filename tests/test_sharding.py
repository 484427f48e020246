"""Which shards each mapped task works on."""

from __future__ import annotations

from collections.abc import Callable

import documents
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline import sharding
from skin_pipeline.contracts import Split, dump
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
    data = documents.dataset("ingest/1", classes={"benign": 150, "malignant": 95}, unreadable=5)
    split = Split(
        dataset="ingest/1", table="t", runs=1, counts={}, stratification={}, checks=(), docs="d"
    )
    for key, document in {"ingest/1": data, "split/1": split}.items():
        job.store.put(f"{key}/result.json", dump(document))
    assert sharding.images_in(job, "split/1", shards) == called
