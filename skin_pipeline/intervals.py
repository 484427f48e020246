"""95 % intervals: Wilson's for proportions, a bootstrap over groups for all other figures.

    proportion(97, 116)                                  # 0.836 [0.758, 0.893]
    auc_interval(probabilities, labels, groups, seed=0)

A figure without an interval, or one that nothing is known of, is NaN and never a guess.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, expit, logit, ndtri, stdtrit

from skin_pipeline.contracts import Interval
from skin_pipeline.progress import reported

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Statistic = Callable[[Floats], Floats]
CONFIDENCE = 0.95
UPPER = (1 + CONFIDENCE) / 2
RESAMPLES = 1000
BLOCK = 100  # resamples at a time, so that a large external set does not fill the memory
MOST_IMAGES = 10_000_000  # more are not advised: the bound is then out of reach


def proportion(hits: int, total: int) -> Interval:
    """Returns a share with its Wilson score interval (Wilson 1927); all NaN if `total` is 0.

    Each image counts as independent of the others. With 1 to 9 images of a patient, as in the data
    set that this was made for, it covers the truth in 93 to 94 % of simulated test sets.
    """
    if total == 0:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    # Not by `scipy.stats`, which takes a second to import: each step would pay for it.
    value, squared = hits / total, ndtri(UPPER) ** 2
    widened = 2 * (total + squared)
    centre = (2 * total * value + squared) / widened
    half = ndtri(UPPER) / widened * math.sqrt(4 * total * value * (1 - value) + squared)
    low = float(centre - half) if hits else 0.0
    high = float(centre + half) if hits < total else 1.0
    return Interval(value=value, low=low, high=high)


def hits_to_show(bound: float, total: int) -> int:
    """Returns the fewest hits whose Wilson interval is not below the bound; else `total + 1`."""
    return bisect_left(range(total + 1), bound, key=lambda hits: proportion(hits, total).low)


def hits_to_guarantee(share: float, total: int) -> int:
    """Returns the fewest hits of `total` that reject, at 5 %, that the true share is lower.

    The test is one-sided and exact (binomial). Returns `total + 1` if no number of hits does.
    """
    # With these or fewer hits, more than 5 % of the cases of the lower share have more.
    most = bisect_left(
        range(total), True, key=lambda hits: bool(bdtrc(hits, total, share) <= 1 - CONFIDENCE)
    )
    return most + 1


def observations_to_guarantee(share: float) -> int:
    """Returns the fewest observations that guarantee a share, 0…1, if all of them are hits."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(share))


def images_to_show(bound: float) -> int:
    """Returns the fewest images that show the bound if all are hits; at most `MOST_IMAGES`."""
    return 1 + bisect_left(
        range(1, MOST_IMAGES), bound, key=lambda total: proportion(total, total).low
    )


def advice(
    hits: int, total: int, bound: float, images: str = "images", right: str = "correct"
) -> str:
    """Returns a sentence: what would lift the lower end of a proportion's interval to its bound.

    Args:
        hits: 0…total.
        total: At least 1.
        bound: 0…1, more than the lower end of the interval.
        images: The name of what is counted, such as `malignant images`.
        right: The word for a hit, such as `found`.
    """
    needed, share = hits_to_show(bound, total), hits / total
    if needed > total:
        best = proportion(total, total).low
        return (
            f"even {total} of {total} {images} {right} would show only {best:.3f}; "
            f"it takes at least {images_to_show(bound):,} {images}"
        )
    text = f"{total} {images}: {needed} {right} would show {bound:.3f}, {hits} were"
    if share <= bound:
        return text
    # The number at which the normal approximation of the interval just reaches the bound. It is an
    # estimate, since the share itself is one.
    enough = ndtri(UPPER) ** 2 * bound * (1 - bound) / (share - bound) ** 2
    return f"{text}; at this share it takes about {math.ceil(enough):,}"


def auc(probabilities: Floats, labels: Ints) -> float:
    """Returns the area under the ROC curve (Mann-Whitney statistic); NaN with one class only."""
    return float(auc_statistic(probabilities, labels)(np.ones((1, len(labels))))[0])


def auc_interval(probabilities: Floats, labels: Ints, groups: NDArray[Any], seed: int) -> Interval:
    """Returns the AUC, with an interval from a bootstrap over groups (see `share`)."""
    drawn = resampled(auc_statistic(probabilities, labels), groups, seed)
    return share(drawn, independent(labels, groups))


