"""Figures with intervals, of probabilities and of the calls at a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Bin, Figures, Interval, Predictive
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import (
    UPPER,
    Floats,
    Ints,
    Statistic,
    auc_statistic,
    hits_to_show,
    images_to_show,
    independent,
    proportion,
    resampled,
    share,
)

PREVALENCES = (0.02, 0.1, 0.5)
BINS = 10


def threshold_at(
    sensitivity: float,
    probabilities: Floats,
    labels: Ints,
    by: Literal["point", "lower_bound"] = "point",
) -> float:
    """The highest threshold that still finds this share of the malignant images.

    Args:
        sensitivity: The share to be found, 0…1.
        probabilities: Scores (n,) of validation images, never of test images.
        labels: (n,), 1 for malignant.
        by: What must reach `sensitivity`: the share that is found, or the lower end of its Wilson
            interval.

    Returns:
        A score; an image is called malignant if its own is equal or higher.

    Raises:
        BadInput: there are too few malignant images to show it.
    """
    found = np.sort(probabilities[labels == 1])[::-1]
    if by == "lower_bound":
        needed = hits_to_show(sensitivity, len(found)) if len(found) else 1
    else:
        # The rounding keeps .85 * 20 = 17.000000000000004 from asking for 18.
        needed = max(math.ceil(round(sensitivity * len(found), 9)), 1)
    if needed > len(found):
        least = images_to_show(sensitivity) if by == "lower_bound" else 1
        raise BadInput(
            f"no threshold shows a sensitivity of {sensitivity:g} on {len(found)} malignant "
            f"validation images (threshold_by={by}); it takes at least {least:,} of them"
        )
    return float(found[needed - 1])


def figures(
    probabilities: Floats,
    labels: Ints,
    groups: NDArray[Any],
    threshold: float,
    seed: int,
    prevalences: Sequence[float] = PREVALENCES,
) -> Figures:
    """All figures at one threshold.

    Accuracy, sensitivity, specificity and precision have Wilson intervals, the other figures one
    from a bootstrap over groups. If a probability or the threshold is NaN, so are all figures.

    Args:
        probabilities: Scores (n,), 0…1.
        labels: (n,), 1 for malignant.
        groups: (n,) group names; the bootstrap draws whole groups.
        threshold: Images that score as high or higher are called malignant.
        seed: Of the bootstrap.
        prevalences: Shares of malignant images, 0…1 without the ends, for PPV and NPV.
    """
    images = len(labels)
    if not np.isfinite(probabilities).all() or math.isnan(threshold):
        probabilities, labels, groups = probabilities[:0], labels[:0], groups[:0]
    outcomes = _outcomes(probabilities >= threshold, labels == 1)
    tp, fn, fp, tn = (int(count) for count in outcomes.sum(axis=0))
    sensitivity, specificity = proportion(tp, tp + fn), proportion(tn, tn + fp)
    drawn = resampled(_statistic(probabilities, labels, outcomes), groups, seed).T
    *shares, errors, distances = drawn
    observations = independent(labels, groups)
    balanced_accuracy, f1, auc, brier = (share(values, observations) for values in shares)
    return Figures(
        images=images,
        threshold=threshold,
        confusion={"tp": tp, "fn": fn, "fp": fp, "tn": tn},
        accuracy=proportion(tp + tn, len(labels)),
        balanced_accuracy=balanced_accuracy,
        sensitivity=sensitivity,
        specificity=specificity,
        precision=proportion(tp, tp + fp),
        f1=f1,
        auc=auc,
        brier=brier,
        calibration_error=_calibration_error(errors, distances),
        predictive=tuple(_predictive(sensitivity, specificity, item) for item in prevalences),
    )


def bins(probabilities: Floats, labels: Ints, count: int = BINS) -> tuple[Bin, ...]:
    """Images of like probability, from the lowest to the highest.

    Args:
        probabilities: (n,), 0…1.
        labels: (n,), 1 for malignant.
        count: Bins of about equal count. Equal probabilities share one, so there may be fewer.
    """
    numbers = _bin_numbers(probabilities, count)
    return tuple(
        Bin(
            images=int(rows.sum()),
            probability=float(probabilities[rows].mean()),
            malignant=proportion(int((labels[rows] == 1).sum()), int(rows.sum())),
        )
        for rows in (numbers == number for number in np.unique(numbers))
    )


def _bin_numbers(probabilities: Floats, count: int) -> Ints:
    """The bin (n,) of each probability: by how many are lower, so that equals are never parted."""
    lower = np.searchsorted(np.sort(probabilities), probabilities)
    return np.asarray(lower * count // max(len(probabilities), 1))


def _outcomes(called: NDArray[np.bool_], malignant: NDArray[np.bool_]) -> Floats:
    """(n, 4), in the order of tp, fn, fp, tn: 1 where an image is of the kind."""
    kinds = [called & malignant, ~called & malignant, called & ~malignant, ~called & ~malignant]
    return np.stack(kinds, axis=1).astype(np.float64)


def _statistic(probabilities: Floats, labels: Ints, outcomes: Floats) -> Statistic:
    """Balanced accuracy, F1, AUC, Brier score, calibration error, and how far the bins are from
    where they were seen: (m, 6) of images that count so many times (m, n)."""
    auc = auc_statistic(probabilities, labels)
    excess = probabilities - labels
    in_bin = _bin_numbers(probabilities, BINS)[:, None] == np.arange(BINS)
    excesses = excess[:, None] * in_bin

    def statistic(times: Floats) -> Floats:
        tp, fn, fp, tn = (times @ outcomes).T
        images = times.sum(axis=1)
        with np.errstate(invalid="ignore"):
            seen = excesses.sum(axis=0) / np.float64(len(labels))
            drawn = times @ excesses / images[:, None]
            figures = [
                (tp / (tp + fn) + tn / (tn + fp)) / 2,
                2 * tp / (2 * tp + fp + fn),
                auc(times),
                times @ excess**2 / images,
                np.abs(drawn).sum(axis=1),
                np.abs(drawn - seen).sum(axis=1),
            ]
        return np.stack(figures, axis=1)

    return statistic


def _calibration_error(errors: Floats, distances: Floats) -> Interval:
    """The error (1 + draws,) with an interval that covers in at least 95 % of test sets.

    Chance alone parts probabilities from shares, so errors of samples lie above the true one. The
    upper end is a percentile of the draws, which lie higher still. For the lower end, the distance
    by which bins may have strayed by chance is taken off: by the triangle inequality, the true
    error is no lower. If it is 0, the probabilities may well be calibrated.
    """
    value = float(errors[0])
    if len(errors) == 1:
        return Interval(value=value, low=math.nan, high=math.nan)
    low = value - np.quantile(distances[1:], UPPER)
    high = np.quantile(errors[1:], UPPER)
    return Interval(value=value, low=float(np.clip(low, 0, value)), high=float(max(high, value)))


def _predictive(sensitivity: Interval, specificity: Interval, prevalence: float) -> Predictive:
    """PPV and NPV by Bayes' rule. Their ends are those of both intervals at once, so that they
    cover in more than 95 % of test sets."""
    ends = ("value", "low", "high")
    pairs = {end: (getattr(sensitivity, end), getattr(specificity, end)) for end in ends}
    ppv = {end: _share_right(a, b, prevalence) for end, (a, b) in pairs.items()}
    npv = {end: _share_right(b, a, 1 - prevalence) for end, (a, b) in pairs.items()}
    return Predictive(prevalence=prevalence, ppv=Interval(**ppv), npv=Interval(**npv))


def _share_right(hit: float, spared: float, share: float) -> float:
    """Of images called so, the share that is: `hit` of those that are and all but `spared` of the
    others are called so, and `share` of all are."""
    right, wrong = hit * share, (1 - spared) * (1 - share)
    return right / (right + wrong) if right + wrong else math.nan
