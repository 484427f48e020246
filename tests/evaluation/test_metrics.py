from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from skin_pipeline import intervals
from skin_pipeline.evaluation import metrics


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17:857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_proportion_has_the_published_ends(hits, total, low, high):
    interval = metrics.proportion(hits, total)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_a_proportion_of_nothing_is_not_defined():
    assert math.isnan(metrics.proportion(0, 0).value)
    assert math.isnan(metrics.proportion(0, 0).low)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_the_auc_is_that_of_scikit_learn_ties_included(rows):
    scores = np.array([score / 5 for score, _ in rows])
    labels = np.array([int(label) for _, label in rows])
    if len(set(labels)) < 2:
        assert math.isnan(intervals.auc(scores, labels))
    else:
        assert intervals.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_the_auc_of_something_not_finite_is_not_defined():
    assert math.isnan(intervals.auc(np.array([0.1, np.nan]), np.array([0, 1])))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=50),
    st.floats(0.01, 1.0),
)
def test_the_threshold_finds_the_asked_share_and_no_higher_one_does(scores, share):
    scores, labels = np.array(scores), np.ones(len(scores), int)
    threshold = metrics.threshold_at(share, scores, labels)
    assert (scores >= threshold).mean() >= share - 1e-9
    higher = scores[scores > threshold]
    if len(higher):
        assert (scores >= higher.min()).mean() < share


def test_benign_images_do_not_move_the_threshold():
    scores, labels = np.array([0.9, 0.8, 0.99, 0.1]), np.array([1, 1, 0, 0])
    assert metrics.threshold_at(1.0, scores, labels) == pytest.approx(0.8)


def test_the_confusion_and_its_figures_agree():
    scores = np.array([0.9, 0.8, 0.4, 0.6, 0.2, 0.1])
    labels = np.array([1, 1, 1, 0, 0, 0])
    seen = metrics.figures(scores, labels, np.arange(6), 0.5, seed=0)
    assert seen.confusion == {"tp": 2, "fn": 1, "fp": 1, "tn": 2}
    assert seen.accuracy.value == pytest.approx(4 / 6)
    assert seen.sensitivity.value == pytest.approx(2 / 3)
    assert seen.specificity.value == pytest.approx(2 / 3)
    assert seen.precision.value == pytest.approx(2 / 3)
    assert seen.auc.value == pytest.approx(8 / 9)


def test_an_image_at_the_threshold_is_called_malignant():
    seen = metrics.figures(np.array([0.5, 0.4]), np.array([1, 0]), np.arange(2), 0.5, seed=0)
    assert seen.confusion == {"tp": 1, "fn": 0, "fp": 0, "tn": 1}


def scored(groups, per_group, seed=0):
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(groups), per_group)
    labels = np.repeat(rng.integers(0, 2, groups), per_group)
    noise = np.repeat(rng.normal(0, 0.15, groups), per_group)
    scores = np.clip(0.5 + 0.15 * (labels - 0.5) + noise, 0, 1)
    return scores, labels, names


def test_the_interval_of_the_auc_contains_it_and_is_repeatable():
    one, two = (intervals.auc_interval(*scored(100, 1), seed=3) for _ in range(2))
    assert one == two
    assert one.low < one.value < one.high


def test_repeated_images_of_a_patient_do_not_narrow_the_interval():
    few = intervals.auc_interval(*scored(60, 1), seed=0)
    many = intervals.auc_interval(*scored(60, 8), seed=0)
    assert (many.high - many.low) > 0.8 * (few.high - few.low)


def test_the_interval_of_the_auc_is_that_of_drawing_whole_groups_of_rows(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 100)
    scores, labels, names = scored(30, 3)
    scores = np.round(scores, 1)
    rng, drawn = np.random.default_rng(5), []
    for _ in range(100):
        rows = np.concatenate([np.flatnonzero(names == i) for i in rng.integers(30, size=30)])
        drawn.append(roc_auc_score(labels[rows], scores[rows]))
    seen = intervals.auc_interval(scores, labels, names, seed=5)
    assert (seen.low, seen.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
