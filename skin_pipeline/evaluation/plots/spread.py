"""How far runs that differ by chance only lie apart."""

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
    """Dots with 95 % intervals of the ensemble and of each run alone, as one `<svg>` element.

    The ensemble's interval goes on as a band behind the runs.

    Args:
        ensemble: Figures of the runs together.
        per_run: Figures of each alone, by its number.
    """
    title = f"Ensemble and {len(per_run)} runs alone: {', '.join(METRICS.values())}"
    return drawn(title, lambda: _figure(ensemble, per_run))


def _figure(ensemble: Figures, per_run: Mapping[int, Figures]) -> Figure:
    each = len(per_run) + 2  # rows of a metric: the ensemble, the runs, and one left free
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
    """Name each metric at its ensemble, and each run below it."""
    tops = range(0, len(METRICS) * each, each)
    axes.set_yticks(tops, METRICS.values(), weight="bold")
    below = [top + 1 + place for top in tops for place in range(len(runs))]
    axes.set_yticks(below, runs * len(METRICS), minor=True, size=8)
    axes.tick_params(axis="y", which="both", length=0)
    axes.grid(axis="y", which="both", visible=False)
