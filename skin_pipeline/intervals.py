"""AUC with an interval from a bootstrap over groups, for whoever needs one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CONFIDENCE = 0.95
RESAMPLES = 1000


def auc(probabilities: Floats, labels: Ints) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic; NaN with one class only."""
    if not np.isfinite(probabilities).all():
        return math.nan
    return _auc(_places(probabilities), labels == 1, np.ones(len(labels)))


def auc_interval(probabilities: Floats, labels: Ints, groups: NDArray[Any], seed: int) -> Interval:
    """AUC with a percentile interval from a bootstrap over groups (Field & Welsh 2007)."""
    value = auc(probabilities, labels)
    if math.isnan(value):
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    rng = np.random.default_rng(seed)
    names, codes = np.unique(groups, return_inverse=True)
    places, malignant = _places(probabilities), labels == 1
    drawn = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        drawn.append(_auc(places, malignant, times[codes]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))


def _places(probabilities: Floats) -> Ints:
    """The place (n,) of each score among the different scores, the lowest 0; equals share one."""
    return np.unique(probabilities, return_inverse=True)[1].astype(np.int64)


def _auc(places: Ints, malignant: NDArray[np.bool_], times: NDArray[Any]) -> float:
    """AUC of images that each count so many times: the scores are ranked once for all resamples."""
    hits = np.bincount(places, times * malignant)
    misses = np.bincount(places, times * ~malignant)
    pairs = hits.sum() * misses.sum()
    won = hits @ (misses.cumsum() - misses / 2)  # a tie is half a win
    return float(won / pairs) if pairs else math.nan
