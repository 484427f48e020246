"""What the steps of the data room write: the data set, its validation and its split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn_pictures import photograph
from PIL import Image

from skin_pipeline import steps
from skin_pipeline.contracts import Dataset, Split, Validation
from skin_pipeline.data import duplicates, ingesting, layout, manifest, tasks
from skin_pipeline.data.layout import Layout
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore

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


def shown(number: int) -> Image.Image:
    return photograph(number).resize((120, 90))


def written(folder: Path, images: Mapping[str, Image.Image]) -> str:
    """A folder with images of both classes, by their name in it."""
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    return str(folder)


@pytest.fixture
def ours_and_theirs(tmp_path: Path) -> tuple[str, str]:
    """Two sets: copies within ours are flipped, equal as files, and equal as pixels, and theirs has
    some of ours, of which two are equal files."""
    flipped = Image.Transpose.FLIP_LEFT_RIGHT
    benign = {f"benign/{number}.png": shown(number) for number in range(24)}
    malignant = {f"malignant/{number}.png": shown(100 + number) for number in range(12)}
    copies = {f"benign/{name}-flipped.png": shown(name).transpose(flipped) for name in (201, 202)}
    ours = {
        **{**benign, **malignant, **copies},
        **{"benign/201.png": shown(201), "benign/202.png": shown(202)},
        **{"benign/file.png": shown(3), "malignant/pixels.bmp": shown(105)},
    }
    small = shown(7).resize((96, 72))
    theirs = {
        **{f"benign/{number}.png": shown(300 + number) for number in range(10)},
        **{"benign/small.png": small, "malignant/small.png": small, "malignant/4.png": shown(4)},
    }
    return written(tmp_path / "ours", ours), written(tmp_path / "theirs", theirs)


def validated(job: Job) -> tuple[pd.DataFrame, pd.DataFrame, Validation]:
    """The table of a validation, what the external set shares with it, and the document."""
    made = steps.ingest(job)
    found = job.load(steps.validate(job, made.dataset, made.external), Validation)
    overlap = manifest.read(job.store, found.overlaps["theirs"]).sort_values("key")
    return manifest.read(job.store, found.table), overlap.reset_index(drop=True), found


def test_the_shards_of_a_small_set_have_equal_sizes(
    make_job: MakeJob, ours_and_theirs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "LEAST", 1)
    job = make_job(data=ours_and_theirs[0], weights="imagenet", min_per_class=10, shard_size=32)
    found = job.load(steps.ingest(job).dataset, Dataset)
    assert found.shard_images == (21, 21)


def test_the_same_copies_are_found_bucket_by_bucket(
    make_job: MakeJob,
    ours_and_theirs: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = ours_and_theirs
    known = {"external": f"theirs={theirs}", "min_per_class": 10, "shard_size": 16}
    job = make_job(data=ours, weights="imagenet", **known)
    whole, shared, found = validated(job)
    assert len(found.duplicates) == 2
    clusters = whole[whole["duplicates"] != ""].groupby("duplicates")["image_id"].agg(set)
    expected = [["201", "201-flipped"], ["202", "202-flipped"], ["3", "file"], ["5", "pixels"]]
    assert sorted(map(sorted, clusters)) == expected
    assert list(shared["key"]) == ["benign/small.png", "malignant/4.png", "malignant/small.png"]
    assert list(shared["of"]) == ["benign/7.png", "benign/4.png", "benign/7.png"]
    assert list(shared["kind"]) == ["near", "file", "near"]

    monkeypatch.setattr(Layout, "buckets", lambda self, images: 4)
    elsewhere = dataclasses.replace(job, store=FolderStore(tmp_path / "another store"))
    parted, shared_too, found = validated(elsewhere)
    assert len(found.duplicates) == 8
    pd.testing.assert_frame_equal(parted, whole)
    pd.testing.assert_frame_equal(shared_too, shared)


def test_what_a_task_has_searched_is_not_searched_again(
    make_job: MakeJob, ours_and_theirs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Layout, "buckets", lambda self, images: 2)
    ours, theirs = ours_and_theirs
    known = {"external": f"theirs={theirs}", "min_per_class": 10, "shard_size": 16}
    job = make_job(data=ours, weights="imagenet", **known)
    made = steps.ingest(job)
    divided = steps.searches(job, made.dataset, made.external, 3)
    told: list[str] = []
    job = dataclasses.replace(job, observe=lambda _, key, cost: told.append(key) if cost else None)
    other = made.external["theirs"]
    searches = [[made.dataset, "0"], [made.dataset, "1"], [other, "0"], [other, "1"]]
    assert [search for task in divided for search in task] == searches
    assert len(divided) == 3
    keys = [steps.duplicates(job, made.dataset, key, int(bucket)) for key, bucket in searches]
    assert told == keys  # the images were sorted when the search was divided
    monkeypatch.setattr(duplicates, "near", lambda *_: pytest.fail("searched again"))
    found = job.load(steps.validate(job, made.dataset, made.external), Validation)
    assert list(found.duplicates) == keys


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
