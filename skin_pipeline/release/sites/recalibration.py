"""From a version's probability to the probability at a site: an intercept and a slope.

made = fitted(probabilities, labels, groups)
made.of(probabilities)                          # the same order, other values
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from skin_pipeline.contracts import SiteProfile
from skin_pipeline.intervals import Floats, Ints

EDGE = 1e-7  # probabilities nearer to 0 or 1 than this count as so near; their logit is infinite
# The prior: an intercept of 0 and a slope of 1, which change nothing, with these deviations. Sites
# differ by less; without it, images that one threshold divides perfectly give an infinite slope.
INTERCEPT_SPREAD, SLOPE_SPREAD = 5.0, 1.0
LEAST_SLOPE = 0.01  # never 0 or less, so that the order of images stays


class Recalibration(NamedTuple):
    """`expit(intercept + slope * logit(p))`, with a slope above 0."""

    intercept: float
    slope: float

    @classmethod
    def of_profile(cls, profile: SiteProfile) -> Recalibration:
        """Returns that of a profile."""
        return cls(profile.intercept, profile.slope)

    def of(self, probabilities: Floats) -> Floats:
        """Returns the probabilities at the site of a version's probabilities, of any shape."""
        return np.asarray(expit(self.intercept + self.slope * logits(probabilities)))

    def one(self, probability: float) -> float:
        """Returns the probability at the site of one image."""
        return float(self.of(np.array([probability]))[0])


def logits(probabilities: Floats) -> Floats:
    """Returns finite logits of probabilities, of any shape."""
    near = np.clip(np.asarray(probabilities, np.float64), EDGE, 1 - EDGE)
    return np.asarray(logit(near))


def fitted(probabilities: Floats, labels: Ints, groups: NDArray[Any]) -> Recalibration:
    """Returns the recalibration that fits labelled images best.

    It is logistic regression on the logit (Platt 1999; Cox 1958), with a weak normal prior. The
    images of a patient count as one observation of their class, since they are alike.

    Args:
        probabilities: Of the version (n,), 0…1.
        labels: 1 for malignant (n,).
        groups: The patient of each image (n,).
    """
    x, weights = logits(probabilities), one_a_group(labels, groups)
    sign = np.where(labels == 1, 1.0, -1.0)

    def loss(point: Floats) -> tuple[float, Floats]:
        intercept, slope = point
        margin = sign * (intercept + slope * x)
        pull = np.array([intercept / INTERCEPT_SPREAD**2, (slope - 1) / SLOPE_SPREAD**2])
        push = -weights * sign * expit(-margin)
        prior = (intercept * pull[0] + (slope - 1) * pull[1]) / 2
        gradient = np.array([push.sum(), (push * x).sum()]) + pull
        return float((weights * np.logaddexp(0, -margin)).sum() + prior), gradient

    bounds = [(None, None), (LEAST_SLOPE, None)]
    found = minimize(loss, np.array([0.0, 1.0]), jac=True, bounds=bounds, method="L-BFGS-B")
    return Recalibration(float(found.x[0]), float(found.x[1]))


def one_a_group(labels: Ints, groups: NDArray[Any]) -> Floats:
    """Returns weights of images (n,), by which each group counts as one image of each class."""
    pairs = np.char.add(np.where(labels == 1, "1 ", "0 "), np.asarray(groups, str))
    _, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[inverse])
