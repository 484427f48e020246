"""The steps on real dermoscopic images with real ResNet50 weights."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from skin_pipeline import sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Dataset, Evaluation, Validation, load
from skin_pipeline.data import manifest
from skin_pipeline.job import Job
from skin_pipeline.storage import open_store

pytestmark = pytest.mark.real
PER_CLASS = 70


@pytest.fixture(scope="module")
def images(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The first images of each class, and the table, as links to the real ones."""
    source = shared / "data/kaggle/Melanoma-b584m584"
    folder = tmp_path_factory.mktemp("real")
    (folder / "b584m584.csv").symlink_to(source / "b584m584.csv")
    for label in ("benign", "malignant"):
        (folder / label).mkdir()
        for path in sorted((source / label).iterdir())[:PER_CLASS]:
            (folder / label / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def job(shared: Path, images: Any, tmp_path_factory: pytest.TempPathFactory) -> Job:
    settings = Settings(
        data=str(images),
        weights=str(shared / "weights/resnet50_notop.weights.h5"),
        strategy="head",
        views=2,
        runs=2,
        min_runs=2,
    )
    deployment = Deployment(store=f"file://{tmp_path_factory.mktemp('store')}")
    return Job(settings, deployment, open_store(deployment.store))


def test_real_images_train_a_model_better_than_chance(job: Job) -> None:
    dataset, weights, _ = steps.ingest(job)
    weights = steps.engine(job, dataset, weights)
    validation = steps.validate(job, dataset)
    split = steps.split(job, validation)
    features = [steps.features(job, split, weights, i) for i in sharding.numbers(job, dataset)]
    index = steps.index(job, features)
    trained = [steps.train(job, split, index, run) for run in range(2)]
    seen = load(job.store, steps.evaluate(job, split, trained, validation), Evaluation)
    predictions = pd.read_csv(job.store.local(seen.predictions))
    held_out = predictions.dropna(subset="held_out_probability")
    means = held_out.groupby("label")["held_out_probability"].mean()
    assert means["malignant"] > means["benign"] + 0.05
    assert seen.smoke_difference < 0.02
    assert not seen.synthetic


def test_what_is_known_of_the_real_sets_is_found(shared: Path, tmp_path: Path) -> None:
    deployment = Deployment(store=f"file://{tmp_path}/store")
    settings = Settings(
        data=str(shared / "data/kaggle/Melanoma-b584m584"),
        external=f"isic2017={shared / 'data/isic2017'}",
        image_size=64,
    )
    job = Job(settings, deployment, open_store(deployment.store))
    dataset, _, external = steps.ingest(job)
    result = load(job.store, steps.validate(job, dataset, external), Validation)
    table = manifest.read(job.store, result.table)
    assert (len(table), table["patient_id"].nunique()) == (1144, 777)
    for key in (dataset, external["isic2017"]):
        found = load(job.store, key, Dataset)
        assert (found.unreadable, found.notices) == (0, ())
    clusters = table[table["duplicates"] != ""].groupby("duplicates")["image_id"]
    assert sorted(tuple(sorted(ids)) for _, ids in clusters) == [
        ("ISIC_0149568", "ISIC_9022005"),
        ("ISIC_2607827", "ISIC_9967383"),
        ("ISIC_6352565", "ISIC_6584579"),
    ]
    assert sorted(table["image_id"][table["external"] == "isic2017"]) == [
        "ISIC_2342769",
        "ISIC_2797353",
        "ISIC_7101732",
        "ISIC_8325226",
    ]
    assert not [c for c in result.checks if not c.passed and c.severity == "critical"]
    shortcuts = {item.name: item for item in result.shortcuts}
    assert 0.74 < shortcuts["border ring colour"].auc.value < 0.84
    assert not shortcuts["border ring colour"].passed
    assert shortcuts["file size"].passed


def test_two_real_sources_are_given_on_the_command_line_and_judged_by_each_other(
    shared: Path, images: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "isic, 2017"
    (elsewhere).mkdir()
    (elsewhere / "metadata.csv").symlink_to(shared / "data/isic2017/metadata.csv")
    for label in ("benign", "malignant"):
        (elsewhere / label).mkdir()
        for path in sorted((shared / "data/isic2017" / label).iterdir())[:PER_CLASS]:
            (elsewhere / label / path.name).symlink_to(path)
    settings = {
        "--data": f'kaggle={images}, isic="{elsewhere}"',
        "--weights": str(shared / "weights/resnet50_notop.weights.h5"),
        **{"--strategy": "head", "--head-stages": "2", "--image-size": "96", "--runs": "2"},
        **{"--min-runs": "2", "--views": "1", "--corrupted": "0", "--min-source-auc": "0.99"},
        "--max-shortcut-auc": "1.0",
    }
    said = subprocess.run(
        [sys.executable, "-m", "skin_pipeline", "run", *chain.from_iterable(settings.items())],
        env={**os.environ, "SKIN_STORE": f"file://{tmp_path}/store"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 3, said.stderr[-2000:]  # refused by the gate
    for name in ("isic", "kaggle"):
        assert f"AUC on {name}, learned from the others" in said.stderr
    (report,) = (tmp_path / "store/gate").glob("*/report.html")
    page = report.read_text()
    assert "Each source, learned from the others" in page
    assert "source: isic" in page  # its slice
    (made,) = (tmp_path / "store/evaluate").glob("*/result.json")
    found = Evaluation.model_validate_json(made.read_text())
    assert [one.source for one in found.left_out] == ["isic", "kaggle"]
    # By chance of the images, and no more than that, it can be a little under one half.
    assert all(0.4 < one.auc.value < 0.9 for one in found.left_out)
    assert found.trunk.stages == 2
