"""Estimates how good a model is in use from its probabilities alone, without labels.

The probabilities say how many images of each call are malignant, so they say how many of the
malignant ones were called so (confidence-based performance estimation). `ASSUMPTION` says when that
holds; `check` compares it with the labels that there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from skin_pipeline.contracts import Interval
from skin_pipeline.intervals import RESAMPLES, UPPER, share
from skin_pipeline.monitoring.decisions import MONTH, joined, span, windows
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    import pandas as pd

NOTHING = Interval(value=math.nan, low=math.nan, high=math.nan)
SEED = 0
ASSUMPTION = (
    "An estimate, not a measurement. It holds as long as the model's probabilities are calibrated "
    "for these images: the same share of malignant lesions, and the same kinds of them, as those "
    "it was trained on."
)


@dataclass(frozen=True)
class Estimated:
    """What the probabilities of a version alone say about a window; `share` is that of malignant.

    `check` compares the probabilities with the labels that there are, in words; `trusted` is false
    if they contradict each other.
    """

    version: str
    start: str
    end: str
    images: int
    sensitivity: Interval
    specificity: Interval
    share: Interval
    check: str
    trusted: bool
    assumption: str = ASSUMPTION


def estimated(store: Store, model: str, window: str | int = MONTH) -> list[Estimated]:
    """Returns the estimated figures of a model, as `real` returns the measured ones."""
    return [_estimated(rows) for rows in windows(joined(store, model), window)]


def _estimated(rows: pd.DataFrame) -> Estimated:
    chances = rows["probability"].to_numpy(np.float64)
    positive = rows["positive"].to_numpy(bool)
    figures = _by_confidence(chances, positive)
    malignant, images = float(chances.sum()), len(rows)
    check, trusted = _check(rows)
    return Estimated(
        **span(rows),
        images=images,
        sensitivity=_interval(figures[:, 0], round(malignant)),
        specificity=_interval(figures[:, 1], round(images - malignant)),
        share=_interval(figures[:, 2], images),
        check=check,
        trusted=trusted,
    )


def _by_confidence(
    chances: NDArray[np.float64], positive: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Returns sensitivity, specificity and share of malignant: expected first, then of draws.

    A draw takes images at random, and a label for each by its probability. So its spread is that of
    the figures that labels would show.

    Returns:
        (1 + RESAMPLES, 3)
    """
    rng = np.random.default_rng(SEED)
    found = [_figures(chances, positive)]
    for _ in reported(range(RESAMPLES), "resamples drawn", RESAMPLES):
        some = rng.integers(len(chances), size=len(chances))
        sick = (rng.random(len(some)) < chances[some]).astype(np.float64)
        found.append(_figures(sick, positive[some]))
    return np.array(found)


def _figures(sick: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float, float]:
    total = float(sick.sum())
    well = len(sick) - total
    hits, right = float(sick[positive].sum()), float((1 - sick)[~positive].sum())
    return (
        hits / total if total else math.nan,
        right / well if well else math.nan,
        total / len(sick),
    )


def _interval(figures: NDArray[np.float64], observations: int) -> Interval:
    return share(figures, observations) if np.isfinite(figures[0]) else NOTHING


def _check(rows: pd.DataFrame) -> tuple[str, bool]:
    """Compares the probabilities with the labels, within each call, since labels depend on it."""
    known = rows[rows["truth"] >= 0]
    if known.empty:
        return "No label has come back to check it by.", True
    texts, trusted = [], True
    for call, part in known.groupby("positive"):
        chances = part["probability"].to_numpy(np.float64)
        expected, found = float(chances.sum()), int((part["truth"] == 1).sum())
        spread = math.sqrt(float((chances * (1 - chances)).sum()))
        trusted &= abs(found - expected) <= ndtri(UPPER) * max(spread, 0.5)
        called = "malignant" if call else "benign"
        texts.append(
            f"of {len(part)} called {called} with a label, {found} are malignant, expected "
            f"{expected:.1f}"
        )
    verdict = "the labels agree" if trusted else "the labels contradict it, so do not rely on it"
    return f"{'; '.join(texts)}: {verdict}.", bool(trusted)
