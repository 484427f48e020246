"""The ensemble and its runs on the test set: what is found on which images, and at what threshold.

`DRAWN` is hard: classes overlap, patients have several images, each run validates on images of its
own, and logits are four times too sure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hand_made
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from skin_pipeline import intervals
from skin_pipeline.evaluation import ensemble, metrics
from skin_pipeline.evaluation.ensemble import Judging, Scores, temperature_of
from skin_pipeline.evaluation.metrics import Predictions, Sample
from skin_pipeline.evaluation.threshold import threshold_at


def test_an_image_is_scored_by_the_runs_that_it_validates() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
    validates = np.array([[True, False, True], [True, False, False]])
    unseen = ensemble.held_out_logits(logits, validates)
    assert unseen[0] == pytest.approx(3.0)
    assert np.isnan(unseen[1])
    assert unseen[2] == pytest.approx(3.0)


SIDES = ["train"] * 40 + ["validation"] * 20 + ["test"] * 40


def table() -> pd.DataFrame:
    return pd.DataFrame({
        "key": [f"k{i}" for i in range(100)],
        "label": ["benign", "malignant"] * 50,
        "group": [f"g{i}" for i in range(100)],
        "run_0": SIDES,
        "run_1": SIDES,
    })


def logits(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return np.tile([-1.0, 1.0], 50) + rng.normal(0, 1.5, (2, 100))


JUDGING = Judging(target_sensitivity=0.9, threshold_by="point", prevalences=(0.1,), seed=0)


def score(values: Any) -> Scores:
    return ensemble.score(table(), values, [0, 1], JUDGING)


def test_figures_are_of_the_test_images_alone() -> None:
    seen = score(logits(0))
    assert seen.ensemble.images == 40
    assert set(seen.per_run) == {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_the_test_images_move_no_threshold(seed: int) -> None:
    values = logits(0)
    changed = values.copy()
    changed[:, 60:] = logits(seed + 1)[:, 60:]
    before, after = score(values), score(changed)
    assert before.ensemble.threshold == after.ensemble.threshold
    assert before.per_run[0].threshold == after.per_run[0].threshold
    assert before.ensemble.auc != after.ensemble.auc


def test_the_training_images_move_no_threshold() -> None:
    values = logits(0)
    changed = values.copy()
    changed[:, :40] = 9.0
    assert score(values).ensemble.threshold == score(changed).ensemble.threshold


def test_the_ensemble_is_the_mean_of_the_logits_over_the_temperature() -> None:
    values = logits(0)
    seen = score(values)
    expected = expit(values.mean(axis=0) / seen.calibration.temperature)
    np.testing.assert_allclose(seen.predictions["probability"], expected)


# --- calibration ---------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < expit(true)).astype(np.int64)
    assert temperature_of(true * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_a_temperature_stays_within_bounds_when_validation_is_told_apart_without_an_error() -> None:
    logits, labels = np.array([-1.0, -2.0, 1.0, 2.0]), np.array([0, 0, 1, 1])
    assert 0.05 <= temperature_of(logits, labels) <= 20
    assert 0.05 <= temperature_of(-logits, labels) <= 20


def test_calibration_mends_overconfident_runs_and_changes_no_order() -> None:
    values = 8 * logits(0)
    seen = score(values)
    assert seen.calibration.temperature > 2
    assert seen.ensemble.brier.value < seen.calibration.brier.value
    order = np.argsort(values.mean(axis=0))
    assert (np.diff(seen.predictions["probability"].to_numpy()[order]) >= 0).all()


def test_the_bins_are_of_the_test_images() -> None:
    bins = score(logits(0)).calibration.bins
    assert sum(part.images for part in bins) == 40
    assert [part.probability for part in bins] == sorted(part.probability for part in bins)


@pytest.mark.parametrize("seed", range(3))
def test_the_test_images_move_no_temperature(seed: int) -> None:
    values = logits(0)
    changed = values.copy()
    changed[:, 60:] = logits(seed + 1)[:, 60:]
    assert score(values).calibration.temperature == score(changed).calibration.temperature


def test_probabilities_are_kept_for_every_image() -> None:
    seen = score(logits(0))
    assert list(seen.predictions["key"]) == list(table()["key"])
    assert seen.by_key()["k7"] == seen.predictions["probability"][7]
    assert seen.predictions["test"].sum() == 40


# --- every figure where it belongs ---------------------------------------------------------------

DRAWN = hand_made.drawn()
HARD = Judging(target_sensitivity=0.9, threshold_by="point", prevalences=(0.03, 0.2), seed=5)


def judged(**changes: Any) -> Scores:
    return ensemble.score(DRAWN.table, DRAWN.mean(), hand_made.RUNS, replace(HARD, **changes))


SEEN = judged()
RUN_LOGITS = DRAWN.mean()
VALIDATES = np.stack([DRAWN.on(run, "validation") for run in hand_made.RUNS])
MALIGNANT = DRAWN.labels == 1


def just_meets(target: float, scores: Any, threshold: float) -> bool:
    """Whether a threshold finds the share of malignant images, and no higher one does."""
    return np.mean(scores >= threshold) >= target > np.mean(scores > threshold)


@pytest.mark.parametrize("target", [0.7, 0.9, 0.97])
def test_each_runs_threshold_meets_the_target_on_the_images_that_validate_it(target: float) -> None:
    seen = judged(target_sensitivity=target)
    for run, validates in zip(hand_made.RUNS, VALIDATES, strict=True):
        scores = seen.predictions[f"run_{run}"].to_numpy()[validates & MALIGNANT]
        assert just_meets(target, scores, seen.per_run[run].threshold)


@pytest.mark.parametrize("target", [0.7, 0.9, 0.97])
def test_the_threshold_meets_the_target_on_held_out_probabilities(target: float) -> None:
    seen = judged(target_sensitivity=target)
    scores = seen.predictions["held_out_probability"].to_numpy()[MALIGNANT]
    assert just_meets(target, scores[np.isfinite(scores)], seen.ensemble.threshold)


def test_thresholds_are_set_on_the_lower_bound_where_that_is_asked_for() -> None:
    seen = judged(threshold_by="lower_bound", target_sensitivity=0.8)
    scores = seen.predictions["held_out_probability"].to_numpy()[MALIGNANT]
    scores = scores[np.isfinite(scores)]
    hits = int((scores >= seen.ensemble.threshold).sum())
    assert intervals.proportion(hits, len(scores)).low >= 0.8
    assert seen.ensemble.threshold < judged(target_sensitivity=0.8).ensemble.threshold


def test_a_guaranteed_threshold_counts_one_validation_image_of_each_patient() -> None:
    seen = judged(threshold_by="guaranteed", target_sensitivity=0.6)
    held_out = seen.predictions["held_out_probability"].to_numpy()
    known = np.isfinite(held_out)
    one_each = threshold_at(
        *(0.6, held_out[known], DRAWN.labels[known], "guaranteed"),
        *(DRAWN.groups[known], HARD.seed),
    )
    assert seen.ensemble.threshold == one_each
    # Else the two ways could not be told apart here.
    assert one_each != threshold_at(0.6, held_out[known], DRAWN.labels[known], "guaranteed")
    again = ensemble.rescored(
        DRAWN.table,
        seen.predictions,
        hand_made.RUNS,
        replace(HARD, threshold_by="guaranteed", target_sensitivity=0.6),
    )
    assert again.ensemble.threshold == seen.ensemble.threshold


def test_held_out_probabilities_are_calibrated_and_only_of_images_that_validate_a_run() -> None:
    unseen = ensemble.held_out_logits(RUN_LOGITS, VALIDATES)
    expected = expit(unseen / SEEN.calibration.temperature)
    np.testing.assert_allclose(SEEN.predictions["held_out_probability"], expected)
    known = np.isfinite(SEEN.predictions["held_out_probability"])
    assert (known == VALIDATES.any(axis=0)).all()
    assert SEEN.calibration.images == known.sum()


def test_the_temperature_makes_held_out_probabilities_shares() -> None:
    assert 2 < SEEN.calibration.temperature < 8
    scores = SEEN.predictions["held_out_probability"].to_numpy()
    known = np.isfinite(scores)
    assert scores[known].mean() == pytest.approx(DRAWN.labels[known].mean(), abs=0.05)


def test_each_run_has_a_temperature_of_its_own() -> None:
    """One run that is too sure is brought to measure alone."""
    values = RUN_LOGITS * np.array([1, 2, 1])[:, None]
    seen = ensemble.score(DRAWN.table, values, hand_made.RUNS, HARD)
    for run in hand_made.RUNS:
        before, after = SEEN.per_run[run].brier.value, seen.per_run[run].brier.value
        assert after == pytest.approx(before, rel=1e-4)


def test_the_figures_are_those_of_the_test_images_with_their_groups_at_their_own_threshold() -> (
    None
):
    test = DRAWN.is_test
    of = {"ensemble": SEEN.ensemble, **{f"run_{run}": SEEN.per_run[run] for run in hand_made.RUNS}}
    for name, seen in of.items():
        column = "probability" if name == "ensemble" else name
        scores = SEEN.predictions[column].to_numpy()[test]
        expected = metrics.figures(
            Predictions(scores, seen.threshold),
            Sample(DRAWN.labels[test], DRAWN.groups[test], 5, (0.03, 0.2)),
        )
        assert seen == expected, name
    assert len({figures.threshold for figures in of.values()}) == len(of)


def test_the_figures_without_temperature_are_of_the_bare_logits_of_the_test_images() -> None:
    test, bare = DRAWN.is_test, expit(RUN_LOGITS.mean(axis=0))
    expected = metrics.figures(
        Predictions(bare[test], SEEN.ensemble.threshold),
        Sample(DRAWN.labels[test], DRAWN.groups[test], 5),
    )
    assert SEEN.calibration.brier == expected.brier
    assert SEEN.calibration.calibration_error == expected.calibration_error
    calibrated = SEEN.predictions["probability"].to_numpy()[test]
    assert SEEN.calibration.bins == metrics.bins(calibrated, DRAWN.labels[test])


def test_another_seed_draws_another_bootstrap_and_changes_no_figure() -> None:
    other = judged(seed=6)
    assert other.ensemble.auc.value == SEEN.ensemble.auc.value
    for ours, theirs in zip(
        (SEEN.ensemble, *SEEN.per_run.values()),
        (other.ensemble, *other.per_run.values()),
        strict=True,
    ):
        assert ours.auc.low != theirs.auc.low
        assert ours.threshold == theirs.threshold


def test_runs_are_known_by_their_own_numbers() -> None:
    assert tuple(SEEN.per_run) == hand_made.RUNS
    assert [name for name in map(str, SEEN.predictions) if name.startswith("run_")] == [
        f"run_{run}" for run in hand_made.RUNS
    ]


@pytest.mark.parametrize("kept", ["training", "test"])
def test_no_score_of_a_training_or_test_image_moves_a_threshold_or_temperature(kept: str) -> None:
    """A run's own, too: each has training images that validate another run."""
    values = RUN_LOGITS.copy()
    for line, run in zip(values, hand_made.RUNS, strict=True):
        here = DRAWN.on(run, "train") if kept == "training" else DRAWN.is_test
        line[here] = hand_made.drawn(9).mean()[0][: here.sum()]
    seen = ensemble.score(DRAWN.table, values, hand_made.RUNS, HARD)
    assert seen.ensemble.threshold == SEEN.ensemble.threshold
    assert seen.calibration.temperature == SEEN.calibration.temperature
    for run in hand_made.RUNS:
        assert seen.per_run[run].threshold == SEEN.per_run[run].threshold


def test_a_threshold_that_would_be_met_before_calibration_is_not_met_after_it() -> None:
    """Set on bare logits, a threshold for .9 would find far fewer, or classify all as malignant."""
    unseen = ensemble.held_out_logits(RUN_LOGITS, VALIDATES)
    known = np.isfinite(unseen)
    bare = threshold_at(0.9, expit(unseen[known]), DRAWN.labels[known])
    scores = SEEN.predictions["held_out_probability"].to_numpy()[known & MALIGNANT]
    assert not just_meets(0.9, scores, bare)
    assert just_meets(0.9, scores, SEEN.ensemble.threshold)
