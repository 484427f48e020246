from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, t

from skin_pipeline import intervals
from skin_pipeline.contracts import Comparison
from skin_pipeline.evaluation import comparison, metrics
from skin_pipeline.evaluation.comparison import compare, mcnemar
from skin_pipeline.evaluation.metrics import Predictions, Sample

DIFFERENCES = ("accuracy", "sensitivity", "specificity", "auc")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 100)
        yield


def sample(images: int = 240, seed: int = 0) -> tuple[Any, ...]:
    """Labels, groups of 1 to 3 images, and scores of two models, of which the first is better."""
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 2, images), np.arange(images) // rng.integers(1, 4)
    shared = rng.normal(size=images)
    better, worse = (gain * labels + shared + rng.normal(size=images) for gain in (2.0, 1.0))
    return labels, groups, *(1 / (1 + np.exp(-scores)) for scores in (better, worse))


def compared(challenger: Any, champion: Any, labels: Any, groups: Any) -> Comparison:
    sample = Sample(labels, groups, seed=0)
    return compare(challenger, champion, sample, version="v1", excluded=3)


def differences(seen: Any) -> dict[Any, Any]:
    return {name: getattr(seen, name) for name in DIFFERENCES}


def test_a_difference_is_that_of_the_models_own_figures() -> None:
    labels, groups, better, worse = sample()
    seen = compared(Predictions(better, 0.7), Predictions(worse, 0.6), labels, groups)
    images = Sample(labels, groups, seed=0)
    ours = metrics.figures(Predictions(better, 0.7), images)
    theirs = metrics.figures(Predictions(worse, 0.6), images)
    assert seen.champion_figures == theirs
    assert (seen.champion, seen.images, seen.excluded) == ("v1", 240, 3)
    for name, change in differences(seen).items():
        expected = getattr(ours, name).value - getattr(theirs, name).value
        assert change.value == pytest.approx(expected, abs=1e-12)
        assert change.low < change.value < change.high
    assert seen.auc.low > 0


def test_the_same_scores_differ_by_exactly_nothing() -> None:
    labels, groups, scores, _ = sample()
    seen = compared(Predictions(scores, 0.5), Predictions(scores.copy(), 0.5), labels, groups)
    for change in differences(seen).values():
        assert (change.low, change.value, change.high) == (0.0, 0.0, 0.0)
    assert (seen.only_challenger, seen.only_champion, seen.p_value) == (0, 0, 1.0)


def test_another_threshold_changes_the_predictions_and_not_the_auc() -> None:
    labels, groups, scores, _ = sample()
    seen = compared(Predictions(scores, 0.2), Predictions(scores, 0.6), labels, groups)
    assert (seen.auc.low, seen.auc.value, seen.auc.high) == (0.0, 0.0, 0.0)
    assert seen.sensitivity.value > 0 > seen.specificity.value


def test_pairing_makes_the_interval_narrower_than_that_of_either_figure() -> None:
    labels, groups, better, _ = sample()
    nearly = np.clip(better + np.random.default_rng(1).normal(0, 0.01, 240), 0, 1)
    seen = compared(Predictions(better, 0.5), Predictions(nearly, 0.5), labels, groups)
    alone = seen.champion_figures.auc
    assert seen.auc.high - seen.auc.low < 0.3 * (alone.high - alone.low)


rows = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.4, 0.6, 0.9]),
        st.sampled_from([0.1, 0.4, 0.6, 0.9]),
        st.booleans(),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=50,
)


@given(rows)
@settings(deadline=None, max_examples=50)
def test_champion_and_challenger_in_each_others_place_turn_the_signs(rows: Any) -> None:
    one, two, labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    ahead = compared(Predictions(one, 0.5), Predictions(two, 0.3), labels.astype(int), groups)
    behind = compared(Predictions(two, 0.3), Predictions(one, 0.5), labels.astype(int), groups)
    assert ahead.p_value == behind.p_value
    assert (ahead.only_challenger, ahead.only_champion) == (
        behind.only_champion,
        behind.only_challenger,
    )
    for name, change in differences(ahead).items():
        other = getattr(behind, name)
        turned = (-other.high, -other.value, -other.low)
        assert (change.low, change.value, change.high) == pytest.approx(turned, nan_ok=True)


@pytest.mark.parametrize(("ours", "theirs"), [(0, 5), (9, 2), (6, 6), (30, 14)])
def test_mcnemar_is_the_chance_of_a_coin_to_fall_so_one_sidedly(ours: int, theirs: int) -> None:
    tail = binom.cdf(min(ours, theirs), ours + theirs, 0.5)
    assert mcnemar(ours, theirs) == pytest.approx(min(1.0, 2 * tail))


def test_images_that_one_model_alone_classified_correctly_are_counted() -> None:
    labels = np.array([1, 1, 1, 0, 0])
    one, two = np.array([0.9, 0.9, 0.1, 0.1, 0.1]), np.array([0.9, 0.1, 0.1, 0.9, 0.1])
    seen = compared(Predictions(one, 0.5), Predictions(two, 0.5), labels, np.arange(5))
    assert (seen.only_challenger, seen.only_champion) == (2, 0)
    assert seen.p_value == pytest.approx(0.5)


