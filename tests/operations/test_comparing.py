"""Versions side by side: the same images, no image that one was trained on, and what else
differs."""

from __future__ import annotations

from typing import Any

import judged_run
import many_versions
import numpy as np
import pandas as pd
import pytest
from many_versions import Images
from released import opened

from skin_pipeline import tables
from skin_pipeline.contracts import Evaluation, Split, load
from skin_pipeline.evaluation import comparison, metrics
from skin_pipeline.operations import comparing
from skin_pipeline.operations.lineage import Origin
from skin_pipeline.storage import FolderStore


def origins(store: FolderStore, versions: list[str]) -> list[Origin]:
    model = opened(store).unverified
    return comparing.origins(store, [model.release(version) for version in versions])


def predictions(store: FolderStore, origin: Origin) -> pd.DataFrame:
    assert origin.evaluation
    return tables.read_scores(store, origin.evaluation.predictions).set_index("key")


def other_split(store: FolderStore, images: Images, name: str, **columns: Any) -> Images:
    """The same images in another split; what `columns` gives is other in it."""
    table = images.table.assign(**columns)
    key = tables.write(store, f"split/{name}/manifest.parquet", table)
    found = load(store, images.split, Split).model_copy(update={"table": key})
    judged_run.put(store, f"split/{name}", found)
    return images._replace(table=table, split=f"split/{name}")


def test_differences_are_those_of_the_pairwise_comparison_on_the_test_set(
    store: FolderStore,
) -> None:
    first, second = origins(store, many_versions.write(store, versions=2))
    seen = comparing.compare(store, [first, second])

    ours, theirs = (predictions(store, origin) for origin in (second, first))
    tests = theirs[theirs["test"]].index
    sample = metrics.Sample.of(theirs.loc[tests], 0)
    by_hand = comparison.compare(
        metrics.Predictions(ours.loc[tests, "probability"].to_numpy(), 0.4),
        metrics.Predictions(theirs.loc[tests, "probability"].to_numpy(), 0.4),
        sample,
        version="",
        excluded=0,
    )
    (found,) = seen.differences
    assert (seen.images, seen.known, seen.relabelled) == (len(tests), 0, 0)
    assert found.accuracy.value == pytest.approx(by_hand.accuracy.value)
    assert found.auc.value == pytest.approx(by_hand.auc.value)
    assert (found.only_challenger, found.only_champion) == (
        by_hand.only_challenger,
        by_hand.only_champion,
    )
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    shares = [figures.accuracy.value for figures in seen.figures]
    assert shares[1] - shares[0] == pytest.approx(found.accuracy.value)


def test_a_version_differs_from_itself_by_nothing(store: FolderStore) -> None:
    (one,) = origins(store, many_versions.write(store, versions=1))
    seen = comparing.compare(store, [one, one])
    assert seen.differences[0].auc.value == 0
    assert seen.changed == ()


def test_images_that_are_called_differently_are_named_the_clearest_first(
    store: FolderStore,
) -> None:
    found = origins(store, many_versions.write(store, versions=3))
    seen = comparing.compare(store, found)
    scores = [predictions(store, origin)["probability"] for origin in found]
    calls = pd.concat([column >= 0.4 for column in scores], axis=1)
    tests = calls[scores[0].notna()]
    differ = tests.index[tests.any(axis=1) & ~tests.all(axis=1)]
    assert {item.key for item in seen.changed} == set(differ)
    wide = [max(item.probabilities) - min(item.probabilities) for item in seen.changed]
    assert wide == sorted(wide, reverse=True)
    for item in seen.changed:
        assert item.probabilities == tuple(column[item.key] for column in scores)
        assert item.malignant == tuple(chance >= 0.4 for chance in item.probabilities)
        assert item.key == f"image-0-{item.shard * 120 + item.row}.jpg"


def test_only_so_many_pictures_are_shown(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "SHOWN", 2)
    seen = comparing.compare(store, origins(store, many_versions.write(store, versions=2)))
    assert len(seen.changed) == 2
    assert seen.more > 0


