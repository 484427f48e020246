from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, f1_score, roc_auc_score

from skin_pipeline import intervals
from skin_pipeline.contracts import Figures, Interval
from skin_pipeline.evaluation import metrics
from skin_pipeline.evaluation.metrics import Predictions, Sample

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "auc",
    "brier",
    "calibration_error",
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 100)
        yield


# --- figures -------------------------------------------------------------------------------------


def figures(
    scores: Any, labels: Any, groups: Any = None, threshold: float = 0.5, **options: Any
) -> Figures:
    names = np.arange(len(labels)) if groups is None else groups
    return metrics.figures(
        Predictions(np.asarray(scores, float), threshold),
        Sample(np.asarray(labels), names, seed=0, **options),
    )


def test_the_confusion_and_its_figures_agree() -> None:
    seen = figures([0.9, 0.8, 0.4, 0.6, 0.2, 0.1, 0.0], [1, 1, 1, 0, 0, 0, 0])
    assert seen.confusion == {"tp": 2, "fn": 1, "fp": 1, "tn": 3}
    assert seen.accuracy == intervals.proportion(5, 7)
    assert seen.sensitivity == intervals.proportion(2, 3)
    assert seen.specificity == intervals.proportion(3, 4)
    assert seen.precision == intervals.proportion(2, 3)


def test_an_image_at_the_threshold_is_classified_as_malignant() -> None:
    seen = figures([0.5, 0.4], [1, 0])
    assert seen.confusion == {"tp": 1, "fn": 0, "fp": 0, "tn": 1}


