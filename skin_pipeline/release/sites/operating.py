"""The operating point of a version at a site, and what it will reach on new images there.

found = operating_point(Labelled(probabilities, labels, groups), aim, own_threshold=0.31)
found.threshold, found.after.sensitivity

Sensitivity and specificity are those of the threshold that was found, on images that come later:

- The threshold is the score of one of the malignant images. By the laws of order statistics, the
  share of new malignant images that reach it then follows a beta distribution, whatever the scores
  are (Wilks 1941). So the interval is exact for images of different patients; the share of the
  very images that the threshold was chosen on would be too high, with too narrow an interval.
- Benign images choose nothing, so their share is unbiased, with Wilson's interval.
- Probabilities are judged on images that their recalibration was not fitted to (cross-fitting).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import beta

from skin_pipeline.config import ThresholdBy
from skin_pipeline.contracts import Figures, Interval, SiteFigures
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import metrics, threshold
from skin_pipeline.intervals import (
    MOST_IMAGES,
    UPPER,
    Floats,
    Ints,
    images_to_show,
    observations_to_guarantee,
    proportion,
)
from skin_pipeline.release.sites.profiles import WIDTH
from skin_pipeline.release.sites.recalibration import LEAST_SLOPE, Recalibration, fitted

LEAST = 10  # patients of each class
FOLDS = 5


class Labelled(NamedTuple):
    """Labelled images of a site.

    Attributes:
        probabilities: By the version itself (n,), 0…1.
        labels: 1 for malignant (n,).
        groups: The patient of each image (n,), or what else makes images alike.
    """

    probabilities: Floats
    labels: Ints
    groups: NDArray[Any]

    def patients(self, label: int) -> int:
        """Returns how many patients have images of a class."""
        return len(np.unique(np.asarray(self.groups[self.labels == label], str)))


class Aim(NamedTuple):
    """What a profile is made for.

    Attributes:
        sensitivity: To be reached, above 0 and below 1.
        by: What must reach it; see `evaluation.threshold`.
        width: To which sensitivity and specificity should be known, in both directions.
    """

    sensitivity: float
    by: ThresholdBy = "point"
    width: float = WIDTH


@dataclass(frozen=True)
class OperatingPoint:
    """What was found; the fields are those of `SiteProfile`."""

    recalibration: Recalibration
    threshold: float
    auc: Interval
    before: SiteFigures
    after: SiteFigures
    needed_malignant: int
    needed_benign: int


def operating_point(
    images: Labelled, aim: Aim, own_threshold: float, seed: int = 0
) -> OperatingPoint:
    """Returns the recalibration and the threshold for a site, and what they will reach there.

    Args:
        images: Labelled images of the site, which the version has not met.
        aim: The sensitivity to be reached.
        own_threshold: The version's own, on its own probabilities.
        seed: Of the folds, the bootstrap, and the choice of one image a patient.

    Raises:
        BadInput: There are too few images of a class, a figure of the aim is none, or the version
            cannot tell the classes apart at this site.
    """
    check(images, aim)
    made = fitted(*images)
    if made.slope <= LEAST_SLOPE:
        raise BadInput(_no_order(images, seed))
    point = threshold.threshold_at(
        aim.sensitivity, made.of(images.probabilities), images.labels, aim.by, images.groups, seed
    )
    sample = metrics.Sample(images.labels, images.groups.astype(str), seed)
    before = metrics.figures(metrics.Predictions(images.probabilities, own_threshold), sample)
    crossed = metrics.Predictions(_cross_fitted(images, seed), point)
    called = metrics.Predictions(made.of(images.probabilities), point).malignant
    after = _reached(images, called, metrics.figures(crossed, sample), chosen=True)
    return OperatingPoint(
        made,
        point,
        before.auc,
        _reached(images, images.probabilities >= own_threshold, before, chosen=False),
        after,
        max(needed(aim.sensitivity, aim.width), least("malignant", aim)),
        max(needed(after.specificity.value, aim.width), LEAST),
    )


# --- refusals ------------------------------------------------------------------------------------


def check(images: Labelled, aim: Aim) -> None:
    """Raises `BadInput` if an operating point cannot be found from so few images, or if the aim is
    none."""
    if not 0 < aim.sensitivity < 1 or not 0 < aim.width < 1:
        raise BadInput(
            "the sensitivity to aim at and the width of the intervals are shares between 0 and 1. "
            f"Received: {aim.sensitivity:g} and {aim.width:g}"
        )
    counts = {"malignant": images.patients(1), "benign": images.patients(0)}
    few = [
        f"{counts[name]} {name}, at least {needed_now} are needed"
        for name, needed_now in ((name, least(name, aim)) for name in counts)
        if counts[name] < needed_now
    ]
    if few:
        raise BadInput(
            f"too few labelled images of different patients for a profile: {'; '.join(few)}. With "
            f"fewer, a single image would decide the threshold ({aim.by}, sensitivity "
            f"{aim.sensitivity:g}), and nothing could be said of what it reaches. To know "
            f"sensitivity to ±{aim.width:g} takes about {needed(aim.sensitivity, aim.width)} "
            "malignant ones. Label more images, or lower the sensitivity to aim at"
        )


def least(name: Literal["malignant", "benign"] | str, aim: Aim) -> int:
    """Returns the fewest patients with images of a class that a profile is made from.

    Of the malignant ones there are so many that one may be missed; and so many that a threshold
    can show the sensitivity, where it must be shown.
    """
    if name == "benign":
        return LEAST
    one_missed = math.ceil(round(1 / (1 - aim.sensitivity), 9))
    shown = {
        "point": 0,
        "lower_bound": images_to_show(aim.sensitivity) if aim.by == "lower_bound" else 0,
        "guaranteed": observations_to_guarantee(aim.sensitivity),
    }
    return max(LEAST, one_missed, shown[aim.by])


def _no_order(images: Labelled, seed: int) -> str:
    sample = metrics.Sample(images.labels, images.groups.astype(str), seed)
    auc = metrics.figures(metrics.Predictions(images.probabilities, 0.5), sample).auc
    return (
        f"this version cannot tell malignant from benign on these images (AUC {auc}), and no "
        "threshold mends that. See whether the labels are right, and whether these are "
        "dermoscopic images like those that it was trained on"
    )


# --- what it will reach --------------------------------------------------------------------------


def _reached(
    images: Labelled, called: NDArray[np.bool_], judged: Figures, *, chosen: bool
) -> SiteFigures:
    """Returns the figures on new images; `chosen`: whether these images chose the threshold."""
    found = float(called[images.labels == 1].mean())
    excluded = float((~called[images.labels == 0]).mean())
    sensitivity = of_new if chosen else observed
    return SiteFigures(
        sensitivity=sensitivity(found, images.patients(1)),
        specificity=observed(excluded, images.patients(0)),
        brier=judged.brier,
        calibration_error=judged.calibration_error,
    )


def of_new(found: float, patients: int) -> Interval:
    """Returns the sensitivity on new images of a threshold that finds this share of these.

    Args:
        found: The share of the malignant images that reach the threshold, one of which it is of.
        patients: Their number, if they were all of different patients.
    """
    spread = beta(found * patients, (1 - found) * patients + 1)
    low, high = spread.ppf([1 - UPPER, UPPER])
    return Interval(value=float(spread.mean()), low=float(low), high=float(high))


def observed(share: float, patients: int) -> Interval:
    """Returns a share of images with Wilson's interval, as of so many independent ones."""
    ends = proportion(round(share * patients), patients)
    return Interval(value=share, low=min(ends.low, share), high=max(ends.high, share))


def needed(share: float, width: float) -> int:
    """Returns about how many observations it takes to know a share to ± `width`, at 95 %: until
    Wilson's interval is so narrow."""
    z = float(ndtri(UPPER))

    def half(count: int) -> float:
        spread = math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
        return z / (1 + z**2 / count) * spread

    return 1 + bisect_left(range(1, MOST_IMAGES), -width, key=lambda count: -half(count))


def _cross_fitted(images: Labelled, seed: int) -> Floats:
    """Returns each image's probability (n,) by a recalibration that was fitted without its
    group."""
    from sklearn.model_selection import StratifiedGroupKFold  # slow, and only profiles need it

    made = np.empty(len(images.labels))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    groups = images.groups.astype(str)
    for rest, held_out in folds.split(made, images.labels, groups):
        part = fitted(*(values[rest] for values in images))
        made[held_out] = part.of(images.probabilities[held_out])
    return made