@pytest.mark.parametrize("broken", ["challenger", "champion"])
def test_scores_that_are_no_numbers_give_no_difference(broken: str) -> None:
    labels, groups, scores, _ = sample()
    nothing = np.where(np.arange(240) == 7, np.nan, scores)
    models = {"challenger": Predictions(scores, 0.5), "champion": Predictions(scores, 0.5)}
    models[broken] = Predictions(nothing, 0.5)
    seen = compared(models["challenger"], models["champion"], labels, groups)
    assert all(math.isnan(change.value) for change in differences(seen).values())
    assert math.isnan(seen.p_value)


@pytest.mark.parametrize("count", [0, 5])
def test_without_images_of_both_classes_there_is_no_difference_of_the_auc(count: int) -> None:
    seen = compared(
        Predictions(np.full(count, 0.9), 0.5),
        Predictions(np.full(count, 0.1), 0.5),
        np.ones(count),
        np.ones(count),
    )
    assert math.isnan(seen.auc.value)
    assert math.isnan(seen.specificity.value)


def width(change: Any) -> Any:
    return change.high - change.low


@pytest.mark.parametrize("name", DIFFERENCES)
def test_more_images_of_the_same_patients_make_no_difference_more_certain(name: str) -> None:
    labels, _, better, worse = sample(120)
    one, many = (
        compared(
            Predictions(np.repeat(better, times), 0.5),
            Predictions(np.repeat(worse, times), 0.5),
            np.repeat(labels, times),
            np.repeat(np.arange(120), times),
        )
        for times in (1, 8)
    )
    assert width(getattr(many, name)) == pytest.approx(width(getattr(one, name)))


def test_few_patients_make_a_difference_less_certain_than_their_images_would() -> None:
    """The quantile is Student's of so many patients."""
    labels, _, better, worse = sample(80)
    few = np.arange(80) // 20 + 10 * labels  # four or so of each class
    seen = compared(Predictions(better, 0.5), Predictions(worse, 0.5), labels, few)
    draws = intervals.resampled(
        lambda times: (
            intervals.auc_statistic(better, labels)(times)
            - intervals.auc_statistic(worse, labels)(times)
        ),
        few,
        0,
    )
    error = draws[1:].std(ddof=1)
    assert width(seen.auc) / 2 == pytest.approx(t.ppf(0.975, 4 - 1) * error)


def test_an_image_at_the_threshold_is_classified_as_malignant_by_both() -> None:
    labels = np.array([1, 1, 0, 0])
    at, below = np.array([0.5, 0.5, 0.5, 0.1]), np.array([0.49, 0.5, 0.49, 0.1])
    seen = compared(Predictions(at, 0.5), Predictions(below, 0.5), labels, np.arange(4))
    assert seen.sensitivity.value == pytest.approx(0.5)
    assert seen.specificity.value == pytest.approx(-0.5)
    assert (seen.only_challenger, seen.only_champion) == (1, 1)


def test_a_seed_repeats_the_intervals_and_another_one_gives_others() -> None:
    labels, groups, better, worse = sample()
    one, again, other = (
        compare(
            Predictions(better, 0.5),
            Predictions(worse, 0.5),
            Sample(labels, groups, seed),
            version="v1",
            excluded=0,
        )
        for seed in (3, 3, 4)
    )
    assert one == again
    for name, change in differences(one).items():
        assert change.value == getattr(other, name).value
        assert change.low != getattr(other, name).low
    assert one.champion_figures.auc.low != other.champion_figures.auc.low


def test_predictive_values_of_the_champion_are_at_the_required_prevalences() -> None:
    labels, groups, better, worse = sample()
    seen = compare(
        Predictions(better, 0.5),
        Predictions(worse, 0.5),
        Sample(labels, groups, seed=0, prevalences=(0.07,)),
        version="v1",
        excluded=0,
    )
    assert [item.prevalence for item in seen.champion_figures.predictive] == [0.07]


def test_a_draw_has_the_differences_of_the_images_drawn() -> None:
    labels, _groups, better, worse = sample(60)
    ours, theirs = Predictions(better, 0.6), Predictions(worse, 0.4)
    images = Sample(labels, np.arange(60), seed=0)
    gain = comparison._correct(ours, images) - comparison._correct(theirs, images)
    times = np.random.default_rng(0).integers(0, 4, (20, 60)).astype(float)
    seen = comparison._statistic(ours, theirs, images, gain)(times)
    for row, drawn in zip(seen, times.astype(int), strict=True):
        rows = np.repeat(np.arange(60), drawn)
        one, other = (
            metrics.figures(model.at(rows), Sample(labels[rows], rows, seed=0))
            for model in (ours, theirs)
        )
        expected = [getattr(one, n).value - getattr(other, n).value for n in DIFFERENCES]
        assert row == pytest.approx(expected)
