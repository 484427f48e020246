"""Intervals against published figures, other libraries and simulations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from skin_pipeline import intervals
from skin_pipeline.intervals import Floats, Ints, advice, auc_interval, proportion

# --- proportions ---------------------------------------------------------------------------------


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
def test_the_interval_of_a_proportion_has_the_published_ends(
    hits: int, total: int, low: float, high: float
) -> None:
    interval = proportion(hits, total)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_a_proportion_of_nothing_is_not_defined() -> None:
    assert math.isnan(proportion(0, 0).value)
    assert math.isnan(proportion(0, 0).low)


counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_a_proportion_lies_in_its_interval(count: tuple[int, int]) -> None:
    interval = proportion(*count)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@given(st.integers(1, 300), st.floats(0.01, 0.99))
def test_the_hits_that_show_a_bound_are_the_fewest_that_do(total: int, bound: float) -> None:
    needed = intervals.hits_to_show(bound, total)
    if needed <= total:
        assert proportion(needed, total).low >= bound
    assert proportion(needed - 1, total).low < bound


@given(st.integers(1, 300), st.floats(0.01, 0.99))
def test_the_hits_that_guarantee_a_share_are_the_fewest_that_the_exact_test_accepts(
    total: int, share: float
) -> None:
    def chance(hits: int) -> float:  # of so many or more hits, if the share were just this one
        return float(binomtest(hits, total, share, alternative="greater").pvalue)

    needed = intervals.hits_to_guarantee(share, total)
    assert needed == total + 1 or chance(needed) <= 0.05
    assert chance(needed - 1) > 0.05


@pytest.mark.parametrize(
    ("share", "observations"),
    [(0.5, 5), (0.8, 14), (0.9, 29), (0.95, 59), (0.99, 299)],  # Wilks (1941): 59 for 95/95
)
def test_a_share_is_guaranteed_by_no_fewer_observations_than_wilks_says(
    share: float, observations: int
) -> None:
    assert intervals.observations_to_guarantee(share) == observations
    assert intervals.hits_to_guarantee(share, observations) == observations
    assert intervals.hits_to_guarantee(share, observations - 1) == observations  # one too many


@given(st.floats(0.01, 0.999))
def test_the_images_that_show_a_bound_are_the_fewest_that_do(bound: float) -> None:
    least = intervals.images_to_show(bound)
    assert proportion(least, least).low >= bound
    assert least == 1 or proportion(least - 1, least - 1).low < bound


ADVICE = [
    (
        "more of them found, or more images",
        (97, 116, 0.8, "malignant images", "found"),
        "116 malignant images: 102 found would show 0.800, 97 were; "
        "at this share it takes about 469",
    ),
    (
        "the share itself is too low",
        (90, 116, 0.8, "malignant images", "found"),
        "116 malignant images: 102 found would show 0.800, 90 were",
    ),
    (
        "too few images, whatever comes of them",
        (10, 10, 0.8),
        "even 10 of 10 images correct would show only 0.722; it takes at least 16 images",
    ),
    (
        "a bound that nothing can show",
        (5, 5, 1.0),
        "even 5 of 5 images correct would show only 0.566; it takes at least 10,000,000 images",
    ),
]


@pytest.mark.parametrize(("given", "text"), [c[1:] for c in ADVICE], ids=[c[0] for c in ADVICE])
def test_advice_says_what_would_show_the_bound(given: tuple[Any, ...], text: str) -> None:
    assert advice(*given) == text


@pytest.mark.parametrize(("share", "bound", "images"), [(0.85, 0.8, 246), (0.9, 0.8, 62)])
def test_the_images_that_advice_asks_for_show_the_bound_at_this_share(
    share: float, bound: float, images: int
) -> None:
    assert f"about {images}" in advice(round(20 * share), 20, bound)
    assert proportion(round(share * images), images).low == pytest.approx(bound, abs=0.005)


# --- AUC -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_the_auc_is_that_of_scikit_learn_ties_included(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score / 5 for score, _ in rows])
    labels = np.array([int(label) for _, label in rows])
    if len(set(labels)) < 2:
        assert math.isnan(intervals.auc(scores, labels))
    else:
        assert intervals.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_the_auc_of_something_not_finite_is_not_defined() -> None:
    assert math.isnan(intervals.auc(np.array([0.1, np.nan]), np.array([0, 1])))
    seen = auc_interval(np.array([0.1, np.nan]), np.array([0, 1]), np.arange(2), seed=0)
    assert math.isnan(seen.value)
    assert math.isnan(seen.low)


def scored(groups: int, per_group: int, seed: int = 0) -> tuple[Floats, Ints, Ints]:
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(groups), per_group)
    labels = np.repeat(rng.integers(0, 2, groups), per_group)
    noise = np.repeat(rng.normal(0, 0.15, groups), per_group)
    scores = np.clip(0.5 + 0.15 * (labels - 0.5) + noise, 0, 1)
    return scores, labels, names


def delong(scores: Floats, labels: Ints) -> tuple[float, float]:
    """AUC and its standard error (DeLong, DeLong & Clarke-Pearson 1988)."""
    wins = np.heaviside(scores[labels == 1][:, None] - scores[labels == 0], 0.5)
    by_malignant, by_benign = wins.mean(axis=1), wins.mean(axis=0)
    variance = by_malignant.var(ddof=1) / len(by_malignant) + by_benign.var(ddof=1) / len(by_benign)
    return float(wins.mean()), math.sqrt(variance)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_the_auc_is_that_of_delong_where_images_are_independent(seed: int) -> None:
    scores, labels, names = scored(400, 1, seed)
    value, error = delong(scores, labels)
    half = 1.96 * error / (value * (1 - value))
    seen = auc_interval(scores, labels, names, seed)
    assert seen.value == pytest.approx(value)
    assert (seen.low, seen.high) == pytest.approx(
        (expit(logit(value) - half), expit(logit(value) + half)), abs=0.006
    )
    assert (seen.low, seen.high) == pytest.approx(
        (value - 1.96 * error, value + 1.96 * error), abs=0.01
    )


def test_the_interval_of_the_auc_contains_it_and_is_repeatable() -> None:
    one, two = (auc_interval(*scored(100, 1), seed=3) for _ in range(2))
    assert one == two
    assert one.low < one.value < one.high


def test_repeated_images_of_a_patient_do_not_narrow_the_interval() -> None:
    few = auc_interval(*scored(60, 1), seed=0)
    many = auc_interval(*scored(60, 8), seed=0)
    assert (many.high - many.low) > 0.8 * (few.high - few.low)


def test_a_perfect_auc_is_not_certain() -> None:
    labels = np.repeat([0, 1], [100, 15])
    seen = auc_interval(labels / 2, labels, np.arange(115), seed=0)
    assert seen == proportion(15, 15)


@pytest.mark.parametrize("groups", [1, 2])
def test_one_patient_of_a_class_tells_nothing_of_others(groups: int) -> None:
    scores, labels = np.array([0.1, 0.5, 0.4, 0.9]), np.array([0, 0, 1, 1])
    seen = auc_interval(scores, labels, np.arange(4) * groups // 4, seed=0)
    assert seen.value == pytest.approx(0.75)
    assert math.isnan(seen.low)
    assert math.isnan(seen.high)


# --- drawing whole groups ------------------------------------------------------------------------


def test_draws_are_of_whole_groups_and_as_many_as_there_are() -> None:
    groups = np.array(["a", "b", "b", "c", "c", "c"])
    drawn = intervals.resampled(lambda times: times, groups, seed=0)
    assert drawn.shape == (1 + intervals.RESAMPLES, 6)
    assert (drawn[0] == 1).all()
    assert (drawn[:, 1] == drawn[:, 2]).all()
    assert (drawn[:, [3]] == drawn[:, 4:]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert drawn[1:, 0].mean() == pytest.approx(1, abs=0.1)


def test_figures_of_draws_are_those_of_rows_drawn_with_their_groups() -> None:
    scores, labels, names = scored(30, 3)
    scores = np.round(scores, 1)
    times = intervals.resampled(lambda times: times, names, seed=5).astype(int)
    seen = intervals.resampled(intervals.auc_statistic(scores, labels), names, seed=5)
    rows = [np.repeat(np.arange(90), row) for row in times[:50]]
    expected = [roc_auc_score(labels[drawn], scores[drawn]) for drawn in rows]
    assert seen[:50] == pytest.approx(expected)


def test_a_difference_has_a_symmetric_interval_that_stays_within_its_range() -> None:
    seen = intervals.difference(np.array([0.9, 0.6, 0.9, 1.2]), 50)
    assert seen.high == pytest.approx(1)
    assert seen.value - seen.low == pytest.approx(2.0096 * 0.3, abs=1e-3)


def test_a_seed_repeats_the_draws_and_another_one_gives_others() -> None:
    groups = np.arange(30)
    one, again, other = (intervals.resampled(lambda t: t, groups, seed) for seed in (3, 3, 4))
    assert (one == again).all()
    assert (one[1:] != other[1:]).any()
    ends = {auc_interval(*scored(60, 2), seed=seed).low for seed in (3, 4)}
    assert len(ends) == 2


def test_no_draw_comes_twice() -> None:
    """Whatever the blocks are that they are made in."""
    drawn = intervals.resampled(lambda times: times, np.arange(40), seed=0)[1:]
    assert len(np.unique(drawn, axis=0)) == intervals.RESAMPLES


@pytest.mark.parametrize(
    ("labels", "groups", "count"),
    [
        ([1, 0, 0, 0], "abcd", 1),
        ([1, 1, 1, 0], "abcd", 1),
        ([1, 1, 0, 0], "aabb", 1),
        ([1, 0, 1, 0], "aabb", 2),  # a patient with both counts for both
        ([1, 1, 1, 0, 0], "aabcd", 2),
        ([1, 1], "ab", 0),
        ([0, 0], "ab", 0),
        ([], "", 0),
    ],
)
def test_independent_observations_are_the_patients_of_the_rarer_class(
    labels: list[int], groups: str, count: int
) -> None:
    assert intervals.independent(np.array(labels), np.array(list(groups), dtype=object)) == count


def test_of_no_image_there_is_the_figure_itself_and_no_draw() -> None:
    nothing = np.array([], dtype=object)
    assert intervals.resampled(lambda times: times.sum(axis=1), nothing, seed=0).tolist() == [0.0]
    seen = auc_interval(np.array([]), np.array([], int), nothing, seed=0)
    assert math.isnan(seen.value)
    assert math.isnan(seen.low)


@pytest.mark.parametrize("observations", [0, 1])
def test_without_two_independent_observations_a_figure_has_no_interval(observations: int) -> None:
    drawn = np.array([0.6, 0.5, 0.7, 0.65])
    for seen in (intervals.share(drawn, observations), intervals.difference(drawn, observations)):
        assert seen.value == pytest.approx(0.6)
        assert math.isnan(seen.low)
        assert math.isnan(seen.high)


def test_draws_without_a_figure_are_left_out_of_its_error() -> None:
    with_gaps = np.array([0.6, 0.5, np.nan, 0.7, np.nan, 0.65])
    assert intervals.share(with_gaps, 9) == intervals.share(with_gaps[np.isfinite(with_gaps)], 9)
    assert math.isnan(intervals.difference(np.array([0.6, 0.5, np.nan]), 9).low)


def test_the_interval_of_a_difference_lies_around_the_first_figure_and_ends_at_minus_one() -> None:
    seen = intervals.difference(np.array([-0.9, -0.6, -0.9, -1.2]), 50)
    assert seen.value == pytest.approx(-0.9)
    assert seen.low == pytest.approx(-1)
    assert seen.high - seen.value == pytest.approx(2.0096 * 0.3, abs=1e-3)


@pytest.mark.parametrize(
    ("draws", "observations", "half"),
    [
        ([0.4, 0.6], 1, math.nan),
        ([0.4], 50, math.nan),
        ([0.4, math.nan], 50, math.nan),
        ([0.4, 0.6], 2, 12.7062 * 0.141421),  # Student's t with one degree of freedom
        ([0.4, 0.6, math.nan], 3, 4.30265 * 0.141421),
        ([0.4, 0.6], 11, 2.22814 * 0.141421),
    ],
)
def test_an_interval_is_as_wide_as_students_t_of_so_many_observations_makes_it(
    draws: list[float], observations: int, half: float
) -> None:
    found = intervals._half_width(np.array([0.5, *draws]), observations)
    assert found == pytest.approx(half, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(("value", "hits"), [(0.0, 0), (1.0, 9)])
def test_a_figure_at_an_end_of_its_range_has_the_interval_of_so_many_observations(
    value: float, hits: int
) -> None:
    seen = intervals.share(np.full(5, value), 9)
    assert seen == proportion(hits, 9)
