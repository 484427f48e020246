"""Sensitivity and specificity against the share of images that get a decision.

curve(predictions, labels, familiarity, rule)   # a point for each share and way of abstaining

Of what is shown here nothing is chosen: a model abstains by `Abstention`, which validation images
alone decide.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Abstention, Answered
from skin_pipeline.evaluation.familiarity import abstained, margin
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.intervals import Floats, Ints, proportion

Way = Literal["near", "unusual", "set"]
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)  # of the images that get a decision


def curve(
    predictions: Predictions, labels: Ints, familiarity: Floats, rule: Abstention
) -> tuple[Answered, ...]:
    """Returns what a model reaches on the images that it decides on, were it to abstain.

    It abstains from the images whose probability is nearest to the threshold (`near`), or from
    those that are least familiar (`unusual`), if that is known. If it abstains by its own settings,
    the last point (`set`) is what these do to the images.

    Args:
        predictions: Of images that the model was not made with (n,).
        labels: 1 for malignant (n,).
        familiarity: Of the images (n,); NaN if it is not known.
        rule: When the model abstains.
    """
    ways: dict[Way, Floats] = {"near": margin(predictions.probabilities, predictions.threshold)}
    if np.isfinite(familiarity).all() and len(familiarity):
        ways["unusual"] = familiarity
    points = [
        _point(way, share, _most(values, share), predictions.malignant, labels)
        for way, values in ways.items()
        for share in SHARES
    ]
    if not rule.never:
        seen = predictions.probabilities, familiarity, predictions.threshold
        kept = ~abstained(rule, *seen)
        share = float(kept.mean()) if len(kept) else 1.0
        points.append(_point("set", share, kept, predictions.malignant, labels))
    return tuple(points)


def _most(values: Floats, share: float) -> NDArray[np.bool_]:
    """Returns which images (n,) have the highest values: `share` of all."""
    kept = np.zeros(len(values), bool)
    # Of equal values the first images are kept, so that the share is what it is called.
    kept[np.argsort(-values, kind="stable")[: round(share * len(values))]] = True
    return kept


def _point(
    way: Way, share: float, kept: NDArray[np.bool_], called: NDArray[np.bool_], labels: Ints
) -> Answered:
    found, seen = called[kept & (labels == 1)], called[kept & (labels == 0)]
    return Answered(
        way=way,
        share=share,
        images=int(kept.sum()),
        sensitivity=proportion(int(found.sum()), len(found)),
        specificity=proportion(int((~seen).sum()), len(seen)),
    )
