"""Challenger against champion, image by image on the same test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from skin_pipeline.contracts import Comparison
from skin_pipeline.evaluation.metrics import PREVALENCES, figures
from skin_pipeline.intervals import (
    Floats,
    Ints,
    Statistic,
    auc_statistic,
    difference,
    independent,
    resampled,
)


class Calls(NamedTuple):
    """A model's probabilities (n,) of the test images, and the threshold of its calls."""

    probabilities: Floats
    threshold: float


def compare(
    challenger: Calls,
    champion: Calls,
    labels: Ints,
    groups: NDArray[Any],
    *,
    version: str,
    excluded: int,
    seed: int,
    prevalences: Sequence[float] = PREVALENCES,
) -> Comparison:
    """Challenger less champion, with intervals from a paired bootstrap over groups.

    Both models are judged on the same draws. The same scores differ by exactly 0, with an interval
    of [0, 0]. If a probability is NaN, so are all differences.

    Args:
        challenger: Calls on the n images.
        champion: Calls on the same images in the same order.
        labels: (n,), 1 for malignant.
        groups: (n,) group names; the bootstrap draws whole groups.
        version: The champion's.
        excluded: Test images that were left out before.
        seed: Of the bootstrap.
        prevalences: For the champion's PPV and NPV.
    """
    gain = _right(challenger, labels) - _right(champion, labels)
    drawn = resampled(_statistic(challenger, champion, labels, gain), groups, seed)
    observations = independent(labels, groups)
    accuracy, sensitivity, specificity, auc = (difference(d, observations) for d in drawn.T)
    ours, theirs = int((gain > 0).sum()), int((gain < 0).sum())
    return Comparison(
        champion=version,
        images=len(labels),
        excluded=excluded,
        champion_figures=figures(
            champion.probabilities, labels, groups, champion.threshold, seed, prevalences
        ),
        accuracy=accuracy,
        sensitivity=sensitivity,
        specificity=specificity,
        auc=auc,
        only_challenger=ours,
        only_champion=theirs,
        p_value=math.nan if math.isnan(accuracy.value) else mcnemar(ours, theirs),
    )


def mcnemar(ours: int, theirs: int) -> float:
    """Exact p-value (McNemar 1947) of counts of images that only one of two models called rightly.

    Each image counts as independent of the others.
    """
    return float(binomtest(ours, ours + theirs).pvalue) if ours + theirs else 1.0


def _right(calls: Calls, labels: Ints) -> Floats:
    """(n,), 1 where the call is right and 0 where not; all NaN if a probability is."""
    if not np.isfinite(calls.probabilities).all():
        return np.full(len(labels), math.nan)
    called = calls.probabilities >= calls.threshold
    return np.asarray(called == (labels == 1), np.float64)


def _statistic(challenger: Calls, champion: Calls, labels: Ints, gain: Floats) -> Statistic:
    """Differences of accuracy, sensitivity, specificity and AUC: (m, 4) of images that count so
    many times (m, n)."""
    malignant = labels == 1
    sides = np.stack([malignant | True, malignant, ~malignant], axis=1).astype(np.float64)
    ours, theirs = (auc_statistic(calls.probabilities, labels) for calls in (challenger, champion))

    def statistic(times: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            shares = (times * gain) @ sides / (times @ sides)
        return np.column_stack([shares, ours(times) - theirs(times)])

    return statistic
