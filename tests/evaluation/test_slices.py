from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from skin_pipeline.evaluation import slices
from skin_pipeline.intervals import auc


def table(count=200, seed=0):
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


def sliced(rows=None, seed=0):
    rows = table() if rows is None else rows
    scores = np.random.default_rng(seed).random(len(rows))
    return slices.slices(rows, scores, threshold=0.5, seed=0)


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
def test_an_age_has_its_band(age, band):
    assert list(slices.features(table().assign(age=age))["age"].unique()) == [band]


def test_every_image_is_in_one_slice_of_each_feature():
    seen = sliced()
    for feature in {item.feature for item in seen}:
        assert sum(item.images for item in seen if item.feature == feature) == 200
        assert sum(item.malignant for item in seen if item.feature == feature) == 100


def test_a_feature_that_tells_nobody_apart_is_left_out():
    assert "site" not in {item.feature for item in sliced()}


def test_what_is_not_known_is_a_slice_of_its_own_and_case_does_not_matter():
    sexes = {item.value for item in sliced() if item.feature == "sex"}
    assert sexes == {"male", "female", "unknown"}


def test_a_slice_with_few_images_of_a_class_is_there_and_called_small():
    rows = table()
    rows["sex"] = "female"
    rows.loc[:11, "sex"] = "male"
    small = {item.value: item.small for item in sliced(rows) if item.feature == "sex"}
    assert small == {"female": False, "male": True}


def test_a_slice_of_one_class_has_figures_where_they_are_defined():
    rows = table()
    rows["sex"] = rows["label"].map({"benign": "female", "malignant": "male"})
    male = next(item for item in sliced(rows) if item.value == "male")
    assert math.isnan(male.auc.value)
    assert math.isnan(male.specificity.value)
    assert 0 <= male.sensitivity.low <= male.sensitivity.value <= male.sensitivity.high <= 1


def test_rare_original_sizes_are_put_together():
    rows = table()
    rows.loc[:3, "width"] = [1, 2, 3, 4]
    sizes = {item.value: item.images for item in sliced(rows) if item.feature == "original size"}
    assert sizes == {"400 x 300": 147, "600 x 300": 49, "other": 4}


# --- within the strata of a shortcut -------------------------------------------------------------


def within(scores, rows, shortcuts=("original size",)):
    is_test = np.arange(len(rows)) >= len(rows) // 2
    return slices.within(rows, is_test, scores, shortcuts, seed=0), is_test


def test_a_model_that_only_reads_the_shortcut_is_no_better_than_a_coin_within_it():
    rows = table(400)
    wide = (rows["width"] == 600).to_numpy(float)
    (seen,), is_test = within(wide, rows)
    labels = (rows["label"] == "malignant").to_numpy(np.int64)
    assert auc(wide[is_test], labels[is_test]) > 0.7
    assert seen.auc.value == pytest.approx(0.5)


def test_a_model_that_sees_the_lesion_keeps_its_auc_within_a_shortcut():
    rows = table(400)
    malignant = (rows["label"] == "malignant").to_numpy()
    scores = np.random.default_rng(1).normal(size=400) + 1.5 * malignant
    (seen,), is_test = within(scores, rows)
    plain = auc(scores[is_test], malignant[is_test].astype(np.int64))
    assert seen.auc.value == pytest.approx(plain, abs=0.06)
    assert seen.auc.low < seen.auc.value < seen.auc.high
    assert 0 < seen.pairs < 1


def test_strata_that_hold_one_class_each_leave_nothing_to_compare():
    rows = table(400)
    rows["width"] = np.where(rows["label"] == "malignant", 600, 400)
    (seen,), _ = within(np.random.default_rng(0).random(400), rows)
    assert seen.pairs == 0
    assert math.isnan(seen.auc.value)


def test_no_shortcut_no_line():
    assert within(np.zeros(200), table(), shortcuts=())[0] == ()
