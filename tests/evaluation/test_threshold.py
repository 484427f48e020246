"""The decision threshold: what meets a sensitivity, on validation images or on new patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from skin_pipeline import intervals
from skin_pipeline.config import ThresholdBy
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation.threshold import threshold_at


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=50),
    st.floats(0.01, 1.0),
)
def test_the_threshold_finds_the_asked_share_and_no_higher_one_does(
    scores: Any, share: float
) -> None:
    scores, labels = np.array(scores), np.ones(len(scores), int)
    threshold = threshold_at(share, scores, labels)
    assert (scores >= threshold).mean() >= share - 1e-9
    higher = scores[scores > threshold]
    if len(higher):
        assert (scores >= higher.min()).mean() < share


@given(st.lists(st.floats(0, 1), min_size=25, max_size=120), st.floats(0.3, 0.8))
@settings(deadline=None)
def test_the_threshold_by_the_lower_bound_shows_the_target_and_no_higher_one_does(
    scores: Any, share: float
) -> None:
    scores, labels = np.array(scores), np.ones(len(scores), int)
    threshold = threshold_at(share, scores, labels, by="lower_bound")
    found = int((scores >= threshold).sum())
    assert intervals.proportion(found, len(scores)).low >= share
    fewer = int((scores > threshold).sum())
    assert intervals.proportion(fewer, len(scores)).low < share


@pytest.mark.parametrize("images", [7, 20, 49, 100])
def test_a_share_that_so_many_images_make_asks_for_no_image_more(images: int) -> None:
    """Though .85 * 20 is a little more than 17 in floating point."""
    scores = np.arange(images, 0, -1.0)
    for hits in range(1, images + 1):
        threshold = threshold_at(hits / images, scores, np.ones(images, int))
        assert (scores >= threshold).sum() == hits


def test_benign_images_do_not_move_the_threshold() -> None:
    scores, labels = np.array([0.9, 0.8, 0.99, 0.1]), np.array([1, 1, 0, 0])
    assert threshold_at(1.0, scores, labels) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("malignant", "by", "message"),
    [
        (20, "lower_bound", r"0\.9 on 20 malignant .*\(threshold_by=lower_bound\).* least 35 of"),
        (0, "lower_bound", "on 0 malignant .* least 35 of them"),
        (0, "point", r"on 0 malignant .*\(threshold_by=point\).* least 1 of them"),
        (28, "guaranteed", r"on 28 patients .*\(threshold_by=guaranteed\).* least 29 of them"),
        (0, "guaranteed", r"on 0 patients with a malignant .* least 29 of them"),
    ],
)
def test_too_few_malignant_images_are_told_with_how_many_it_takes(
    malignant: int, by: ThresholdBy, message: str
) -> None:
    labels = (np.arange(40) < malignant).astype(int)
    with pytest.raises(BadInput, match=message):
        threshold_at(0.9, np.linspace(0, 1, 40), labels, by=by)


# --- guaranteed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patients", "found"),
    # The fewest hits at which a binomial of so many patients and .9 has a tail of at most .05.
    [(29, 29), (45, 45), (46, 45), (61, 59), (100, 96), (1000, 916)],
)
def test_so_many_patients_must_be_found_that_a_lower_sensitivity_is_unlikely(
    patients: int, found: int
) -> None:
    scores = np.arange(patients, 0, -1.0)
    threshold = threshold_at(0.9, scores, np.ones(patients, int), "guaranteed")
    assert (scores >= threshold).sum() == found
    assert binom.sf(found - 1, patients, 0.9) <= 0.05 < binom.sf(found - 2, patients, 0.9)


@pytest.mark.parametrize("target", [0.7, 0.9])
@pytest.mark.parametrize("images", [40, 150])
def test_the_sensitivity_on_new_patients_misses_its_target_in_at_most_one_draw_of_twenty(
    target: float, images: int
) -> None:
    """The true sensitivity of a threshold on uniform scores is known: 1 less the threshold."""
    draws = np.random.default_rng(1).uniform(size=(4000, images))
    labels = np.ones(images, int)
    reached = 1 - np.array([threshold_at(target, one, labels, "guaranteed") for one in draws])
    missed = (reached < target).mean()
    assert missed < 0.05 + 3 * (0.05 * 0.95 / len(draws)) ** 0.5
    plain = 1 - np.array([threshold_at(target, one, labels, "point") for one in draws])
    assert (plain < target).mean() > 0.3  # which is why it is worth its price


def test_images_of_one_patient_are_no_further_observations() -> None:
    """Each patient's images have one score, so that a hundred images tell what ten patients do."""
    draws = np.random.default_rng(2).uniform(size=(2000, 35))
    labels, groups = np.ones(350, int), np.repeat(np.arange(35), 10)
    scores = np.repeat(draws, 10, axis=1)
    reached = 1 - np.array([threshold_at(0.9, one, labels, "guaranteed", groups) for one in scores])
    assert (reached < 0.9).mean() < 0.07
    alone = 1 - np.array([threshold_at(0.9, one, labels, "guaranteed") for one in scores])
    assert (alone < 0.9).mean() > 0.2


def test_the_image_of_a_patient_is_drawn_among_the_malignant_ones_by_the_seed() -> None:
    labels = np.tile([1, 1, 0], 40)
    groups = np.repeat(np.arange(40), 3)
    scores = np.random.default_rng(3).uniform(size=120)
    scores[labels == 0] = 0.0  # one of them, if it were counted, would be the threshold
    thresholds = {
        threshold_at(0.9, scores, labels, "guaranteed", groups, seed) for seed in range(20)
    }
    assert 0.0 not in thresholds
    assert len(thresholds) > 1
    again = threshold_at(0.9, scores, labels, "guaranteed", groups, seed=5)
    assert again == threshold_at(0.9, scores, labels, "guaranteed", groups, seed=5)


def test_a_threshold_that_is_guaranteed_is_never_above_the_plain_one() -> None:
    for seed in range(50):
        scores = np.random.default_rng(seed).uniform(size=60)
        plain = threshold_at(0.8, scores, np.ones(60, int))
        assert threshold_at(0.8, scores, np.ones(60, int), "guaranteed") < plain
