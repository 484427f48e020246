"""Draws sensitivity and specificity against the share of images that get a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skin_pipeline.contracts import Answered
from skin_pipeline.evaluation.plots.style import BLUE, DOT, INK, VERMILION, drawn, limits

METRICS = {"sensitivity": "Sensitivity", "specificity": "Specificity"}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "near": ("the nearest left out", {"color": BLUE}),
    "unusual": ("the most unusual left out", {"color": VERMILION, "linestyle": (0, (4, 1.5))}),
}
OWN: dict[str, Any] = {**DOT, "color": INK, "marker": "D", "markersize": 5, "zorder": 3}
WIDTH, ROW, EDGE = 7.6, 2.3, 0.5  # inches


def answering(sets: Mapping[str, Sequence[Answered]]) -> str:
    """Draws a row of two panels for each set of images. The bands are 95 % intervals.

    Args:
        sets: What a model reaches if it abstains, by the name of the images; at least one.
    """
    title = f"Sensitivity and specificity against the share with a decision: {', '.join(sets)}"
    return drawn(title, lambda: _rows(sets))


def _rows(sets: Mapping[str, Sequence[Answered]]) -> Figure:
    figure = Figure((WIDTH, EDGE + ROW * len(sets)), layout="constrained")
    panels = figure.subplots(len(sets), len(METRICS), squeeze=False, sharex=True)
    for row, (name, points) in zip(panels, sets.items(), strict=True):
        for axes, (field, title) in zip(row, METRICS.items(), strict=True):
            _draw(axes, points, field)
            axes.set_title(name)
            axes.set_ylabel(title)
    for axes in panels[-1]:
        axes.set_xlabel("Images with a decision (%)")
    # From all images, on the left, to fewer and fewer.
    panels[0][0].invert_xaxis()
    found = [axes.get_legend_handles_labels() for axes in panels[:, 0]]
    named = {
        text: handle
        for handles, texts in found
        for handle, text in zip(handles, texts, strict=True)
    }
    figure.legend(named.values(), named, loc="outside lower left", ncols=len(named))
    return figure


def _draw(axes: Axes, points: Sequence[Answered], field: str) -> None:
    for way, (label, line) in WAYS.items():
        chosen = [point for point in points if point.way == way]
        shares = [100 * point.share for point in chosen]
        figures = [getattr(point, field) for point in chosen]
        lows, highs = [item.low for item in figures], [item.high for item in figures]
        if chosen:
            band = {"color": line["color"], "alpha": 0.13, "linewidth": 0}
            axes.fill_between(shares, lows, highs, **band)
            axes.plot(shares, [item.value for item in figures], **line, label=label)
    for point in points:
        if point.way == "set":
            value = getattr(point, field).value
            axes.plot(100 * point.share, value, **OWN, label="this version's settings")
    shown = [getattr(point, field) for point in points]
    axes.set_ylim(limits(end for item in shown for end in (item.low, item.high)))