def sample(images: int = 240, seed: int = 0, difference: float = 1.5) -> tuple[Any, Any, Any]:
    """Labels and probabilities of images, 1 to 4 a patient and more alike within one."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(images), rng.integers(1, 5, images))[:images]
    labels = rng.integers(0, 2, images)
    noise = 0.5 * rng.normal(size=images)[groups] + 0.85 * rng.normal(size=images)
    return 1 / (1 + np.exp(-difference * (labels - 0.5) - noise)), labels, groups


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_scikit_learn(seed: int) -> None:
    scores, labels, groups = sample(seed=seed)
    predicted = scores >= 0.4
    seen = figures(scores, labels, groups, threshold=0.4)
    assert seen.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert seen.f1.value == pytest.approx(f1_score(labels, predicted))
    assert seen.auc.value == pytest.approx(roc_auc_score(labels, scores))
    assert seen.brier.value == pytest.approx(brier_score_loss(labels, scores))


def test_the_auc_is_the_same_as_alone() -> None:
    scores, labels, groups = sample()
    assert figures(scores, labels, groups).auc == intervals.auc_interval(scores, labels, groups, 0)


rows = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]), st.booleans(), st.integers(0, 12)),
    min_size=1,
    max_size=60,
)


def arrays(rows: Any) -> tuple[Any, Any, Any]:
    scores, labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    return scores, labels.astype(int), groups


def ends(seen: Any) -> list[tuple[Any, Any, Any]]:
    shown = [getattr(seen, name) for name in FIGURES]
    shown += [interval for item in seen.predictive for interval in (item.ppv, item.npv)]
    return [(interval.low, interval.value, interval.high) for interval in shown]


@given(rows, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_order_of_the_images_does_not_matter(rows: Any, random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    one, two = figures(*arrays(rows)), figures(*arrays(shuffled))
    assert one.confusion == two.confusion
    assert np.array(ends(one)) == pytest.approx(np.array(ends(two)), nan_ok=True)


@given(rows)
@settings(deadline=None, max_examples=50)
def test_every_figure_lies_in_its_interval_and_in_its_range(rows: Any) -> None:
    for low, value, high in ends(figures(*arrays(rows))):
        assert all(math.isnan(end) or 0 <= end <= 1 for end in (low, value, high))
        assert not low > value
        assert not value > high


UNDEFINED = [
    ("a probability that is not a number", [0.9, np.nan, 0.2], [1, 0, 0], 0.5, FIGURES),
    ("a threshold that is not a number", [0.9, 0.4, 0.2], [1, 0, 0], np.nan, FIGURES),
    ("no image", [], [], 0.5, FIGURES),
    ("no malignant image", [0.9, 0.2], [0, 0], 0.5, ("sensitivity", "balanced_accuracy", "auc")),
    ("no benign image", [0.9, 0.2], [1, 1], 0.5, ("specificity", "balanced_accuracy", "auc")),
    ("none classified as malignant", [0.3, 0.2], [1, 0], 0.5, ("precision",)),
]


@pytest.mark.parametrize(
    ("scores", "labels", "threshold", "names"),
    [c[1:] for c in UNDEFINED],
    ids=[c[0] for c in UNDEFINED],
)
def test_what_is_not_defined_is_nan(scores: Any, labels: Any, threshold: Any, names: Any) -> None:
    seen = figures(scores, labels, threshold=threshold)
    assert seen.images == len(labels)
    for name in FIGURES:
        assert math.isnan(getattr(seen, name).value) == (name in names), name
        assert math.isnan(getattr(seen, name).low) or name not in names, name


def test_a_perfect_model_is_not_certain_to_be_one() -> None:
    labels = np.repeat([0, 1], [40, 12])
    seen = figures(labels, labels)
    at_least, at_most = intervals.proportion(12, 12), intervals.proportion(0, 12)
    assert seen.balanced_accuracy == seen.f1 == seen.auc == at_least
    assert seen.brier == at_most


# --- calibration ---------------------------------------------------------------------------------


def test_the_calibration_error_is_the_mean_distance_over_bins_of_equal_count() -> None:
    scores = np.arange(20) / 20
    labels = np.tile([0, 1], 10)
    expected = np.abs(scores.reshape(10, 2).mean(axis=1) - 0.5).mean()
    assert figures(scores, labels).calibration_error.value == pytest.approx(expected)


def test_a_constant_is_as_far_off_as_it_is_from_the_share_of_malignant_images() -> None:
    seen = figures(np.full(40, 0.3), np.arange(40) < 20)
    assert seen.calibration_error.value == pytest.approx(0.2)
    (only,) = metrics.bins(np.full(40, 0.3), (np.arange(40) < 20).astype(int))
    assert only.images == 40
    assert only.probability == pytest.approx(0.3)
    assert only.malignant == intervals.proportion(20, 40)


def test_probabilities_that_are_shares_may_have_no_error() -> None:
    scores, chance = np.random.default_rng(0).uniform(size=(2, 300))
    labels = chance < scores
    assert figures(scores, labels).calibration_error.low < 1e-12
    assert figures(scores**3, labels).calibration_error.low > 0.05


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80), st.integers(1, 12)
)
@settings(deadline=None)
def test_bins_hold_each_image_once_from_low_to_high_and_part_no_equals(
    rows: Any, count: int
) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    seen = metrics.bins(scores, labels, count)
    assert len(seen) <= count
    assert sum(item.images for item in seen) == len(rows)
    ends = np.cumsum([0, *(item.images for item in seen)])
    ordered = np.sort(scores)
    for item, start, stop in zip(seen, ends, ends[1:], strict=False):
        assert item.probability == pytest.approx(ordered[start:stop].mean())
        assert start == 0 or ordered[start - 1] < ordered[start]


def test_different_probabilities_are_binned_in_equal_counts() -> None:
    scores, labels, _ = sample(images=240)
    assert [item.images for item in metrics.bins(scores, labels)] == [24] * 10


# --- what a prediction is worth -------------------------------------------------------------------


def test_ppv_and_npv_at_the_prevalence_of_the_test_set_are_its_own_shares() -> None:
    scores, labels, groups = sample()
    seen = figures(scores, labels, groups, prevalences=(labels.mean(),))
    (worth,) = seen.predictive
    counts = seen.confusion
    assert worth.ppv.value == pytest.approx(seen.precision.value)
    assert worth.npv.value == pytest.approx(counts["tn"] / (counts["tn"] + counts["fn"]))


def test_ppv_and_npv_follow_from_sensitivity_specificity_and_prevalence() -> None:
    scores = np.repeat([0.9, 0.1, 0.9, 0.1], [9, 1, 2, 8])
    labels = np.repeat([1, 0], [10, 10])
    (worth,) = figures(scores, labels, prevalences=(0.02,)).predictive
    assert worth.prevalence == pytest.approx(0.02)
    assert worth.ppv.value == pytest.approx(0.9 * 0.02 / (0.9 * 0.02 + 0.2 * 0.98))
    assert worth.npv.value == pytest.approx(0.8 * 0.98 / (0.8 * 0.98 + 0.1 * 0.02))
    low, high = intervals.proportion(9, 10), intervals.proportion(8, 10)
    sensitivity, spared = low.low, high.low
    assert worth.ppv.low == pytest.approx(
        sensitivity * 0.02 / (sensitivity * 0.02 + (1 - spared) * 0.98)
    )


@given(rows)
@settings(deadline=None, max_examples=30)
def test_more_disease_makes_a_positive_prediction_worth_more_and_a_negative_one_less(
    rows: Any,
) -> None:
    rare, common = figures(*arrays(rows), prevalences=(0.02, 0.5)).predictive
    assert not rare.ppv.value > common.ppv.value
    assert not rare.npv.value < common.npv.value


def test_without_an_interval_to_tell_of_there_are_no_predictive_values() -> None:
    assert figures([0.9, 0.1], [1, 0], prevalences=()).predictive == ()
    (worth,) = figures([0.9, np.nan], [1, 0], prevalences=(0.1,)).predictive
    assert math.isnan(worth.ppv.value)
    assert isinstance(worth.npv, Interval)


def test_more_images_of_the_same_patients_make_no_figure_more_certain() -> None:
    """But for shares of images, whose intervals are Wilson's."""
    scores, labels, _ = sample(80)
    one = figures(scores, labels)
    many = figures(np.repeat(scores, 6), np.repeat(labels, 6), np.repeat(np.arange(80), 6))
    for name in ("balanced_accuracy", "f1", "auc", "brier"):
        widths = [getattr(seen, name).high - getattr(seen, name).low for seen in (one, many)]
        assert widths[1] == pytest.approx(widths[0]), name
    assert many.accuracy == intervals.proportion(many.confusion["tp"] + many.confusion["tn"], 480)


def test_a_seed_repeats_the_intervals_and_another_one_gives_others() -> None:
    scores, labels, groups = sample()
    one, again, other = (
        metrics.figures(Predictions(scores, 0.5), Sample(labels, groups, seed))
        for seed in (3, 3, 4)
    )
    assert one == again
    for name in ("balanced_accuracy", "f1", "auc", "brier", "calibration_error"):
        assert getattr(one, name).value == getattr(other, name).value
        assert getattr(one, name).high != getattr(other, name).high, name


def test_intervals_are_there_where_there_is_something_to_tell() -> None:
    scores, labels, groups = sample()
    for low, value, high in ends(figures(scores, labels, groups)):
        assert 0 <= low < value < high <= 1
