"""Draws how far apart runs are that differ only by chance."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skin_pipeline.contracts import Figures, Interval
from skin_pipeline.evaluation.plots.style import BLUE, DOT, INK, drawn, limits

METRICS = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auc": "AUC",
}
WIDTH, ROW, EDGE = 4.6, 0.17, 0.6  # inches


def spread(ensemble: Figures, per_run: Mapping[int, Figures]) -> str:
    """Draws figures of the ensemble and of each run alone with their 95 % intervals.

    The ensemble's interval continues as a band behind the runs.

    Args:
        ensemble: Figures of the ensemble.
        per_run: Figures of each run alone, by its number.
    """
    title = f"Ensemble and {len(per_run)} runs alone: {', '.join(METRICS.values())}"
    return drawn(title, lambda: _rows(ensemble, per_run))


def _rows(ensemble: Figures, per_run: Mapping[int, Figures]) -> Figure:
    each = len(per_run) + 2  # rows of a metric: the ensemble, the runs, and an empty one
    rows = len(METRICS) * each - 1
    shown = [getattr(one, name) for one in (ensemble, *per_run.values()) for name in METRICS]
    ends = [end for figure in shown for end in (figure.low, figure.high)]
    figure = Figure((WIDTH, EDGE + rows * ROW), layout="constrained")
    axes = figure.add_subplot(xlim=limits(ends), ylim=(rows - 0.3, -0.7))
    for number, name in enumerate(METRICS):
        _draw_ensemble(axes, number * each, getattr(ensemble, name), len(per_run))
        for row, run in enumerate(per_run.values(), number * each + 1):
            _draw(axes, row, getattr(run, name), INK, 1.0, 4)
    _name_rows(axes, each, [f"run {run}" for run in per_run])
    return figure


def _draw_ensemble(axes: Axes, row: int, figure: Interval, runs: int) -> None:
    band = row - 0.4, row + runs + 0.4
    axes.fill_betweenx(band, figure.low, figure.high, color=BLUE, alpha=0.13, linewidth=0)
    _draw(axes, row, figure, BLUE, 2.2, 7)


def _draw(
    axes: Axes, row: int, figure: Interval, colour: str, width: float, dot_size: float
) -> None:
    axes.hlines(row, figure.low, figure.high, color=colour, linewidth=width)
    axes.plot(figure.value, row, **{**DOT, "markersize": dot_size}, color=colour)


def _name_rows(axes: Axes, each: int, runs: list[str]) -> None:
    """Writes the name of each metric beside the ensemble, and those of the runs below it."""
    tops = range(0, len(METRICS) * each, each)
    axes.set_yticks(tops, METRICS.values(), weight="bold")
    below = [top + 1 + number for top in tops for number in range(len(runs))]
    axes.set_yticks(below, runs * len(METRICS), minor=True, size=8)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", which="both", visible=False)
