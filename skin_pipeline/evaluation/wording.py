"""The names of figures, and how they are written for people: in the report and on the card."""

from __future__ import annotations

import math
from typing import NamedTuple

from skin_pipeline.contracts import Abstention, Interval


class Word(NamedTuple):
    """A figure's name, and what it means in a few words."""

    name: str
    meaning: str


# By their names in `contracts.Figures`, in the order in which they are shown.
FIGURES = {
    "accuracy": Word("Accuracy", "share of all images that are classified correctly"),
    "balanced_accuracy": Word("Balanced accuracy", "mean of sensitivity and specificity"),
    "sensitivity": Word("Sensitivity", "share of the malignant images that are found"),
    "specificity": Word("Specificity", "share of the benign images that are classified as benign"),
    "precision": Word("Precision", "share of the images predicted malignant that are malignant"),
    "f1": Word("F1", "harmonic mean of precision and sensitivity"),
    "auc": Word("AUC", "how often a malignant image has a higher score than a benign one"),
    "brier": Word("Brier score", "mean squared error of the probabilities; 0 is best"),
    "calibration_error": Word(
        "Calibration error",
        "mean distance between probability and share of malignant images; 0 is best",
    ),
}
NOT_A_DEVICE = (
    "For research and for the operation of this workflow. It is not a medical device and gives no "
    "diagnosis."
)


def shown(figure: Interval) -> str:
    """Returns a figure such as `0.812 [0.757, 0.857]`, or `not defined`."""
    return "not defined" if math.isnan(figure.value) else str(figure)


def signed(figure: Interval) -> str:
    """Returns a difference such as `+0.025 [-0.015, +0.065]`, or `not defined`."""
    if math.isnan(figure.value):
        return shown(figure)
    return f"{figure.value:+.3f} [{figure.low:+.3f}, {figure.high:+.3f}]"


def abstaining(rule: Abstention, threshold: float) -> str:
    """Returns a sentence: on which images a model with this threshold gives no decision."""
    kinds = []
    if rule.margin:
        low, high = rule.between(threshold)
        kinds.append(
            f"images with a probability between {low:.3f} and {high:.3f}, as {_percent(rule.near)} "
            "of the validation images have, those nearest to the threshold"
        )
    if rule.familiarity:
        kinds.append(
            "images that look more unusual to the model than all but "
            f"{_percent(rule.familiarity)} of the validation images"
        )
    if not kinds:
        return "The model gives a decision on every image."
    return f"The model gives no decision (unsure) on {'; and on '.join(kinds)}."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def size(count: int) -> str:
    """Returns a number of bytes such as `3.7 MB`."""
    if count < 1000:
        return f"{count} B"
    power = min(4, (len(str(count)) - 1) // 3)
    return f"{count / 1000**power:.1f} {'kMGT'[power - 1]}B"


def duration(seconds: float) -> str:
    """Returns a time such as `42 s`, `3 min 07 s` or `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
