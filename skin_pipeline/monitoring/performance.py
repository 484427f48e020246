"""How good a released model is in use: measured by labels that came back, and estimated without.

    for window in real(store, "skin-resnet50"):        # of each version and month, oldest first
        window.sensitivity, window.adjusted_sensitivity, window.selection
    for window in estimated(store, "skin-resnet50"):
        window.sensitivity, window.share, window.check

**Measured.** The images of a window that have a label are counted (`sensitivity`, `specificity`,
Wilson's intervals). Labels come back mostly for images that looked suspicious, so these figures
are not those of all images: a malignant lesion that the model called benign seldom gets a label.
`adjusted_…` corrects this as Begg & Greenes (1983) do: within images of the same call, those with a
label stand for those without. It holds if the call, and nothing else about the lesion, decides
whether a label comes back. `bounds_…` need no assumption: they are reached if all images without a
label are as bad, or as good, as can be. Between the bounds, the truth is not known.

**Estimated.** Without labels, the model's probabilities say how many images of each call are
malignant (confidence-based performance estimation). It is an estimate, and holds only as long as
the probabilities are calibrated for the images in use: with another share of malignant lesions than
in training, or a new kind of lesion, it is wrong and cannot notice. `check` compares it with the
labels that there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Interval
from skin_pipeline.intervals import RESAMPLES, proportion, share
from skin_pipeline.monitoring.decisions import MONTH, joined, span, windows
from skin_pipeline.monitoring.estimates import Estimated, estimated
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MONTH", "Counts", "Estimated", "Real", "estimated", "measured", "real", "shown"]
NOTHING = Interval(value=math.nan, low=math.nan, high=math.nan)
SEED = 0


class Counts(NamedTuple):
    """Images of one call: with a malignant label, with a benign one, and without a label."""

    malignant: int
    benign: int
    unlabelled: int

    @property
    def labelled(self) -> int:
        """How many have a label."""
        return self.malignant + self.benign

    @property
    def images(self) -> int:
        """How many there are."""
        return self.labelled + self.unlabelled


@dataclass(frozen=True)
class Real:
    """What labels say about a version in a window: `positive` and `negative` are the calls.

    - `start` and `end` are the first and last time of scoring.
    - `bounds_…` are intervals without a value: what is possible, not 95 % of it.
    - `selection` says in words how far the labels can be relied on.
    """

    version: str
    start: str
    end: str
    positive: Counts
    negative: Counts
    sensitivity: Interval
    specificity: Interval
    adjusted_sensitivity: Interval
    adjusted_specificity: Interval
    bounds_sensitivity: tuple[float, float]
    bounds_specificity: tuple[float, float]
    selection: str

    @property
    def labelled(self) -> int:
        """How many images have a label."""
        return self.positive.labelled + self.negative.labelled

    @property
    def images(self) -> int:
        """How many images were decided on."""
        return self.positive.images + self.negative.images


def real(store: Store, model: str, window: str | int = MONTH) -> list[Real]:
    """Returns the measured figures of a model, by the version that scored, oldest first.

    Args:
        store: The store.
        model: Name of the model.
        window: `month`, or a number of images.

    Raises:
        BadInput: A document in the store is damaged.
    """
    return [measured(rows) for rows in windows(joined(store, model), window)]


def measured(rows: pd.DataFrame) -> Real:
    """Returns the figures of rows of one version, as `decisions.joined` gives them."""
    positive, negative = (
        Counts(
            *(int(((rows["positive"] == call) & (rows["truth"] == t)).sum()) for t in (1, 0, -1))
        )
        for call in (True, False)
    )
    adjusted = _adjusted(positive, negative)
    return Real(
        **span(rows),
        positive=positive,
        negative=negative,
        sensitivity=proportion(positive.malignant, positive.malignant + negative.malignant),
        specificity=proportion(negative.benign, positive.benign + negative.benign),
        adjusted_sensitivity=adjusted[0],
        adjusted_specificity=adjusted[1],
        bounds_sensitivity=_bounds(positive.malignant, negative.malignant, positive, negative),
        bounds_specificity=_bounds(negative.benign, positive.benign, negative, positive),
        selection=_selection(positive, negative),
    )


def _bounds(hits: int, misses: int, right: Counts, wrong: Counts) -> tuple[float, float]:
    """Returns the lowest and the highest share of hits that labels for all images could show."""
    worst, best = hits + misses + wrong.unlabelled, hits + misses + right.unlabelled
    low = hits / worst if worst else 0.0
    high = (hits + right.unlabelled) / best if best else 1.0
    return low, high


def _adjusted(positive: Counts, negative: Counts) -> tuple[Interval, Interval]:
    """Returns sensitivity and specificity after Begg & Greenes, with bootstrap intervals.

    They are not defined if no image of a call has a label.
    """
    if not (positive.labelled and negative.labelled):
        return NOTHING, NOTHING
    cells = np.array([*positive, *negative], np.float64)
    draws = np.random.default_rng(SEED).multinomial(
        int(cells.sum()), cells / cells.sum(), size=RESAMPLES
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = _begg_greenes(np.concatenate([cells[None], draws]))
    malignant = positive.malignant + negative.malignant
    benign = positive.benign + negative.benign
    return tuple(
        share(values, count) if np.isfinite(values[0]) else NOTHING
        for values, count in zip(figures, (malignant, benign), strict=True)
    )  # type: ignore[return-value]


def _begg_greenes(cells: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns sensitivities and specificities (m,) of counts (m, 6), `Counts` of both."""
    positive, negative = cells[:, :3], cells[:, 3:]
    called = positive.sum(axis=1), negative.sum(axis=1)
    sick = [
        calls * part[:, 0] / part[:, :2].sum(axis=1)
        for calls, part in zip(called, (positive, negative), strict=True)
    ]
    well = [calls - some for calls, some in zip(called, sick, strict=True)]
    return sick[0] / (sick[0] + sick[1]), well[1] / (well[0] + well[1])


def _selection(positive: Counts, negative: Counts) -> str:
    """Returns in words how the images with a label differ from those without."""
    labelled, images = positive.labelled + negative.labelled, positive.images + negative.images
    text = f"{labelled} of {images} scored images have a label"
    if not labelled:
        return f"{text}: nothing is known yet."
    if labelled == images:
        return f"{text}: the figures are those of all images."
    if not negative.labelled:
        return (
            f"{text}, none of which the model called benign. So missed malignant lesions cannot be "
            "among them: the measured sensitivity says nothing."
        )
    if not positive.labelled:
        return f"{text}, none of which the model called malignant: the specificity says nothing."
    shares = [counts.labelled / counts.images for counts in (positive, negative)]
    return (
        f"{text}: {shares[0]:.0%} of those called malignant, {shares[1]:.0%} of those called "
        "benign. The adjusted figures take that into account; they hold if nothing but the call "
        "decides whether a label comes back."
    )


def shown(windows: Sequence[Real]) -> str:
    """Returns the last window in one sentence, for the last line of a log."""
    if not windows:
        return "no image was scored yet"
    last = windows[-1]
    return (
        f"version {last.version[:12]} since {last.start[:10]}: sensitivity {last.sensitivity}, "
        f"specificity {last.specificity}; {last.selection}"
    )
