"""Which shards each mapped task works on."""

from __future__ import annotations

from collections.abc import Callable

import documents
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline import sharding
from skin_pipeline.contracts import Contract, SourceListing, Split, dump
from skin_pipeline.job import Job
from skin_pipeline.operations import costs


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


def put_split(job: Job, images: int, runs: int = 6) -> None:
    """A set of so many images in shards of 256, and its split."""
    shards = tuple(f"images/{number}.npy" for number in range(-(-images // 256)))
    known = {"classes": {"benign": images}, "unreadable": 0, "shards": shards}
    data = documents.dataset("ingest/1", **known)
    split = Split(
        dataset="ingest/1", table="t", runs=runs, counts={}, stratification={}, checks=(), docs="d"
    )
    for key, document in {"ingest/1": data, "split/1": split}.items():
        job.store.put(f"{key}/result.json", dump(document))


@pytest.mark.parametrize(
    ("strategy", "images"), [("head", 100_000), ("fine_tune", 500), ("full", 60)]
)
def test_a_small_set_is_scored_by_the_task_that_judges_it(
    make_job: Callable[..., Job], strategy: str, images: int
) -> None:
    job = make_job(strategy=strategy, views=4, test_views=4)
    put_split(job, images)
    (part,) = sharding.parts(job, "split/1")
    assert part == sharding.numbers(job, "ingest/1")
    assert sharding.mapped_parts(job, "split/1") == []


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_a_large_set_is_scored_in_parts_that_are_worth_a_task(
    make_job: Callable[..., Job], strategy: str
) -> None:
    job = make_job(strategy=strategy, views=4, test_views=4)
    put_split(job, 2_000_000)
    parts = sharding.parts(job, "split/1")
    assert [shard for part in parts for shard in part] == sharding.numbers(job, "ingest/1")
    work = costs.judging(job.settings, 6, 2_000_000)
    seconds = costs.Network.of(job.settings).built_in(work._replace(tasks=0))
    assert len(parts) == min(sharding.MOST_TASKS, int(seconds // costs.PART_SECONDS)) > 1
    assert sharding.mapped_parts(job, "split/1") == [[part] for part in parts]


def test_there_are_never_more_tasks_than_airflow_makes_and_the_parts_stay(
    make_job: Callable[..., Job],
) -> None:
    job = make_job(strategy="full")
    put_split(job, 10_000_000)
    mapped = sharding.mapped_parts(job, "split/1", most=3)
    assert len(mapped) == 3
    assert [part for task in mapped for part in task] == sharding.parts(job, "split/1")


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


def put_external(job: Job, **sets: int) -> None:
    """An evaluation of six runs, and a validation with external sets of so many images."""
    runs = tuple(f"train/{run}" for run in range(6))
    found: dict[str, Contract] = {"evaluate/1": documents.evaluation(runs=runs)}
    for name, images in sets.items():
        shards = tuple(f"images/{name}-{number}.npy" for number in range(-(-images // 256)))
        known = {"classes": {"benign": images}, "unreadable": 0, "shards": shards}
        found[f"ingest/{name}"] = documents.dataset(f"ingest/{name}", **known)
    external = {name: f"ingest/{name}" for name in sets}
    found["validate/1"] = documents.validation("validate/1", "ingest/0", external=external)
    for key, document in found.items():
        job.store.put(f"{key}/result.json", dump(document))


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_small_external_sets_are_scored_by_the_task_that_needs_the_scores(
    make_job: Callable[..., Job], strategy: str
) -> None:
    job = make_job(strategy=strategy, views=1, image_size=224)
    put_external(job, a=100, b=60)
    assert sharding.external_parts(job, "evaluate/1", "ingest/a") == [[0]]
    assert sharding.mapped_external(job, "evaluate/1", "validate/1") == []


def test_where_there_is_no_external_set_nothing_is_scored_beforehand(
    make_job: Callable[..., Job],
) -> None:
    job = make_job()
    put_external(job)
    assert sharding.mapped_external(job, "evaluate/1", "validate/1") == []


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_a_large_external_set_is_scored_in_parts_and_small_ones_with_it(
    make_job: Callable[..., Job], strategy: str
) -> None:
    """Its features are a part of the work: also a head's scores of it are worth many tasks."""
    job = make_job(strategy=strategy, views=4, test_views=4, image_size=224)
    put_external(job, small=20, large=20_000)
    parts = sharding.external_parts(job, "evaluate/1", "ingest/large")
    assert [shard for part in parts for shard in part] == list(range(79))
    seconds = 20_000 * 4 * 0.07
    assert len(parts) > min(79, seconds / costs.PART_SECONDS) - 1
    expected = [{"name": "large", "shards": part} for part in parts]
    mapped = sharding.mapped_external(job, "evaluate/1", "validate/1", most=3)
    assert len(mapped) == 3
    assert [part for task in mapped for part in task] == [
        *expected,
        {"name": "small", "shards": [0]},
    ]


def test_how_many_parts_there_are_is_by_the_runs_of_the_evaluation(
    make_job: Callable[..., Job],
) -> None:
    job = make_job(strategy="full", views=1, regions="centre", image_size=224)
    put_external(job, a=2_000)
    few = documents.evaluation(runs=("train/0",))
    job.store.put("evaluate/2/result.json", dump(few))
    many, fewer = (
        sharding.external_parts(job, f"evaluate/{number}", "ingest/a") for number in (1, 2)
    )
    assert len(many) > len(fewer) > 1


@pytest.mark.parametrize(
    ("parts", "called"),
    [
        ([("a", [0, 1])], "images 1 to 512 of a"),
        ([("a", [1]), ("a", [2])], "images 257 to 600 of a"),
        ([("a", [1, 2]), ("b", [0])], "images 257 of a and others"),
    ],
)
def test_a_task_is_called_by_the_external_images_that_it_scores(
    make_job: Callable[..., Job], parts: list[tuple[str, list[int]]], called: str
) -> None:
    job = make_job(shard_size=256)
    put_external(job, a=600, b=256)
    some = [{"name": name, "shards": shards} for name, shards in parts]
    assert sharding.external_images_in(job, "validate/1", some) == called


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


@pytest.mark.parametrize(
    ("some", "called"),
    [
        ([["d", "4"], ["d", "5"], ["d", "6"]], "buckets 5 to 7"),
        ([["e", "0"]], "buckets 1 to 1 of theirs"),
        ([["d", "7"], ["e", "0"]], "buckets 8 and others"),
    ],
)
def test_a_task_is_called_after_the_buckets_that_it_searches(
    some: list[list[str]], called: str
) -> None:
    assert sharding.buckets_in(some, {"theirs": "e"}) == called


def test_a_small_set_has_no_range_that_is_decoded_apart(make_job: Callable[..., Job]) -> None:
    assert sharding.ranges(make_job(data="demo", weights="imagenet")) == []
