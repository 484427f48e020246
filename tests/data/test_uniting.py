"""Several sources are one data set, in which each image keeps where it came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skin_pipeline import arrays, steps
from skin_pipeline.contracts import Dataset, Split, Validation
from skin_pipeline.data import ingesting, layout, manifest, uniting
from skin_pipeline.data.sources import from_folder
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job

MakeJob = Callable[..., Job]


def draw(
    folder: Path, seed: int, benign: int, malignant: int, patients: Iterable[str] = ()
) -> Path:
    """Images of noise with a table of patients; two of different seeds never look alike."""
    rng, rows = np.random.default_rng(seed), list[str]()
    given = list(patients)
    for label, count in (("benign", benign), ("malignant", malignant)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{label[0]}{number:02}.png")
            if given:
                rows.append(f"{label[0]}{number:02},{given[len(rows) % len(given)]}")
    if rows:
        (folder / "about.csv").write_text("\n".join(("image,patient_id", *rows)))
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    clinic = draw(folder / "clinic, old", 1, 12, 6, [*"1234567", "IP_0000007"])
    isic = draw(folder / "isic", 2, 5, 11, [*"12345", "IP_0000007"])
    (isic / "malignant/again.png").write_bytes((clinic / "malignant/m03.png").read_bytes())
    return {"clinic": clinic, "isic": isic}


def data_of(sources: dict[str, Path]) -> str:
    return ", ".join(f'{name}="{path}"' for name, path in sources.items())


def made(make_job: MakeJob, sources: dict[str, Path], **knobs: object) -> tuple[Job, str]:
    job = make_job(data=data_of(sources), shard_size=16, weights="imagenet", **knobs)
    return job, steps.ingest(job).dataset


def table_of(job: Job, key: str) -> pd.DataFrame:
    return manifest.read(job.store, job.load(key, Dataset).table)


def test_each_image_keeps_its_pixels_and_gets_the_name_of_its_source(
    make_job: MakeJob, sources: dict[str, Path]
) -> None:
    job, key = made(make_job, sources)
    dataset, table = job.load(key, Dataset), table_of(job, key)
    assert dataset.sources == {
        "clinic": {"benign": 12, "malignant": 6},
        "isic": {"benign": 5, "malignant": 12},
    }
    assert (dataset.images, sum(dataset.shard_images), dataset.unreadable) == (35, 35, 0)
    assert dataset.classes == {"benign": 17, "malignant": 18}
    shards = [arrays.mapped(job.store, one) for one in dataset.shards]
    for name, path in sources.items():
        alone = make_job(data=f'"{path}"', shard_size=16, weights="imagenet")
        own = steps.ingest(alone).dataset
        theirs = table_of(alone, own)
        packed = [arrays.mapped(alone.store, one) for one in alone.load(own, Dataset).shards]
        ours = table[table["source"] == name].set_index("key")
        assert set(ours.index) == {f"{name}/{one}" for one in theirs["key"]}
        for row in theirs.to_dict("records"):
            here = ours.loc[f"{name}/{row['key']}"].to_dict()
            assert (here["label"], here["sha256"]) == (row["label"], row["sha256"])
            np.testing.assert_array_equal(
                shards[here["shard"]][here["row"]], packed[row["shard"]][row["row"]]
            )


def test_the_order_of_the_sources_changes_nothing(
    make_job: MakeJob, sources: dict[str, Path]
) -> None:
    _, key = made(make_job, sources)
    assert made(make_job, dict(reversed(sources.items())))[1] == key


def test_a_source_of_one_is_the_same_data_set_as_without_a_list(
    make_job: MakeJob, sources: dict[str, Path]
) -> None:
    job = make_job(data=str(sources["isic"]), shard_size=16, weights="imagenet")
    dataset = job.load(steps.ingest(job).dataset, Dataset)
    assert not dataset.sources
    assert "source" not in table_of(job, steps.ingest(job).dataset)


def test_patients_with_numbers_are_others_in_each_source_and_those_of_archives_are_not(
    make_job: MakeJob, sources: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    job, key = made(make_job, sources)
    table = table_of(job, key)
    known = table[table["patient_id"] != ""]
    assert set(known["patient_id"]) == {
        *(f"clinic:{one}" for one in "1234567"),
        *(f"isic:{one}" for one in "12345"),
        "IP_0000007",
    }
    assert set(known.loc[known["patient_id"] == "IP_0000007", "source"]) == {"clinic", "isic"}
    assert 'shared_ids column="patient_id" ids=1' in caplog.text


def test_what_two_sources_show_stays_together_and_is_counted(
    make_job: MakeJob, sources: dict[str, Path]
) -> None:
    job, key = made(make_job, sources, min_per_class=10, max_shortcut_auc=1.0)
    found = job.load(steps.validate(job, key), Validation)
    assert found.between == {"clinic": 1, "isic": 1}
    table = manifest.read(job.store, found.table).set_index("key")
    twice = ["clinic/malignant/m03.png", "isic/malignant/again.png"]
    assert table.loc[twice, "group"].nunique() == 1


def test_no_source_tells_the_label_in_what_a_run_trains_on(
    make_job: MakeJob, sources: dict[str, Path]
) -> None:
    job, key = made(make_job, sources, min_per_class=10, runs=4, min_runs=1, max_shortcut_auc=1.0)
    split = job.load(steps.split(job, steps.validate(job, key)), Split)
    table = manifest.read(job.store, split.table)
    for run in range(4):
        trained = table[table[f"run_{run}"] == "train"]
        counts = trained.groupby(["source", "label"]).size()
        for name in sources:
            assert counts[name, "benign"] == counts[name, "malignant"] > 0


@pytest.mark.parametrize(
    ("benign", "malignant", "missing"), [(4, 0, "malignant"), (0, 3, "benign")]
)
def test_a_source_of_one_class_is_refused(
    make_job: MakeJob,
    sources: dict[str, Path],
    tmp_path: Path,
    benign: int,
    malignant: int,
    missing: str,
) -> None:
    one_sided = draw(tmp_path / "one", 3, benign, malignant)
    with pytest.raises(BadInput, match=rf"the source one .*{missing}"):
        made(make_job, {**sources, "one": one_sided})


def test_an_error_says_which_source_it_is_about(
    make_job: MakeJob, sources: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"the source gone of data: .*nothing-here"):
        made(make_job, {**sources, "gone": tmp_path / "nothing-here"})


def test_sources_that_are_decoded_in_ranges_are_united_to_the_same(
    make_job: MakeJob, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, key = made(make_job, sources)
    monkeypatch.setattr(layout, "SHARDS_OF_A_RANGE", 1)
    monkeypatch.setattr(from_folder, "UNSETTLED", 0.0)
    other = make_job(data=data_of(sources), shard_size=16, weights="imagenet")
    ranges = ingesting.listed(other)
    assert {name for name, _, _ in ranges} == {"clinic", "isic"}
    columns = ["key", "source", "label", "sha256", "patient_id"]
    expected = table_of(job, key)[columns]
    found = table_of(other, steps.ingest(other, ranges).dataset)[columns]
    pd.testing.assert_frame_equal(
        found.sort_values("key", ignore_index=True), expected.sort_values("key", ignore_index=True)
    )


def test_one_source_shares_nothing_with_others() -> None:
    assert uniting.between(pd.DataFrame({"duplicates": ["a", "a"]})) == {}
