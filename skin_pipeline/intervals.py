"""AUC with an interval from a bootstrap over groups, for whoever needs one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from skin_pipeline.contracts import Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CONFIDENCE = 0.95
RESAMPLES = 1000


def auc(probabilities: Floats, labels: Ints) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic; NaN with one class only."""
    malignant = labels == 1
    n, m = int(malignant.sum()), int((~malignant).sum())
    if n == 0 or m == 0 or not np.isfinite(probabilities).all():
        return math.nan
    return float((rankdata(probabilities)[malignant].sum() - n * (n + 1) / 2) / (n * m))


def auc_interval(probabilities: Floats, labels: Ints, groups: NDArray[Any], seed: int) -> Interval:
    """AUC with a percentile interval from a bootstrap over groups (Field & Welsh 2007)."""
    value = auc(probabilities, labels)
    if math.isnan(value):
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    rng = np.random.default_rng(seed)
    names, codes = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    drawn = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        drawn.append(auc(probabilities[rows], labels[rows]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))
