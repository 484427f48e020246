"""Data sets from ranges that are decoded apart: the same as from one piece, whoever made which."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from skin_pipeline import arrays, steps
from skin_pipeline.contracts import Dataset, DecodedRange, SourceListing
from skin_pipeline.data import ingesting, layout, manifest
from skin_pipeline.data.sources import from_folder
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import Job

MakeJob = Callable[..., Job]
PLACE = ["shard", "row"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images with a table: one is broken, one is there twice, two have the same pixels, two are
    masks; of each pair one is among the first images and one among the last."""
    folder, rng = tmp_path_factory.mktemp("ranges") / "set", np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for number in range(18):
            pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{label}{number:02}.png")
    (folder / "benign/benign05.png").write_bytes(b"broken")
    (folder / "malignant/copy.png").write_bytes((folder / "benign/benign01.png").read_bytes())
    Image.open(folder / "benign/benign02.png").save(folder / "malignant/same.bmp")
    Image.open(folder / "benign/benign03.png").save(folder / "benign/benign03_mask.bmp")
    Image.open(folder / "benign/benign04.png").save(folder / "malignant/zebra_mask.bmp")
    rows = [f"{path.stem},p{n % 7}" for n, path in enumerate(sorted(folder.rglob("*.*")))]
    (folder / "about.csv").write_text("\n".join(("image,patient_id", *rows)))
    return folder


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of one shard, as if sixteen images were many."""
    monkeypatch.setattr(layout, "SHARDS_OF_A_RANGE", 1)
    monkeypatch.setattr(from_folder, "UNSETTLED", 0.0)  # as if the files had been there for long


def table_of(job: Job, key: str) -> pd.DataFrame:
    return manifest.read(job.store, job.load(key, Dataset).table)


def squares(job: Job, key: str) -> list[Any]:
    """The pixels and thumbnail of each readable image, found by shard and row."""
    dataset, table = job.load(key, Dataset), table_of(job, key)
    kinds = (dataset.shards, dataset.thumbnails)
    packed = [[arrays.mapped(job.store, one) for one in kind] for kind in kinds]
    rows = table[table["readable"]][PLACE].to_numpy()
    return [[kind[shard][row].tobytes() for shard, row in rows] for kind in packed]


def made(make_job: MakeJob, folder: Path, **knobs: Any) -> tuple[Job, str]:
    job = make_job(data=str(folder), weights="imagenet", shard_size=16, **knobs)
    return job, steps.ingest(job).dataset


@pytest.mark.parametrize("masks", ["warn", "leave_out"])
def test_ranges_give_the_table_and_pixels_of_one_piece(
    make_job: MakeJob, images: Path, monkeypatch: pytest.MonkeyPatch, masks: str
) -> None:
    whole, one = made(make_job, images, masks=masks)
    assert not ingesting.listed(whole)
    monkeypatch.setattr(layout, "SHARDS_OF_A_RANGE", 1)
    job, several = made(make_job, images, masks=masks)
    assert len(ingesting.listed(job)) == 3
    expected, found = table_of(whole, one), table_of(job, several)
    pd.testing.assert_frame_equal(found.drop(columns=PLACE), expected.drop(columns=PLACE))
    assert set(expected["patient_id"]) == {f"p{n}" for n in range(7)}
    assert (expected["pixels_sha256"] != "").sum() == (2 if masks == "leave_out" else 6)
    assert squares(job, several) == squares(whole, one)
    before, after = whole.load(one, Dataset), job.load(several, Dataset)
    left = {"table", "shards", "thumbnails", "shard_images", "content_digest"}
    assert after.model_dump(exclude=left) == before.model_dump(exclude=left)
    assert len(after.golden) == 8
    for copy in after.golden.values():
        assert job.store.read(copy)


@pytest.mark.usefixtures("small_ranges")
def test_shards_begin_anew_with_each_range_and_are_counted_through(
    make_job: MakeJob, images: Path
) -> None:
    job, key = made(make_job, images, masks="leave_out")
    dataset, table = job.load(key, Dataset), table_of(job, key)
    assert dataset.shard_images == (14, 16, 7)  # without the broken one and the masks
    readable = table[table["readable"]]
    assert readable.groupby("shard").size().tolist() == [14, 16, 7]
    assert readable.groupby("shard")["row"].max().tolist() == [13, 15, 6]
    assert readable["shard"].is_monotonic_increasing


@pytest.mark.usefixtures("small_ranges")
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, 2), max_size=5))
def test_the_data_set_does_not_depend_on_who_made_which_range_before(
    make_job: MakeJob, images: Path, order: list[int]
) -> None:
    """Workers decode none, some or all ranges, in any order, some of them twice."""
    first = make_job(data=str(images), weights="imagenet", shard_size=16)
    ranges = ingesting.listed(first)
    keys = {ingesting.decoded(first, *ranges[number]) for number in order}
    found = steps.ingest(first, ranges).dataset
    again = make_job(data=str(images), weights="imagenet", shard_size=16)
    assert steps.ingest(again).dataset == found
    assert again.load(found, Dataset) == first.load(found, Dataset)
    assert len(keys) == len(set(order))
    everything = set(first.store.list("decode/"))
    assert len({key.split("/")[1] for key in everything}) == 3


@pytest.mark.usefixtures("small_ranges")
def test_a_changed_image_costs_its_own_range_only(
    make_job: MakeJob, images: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "set"
    shutil.copytree(images, copy)  # which keeps the times of the files
    job, before = made(make_job, copy)
    known = set(job.store.list("decode/"))
    path = copy / "malignant/malignant17.png"
    Image.open(path).rotate(180).save(path)
    after = steps.ingest(job).dataset
    assert after != before
    news = {key.split("/")[1] for key in set(job.store.list("decode/")) - known}
    assert len(news) == 1
    changed = table_of(job, after).merge(table_of(job, before), on="key")
    assert changed.query("sha256_x != sha256_y")["key"].tolist() == ["malignant/malignant17.png"]


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("how", ["changed", "removed"])
def test_an_image_that_is_not_as_it_was_listed_makes_no_range(
    make_job: MakeJob, images: Path, tmp_path: Path, how: str
) -> None:
    copy = tmp_path / "set"
    shutil.copytree(images, copy)
    job = make_job(data=str(copy), weights="imagenet", shard_size=16)
    ranges = ingesting.listed(job)
    path = copy / "benign/benign00.png"
    path.unlink() if how == "removed" else Image.open(path).rotate(90).save(path)
    with pytest.raises(Unavailable, match=r"1 images changed or went away.*benign00.*`listing`"):
        ingesting.decoded(job, *ranges[0])
    assert not [key for key in job.store.list("decode/") if key.endswith("result.json")]
    assert ingesting.decoded(job, *ranges[1])


@pytest.mark.usefixtures("small_ranges")
def test_images_whose_files_other_sets_share_are_decoded_once(
    make_job: MakeJob, images: Path
) -> None:
    job = make_job(data=str(images), external=f"theirs={images}", weights="imagenet", shard_size=16)
    ranges = ingesting.listed(job)
    assert [name for name, _, _ in ranges] == ["theirs"] * 3 + [""] * 3
    ingested = steps.ingest(job, ranges)
    assert ingested.external == {"theirs": ingested.dataset}
    assert len({key.split("/")[1] for key in job.store.list("decode/")}) == 3


@pytest.mark.usefixtures("small_ranges")
def test_a_set_of_masks_only_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(10):
            image = Image.new("L", (90, 70))
            image.paste(255, (20, 20, 60 + number, 50))
            image.save(tmp_path / "set" / label / f"{label}{number}.png")
    with pytest.raises(BadInput, match="masks=leave_out leaves no image: all 20 look like masks"):
        made(make_job, tmp_path / "set", masks="leave_out")


@pytest.mark.usefixtures("small_ranges")
def test_a_proof_names_the_listing_and_every_range(make_job: MakeJob, images: Path) -> None:
    job, key = made(make_job, images)
    proof = job.proven.prove(key).proof
    assert proof
    steps_of = sorted(other.split("/")[0] for other in proof.made_from)
    assert steps_of == ["decode"] * 3 + ["listing"]


@pytest.mark.usefixtures("small_ranges")
def test_the_listing_says_what_a_range_fetches(make_job: MakeJob, images: Path) -> None:
    job = make_job(data=str(images), weights="imagenet", shard_size=16)
    ((_, key, _), *_) = ingesting.listed(job)
    found = job.load(key, SourceListing)
    assert (found.images, found.shard_size, found.range_size) == (40, 16, 16)
    table = manifest.read(job.store, found.files[0])
    assert table["key"][0] == table["name"][0] == "benign/benign00.png"
    assert set(table["label"]) == {"benign"}
    part = job.load(ingesting.decoded(job, "", key, "2"), DecodedRange)
    assert part.images == 8