def auc_statistic(probabilities: Floats, labels: Ints) -> Statistic:
    """Returns a function from how often each image counts (m, n) to m AUCs.

    The scores are ranked once, here, for all resamples. An AUC is NaN if a class is missing or a
    score is not finite.
    """
    if not np.isfinite(probabilities).all():
        return lambda times: np.full(len(times), math.nan)
    malignant = labels == 1
    benign = np.flatnonzero(~malignant)
    benign = benign[np.argsort(probabilities[benign])]
    # For each malignant image: how many benign images score lower, and how many no higher.
    below, upto = (
        np.searchsorted(probabilities[benign], probabilities[malignant], side)
        for side in ("left", "right")
    )

    def statistic(times: Floats) -> Floats:
        hits = times[:, malignant]
        lowest = np.zeros((len(times), len(benign) + 1))  # how many of the lowest benign images
        np.cumsum(times[:, benign], axis=1, out=lowest[:, 1:])
        won = (hits * (lowest[:, below] + lowest[:, upto]) / 2).sum(axis=1)  # a tie is half a win
        with np.errstate(invalid="ignore"):
            return np.asarray(won / (hits.sum(axis=1) * lowest[:, -1]))

    return statistic


def resampled(statistic: Statistic, groups: NDArray[Any], seed: int) -> Floats:
    """Returns a statistic of the images, and of resamples of them.

    Whole groups are drawn (Field & Welsh 2007): images of one patient are alike, so drawing single
    images would make the interval too narrow.

    Args:
        statistic: A function from how often each image counts, (m, n), to figures (m,) or (m, k).
        groups: (n,) group names.
        seed: The seed of the draws. They are the same for the same groups in any order.

    Returns:
        (1 + RESAMPLES,) or (1 + RESAMPLES, k): the figures of the images themselves come first.
    """
    names, codes = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    figures = [statistic(np.ones((1, len(groups))))]
    starts = range(0, RESAMPLES if len(names) else 0, BLOCK)
    for start in reported(starts, "blocks of resamples drawn", len(starts)):
        # How often each group is drawn says the same as which were, and needs no list of images.
        equal = np.full(len(names), 1 / len(names))
        drawn = rng.multinomial(len(names), equal, size=min(BLOCK, RESAMPLES - start))
        figures.append(statistic(drawn.astype(np.float64)[:, codes]))
    return np.concatenate(figures)


def independent(labels: Ints, groups: NDArray[Any]) -> int:
    """Returns how many groups contain an image of the rarer class: its independent observations."""
    return min(len(np.unique(groups[labels == 1])), len(np.unique(groups[labels != 1])))


def share(figures: Floats, observations: int) -> Interval:
    """Returns a figure in 0…1, with an interval from its bootstrap standard error.

    The interval is made on the logit scale. Percentiles of the draws are too high for a figure near
    1: for an AUC of 0.95 of 230 images, the truth is below them in 6 % of test sets, and below this
    interval in 2.5 % (Qin & Hotilovac 2008 compare such intervals). Draws of a figure of exactly 0
    or 1 are all the same, so its interval is Wilson's of as many observations.

    Args:
        figures: (1 + draws,), the figure itself first, as `resampled` gives them.
        observations: The number of independent ones. With less than two, the ends are NaN.
    """
    value = float(figures[0])
    if value in {0.0, 1.0}:
        ends = proportion(round(value * observations), observations)
        return Interval(value=value, low=ends.low, high=ends.high)
    # The delta method: the logit's slope at the figure carries the standard error over.
    half = _half_width(figures, observations) / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-half, half]))
    return Interval(
        value=value, low=float(np.minimum(low, value)), high=float(np.maximum(high, value))
    )


def difference(figures: Floats, observations: int) -> Interval:
    """Returns a difference in -1…1, with an interval from its bootstrap standard error."""
    value, half = float(figures[0]), _half_width(figures, observations)
    low, high = np.clip([value - half, value + half], -1, 1)
    return Interval(value=value, low=float(low), high=float(high))


def _half_width(figures: Floats, observations: int) -> float:
    drawn = figures[1:][np.isfinite(figures[1:])]  # a draw without one of the classes has no figure
    if len(drawn) < 2 or observations < 2:
        return math.nan
    return float(stdtrit(observations - 1, UPPER) * drawn.std(ddof=1))
