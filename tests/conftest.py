"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hard_run
import hypothesis
import pytest
import sharing
from hypothesis import settings
from servers import S3Server

from skin_pipeline import cli, foreign, progress, sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import LABELS
from skin_pipeline.data import demo
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore, Store, open_store

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# What takes minutes, longest first: begun last, it would be waited for alone.
LONGEST = (
    "tests/browser/test_story.py",
    "tests/dags/test_runs.py",
    "tests/dags/*.py",
    "tests/scripts/test_local_airflow.py",
    "tests/test_steps.py",
    "tests/model_file/test_loading.py",
    "tests/training/*.py",
    "tests/test_real.py",
    "tests/storage/*.py",
    "tests/storage/s3/*.py",
    "tests/browser/*.py",
    "tests/plugins/*.py",
    "tests/release/*.py",
)
MANY = 50  # drawn images of a class
# Seconds after which a test has failed; pyproject.toml has those of any other. Tests with a running
# Airflow wait for each other, since all processes of all Airflows share the cores.
SECONDS = {"exhaustive": 1500, "networks": 1500, "airflow": 1500}


def pytest_configure(config: pytest.Config) -> None:
    _keep_state_apart(config)
    # An example of hypothesis' may take as long as it does where other tests share the cores.
    hypothesis.settings.register_profile("unhurried", hypothesis.settings(), deadline=None)
    hypothesis.settings.load_profile("unhurried")
    if not hasattr(config, "workerinput"):  # not one of xdist's processes, which come from this one
        sharing.begin()


def _keep_state_apart(config: pytest.Config) -> None:
    """Has whatever a test starts remember what it saw of stores apart from the user's own state."""
    state = tempfile.TemporaryDirectory(prefix="skin-tests-state-")
    config.add_cleanup(state.cleanup)
    os.environ["XDG_STATE_HOME"] = state.name


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        sharing.end()


@pytest.hookimpl(optionalhook=True)  # there is no such hook where xdist is turned off
def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: tests that talk to servers mostly wait."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes longest begin first, and give exhaustive tests the time that they need."""
    items.sort(key=_turn)
    for item in items:
        for marker, seconds in SECONDS.items():
            if item.get_closest_marker(marker) and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(seconds))


def pytest_collection_finish() -> None:
    """Leave all modules and ten thousand tests out of what is searched for garbage from now on.

    They stay anyway. Keras searches each time that it forgets its names, which made the tests that
    have it do so ten times slower.
    """
    gc.collect()
    gc.freeze()


def _turn(item: pytest.Item) -> int:
    return next((n for n, name in enumerate(LONGEST) if item.path.match(name)), len(LONGEST))


Reporting = Generator[None, Any, Any]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Reporting:
    return _not_skipped_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Reporting:
    return _not_skipped_in_ci((yield))


def _not_skipped_in_ci(report: Any) -> Any:
    """Turns what is skipped into a failure in CI, where everything that a test may need is."""
    in_ci = os.environ.get("CI", "").lower() in {"1", "true"}
    if in_ci and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI must have what this needs. {report.longrepr[2]}"
    return report


@pytest.fixture(autouse=True)
def _forgets_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test calls a secret is an ordinary word to the next."""
    monkeypatch.setattr(foreign, "_hidden", set())


@pytest.fixture(scope="session", autouse=True)
def drawn_once() -> Iterator[None]:
    """Many images of one seed are drawn once and copied then; it takes seconds to draw them."""
    draw = demo.generate

    def copied(folder: Path, seed: int, per_class: int = demo.PER_CLASS) -> None:
        if per_class < MANY:
            return draw(folder, seed, per_class)
        name = f"drawn-{seed}-{per_class}"
        made, _ = sharing.made_once(name, lambda made: draw(made / "images", seed, per_class))
        for label in LABELS:
            shutil.copytree(made / "images" / label, folder / label)
        shutil.copy(made / "images/metadata.csv", folder)
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "generate", copied)
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server; give each test a prefix of its own in its bucket."""
    with sharing.server("servers", "shared_seaweedfs") as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty folder store."""
    return FolderStore(tmp_path / "store")


@pytest.fixture
def s3_store(s3_server: S3Server, tmp_path: Path) -> Store:
    """An empty place in the real S3 server."""
    return open_store(
        f"s3://{s3_server.bucket}/{uuid.uuid4().hex}",
        endpoint=s3_server.endpoint,
        credentials=s3_server.credentials,
        cache=tmp_path / "cache",
    )


@pytest.fixture
def make_job(store: FolderStore) -> Callable[..., Job]:
    """Makes jobs on the test's store: quick settings on the generated lesions, and changes."""

    def make(**changes: Any) -> Job:
        quick = {
            "data": "demo",
            "weights": "none",
            "strategy": "head",
            "image_size": 64,
            "views": 1,
            "epochs": 4,
            "runs": 2,
            "min_runs": 2,
            "min_per_class": 10,
        }
        deployment = Deployment(store=store.url, threads=1)
        return Job(Settings(**{**quick, **changes}), deployment, store)

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real images and weights; users do not have it."""
    folder = Path(os.environ.get("SKIN_TEST_DATA", Path(__file__).parents[2] / "shared"))
    if not (folder / "weights").is_dir():
        pytest.skip(f"the real images and weights are not at {folder} (SKIN_TEST_DATA)")
    return folder


@dataclass(frozen=True)
class Finished:
    """A whole run on generated lesions: its job, and the keys of its results."""

    job: Job
    dataset: str
    validation: str
    split: str
    features: list[str]
    index: str
    trained: list[str]
    evaluation: str
    verdict: str
    version: str

    @property
    def root(self) -> Path:
        """The folder of its store."""
        store: Any = self.job.store  # a ProvenStore, which hands on what its folder store has
        root: Path = store.root
        return root


EASY = {
    "data": "demo",
    "weights": "none",
    "strategy": "head",
    "image_size": 64,
    "views": 1,
    "runs": 2,
    "min_runs": 2,
    "target_sensitivity": 0.95,
    "min_accuracy": 0.5,
    "min_sensitivity": 0.5,
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run through all steps, shared by the tests that only look at its results."""
    return shared_run("finished", EASY, tmp_path_factory)


