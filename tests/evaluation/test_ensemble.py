from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from skin_pipeline.evaluation import ensemble
from skin_pipeline.evaluation.ensemble import Judging, temperature_of


def test_an_image_is_scored_by_the_runs_that_it_validates():
    logits = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
    validates = np.array([[True, False, True], [True, False, False]])
    unseen = ensemble.held_out_logits(logits, validates)
    assert unseen[0] == pytest.approx(3.0)
    assert np.isnan(unseen[1])
    assert unseen[2] == pytest.approx(3.0)


SIDES = ["train"] * 40 + ["validation"] * 20 + ["test"] * 40


def table():
    return pd.DataFrame({
        "key": [f"k{i}" for i in range(100)],
        "label": ["benign", "malignant"] * 50,
        "group": [f"g{i}" for i in range(100)],
        "run_0": SIDES,
        "run_1": SIDES,
    })


def logits(seed):
    rng = np.random.default_rng(seed)
    return np.tile([-1.0, 1.0], 50) + rng.normal(0, 1.5, (2, 100))


JUDGING = Judging(target_sensitivity=0.9, threshold_by="point", prevalences=(0.1,), seed=0)


def score(values):
    return ensemble.score(table(), values, [0, 1], JUDGING)


def test_figures_are_of_the_test_images_alone():
    seen = score(logits(0))
    assert seen.ensemble.images == 40
    assert set(seen.per_run) == {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_the_test_images_move_no_threshold(seed):
    values = logits(0)
    changed = values.copy()
    changed[:, 60:] = logits(seed + 1)[:, 60:]
    before, after = score(values), score(changed)
    assert before.ensemble.threshold == after.ensemble.threshold
    assert before.per_run[0].threshold == after.per_run[0].threshold
    assert before.ensemble.auc != after.ensemble.auc


def test_the_training_images_move_no_threshold():
    values = logits(0)
    changed = values.copy()
    changed[:, :40] = 9.0
    assert score(values).ensemble.threshold == score(changed).ensemble.threshold


def test_the_ensemble_is_the_mean_of_the_logits_over_the_temperature():
    values = logits(0)
    seen = score(values)
    expected = expit(values.mean(axis=0) / seen.calibration.temperature)
    np.testing.assert_allclose(seen.predictions["probability"], expected)


# --- calibration ---------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found(temperature):
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < expit(true)).astype(np.int64)
    assert temperature_of(true * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_a_temperature_stays_within_bounds_when_validation_is_told_apart_without_an_error():
    logits, labels = np.array([-1.0, -2.0, 1.0, 2.0]), np.array([0, 0, 1, 1])
    assert 0.05 <= temperature_of(logits, labels) <= 20
    assert 0.05 <= temperature_of(-logits, labels) <= 20


def test_calibration_mends_overconfident_runs_and_changes_no_order():
    values = 8 * logits(0)
    seen = score(values)
    assert seen.calibration.temperature > 2
    assert seen.ensemble.brier.value < seen.calibration.brier.value
    order = np.argsort(values.mean(axis=0))
    assert (np.diff(seen.predictions["probability"].to_numpy()[order]) >= 0).all()


def test_the_bins_are_of_the_test_images():
    bins = score(logits(0)).calibration.bins
    assert sum(part.images for part in bins) == 40
    assert [part.probability for part in bins] == sorted(part.probability for part in bins)


@pytest.mark.parametrize("seed", range(3))
def test_the_test_images_move_no_temperature(seed):
    values = logits(0)
    changed = values.copy()
    changed[:, 60:] = logits(seed + 1)[:, 60:]
    assert score(values).calibration.temperature == score(changed).calibration.temperature


def test_probabilities_are_kept_for_every_image():
    seen = score(logits(0))
    assert list(seen.predictions["key"]) == list(table()["key"])
    assert seen.by_key()["k7"] == seen.predictions["probability"][7]
    assert seen.predictions["test"].sum() == 40
