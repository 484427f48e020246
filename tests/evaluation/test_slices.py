from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from skin_pipeline import intervals
from skin_pipeline.contracts import Slice, Within
from skin_pipeline.data import audit
from skin_pipeline.evaluation import metrics, slices
from skin_pipeline.evaluation.metrics import Predictions, Sample
from skin_pipeline.intervals import auc

FIGURES = ("accuracy", "sensitivity", "specificity", "auc")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 100)
    monkeypatch.setattr(audit, "TREES", 20)


def table(count: int = 200, seed: int = 0) -> pd.DataFrame:
    """Images of which half are malignant; every second malignant one is wider."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "key": [f"k{i}" for i in range(count)],
        "label": ["benign", "malignant"] * (count // 2),
        "group": [f"g{i // 2}" for i in range(count)],
        "sex": rng.choice(["male", "Female", ""], count),
        "age": rng.choice([20.0, 29.0, 30.0, 59.0, 60.0, 90.0, np.nan], count),
        "site": "torso",
        "width": np.where(np.arange(count) % 4 == 1, 600, 400),
        "height": 300,
        "bytes": rng.integers(1, 9, count),
        **{name: rng.random(count) for name in ("ring_red", "ring_green", "ring_blue")},
        **{name: rng.random(count) for name in ("ring_spread", "red", "green", "blue")},
        **{name: rng.random(count) for name in ("brightness", "contrast")},
    })


def sliced(rows: pd.DataFrame | None = None, seed: int = 0) -> tuple[Slice, ...]:
    rows = table() if rows is None else rows
    scores = np.random.default_rng(seed).random(len(rows))
    return slices.slices(rows, Predictions(scores, 0.5), seed=0)


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "under 30"),
        (29, "under 30"),
        (30, "30 to 44"),
        (44, "30 to 44"),
        (45, "45 to 59"),
        (60, "60 to 74"),
        (75, "75 and over"),
        (100, "75 and over"),
        (np.nan, "unknown"),
    ],
)
def test_an_age_has_its_band(age: Any, band: str) -> None:
    assert list(slices.features(table().assign(age=age))["age"].unique()) == [band]


def test_every_image_is_in_one_slice_of_each_feature() -> None:
    seen = sliced()
    assert {item.feature for item in seen} == {"sex", "age", "original size"}
    for feature in ("sex", "age", "original size"):
        assert sum(item.images for item in seen if item.feature == feature) == 200
        assert sum(item.malignant for item in seen if item.feature == feature) == 100


def test_a_feature_that_tells_nobody_apart_is_left_out() -> None:
    assert "site" not in {item.feature for item in sliced()}


def test_what_is_not_known_is_a_slice_of_its_own_and_case_does_not_matter() -> None:
    sexes = {item.value for item in sliced() if item.feature == "sex"}
    assert sexes == {"male", "female", "unknown"}


def test_a_slice_with_few_images_of_a_class_is_there_and_called_small() -> None:
    rows = table()
    rows["sex"] = "female"
    rows.loc[:11, "sex"] = "male"
    small = {item.value: item.small for item in sliced(rows) if item.feature == "sex"}
    assert small == {"female": False, "male": True}


def test_a_slice_of_one_class_has_figures_where_they_are_defined() -> None:
    rows = table()
    rows["sex"] = rows["label"].map({"benign": "female", "malignant": "male"})
    male = next(item for item in sliced(rows) if item.value == "male")
    assert math.isnan(male.auc.value)
    assert math.isnan(male.specificity.value)
    assert 0 <= male.sensitivity.low <= male.sensitivity.value <= male.sensitivity.high <= 1


def test_rare_original_sizes_are_put_together() -> None:
    rows = table()
    rows.loc[:3, "width"] = [1, 2, 3, 4]
    sizes = {item.value: item.images for item in sliced(rows) if item.feature == "original size"}
    assert sizes == {"400 x 300": 147, "600 x 300": 49, "other": 4}


# --- within the strata of a shortcut -------------------------------------------------------------


def within(
    scores: Any, rows: Any, shortcuts: tuple[str, ...] = ("original size",)
) -> tuple[tuple[Within, ...], NDArray[np.bool_]]:
    is_test = np.arange(len(rows)) >= len(rows) // 2
    return slices.within(rows, is_test, scores, shortcuts, seed=0), is_test


def test_a_model_that_only_reads_the_shortcut_is_no_better_than_a_coin_within_it() -> None:
    rows = table(400)
    wide = (rows["width"] == 600).to_numpy().astype(float)
    (seen,), is_test = within(wide, rows)
    labels = (rows["label"] == "malignant").to_numpy().astype(np.int64)
    assert auc(wide[is_test], labels[is_test]) > 0.7
    assert seen.auc.value == pytest.approx(0.5)


def test_a_model_that_sees_the_lesion_keeps_its_auc_within_a_shortcut() -> None:
    rows = table(400)
    malignant = (rows["label"] == "malignant").to_numpy()
    scores = np.random.default_rng(1).normal(size=400) + 1.5 * malignant
    (seen,), is_test = within(scores, rows)
    plain = auc(scores[is_test], malignant[is_test].astype(np.int64))
    assert seen.auc.value == pytest.approx(plain, abs=0.06)
    assert seen.auc.low < seen.auc.value < seen.auc.high
    assert 0 < seen.pairs < 1


def test_strata_that_hold_one_class_each_leave_nothing_to_compare() -> None:
    rows = table(400)
    rows["width"] = np.where(rows["label"] == "malignant", 600, 400)
    (seen,), _ = within(np.random.default_rng(0).random(400), rows)
    assert seen.pairs == 0
    assert math.isnan(seen.auc.value)


def test_no_shortcut_no_line() -> None:
    assert within(np.zeros(200), table(), shortcuts=())[0] == ()


# --- figures of each part ------------------------------------------------------------------------


def patients(count: int = 60, times: int = 4) -> tuple[pd.DataFrame, Any]:
    """Patients with several like images each, and scores that say something of them."""
    rows = table(count * times)
    for name in ("label", "sex", "age", "width"):
        rows[name] = np.repeat(rows[name].to_numpy()[:count], times)
    rows["group"] = np.repeat([f"g{i}" for i in range(count)], times)
    rng = np.random.default_rng(3)
    of_patient = rng.normal(size=count) + (rows["label"][::times] == "malignant").to_numpy()
    return rows, np.repeat(1 / (1 + np.exp(-of_patient)), times)


def test_a_slice_has_the_figures_of_its_images_with_their_groups_at_the_threshold() -> None:
    rows, scores = patients()
    labels = (rows["label"] == "malignant").to_numpy().astype(int)
    groups = rows["group"].to_numpy(object)
    seen = slices.slices(rows, Predictions(scores, 0.7), seed=2)
    assert len(seen) > 5
    for item in seen:
        here = (slices.features(rows)[item.feature] == item.value).to_numpy()
        expected = metrics.figures(
            Predictions(scores[here], 0.7), Sample(labels[here], groups[here], seed=2)
        )
        for name in FIGURES:
            assert repr(getattr(item, name)) == repr(getattr(expected, name)), item


def test_the_largest_slice_of_a_feature_comes_first() -> None:
    counts = [item.images for item in sliced() if item.feature == "age"]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 2


@pytest.mark.parametrize(("few", "small"), [(9, True), (10, False)])
@pytest.mark.parametrize("label", ["malignant", "benign"])
def test_a_slice_is_small_by_its_rarer_class(few: int, small: bool, label: str) -> None:
    rows = table()
    rows["sex"] = np.where(rows["label"] == label, "", "male")
    rows.loc[rows.index[rows["label"] == label][:few], "sex"] = "male"
    (male,) = [item for item in sliced(rows) if item.value == "male"]
    assert (male.small, male.images) == (small, 100 + few)


def test_what_a_size_is_common_by_is_a_share_of_the_images() -> None:
    rows = table()
    rows["width"] = [*[500] * 10, *[700] * 9, *[400] * 181]
    sizes = {item.value: item.images for item in sliced(rows) if item.feature == "original size"}
    assert sizes == {"400 x 300": 181, "500 x 300": 10, "other": 9}


# --- within strata, against a plain account of the pairs ------------------------------------------


def by_pairs(strata: Any, scores: Any, malignant: Any) -> tuple[Any, int]:
    """Of pairs of a malignant and a benign image in a stratum the share won, and of how many."""
    won = [
        np.heaviside(scores[i] - scores[j], 0.5)
        for i in np.flatnonzero(malignant)
        for j in np.flatnonzero(~malignant)
        if strata[i] == strata[j]
    ]
    return np.mean(won), len(won)


def test_the_auc_within_strata_counts_each_pair_that_agrees_once() -> None:
    rows, scores = patients()
    scores = np.round(scores, 1)  # with ties
    (seen,), is_test = within(scores, rows)
    known = audit.scores(rows, is_test, ["original size"], 0)["original size"]
    malignant = (rows["label"] == "malignant").to_numpy()[is_test]
    value, pairs = by_pairs(slices.strata(known), scores[is_test], malignant)
    assert seen.auc.value == pytest.approx(value)
    assert seen.pairs == pytest.approx(pairs / (malignant.sum() * (~malignant).sum()))
    assert seen.strata == len(np.unique(slices.strata(known)))


def test_more_images_of_the_same_patients_make_the_auc_within_strata_no_more_certain() -> None:
    widths = []
    for times in (2, 8):
        rows, scores = patients(times=times)
        malignant = (rows["label"] == "malignant").to_numpy()
        strata = np.repeat(np.arange(60) % 3, times)
        sample = Sample(malignant.astype(int), rows["group"].to_numpy(object), seed=0)
        made = slices._within("any", strata, scores, sample)
        widths.append(made.auc.high - made.auc.low)
    assert widths[0] == pytest.approx(widths[1])


def test_few_patients_make_the_auc_within_strata_less_certain_than_their_images_would() -> None:
    rows, scores = patients(16, 8)
    malignant = (rows["label"] == "malignant").to_numpy()
    groups, strata = rows["group"].to_numpy(object), np.zeros(len(rows), int)
    sample = Sample(malignant.astype(int), groups, seed=1)
    made = slices._within("any", strata, scores, sample)
    assert made.auc == intervals.auc_interval(scores, malignant.astype(int), groups, 1)


def test_another_seed_gives_other_intervals_in_slices_and_strata() -> None:
    rows, scores = patients()
    for one, other in zip(
        *(slices.slices(rows, Predictions(scores, 0.5), seed) for seed in (0, 1)), strict=True
    ):
        assert one.auc.low != other.auc.low or np.isnan(one.auc.low)
    strata = np.zeros(len(rows), int)
    labels = (rows["label"] == "malignant").to_numpy().astype(int)
    groups = rows["group"].to_numpy(object)
    ends = {
        slices._within("any", strata, scores, Sample(labels, groups, seed)).auc.low
        for seed in (0, 1)
    }
    assert len(ends) == 2


def test_strata_are_fifths_and_equal_scores_stay_together() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(100.0))
    assert np.bincount(slices.strata(scores)).tolist() == [20] * 5
    strata = slices.strata(np.repeat([0.1, 0.9], [70, 30]))
    assert len(set(strata[:70])) == len(set(strata[70:])) == 1
    assert strata[0] < strata[-1]


def test_each_shortcut_has_a_line_of_its_own() -> None:
    rows = table(400)
    rows["ring_red"] = (rows["label"] == "malignant") + np.random.default_rng(0).normal(size=400)
    scores = rows["ring_red"].to_numpy()
    names = ("border ring colour", "file size")
    seen, _ = within(scores, rows, names)
    assert tuple(item.shortcut for item in seen) == names
    ring, size = (item.auc.value for item in seen)
    assert ring < size  # it helps nothing among those that agree in it
