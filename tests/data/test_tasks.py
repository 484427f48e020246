"""What the steps of the data room write: the data set, its validation and its split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skin_pipeline import steps
from skin_pipeline.contracts import Dataset, Split, Validation
from skin_pipeline.data import ingesting, manifest, tasks
from skin_pipeline.job import Job

MakeJob = Callable[..., Job]


@pytest.fixture
def job(make_job: MakeJob, tmp_path: Any) -> Job:
    """Twelve drawn images of each class, one of which cannot be read, and one is there twice."""
    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / label / f"{label}{number}.png")
    folder = tmp_path / "set/benign"
    (folder / "benign0.png").write_bytes(b"broken")
    (folder / "copy.png").write_bytes((folder / "benign1.png").read_bytes())
    settings = {"min_per_class": 10, "max_unreadable": 0.5, "test_fraction": 0.4}
    return make_job(data=str(tmp_path / "set"), weights="imagenet", shard_size=16, **settings)


def test_the_results_of_the_room_follow_from_each_other(job: Job) -> None:
    key = ingesting.data_set(job, 3, job.settings.data, job.settings)
    dataset = job.load(key, Dataset)
    assert (dataset.classes, dataset.unreadable) == ({"benign": 13, "malignant": 12}, 1)
    assert (dataset.image_size, dataset.field_of_view) == (64, job.settings.field_of_view)
    assert (len(dataset.shards), len(dataset.thumbnails)) == (2, 2)
    assert job.load(key, Dataset).images == 25

    validation = steps.validate(job, key)
    validated = job.load(validation, Validation)
    table = manifest.read(job.store, validated.table).set_index("key")
    copies = table.loc[["benign/benign1.png", "benign/copy.png"]]
    assert copies["duplicates"].nunique() == copies["group"].nunique() == 1
    assert (copies["duplicates"] != "").all()
    assert tasks.quarantined(job, validated).startswith(". 1 quarantined: benign0.png: ")

    split = job.load(steps.split(job, validation), Split)
    divided = manifest.read(job.store, split.table)
    assert list(divided.filter(regex="^run_").columns) == ["run_0", "run_1"]
    assert split.counts["run_0"]["unused"] >= 1
    pd.testing.assert_series_equal(divided.set_index("key")["group"], table["group"])
