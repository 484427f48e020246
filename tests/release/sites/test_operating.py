"""The operating point: what it says it reaches is what it reaches on new images."""

from __future__ import annotations

import numpy as np
import pytest
from profiled_sites import SHIFT, STEEPNESS, labelled
from scipy.stats import norm

from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import threshold
from skin_pipeline.release.sites import operating
from skin_pipeline.release.sites.operating import (
    LEAST,
    Aim,
    Labelled,
    least,
    needed,
    observed,
    of_new,
    operating_point,
)
from skin_pipeline.release.sites.recalibration import fitted, logits

POINT = Aim(0.9)


def truth(at: float, point: operating.OperatingPoint) -> tuple[float, float]:
    """The true sensitivity and specificity of a threshold, on all images that there could be."""
    raw = (logits(np.array([at]))[0] - point.recalibration.intercept) / (point.recalibration.slope)
    x = (raw - SHIFT) / STEEPNESS
    return float(norm.sf(x, loc=0.8)), float(norm.cdf(x, loc=-0.8))


def test_the_threshold_finds_the_share_that_was_asked_for() -> None:
    images = labelled(50, 100)
    found = operating_point(images, POINT, own_threshold=0.5)
    called = found.recalibration.of(images.probabilities) >= found.threshold
    assert called[images.labels == 1].sum() == 45


def test_the_version_itself_calls_nearly_all_malignant_and_the_profile_does_not() -> None:
    found = operating_point(labelled(40, 120), POINT, own_threshold=0.5)
    assert found.before.sensitivity.value > 0.97
    assert found.before.specificity.value < 0.3
    assert found.after.specificity.value > found.before.specificity.value + 0.2
    assert found.after.brier.value < found.before.brier.value - 0.1
    assert found.after.calibration_error.value < found.before.calibration_error.value
    assert found.auc.low < found.auc.value < found.auc.high


def test_intervals_contain_what_is_reached_on_new_images() -> None:
    """Of 300 sites with 20 malignant and 80 benign images: 95 %, within what chance allows."""
    inside = np.zeros(2)
    rng = np.random.default_rng(0)
    for _ in range(300):
        images = labelled(20, 80, int(rng.integers(2**31)))
        made = fitted(*images)
        point = threshold.threshold_at(0.9, made.of(images.probabilities), images.labels)
        called = made.of(images.probabilities) >= point
        found = of_new(float(called[images.labels == 1].mean()), 20)
        excluded = observed(float((~called[images.labels == 0]).mean()), 80)
        about = operating.OperatingPoint(made, point, *[None] * 5)  # type: ignore[arg-type]
        for place, (value, stated) in enumerate(
            zip(truth(point, about), (found, excluded), strict=True)
        ):
            inside[place] += stated.low <= value <= stated.high
    assert inside[0] / 300 == pytest.approx(0.95, abs=0.035)
    assert inside[1] / 300 == pytest.approx(0.95, abs=0.035)


def test_the_share_that_is_expected_is_the_mean_over_sites_not_that_of_these_images() -> None:
    """The threshold is one of the malignant images, so new ones are found a little less often."""
    assert of_new(0.9, 20).value == pytest.approx(18 / 21)
    assert of_new(1.0, 10).value == pytest.approx(10 / 11)
    reached = []
    for seed in range(400):
        images = labelled(20, 10, seed)
        point = np.sort(images.probabilities[images.labels == 1])[2]  # 18 of 20 are found
        x = (logits(np.array([point]))[0] - SHIFT) / STEEPNESS
        reached.append(norm.sf(x, loc=0.8))
    assert np.mean(reached) == pytest.approx(18 / 21, abs=0.01)


def test_images_of_one_patient_make_the_interval_wide() -> None:
    alone, alike = labelled(60, 60), labelled(60, 60, each=3)
    width = [
        (found := operating_point(images, POINT, 0.5).after.sensitivity).high - found.low
        for images in (alone, alike)
    ]
    assert width[1] > 1.4 * width[0]


def test_probabilities_are_judged_on_images_that_they_were_not_fitted_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, fitted_to = labelled(20, 30, each=2), []
    real = fitted

    def noted(probabilities: object, labels: object, groups: np.ndarray) -> object:
        fitted_to.append(set(groups))
        return real(probabilities, labels, groups)  # type: ignore[arg-type]

    monkeypatch.setattr(operating, "fitted", noted)
    operating_point(images, Aim(0.5), 0.5)
    everybody, *parts = fitted_to
    assert len(parts) == operating.FOLDS
    left_out = [everybody - part for part in parts]
    assert set.union(*left_out) == everybody
    assert sum(map(len, left_out)) == len(everybody)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aim", "count"),
    [
        (Aim(0.5), LEAST),
        (Aim(0.9), 10),
        (Aim(0.95), 20),
        (Aim(0.9, "guaranteed"), 29),
        (Aim(0.9, "lower_bound"), 35),
    ],
)
def test_the_fewest_malignant_images_are_enough_and_one_less_is_not(aim: Aim, count: int) -> None:
    assert least("malignant", aim) == count
    operating_point(labelled(count, LEAST), aim, 0.5)
    with pytest.raises(BadInput, match=f"{count - 1} malignant, at least {count} are needed"):
        operating_point(labelled(count - 1, LEAST), aim, 0.5)


def test_too_few_benign_images_are_refused_and_patients_are_counted_instead_of_images() -> None:
    with pytest.raises(BadInput, match="9 benign, at least 10") as refusal:
        operating_point(labelled(10, 9), POINT, 0.5)
    assert "141 malignant ones" in str(refusal.value)
    with pytest.raises(BadInput, match="5 malignant, at least 10"):
        operating_point(labelled(10, 40, each=2), POINT, 0.5)


def test_a_model_that_cannot_tell_the_classes_apart_is_refused() -> None:
    images = labelled(30, 60, apart=-1.6)
    with pytest.raises(BadInput, match="cannot tell malignant from benign on these images"):
        operating_point(images, POINT, 0.5)


@pytest.mark.parametrize("aim", [Aim(0.0), Aim(1.0), Aim(0.9, width=0.0), Aim(float("nan"))])
def test_an_aim_that_is_no_share_is_refused(aim: Aim) -> None:
    with pytest.raises(BadInput, match="shares between 0 and 1"):
        operating_point(labelled(30, 30), aim, 0.5)


# --- how many are needed --------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("width", [0.05, 0.1])
def test_as_many_images_as_are_said_to_be_needed_give_that_width(
    share: float, width: float
) -> None:
    count = needed(share, width)
    for interval in (of_new(share, count), observed(share, count)):
        assert (interval.high - interval.low) / 2 == pytest.approx(width, rel=0.12)


def test_what_is_needed_is_never_less_than_what_a_profile_takes() -> None:
    found = operating_point(labelled(40, 40), Aim(0.95, width=0.4), 0.5)
    assert found.needed_malignant == 20
    assert found.needed_benign == LEAST


def test_a_share_of_all_has_a_lower_end() -> None:
    assert observed(1.0, 20).low < 0.9
    assert observed(0.0, 20).high > 0.1


def test_patients_are_counted_by_class() -> None:
    images = Labelled(
        np.array([0.1, 0.2, 0.3]), np.array([1, 1, 0]), np.array(["a", "a", "a"], object)
    )
    assert (images.patients(1), images.patients(0)) == (1, 1)
