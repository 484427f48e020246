"""Draws the ROC curve with the operating point."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from skin_pipeline.contracts import Figures
from skin_pipeline.evaluation.plots.style import BLUE, DOT, INK, VERMILION, drawn
from skin_pipeline.intervals import Floats, Ints

POINTS = 150  # of a curve: more cannot be seen at this size, and make the page larger
SIZE = 4.4, 5.25  # inches
LINES: tuple[dict[str, Any], ...] = (  # of others in turn; the first is thin, for six runs at once
    {"color": INK, "alpha": 0.45, "linewidth": 0.8},
    {"color": VERMILION, "linestyle": (0, (4, 1.5)), "linewidth": 1.2},
)


def roc(labels: Ints, probabilities: Floats, figures: Figures, others: Mapping[str, Floats]) -> str:
    """Draws the ensemble's ROC curve and, behind it, those of others.

    The box around the operating point is the 95 % intervals of sensitivity and specificity.

    Args:
        labels: 1 for malignant (n,).
        probabilities: The ensemble's probabilities (n,).
        figures: The ensemble's figures on these images.
        others: By the name in the legend, probabilities (n,), or (models, n) of several models; NaN
            for an image that was not scored.
    """
    title = f"ROC curve on {figures.images} images: sensitivity against 1 - specificity"
    return drawn(title, lambda: _curves(labels, probabilities, figures, others))


def _curves(
    labels: Ints, probabilities: Floats, figures: Figures, others: Mapping[str, Floats]
) -> Figure:
    figure = Figure(SIZE, layout="constrained")
    axes = figure.add_subplot(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    curve = _curve(labels, probabilities)
    axes.plot(*curve, color=BLUE, linewidth=2.2, zorder=3, label="ensemble")
    _draw_operating_point(axes, figures)
    for (name, rows), line in zip(others.items(), cycle(LINES), strict=False):
        for number, row in enumerate(np.atleast_2d(rows)):
            axes.plot(*_curve(labels, row), **line, label="" if number else name)
    axes.plot((0, 1), (0, 1), color=INK, linestyle=":", linewidth=0.8, alpha=0.6, label="chance")
    axes.set(xlabel="1 - specificity (rate of false alarms)", ylabel="Sensitivity")
    figure.legend(loc="outside lower left", ncols=2, columnspacing=1.2)
    return figure


def _curve(labels: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Returns 1 - specificity and sensitivity at falling thresholds; both are empty if the images
    are of one class, of which there is no curve."""
    known = np.isfinite(probabilities)
    if len(np.unique(labels[known])) < 2:
        return np.empty(0), np.empty(0)
    false_alarms, found = _corners(labels[known], probabilities[known])
    # The distance along the curve, 0…2, never falls. Points at equal distances keep its shape.
    walked = false_alarms + found
    kept = np.unique(np.searchsorted(walked, np.linspace(0, walked[-1], POINTS)))
    return false_alarms[kept], found[kept]


def _corners(labels: Ints, probabilities: Floats) -> tuple[Floats, Floats]:
    """Returns the corners of the curve, as `sklearn.metrics.roc_curve` does.

    Importing scikit-learn takes longer than all that the gate does.
    """
    order = np.argsort(-probabilities)
    ends = np.flatnonzero(np.append(np.diff(probabilities[order]) != 0, True))  # of equal ones
    found = np.append(0, np.cumsum(labels[order])[ends])
    false_alarms = np.append(0, ends + 1) - found
    bends = (np.diff(false_alarms, 2) != 0) | (np.diff(found, 2) != 0)
    kept = np.concatenate([[True], bends, [True]])
    return false_alarms[kept] / false_alarms[-1], found[kept] / found[-1]


def _draw_operating_point(axes: Axes, figures: Figures) -> None:
    found, cleared = figures.sensitivity, figures.specificity
    corner = (1 - cleared.high, found.low)
    width, height = cleared.high - cleared.low, found.high - found.low
    axes.add_patch(Rectangle(corner, width, height, facecolor=BLUE, alpha=0.18))
    axes.plot(1 - cleared.value, found.value, **DOT, color=INK, zorder=4, label="operating point")
