"""Sensitivity and specificity against the share of images that get a decision.

curve(predictions, labels, familiarity)      # a point for each share and way of abstaining
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Answered
from skin_pipeline.evaluation.familiarity import margin
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.intervals import Floats, Ints, proportion

SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)  # of the images that get a decision


def curve(predictions: Predictions, labels: Ints, familiarity: Floats) -> tuple[Answered, ...]:
    """Returns what a model reaches on the images that it decides on, were it to abstain.

    It abstains from the images whose probability is nearest to the threshold (`near`), or from
    those that are least familiar (`unusual`), if that is known.

    Args:
        predictions: Of images that the model was not made with (n,).
        labels: 1 for malignant (n,).
        familiarity: Of the images (n,); NaN if it is not known.
    """
    ways = {"near": margin(predictions.probabilities, predictions.threshold)}
    if np.isfinite(familiarity).all() and len(familiarity):
        ways["unusual"] = familiarity
    return tuple(
        _point(way, share, values, predictions.malignant, labels)
        for way, values in ways.items()
        for share in SHARES
    )


def _point(
    way: Any, share: float, values: Floats, called: NDArray[np.bool_], labels: Ints
) -> Answered:
    kept = np.zeros(len(values), bool)
    # Of equal values the first images are kept, so that the share is what it is called.
    kept[np.argsort(-values, kind="stable")[: round(share * len(values))]] = True
    found, seen = called[kept & (labels == 1)], called[kept & (labels == 0)]
    return Answered(
        way=way,
        share=share,
        images=int(kept.sum()),
        sensitivity=proportion(int(found.sum()), len(found)),
        specificity=proportion(int((~seen).sum()), len(seen)),
    )