def test_an_image_that_one_version_was_trained_on_is_left_out(store: FolderStore) -> None:
    images = many_versions.put_images(store)
    tests = np.flatnonzero(images.is_test)
    lost = tests[:6]  # whole groups of two
    sides = images.table["run_0"].to_numpy(object)
    sides[lost] = "train"
    apart = other_split(store, images, "02", run_0=sides, run_1=sides)
    versions = many_versions.write(store, versions=1, images=images)
    versions += many_versions.write(store, versions=1, images=apart, since=9)
    seen = comparing.compare(store, origins(store, versions))
    assert seen.images == len(tests) - len(lost)
    assert not {item.key for item in seen.changed} & set(images.table["key"].iloc[lost])


def test_so_is_one_of_a_patient_that_one_was_trained_on(store: FolderStore) -> None:
    images = many_versions.put_images(store)
    tests = np.flatnonzero(images.is_test)
    train = np.flatnonzero((images.table["run_0"] == "train").to_numpy())
    patients = images.table["patient_id"].to_numpy(object)
    patients[[tests[0], train[0]]] = "007"
    apart = other_split(store, images, "02", patient_id=patients)
    versions = many_versions.write(store, versions=1, images=apart)
    versions += many_versions.write(store, versions=1, images=apart, since=9)
    same = comparing.compare(store, origins(store, versions))
    assert same.known == 0  # one split: its own groups keep them apart
    third = other_split(store, apart, "03")
    versions[1:] = many_versions.write(store, versions=1, images=third, since=12)
    seen = comparing.compare(store, origins(store, versions))
    assert seen.known == 2  # with the other image of its group
    assert seen.images == len(tests) - 2


def test_an_image_with_another_label_is_left_out(store: FolderStore) -> None:
    images = many_versions.put_images(store)
    labels = images.table["label"].to_numpy(object)
    first = np.flatnonzero(images.is_test)[0]
    labels[first] = "benign" if labels[first] == "malignant" else "malignant"
    apart = other_split(store, images, "02", label=labels)
    versions = many_versions.write(store, versions=1, images=images)
    versions += many_versions.write(store, versions=1, images=apart, since=9)
    assert comparing.compare(store, origins(store, versions)).relabelled == 1


def test_versions_without_a_common_image_have_no_figures(store: FolderStore) -> None:
    versions = many_versions.write(store, versions=1)
    others = many_versions.put_images(store, "02", seed=5)
    versions += many_versions.write(store, versions=1, images=others, since=9)
    seen = comparing.compare(store, origins(store, versions))
    assert (seen.images, seen.figures) == (0, ())
    assert "No test image is left" in seen.problem


def test_a_damaged_evaluation_is_said(store: FolderStore) -> None:
    versions = many_versions.write(store, versions=2)
    (store.root / f"evaluate/{versions[1]}/result.json").write_text("{}")
    seen = comparing.compare(store, origins(store, versions))
    assert f"version {versions[1]} cannot be compared" in seen.problem
    assert "not a Evaluation document" in seen.problem


def test_what_differs_in_data_settings_and_libraries_is_named(store: FolderStore) -> None:
    versions = many_versions.write(store, versions=1)
    others = many_versions.put_images(store, "02", seed=5, count=120)
    found = origins(
        store,
        versions
        + many_versions.write(store, versions=1, images=others, since=9, settings={"seed": 7}),
    )
    data = {row.name: row for row in comparing.data_rows(found)}
    assert data["data set"].values == ("ingest/01", "ingest/02")
    assert not data["benign images"].same
    assert data["quarantined"].values == ("3", "3")
    (setting,) = comparing.setting_rows(found)
    assert (setting.name, setting.values) == ("seed", ("0", "7"))
    code = {row.name: row for row in comparing.code_rows(store, found)}
    assert code["keras"].values == ("3.15.1", "3.15.1")
    assert code["code of gate"].values == ("\N{EN DASH}",) * 2  # from before there were proofs


def test_figures_are_those_of_the_evaluation_on_its_own_test_set(store: FolderStore) -> None:
    versions = many_versions.write(store, versions=2)
    found = origins(store, versions)
    seen = comparing.compare(store, found)
    for figures, origin in zip(seen.figures, found, strict=True):
        assert isinstance(origin.evaluation, Evaluation)
        assert figures.accuracy == origin.evaluation.ensemble.accuracy