def shared_run(
    name: str, knobs: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A run that one process makes for all; each gets a copy, in which its tests may go on."""
    made, keys = sharing.made_once(name, lambda folder: _run_through(folder, knobs))
    copy = shutil.copytree(made, tmp_path_factory.mktemp(name) / name)
    return Finished(_job(copy, knobs), **keys)


def _job(folder: Path, knobs: Mapping[str, Any]) -> Job:
    deployment = Deployment(store=f"file://{folder / 'store'}", threads=1)
    return Job(Settings(**knobs), deployment, open_store(deployment.store))


def _run_through(folder: Path, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Goes through all steps; the keys of their results."""
    job = _job(folder, knobs)
    dataset, weights, external = steps.ingest(job)
    validation = steps.validate(job, dataset, external)
    split = steps.split(job, validation)
    features = [steps.features(job, split, weights, i) for i in sharding.numbers(job, dataset)]
    index = steps.index(job, features)
    trained = [steps.train(job, split, index, run) for run in range(job.settings.runs)]
    evaluation = steps.evaluate(job, split, trained, validation)
    verdict = steps.gate(job, evaluation, validation)
    return {
        "dataset": dataset,
        "validation": validation,
        "split": split,
        "features": features,
        "index": index,
        "trained": trained,
        "evaluation": evaluation,
        "verdict": verdict,
        "version": steps.promote(job, verdict),
    }


@pytest.fixture(scope="session")
def hard(tmp_path_factory: pytest.TempPathFactory) -> hard_run.Hard:
    """One run through all steps on drawings that are hard to tell apart, where a fault shows."""
    made, run = sharing.made_once("hard", hard_run.build)
    return run.at(shutil.copytree(made, tmp_path_factory.mktemp("hard") / "hard"))


@pytest.fixture(scope="session")
def hard_later(hard: hard_run.Hard, tmp_path_factory: pytest.TempPathFactory) -> hard_run.Later:
    """A second version of the images of `hard`, validated and split in a store of its own."""
    return hard_run.build_later(hard, tmp_path_factory.mktemp("hard_later"))


@pytest.fixture
def workers_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes may write files in this test, by which it sees what they did."""
    here = Path(__file__).parent
    folders = here / "support/may_write", here.parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


# --- models in a store ---------------------------------------------------------------------------


@pytest.fixture(params=["folder", "s3"])
def any_store(request: pytest.FixtureRequest, store: FolderStore) -> Any:
    return store if request.param == "folder" else request.getfixturevalue("s3_store")


@pytest.fixture
def elsewhere(
    any_store: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> Store | FolderStore:
    """The same place through another client, which knows nothing of the first one's copies."""
    if isinstance(any_store, FolderStore):
        return FolderStore(any_store.root)
    server = request.getfixturevalue("s3_server")
    where = {"endpoint": server.endpoint, "credentials": server.credentials}
    return open_store(any_store.url, cache=tmp_path / "elsewhere", **where)


@pytest.fixture
def models(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Runs `models …` on the test's store; its exit status, and what it said in all."""
    monkeypatch.setenv("SKIN_STORE", store.url)

    def run(*arguments: Any) -> tuple[int, Any]:
        status = cli.main(["models", *arguments])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


# --- progress -----------------------------------------------------------------------------------


@pytest.fixture
def told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], set[str]]:
    """What was counted in the progress lines so far, each of which comes at once here."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    line = re.compile(r'progress \d+ % seconds_left=\d+ rate="[^"]+/s" what="([^"]+)" done=\d+ of=')

    def counted() -> set[str]:
        found = map(line.match, caplog.messages)
        return {match[1] for match in found if match}

    return counted
