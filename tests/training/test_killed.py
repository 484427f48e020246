"""Runs of a real process that is killed, and goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hard_run import Hard

from skin_pipeline import sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Epoch, TrainedRun, load
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore
from skin_pipeline.training.checkpoints import Checkpoints

# On classes that overlap, so that every epoch has figures of its own.
KNOBS = {
    "strategy": "fine_tune",
    "epochs": 2,
    "tune_epochs": 3,
    "patience": 6,
    "tune_batch_size": 64,
    "views": 1,
    "test_views": 1,
    "tune_learning_rate": 1e-5,
}
PATIENCE = 500.0  # seconds until a test that waits gives up


class Prepared(NamedTuple):
    """A store in which nothing is left to do but to train, and the arguments to do it."""

    store: FolderStore
    settings: Settings
    arguments: list[str]

    def in_copy(self, folder: Path) -> Prepared:
        """The same in a copy of the store."""
        shutil.copytree(self.store.root, folder)
        return self._replace(store=FolderStore(folder))


@pytest.fixture(scope="module")
def prepared(hard: Hard, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("killed")
    shutil.copytree(hard.folder / "store", folder / "store")
    store = FolderStore(folder / "store")
    settings = Settings(**{**hard.job.settings.model_dump(), **KNOBS})
    job = Job(settings, Deployment(store=store.url, threads=1), store)
    shards = sharding.numbers(job, hard.dataset)
    features = [steps.features(job, hard.split, hard.weights, shard) for shard in shards]
    return Prepared(store, settings, ["train", hard.split, "0", steps.index(job, features)])


# The command line, in a process that kills itself when it has kept what its first argument names.
KILLED = """
import os, signal, sys
from skin_pipeline import cli, storage

last, *arguments = sys.argv[1:]
put_file = storage.FolderStore.put_file

def put_and_die(store, key, source, *more):
    put_file(store, key, source, *more)
    if key.endswith(last):
        os.killpg(0, signal.SIGKILL)

storage.FolderStore.put_file = put_and_die
cli.main(arguments)
"""


def started(
    prepared: Prepared, program: tuple[str, ...] = ("-m", "skin_pipeline")
) -> subprocess.Popen[str]:
    """The step as a process of its own."""
    given = prepared.settings.model_dump(exclude_defaults=True).items()
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given]
    return subprocess.Popen(
        [sys.executable, *program, *prepared.arguments, *flags],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SKIN_STORE": prepared.store.url, "SKIN_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def trained(
    prepared: Prepared, process: subprocess.Popen[str] | None = None
) -> tuple[TrainedRun, str]:
    """The run, trained to its end; and what was logged."""
    process = process or started(prepared)
    printed, logged = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, logged
    return load(prepared.store, printed.strip(), TrainedRun), logged


def peak_gib(process: subprocess.Popen[str]) -> float:
    """The most memory that a process has had when it ends, in GiB, as Linux counts it."""
    most = 0
    while process.poll() is None:
        with suppress(OSError):  # it ended just now
            status = Path(f"/proc/{process.pid}/status").read_text()
            most = max([most, *map(int, re.findall(r"VmHWM:\s+(\d+) kB", status))])
        time.sleep(0.02)
    return most / 2**20


class Whole(NamedTuple):
    run: TrainedRun
    prepared: Prepared
    logged: str
    peak: float


@pytest.fixture(scope="module")
def uninterrupted(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The run of a process that nobody stopped, its store, what it logged, and its memory."""
    own = prepared.in_copy(tmp_path_factory.mktemp("whole") / "store")
    process = started(own)
    peak = peak_gib(process)
    run, logged = trained(own, process)
    return Whole(run, own, logged, peak)


def checkpoints(store: FolderStore) -> list[str]:
    return [key for key in store.list("train") if "/checkpoints/" in key]


def killed_after(prepared: Prepared, epochs: int) -> list[Epoch]:
    """Starts the run, which is killed as soon as so many epochs are kept.

    Returns:
        The history that it left, with the time that each of its epochs took.
    """
    process = started(prepared, ("-c", KILLED, f"/checkpoints/{epochs:06}.npz"))
    _, logged = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL, logged
    (folder,) = {key.split("/checkpoints/")[0] for key in checkpoints(prepared.store)}
    assert not prepared.store.exists(f"{folder}/result.json")
    state = Checkpoints(prepared.store, folder).latest()
    assert state is not None
    return state.history


def test_a_process_killed_in_each_stage_goes_on_and_ends_with_the_same_bits(
    prepared: Prepared, uninterrupted: Whole, tmp_path: Path
) -> None:
    own = prepared.in_copy(tmp_path / "store")
    first = killed_after(own, 1)  # in the head
    second = killed_after(own, 3)  # in fine-tuning
    run, logged = trained(own)
    assert re.search(r"resumed run=0 stage=fine_tune epoch=\d", logged)
    # What took a process its time is what it did: nothing that was kept was done again.
    assert second[: len(first)] == first
    assert list(run.history[: len(second)]) == second
    assert len(second) < len(run.history)
    whole, store = uninterrupted.run, uninterrupted.prepared.store
    assert own.store.read(run.weights) == store.read(whole.weights)
    assert own.store.read(run.held_out) == store.read(whole.held_out)
    figures = [
        [(line.loss, line.validation_loss, line.validation_auc) for line in made.history]
        for made in (run, whole)
    ]
    assert figures[0] == figures[1]
    # The epochs differ, so that one in another's place shows.
    assert len(set(figures[0])) == len(run.history)
    assert checkpoints(own.store) == []


def test_a_finished_run_that_is_cleared_does_nothing(uninterrupted: Whole) -> None:
    store = uninterrupted.prepared.store
    before = store.list("")
    again, logged = trained(uninterrupted.prepared)
    assert again == uninterrupted.run
    assert "cached key=train/" in logged
    assert "tensorflow" not in logged
    assert store.list("") == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own count")
def test_the_memory_that_a_task_tells_before_is_about_what_it_takes(uninterrupted: Whole) -> None:
    told = float(re.findall(r"training run 0. needed_gib=([\d.]+)", uninterrupted.logged)[0])
    assert 0.9 * uninterrupted.peak < told < 2 * uninterrupted.peak
