"""What a run of any size is expected to take: more images take more, more workers take less."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline.config import Settings
from skin_pipeline.errors import BadInput
from skin_pipeline.operations import sizing
from skin_pipeline.operations.sizing import MOST_TASKS, Plan, simulated

SIZES = (1_000, 100_000, 1_000_000)
CORE_SECONDS = st.lists(st.floats(0, 1000), min_size=1, max_size=60)


def plan(images: int = 1000, workers: int = 1, cores: int = 2, gpus: int = 0, **knobs: Any) -> Plan:
    settings = Settings(**{"strategy": "head", **knobs})
    return sizing.plan(settings, images=images, workers=workers, cores=cores, gpus=gpus)


def test_it_is_what_a_real_run_took() -> None:
    """On two cores, 600 drawn images of 64 pixels and six runs took 135 s (BENCH=two_workers)."""
    asked = {"image_size": 64, "views": 1, "corrupted": 0, "runs": 6, "shard_size": 100}
    assert plan(600, **asked).seconds == pytest.approx(135, rel=0.15)


@given(CORE_SECONDS, st.integers(1, 64))
def test_no_step_ends_sooner_than_its_longest_task_or_its_share_of_the_cores(
    tasks: list[float], slots: int
) -> None:
    least = max(max(tasks), sum(tasks) / slots)
    assert least < simulated(tasks, slots)


@given(CORE_SECONDS, st.integers(1, 64))
def test_tasks_in_one_slot_run_one_after_another(tasks: list[float], slots: int) -> None:
    alone = simulated(tasks, 1)
    assert alone == pytest.approx(
        sizing.GAP_SECONDS + sum(tasks) + len(tasks) * sizing.TASK_SECONDS, abs=0.2 * len(tasks)
    )
    assert simulated(tasks, slots) <= alone + 1e-6


@pytest.mark.parametrize("images", [1_000, 100_000, 1_000_000, 10_000_000])
def test_no_step_has_more_tasks_than_airflow_makes(images: int) -> None:
    assert max(step.tasks for step in plan(images).steps) <= MOST_TASKS


def test_a_set_of_several_ranges_is_decoded_by_several_tasks_of_little_memory() -> None:
    small, large = ({step.name: step for step in plan(images).steps} for images in SIZES[:2])
    assert list(small)[:2] == ["listing", "ingest"]
    assert list(large)[:5] == ["listing", "decode", "ingest", "duplicates", "validate"]
    assert (large["decode"].tasks, large["duplicates"].tasks) == (20, 32)
    assert large["listing"].core_seconds > 10 * small["listing"].core_seconds
    assert large["ingest"].core_seconds < large["decode"].core_seconds / 5
    assert large["validate"].core_seconds < large["duplicates"].core_seconds / 5
    largest = {step.name: step for step in plan(10_000_000).steps}["decode"]
    assert largest.tasks <= MOST_TASKS
    assert largest.memory < 2 * large["decode"].memory + 400 * sizing.MIB


def test_a_small_set_needs_no_less_memory_because_larger_shards_were_asked_for() -> None:
    usual, asked = (
        {step.name: step.memory for step in plan(600, shard_size=size).steps}
        for size in (256, 4096)
    )
    assert asked == usual


def test_more_images_take_longer_and_more_workers_do_not() -> None:
    hours = [[plan(images, workers).hours for workers in (1, 4, 16, 64)] for images in SIZES]
    for line in hours:
        assert line == sorted(line, reverse=True)
    for column in zip(*hours, strict=True):
        assert list(column) == sorted(column)
        assert column[-1] > 5 * column[0]


def test_what_settings_ask_for_is_planned() -> None:
    small = {step.name: step for step in plan(views=1, corrupted=0, runs=6).steps}
    large = {step.name: step for step in plan(views=4, corrupted=4, runs=12).steps}
    assert large["features"].core_seconds > 4 * small["features"].core_seconds
    assert (small["train"].tasks, large["train"].tasks) == (6, 12)
    full = {step.name: step for step in plan(strategy="full").steps}
    assert full["train"].core_seconds > 10 * small["train"].core_seconds


@pytest.mark.parametrize(
    ("strategy", "on_gpus"),
    [
        ("head", {"features"}),
        ("fine_tune", {"features", "train", "logits"}),
        ("full", {"features", "train", "logits"}),
    ],
)
def test_gpus_take_over_what_passes_through_the_network(strategy: str, on_gpus: set[str]) -> None:
    without, with_gpus = (
        {step.name: step for step in plan(1_000_000, 8, 4, gpus, strategy=strategy).steps}
        for gpus in (0, 1)
    )
    faster = {name for name, step in with_gpus.items() if step != without[name]}
    assert faster == on_gpus
    for name in on_gpus:
        # Eight GPUs, each for forty cores, where there were 32 cores.
        ratio = without[name].core_seconds / with_gpus[name].core_seconds
        assert 5 < ratio < sizing.GPU_CORES
        assert with_gpus[name].seconds < without[name].seconds


def test_what_a_gpu_is_taken_for_is_said_to_be_assumed() -> None:
    last = plan(1000, 2, 4, 1).in_words().splitlines()[-1]
    assert last.startswith("1,000 images on 2 x 4 cores and 2 x 1 GPUs, ")
    assert last.endswith("each taken for 40 cores (assumed, not measured)")


def test_the_table_has_a_line_for_each_step_and_says_what_was_asked_for() -> None:
    found = plan(100_000, workers=8, cores=4)
    lines = found.in_words().splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == [step.name for step in found.steps]
    assert len({len(line) for line in lines[:-1]}) == 1  # its columns stand below each other
    assert "100,000 images on 8 x 4 cores" in lines[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("images", 0), ("images", 10**9), ("workers", 0), ("cores", -1), ("gpus", -1), ("gpus", 65)],
)
def test_a_number_out_of_range_is_refused(name: str, value: int) -> None:
    with pytest.raises(BadInput, match=rf"{name} must be from [01] to .*Received: {value}"):
        plan(**{name: value})
