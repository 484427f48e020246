"""Finds the decision threshold on validation images.

threshold_at(0.9, probabilities, labels)                       # finds 90 % of these images
threshold_at(0.9, probabilities, labels, "guaranteed", groups)  # … of new patients', at 95 %
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.config import ThresholdBy
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import (
    Floats,
    Ints,
    hits_to_guarantee,
    hits_to_show,
    images_to_show,
    observations_to_guarantee,
)


def threshold_at(
    sensitivity: float,
    probabilities: Floats,
    labels: Ints,
    by: ThresholdBy = "point",
    groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> float:
    """Returns the highest threshold that meets a sensitivity.

    With `guaranteed`, the sensitivity on new patients of the same origin is below it with a
    probability of at most 5 %. Thresholds are tested from the lowest one up, each by an exact
    binomial test, and the last one before the first failure is taken (fixed-sequence testing:
    Angelopoulos et al. 2021, "Learn then Test"). A higher threshold never finds more images, so one
    number of images decides: the fewest that pass the test.

    Args:
        sensitivity: The sensitivity to be met, above 0 and, for `guaranteed`, below 1.
        probabilities: Of validation images (n,), never of test images: a threshold that was chosen
            on the test set would make the sensitivity there look better than it is.
        labels: 1 for malignant (n,).
        by: What must reach `sensitivity`: the share that is found, the lower end of its Wilson
            interval, or the sensitivity on new patients.
        groups: Which images (n,) belong to one patient; for `guaranteed`, which counts one
            malignant image of each, as those of a patient are alike. None if each stands alone.
        seed: Of drawing that image.

    Raises:
        BadInput: There are too few malignant images to show this sensitivity.
    """
    counted = labels == 1
    if by == "guaranteed" and groups is not None:
        counted = _one_of_each(counted, groups, seed)
    found = np.sort(probabilities[counted])[::-1]
    needed = _hits_needed(sensitivity, len(found), by)
    if needed > len(found):
        raise BadInput(_too_few(sensitivity, len(found), by))
    return float(found[needed - 1])


def _one_of_each(wanted: NDArray[np.bool_], groups: NDArray[Any], seed: int) -> NDArray[np.bool_]:
    """Returns which images (n,) are the one wanted image that is drawn of each group."""
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(wanted))
    _, first = np.unique(groups[drawn].astype(str), return_index=True)
    chosen = np.zeros(len(wanted), bool)
    chosen[drawn[first]] = True
    return chosen


def _hits_needed(sensitivity: float, total: int, by: ThresholdBy) -> int:
    """Returns how many of the malignant images must be found; more than there are for never."""
    if by == "guaranteed":
        return hits_to_guarantee(sensitivity, total)
    if by == "lower_bound":
        return hits_to_show(sensitivity, total) if total else 1
    # Without the rounding, .85 * 20 = 17.000000000000004 would require 18.
    return max(math.ceil(round(sensitivity * total, 9)), 1)


def _too_few(sensitivity: float, total: int, by: ThresholdBy) -> str:
    what, least = "malignant validation images", 1
    if by == "lower_bound":
        least = images_to_show(sensitivity)
    if by == "guaranteed":
        what = "patients with a malignant validation image"
        least = observations_to_guarantee(sensitivity)
    return (
        f"no threshold shows a sensitivity of {sensitivity:g} on {total} {what} "
        f"(threshold_by={by}); it takes at least {least:,} of them. Lower target_sensitivity, or "
        "take another threshold_by"
    )
