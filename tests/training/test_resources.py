"""What a task needs is estimated before it begins, and refused if it is not there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skin_pipeline import steps
from skin_pipeline.config import Deployment
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import Job
from skin_pipeline.training import heads, resources
from skin_pipeline.training.inputs import WINDOW
from skin_pipeline.training.resources import GIB, check_memory

if TYPE_CHECKING:
    from tests.conftest import Finished

WAY_OUT = "Lower image_size"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 GiB, of which 4 are free."""
    monkeypatch.setattr(resources, "memory", lambda: (16 * GIB, 4 * GIB))


@pytest.mark.parametrize(
    ("needed", "allowed", "error", "message"),
    [
        (3, 0, None, ""),
        (3, 3, None, ""),
        (3, 2, BadInput, r"needs about 3\.0 GiB of memory, and SKIN_MEMORY_GIB allows 2\. Lower"),
        (17, 0, BadInput, r"17\.0 GiB of memory, and the machine has 16\.0\. Lower image_size"),
        (5, 0, Unavailable, r"5\.0 GiB of memory, and 4\.0 GiB are free now.*fewer tasks.*Lower"),
    ],
)
def test_a_task_that_does_not_fit_says_so(
    machine: None, needed: float, allowed: float, error: type[Exception] | None, message: str
) -> None:
    deployment = Deployment(memory_gib=allowed)
    if error is None:
        check_memory(deployment, needed * GIB, "training run 0", WAY_OUT)
        return
    with pytest.raises(error, match=message):
        check_memory(deployment, needed * GIB, "training run 0", WAY_OUT)


def test_a_task_is_allowed_what_is_set_or_what_the_machine_has(machine: None) -> None:
    assert resources.allowed(Deployment(memory_gib=3)) == 3 * GIB
    assert resources.allowed(Deployment()) == 16 * GIB


def test_what_a_task_needs_is_told_before(machine: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check_memory(Deployment(), 3 * GIB, "training run 0", WAY_OUT)
    assert 'memory what="training run 0" needed_gib=3.0 available_gib=4.0' in caplog.text


@pytest.mark.parametrize("version", [0, 1], ids=["limit in version 2", "limit in version 1"])
def test_a_container_has_what_its_control_group_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int
) -> None:
    limit, used = tmp_path / "limit", tmp_path / "used"
    limit.write_text(f"{GIB}\n")
    used.write_text(f"{GIB // 4}\n")
    files = [("/nowhere/max", "/nowhere/current")] * version + [(str(limit), str(used))]
    monkeypatch.setattr(resources, "CONTROL_GROUPS", tuple(files))
    assert resources.memory() == (GIB, GIB - GIB // 4)


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_a_control_group_without_a_limit_leaves_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str
) -> None:
    (tmp_path / "limit").write_text(limit)
    (tmp_path / "used").write_text("1")
    files = ((str(tmp_path / "limit"), str(tmp_path / "used")),)
    monkeypatch.setattr(resources, "CONTROL_GROUPS", files)
    total, available = resources.memory()
    assert total > GIB / 4
    assert 0 < available < total


def test_memory_of_training_counts_weights_activations_and_what_is_read() -> None:
    import keras

    inner = keras.Sequential([keras.Input((10,)), keras.layers.Dense(30), keras.layers.Dense(5)])
    frozen = keras.layers.Dense(7, trainable=False)
    image = keras.Input((10,))
    model = keras.Model(image, frozen(inner(image)))
    trained, others = 10 * 30 + 30 + 30 * 5 + 5, 5 * 7 + 7
    outputs = 10 + 30 + 5 + 7
    expected = (
        *(resources.BASE, resources.COMPILING, 2 * WINDOW),
        4 * (trained + others) + 7 * 4 * trained,
        64 * (2 * 4 * outputs + 4 * 1000),
    )
    assert resources.bytes_to_train(model, 64, 1000) == pytest.approx(
        sum(expected), abs=64 * 8 * 20
    )


def test_memory_of_a_head_counts_the_interpreter_and_what_is_read() -> None:
    rows = 4 * 64 + 8 * heads.SCORED + 9
    expected = resources.BARE + rows * 1000 + 2 * WINDOW
    assert resources.bytes_to_train_head(64, 1000) == expected < resources.BASE


def test_memory_of_running_counts_weights_twice_and_the_largest_layers() -> None:
    import keras

    sizes = (10, 300, 20, 200, 30, 100, 40)
    layers = [keras.layers.Dense(size) for size in sizes]
    model = keras.Sequential([keras.Input((5,)), *layers])
    expected = (
        *(resources.BASE, resources.COMPILING, WINDOW),
        2 * 4 * model.count_params(),
        16 * 4 * sum(sorted(sizes)[-6:]),
    )
    assert resources.bytes_to_run(model, 16) == pytest.approx(sum(expected))


def test_a_run_that_would_not_fit_leaves_nothing(finished: Finished) -> None:
    settings = finished.job.settings.model_copy(update={"epochs": 7})
    store = finished.job.store
    tight = Job(settings, Deployment(store=store.url, memory_gib=0.5), store)
    before = store.list("train")
    with pytest.raises(BadInput, match=r"training run 0 needs about .*SKIN_MEMORY_GIB allows 0\.5"):
        steps.train(tight, finished.split, finished.index, 0)
    assert store.list("train") == before
