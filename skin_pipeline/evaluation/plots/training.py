"""Draws the training curves of all runs, on the same scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from skin_pipeline.contracts import TrainedRun
from skin_pipeline.evaluation.plots.style import BLUE, GREEN, INK, VERMILION, drawn, limits


@dataclass(frozen=True)
class Curve:
    """A value of each epoch, and how it is drawn."""

    field: str
    label: str
    colour: str
    dashes: Any


# By their dashes the lines can be told apart without colours.
LOSS = Curve("loss", "training loss", BLUE, "solid")
VALIDATION_LOSS = Curve("validation_loss", "validation loss", VERMILION, (0, (4, 1.5)))
AUC = Curve("validation_auc", "validation AUC", GREEN, (0, (6, 1.5, 1, 1.5)))
KEPT, NEXT = "kept epoch", "next stage"
LEGEND = (LOSS.label, VALIDATION_LOSS.label, AUC.label, KEPT, NEXT)
DIAMOND: dict[str, Any] = {  # hollow, so that it hides nothing
    "marker": "D",
    "markersize": 7,
    "markerfacecolor": "none",
    "color": INK,
    "linestyle": "none",
    "clip_on": False,
}
FEW = 10  # epochs of a stage: such short lines get dots, or they would be overlooked

# In inches. The widest figure is as wide as the report's column. The code places the panels itself:
# matplotlib would make those with a name at their axis smaller than the others.
WIDTH, NARROW = 12.0, 8.0
CELL = 2.4  # the height of both panels of a run
LEFT, RIGHT, TOP, BOTTOM = 0.6, 0.1, 0.75, 0.55
BETWEEN_COLUMNS, BETWEEN_ROWS = 0.45, 0.9


def training_curves(runs: Sequence[TrainedRun]) -> str:
    """Draws the history of each run: its losses, and below them its AUC.

    Args:
        runs: At least one. All are drawn on the same scales.
    """
    title = f"Training curves by epoch: {', '.join(f'run {run.run}' for run in runs)}"
    return drawn(title, lambda: _panels(runs))


def _panels(runs: Sequence[TrainedRun]) -> Figure:
    figure, cells = _grid(len(runs))
    epochs = 0.5, max(len(run.history) for run in runs) + 0.5
    losses, aucs = _limits(runs, LOSS, VALIDATION_LOSS), _limits(runs, AUC)
    for run, cell in zip(runs, cells, strict=True):
        inside = cell.subgridspec(2, 1, height_ratios=(8, 5), hspace=0.12)
        loss = figure.add_subplot(inside[0], xlim=epochs, ylim=losses)
        auc = figure.add_subplot(inside[1], xlim=epochs, ylim=aucs)
        _draw_curve(loss, LOSS, run)
        _draw_curve(loss, VALIDATION_LOSS, run, kept=True)
        _draw_curve(auc, AUC, run, kept=True)
        _draw_stages(loss, auc, run)
        loss.set_title(f"Run {run.run}", pad=16)
        _name_axes(loss, auc, leftmost=cell.is_first_col())
    _add_legend(figure)
    return figure


def _grid(count: int) -> tuple[Figure, list[SubplotSpec]]:
    """Returns an empty figure, and a cell in it for each run."""
    across = min(count, 3 if count < 10 else 4)
    down = math.ceil(count / across)
    width = WIDTH if across > 2 else NARROW
    height = TOP + down * CELL + (down - 1) * BETWEEN_ROWS + BOTTOM
    cell = (width - LEFT - RIGHT - (across - 1) * BETWEEN_COLUMNS) / across
    figure = Figure((width, height))
    grid = figure.add_gridspec(
        down,
        across,
        left=LEFT / width,
        right=1 - RIGHT / width,
        bottom=BOTTOM / height,
        top=1 - TOP / height,
        wspace=BETWEEN_COLUMNS / cell,
        hspace=BETWEEN_ROWS / CELL,
    )
    return figure, [grid[divmod(number, across)] for number in range(count)]


def _limits(runs: Sequence[TrainedRun], *curves: Curve) -> tuple[float, float]:
    lines = [line for run in runs for line in run.history]
    return limits(getattr(line, curve.field) for line in lines for curve in curves)


def _draw_curve(axes: Axes, curve: Curve, run: TrainedRun, *, kept: bool = False) -> None:
    """Draws a curve, and a mark on the kept epoch if `kept`."""
    stages = [line.stage for line in run.history]
    axes.plot(
        range(1, len(stages) + 1),
        [getattr(line, curve.field) for line in run.history],
        label=curve.label,
        color=curve.colour,
        linestyle=curve.dashes,
        marker=".",
        markevery=[number for number, stage in enumerate(stages) if stages.count(stage) <= FEW],
    )
    if kept:
        epochs = [(line.stage, line.epoch) for line in run.history]
        number = epochs.index((run.best.stage, run.best.epoch)) + 1
        axes.plot(number, getattr(run.best, curve.field), label=KEPT, **DIAMOND)


def _draw_stages(loss: Axes, auc: Axes, run: TrainedRun) -> None:
    """Writes each stage's name where it starts, and draws a line where the previous one ends."""
    stages = [line.stage for line in run.history]
    names = list(dict.fromkeys(stages))
    _, end = loss.get_xlim()
    starts = [stages.index(name) + 0.5 for name in names]
    for name, start, stop in zip(names, starts, [*starts[1:], end], strict=True):
        # The name of a short stage would overlap the next one, or leave the panel.
        short = stop - start < 0.25 * end
        x, side, gap = (stop, "right", -3) if short else (start, "left", 3)
        loss.annotate(
            name,
            (x, 1),
            (gap, 2),
            xycoords=loss.get_xaxis_transform(),
            textcoords="offset points",
            ha=side,
            size=8,
        )
        for axes in (loss, auc) if start > 1 else ():
            axes.axvline(start, color=INK, linewidth=0.8, alpha=0.6, label=NEXT)


def _name_axes(loss: Axes, auc: Axes, *, leftmost: bool) -> None:
    for axes, name in ((loss, "Loss"), (auc, "AUC")):
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.set_ylabel(name if leftmost else "")
    loss.tick_params(labelbottom=False)
    auc.set_xlabel("Epoch, counted over all stages")


def _add_legend(figure: Figure) -> None:
    """Adds a legend that explains each kind of line once."""
    parts: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        parts.update(zip(labels, handles, strict=True))
    shown = [label for label in LEGEND if label in parts]
    figure.legend([parts[label] for label in shown], shown, loc="upper left", ncols=len(shown))
