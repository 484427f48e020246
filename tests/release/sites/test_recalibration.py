"""The recalibration: it finds a shift again, keeps the order of images, and never explodes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiled_sites import labelled
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from skin_pipeline.release.sites.recalibration import (
    EDGE,
    LEAST_SLOPE,
    Recalibration,
    fitted,
    one_a_group,
)


def fit_of(x: np.ndarray, labels: np.ndarray) -> Recalibration:
    return fitted(expit(x), labels, np.arange(len(labels)).astype(object))


def test_many_images_give_what_logistic_regression_gives() -> None:
    images = labelled(4000, 4000)
    made = fitted(*images)
    free = LogisticRegression(C=np.inf).fit(logit(images.probabilities)[:, None], images.labels)
    assert made.slope == pytest.approx(free.coef_[0, 0], rel=0.01)
    assert made.intercept == pytest.approx(free.intercept_[0], rel=0.01)
    # Normal logits with deviation 1 and distance 1.6, stretched by 1.6: slope 1.
    assert made.slope == pytest.approx(1.0, abs=0.1)
    shares = made.of(images.probabilities)
    assert shares.mean() == pytest.approx(0.5, abs=0.005)


def test_probabilities_that_are_right_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 20_000)
    made = fit_of(x, (rng.random(len(x)) < expit(x)).astype(np.int64))
    assert made.slope == pytest.approx(1, abs=0.05)
    assert made.intercept == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("distance", [1.0, 30.0])
def test_images_that_a_threshold_divides_give_a_finite_slope(distance: float) -> None:
    labels = np.repeat([1, 0], 10)
    made = fit_of(np.where(labels == 1, distance, -distance), labels)
    assert 0 < made.slope < 6
    assert abs(made.intercept) < 1


def test_a_model_that_is_wrong_at_a_site_gets_the_least_slope_and_no_negative_one() -> None:
    labels = np.repeat([1, 0], 30)
    assert fit_of(np.where(labels == 1, -2.0, 2.0), labels).slope == LEAST_SLOPE


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
    st.floats(-10, 10),
    st.floats(LEAST_SLOPE, 5),
)
def test_the_order_of_images_stays(given_: list[float], intercept: float, slope: float) -> None:
    probabilities = np.sort(np.array(given_))
    made = Recalibration(intercept, slope).of(probabilities)
    assert ((made >= 0) & (made <= 1)).all()
    assert (np.diff(made) >= 0).all()


def test_certainty_stays_finite() -> None:
    made = Recalibration(0.0, 1.0)
    assert made.one(0.0) == pytest.approx(EDGE)
    assert made.one(1.0) == pytest.approx(1 - EDGE)


def test_images_of_a_patient_count_as_one_of_each_class() -> None:
    labels = np.array([1, 1, 1, 0, 0])
    groups = np.array(["a", "a", "b", "a", "b"], object)
    assert one_a_group(labels, groups).tolist() == [0.5, 0.5, 1, 1, 1]


def test_a_patient_with_many_images_pulls_no_more_than_another() -> None:
    """The same images again, as of the same patients, say nothing new."""
    once = labelled(30, 30)
    twice = [np.concatenate([values, values]) for values in once]
    assert fitted(*twice) == pytest.approx(fitted(*once), abs=1e-4)
