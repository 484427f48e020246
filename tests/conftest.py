"""Fixtures that several test files share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hard_run
import pytest
from servers import S3Server, seaweedfs

from skin_pipeline import steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore, Store, open_store


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server with an empty bucket; give each test a prefix of its own."""
    with seaweedfs() as server:
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
        place = Deployment(store=store.url, threads=1)
        return Job(Settings(**{**quick, **changes}), place, store)

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
    trained: list[str]
    evaluation: str
    verdict: str
    version: str


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run through all steps, shared by the tests that only look at its results."""
    place = Deployment(store=f"file://{tmp_path_factory.mktemp('finished')}", threads=2)
    knobs = {
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
    job = Job(Settings(**knobs), place, open_store(place.store))
    dataset, weights, external = steps.ingest(job)
    validation = steps.validate(job, dataset, external)
    split = steps.split(job, validation)
    features = [steps.features(job, split, weights, i) for i in steps.shard_numbers(job, dataset)]
    trained = [steps.train(job, split, features, run) for run in range(2)]
    evaluation = steps.evaluate(job, split, trained, validation)
    verdict = steps.gate(job, evaluation, validation)
    version = steps.promote(job, verdict)
    return Finished(
        job, dataset, validation, split, features, trained, evaluation, verdict, version
    )


@pytest.fixture(scope="session")
def hard(tmp_path_factory: pytest.TempPathFactory) -> hard_run.Hard:
    """One run through all steps on drawings that are hard to tell apart, where a fault shows."""
    return hard_run.build(tmp_path_factory.mktemp("hard"))


@pytest.fixture(scope="session")
def hard_later(hard: hard_run.Hard, tmp_path_factory: pytest.TempPathFactory) -> hard_run.Later:
    """A second version of the images of `hard`, validated and split in a store of its own."""
    return hard_run.build_later(hard, tmp_path_factory.mktemp("hard_later"))
