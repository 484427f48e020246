"""How figures are called and written for people, in the report and on the model card."""

from __future__ import annotations

import math
from typing import NamedTuple

from skin_pipeline.contracts import Interval


class Word(NamedTuple):
    """A figure's name, and what it is in a few words."""

    name: str
    meaning: str


# By their names in `contracts.Figures`.
FIGURES = {
    "accuracy": Word("Accuracy", "share of all images called rightly"),
    "balanced_accuracy": Word("Balanced accuracy", "mean of sensitivity and specificity"),
    "sensitivity": Word("Sensitivity", "share of the malignant images that are found"),
    "specificity": Word("Specificity", "share of the benign images that are cleared"),
    "precision": Word("Precision", "share of the images called malignant that are"),
    "f1": Word("F1", "harmonic mean of precision and sensitivity"),
    "auc": Word("AUC", "how often a malignant image scores above a benign one"),
    "brier": Word("Brier score", "mean squared error of the probabilities; 0 is best"),
    "calibration_error": Word(
        "Calibration error", "mean distance between probability and share; 0 is best"
    ),
}
NOT_A_DEVICE = (
    "For research and for the operation of this workflow. It is not a medical device and gives no "
    "diagnosis."
)


def shown(figure: Interval) -> str:
    """`0.812 [0.757, 0.857]`, or that it is not defined."""
    return "not defined" if math.isnan(figure.value) else str(figure)


def signed(figure: Interval) -> str:
    """A difference: `+0.025 [-0.015, +0.065]`."""
    if math.isnan(figure.value):
        return shown(figure)
    return f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 07 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
