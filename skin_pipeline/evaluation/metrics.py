"""Figures with intervals: Wilson for proportions, group bootstrap for the AUC."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from skin_pipeline.contracts import Figures, Interval
from skin_pipeline.intervals import CONFIDENCE, Floats, Ints, auc_interval


def threshold_at(sensitivity: float, probabilities: Floats, labels: Ints) -> float:
    """The highest threshold that still finds this share of the malignant images.

    Args:
        sensitivity: The share to be found, 0…1.
        probabilities: Scores (n,) of validation images, never of test images.
        labels: (n,), 1 for malignant.

    Returns:
        A score; an image is called malignant if its own is equal or higher.
    """
    found = np.sort(probabilities[labels == 1])[::-1]
    # The rounding keeps .85 * 20 = 17.000000000000004 from asking for 18.
    needed = math.ceil(round(sensitivity * len(found), 9))
    return float(found[max(needed, 1) - 1])


def figures(
    probabilities: Floats, labels: Ints, groups: NDArray[Any], threshold: float, seed: int
) -> Figures:
    """All figures at one threshold.

    Args:
        probabilities: Scores (n,), 0…1.
        labels: (n,), 1 for malignant.
        groups: (n,) group names; the bootstrap draws whole groups.
        threshold: Images that score as high or higher are called malignant.
        seed: Of the bootstrap.
    """
    called, malignant = probabilities >= threshold, labels == 1
    tp, fn = int((called & malignant).sum()), int((~called & malignant).sum())
    fp, tn = int((called & ~malignant).sum()), int((~called & ~malignant).sum())
    return Figures(
        images=len(labels),
        threshold=threshold,
        confusion={"tp": tp, "fn": fn, "fp": fp, "tn": tn},
        accuracy=proportion(tp + tn, len(labels)),
        sensitivity=proportion(tp, tp + fn),
        specificity=proportion(tn, tn + fp),
        precision=proportion(tp, tp + fp),
        auc=auc_interval(probabilities, labels, groups, seed),
    )


def proportion(hits: int, total: int) -> Interval:
    """A share with its Wilson score interval (Wilson 1927); all NaN of nothing."""
    if total == 0:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    ends = binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(value=hits / total, low=float(ends.low), high=float(ends.high))
