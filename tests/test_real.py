"""The steps on real dermoscopic images with real ResNet50 weights."""

from __future__ import annotations

import pandas as pd
import pytest

from skin_pipeline import steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Dataset, Evaluation, Validation, load
from skin_pipeline.data import manifest
from skin_pipeline.job import Job
from skin_pipeline.storage import open_store

pytestmark = pytest.mark.real
PER_CLASS = 70


@pytest.fixture(scope="module")
def images(shared, tmp_path_factory):
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
def job(shared, images, tmp_path_factory):
    settings = Settings(
        data=str(images),
        weights=str(shared / "weights/resnet50_notop.weights.h5"),
        views=1,
        runs=2,
        min_runs=2,
    )
    place = Deployment(store=f"file://{tmp_path_factory.mktemp('store')}")
    return Job(settings, place, open_store(place.store))


def test_real_images_train_a_model_better_than_chance(job):
    dataset, weights = steps.ingest(job)
    split = steps.split(job, steps.validate(job, dataset))
    features = [steps.features(job, split, weights, i) for i in steps.shard_numbers(job, dataset)]
    trained = [steps.train(job, split, features, run) for run in range(2)]
    seen = load(job.store, steps.evaluate(job, split, trained), Evaluation)
    predictions = pd.read_csv(job.store.local(seen.predictions))
    held_out = predictions.dropna(subset="held_out_probability")
    means = held_out.groupby("label")["held_out_probability"].mean()
    assert means["malignant"] > means["benign"] + 0.05
    assert seen.smoke_difference < 0.02
    assert not seen.synthetic


def test_the_whole_real_set_passes_and_its_known_duplicates_are_warned_of(shared, tmp_path):
    place = Deployment(store=f"file://{tmp_path}/store")
    settings = Settings(data=str(shared / "data/kaggle/Melanoma-b584m584"), image_size=64)
    job = Job(settings, place, open_store(place.store))
    dataset, _ = steps.ingest(job)
    checks = load(job.store, steps.validate(job, dataset), Validation).checks
    assert [check.name for check in checks if not check.passed] == [
        "no two images have the same pixels"
    ]
    table = manifest.read(job.store, load(job.store, dataset, Dataset).table)
    assert (len(table), table["patient_id"].nunique()) == (1144, 777)
    pairs = table[table.duplicated("pixels_sha256", keep=False)].groupby("pixels_sha256")
    assert sorted(tuple(sorted(ids)) for _, ids in pairs["image_id"]) == [
        ("ISIC_0149568", "ISIC_9022005"),
        ("ISIC_2607827", "ISIC_9967383"),
        ("ISIC_6352565", "ISIC_6584579"),
    ]
