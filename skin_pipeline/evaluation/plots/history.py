"""Draws the figures of a model's judged runs, one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skin_pipeline.contracts import Judgement
from skin_pipeline.evaluation.plots.style import BLUE, DOT, INK, VERMILION, drawn, limits

METRICS = {"accuracy": "Accuracy", "sensitivity": "Sensitivity", "auc": "AUC"}
REFUSED = {**DOT, "color": INK, "markerfacecolor": "none"}
APPROVED = {**DOT, "color": BLUE}
CURRENT = {**DOT, "color": VERMILION, "marker": "D", "markersize": 7}
SIZE = 7.2, 5.4  # inches
DATES = 8  # at most, below the axis: more would overlap
FEW = 50  # runs: the marks of more are smaller, so that they do not overlap


def history(judgements: Sequence[Judgement], champion_version: str | None) -> str:
    """Draws accuracy, sensitivity and AUC of judged runs with their 95 % intervals.

    Runs are at equal distances, in the order of time: on an axis of time, those of one day would
    hide one another.

    Args:
        judgements: At least one, in any order.
        champion_version: The version that is the champion, if any.
    """
    title = f"Accuracy, sensitivity and AUC of judged runs by date: {len(judgements)}"
    ordered = sorted(judgements, key=lambda item: pd.Timestamp(item.judged_at))
    return drawn(title, lambda: _timeline(ordered, champion_version))


def _timeline(judgements: Sequence[Judgement], champion: str | None) -> Figure:
    figure = Figure(SIZE, layout="constrained")
    panels = figure.subplots(len(METRICS), sharex=True)
    for axes, (name, title) in zip(panels, METRICS.items(), strict=True):
        _draw(axes, judgements, name, champion)
        axes.set_title(title)
    edge = max(0.6, 0.03 * len(judgements))
    panels[-1].set_xlim(-edge, len(judgements) - 1 + edge)
    # Some times have fractions of a second, as that of a person's answer, and some have none.
    times = pd.to_datetime([item.judged_at for item in judgements], utc=True, format="ISO8601")
    _name_dates(panels[-1], times)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), handlelength=1.2)
    return figure


def _draw(axes: Axes, judgements: Sequence[Judgement], name: str, champion: str | None) -> None:
    figures = [getattr(item, name) for item in judgements]
    kinds = [_kind(item, champion) for item in judgements]
    small = {"markersize": DOT["markersize"] * min(1.0, FEW / len(judgements)) ** 0.5}
    marks = {"refused": REFUSED | small, "approved": APPROVED | small, "champion": CURRENT}
    for kind, mark in marks.items():
        numbers = [number for number, other in enumerate(kinds) if other == kind]
        if numbers:
            chosen = [figures[number] for number in numbers]
            lows, highs = [item.low for item in chosen], [item.high for item in chosen]
            axes.vlines(numbers, lows, highs, color=mark["color"], linewidth=1)
            axes.plot(numbers, [item.value for item in chosen], **mark, label=kind)
    axes.set_ylim(limits(end for item in figures for end in (item.low, item.high)))


def _kind(judgement: Judgement, champion: str | None) -> str:
    if not judgement.approved:
        return "refused"
    return "champion" if judgement.version == champion else "approved"


def _name_dates(axes: Axes, times: pd.DatetimeIndex) -> None:
    """Writes a date below some runs; the hour where the date is written already."""
    numbers = list(range(0, len(times), math.ceil(len(times) / DATES)))
    days = [f"{time:%d %b}\n{time:%Y}" for time in times[numbers]]
    new = [day not in days[:number] for number, day in enumerate(days)]
    hours = [f"{time:%H:%M}" for time in times[numbers]]
    texts = [day if first else hour for day, hour, first in zip(days, hours, new, strict=True)]
    axes.set_xticks(numbers, texts)
    axes.set_xlabel("Judged (UTC)")
    axes.grid(axis="x", visible=False)
