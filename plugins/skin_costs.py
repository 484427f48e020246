"""What the latest runs of a model took, as the page "Models" shows it: `skin_pages/costs.html`.

{% with costs = skin_costs.of_model(model) %}{% include "costs.html" %}{% endwith %}
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skin_pipeline.contracts import StepCost
    from skin_pipeline.operations import spending
    from skin_pipeline.release import Model

log = logging.getLogger(__name__)
guard(__name__)

ALL = "all"  # the row that adds up the steps


class Bar(NamedTuple):
    """A run in the drawing of a step: its height, 0…1, and what it says."""

    height: float
    title: str


class Row(NamedTuple):
    """A line of the table: a step or a run, each figure in words."""

    name: str
    results: str
    wall: str
    core: str
    memory: str
    read: str
    written: str
    activations: str
    bars: tuple[Bar, ...] = ()
    report: str = ""


class Costs(NamedTuple):
    """What the latest runs of a model took.

    Attributes:
        judged_at: When the latest of them started.
        steps: What its steps took, each with the core time of all these runs, the oldest first.
        runs: The runs, newest first.
    """

    judged_at: str
    steps: tuple[Row, ...]
    runs: tuple[Row, ...]


def of_model(model: Model) -> Costs | None:
    """Returns what the latest runs took; None where no run recorded it.

    Raises:
        BadInput, Unavailable: As the store raises them.
    """
    from skin_pipeline.operations import spending

    spent = spending.trend(model)
    if not spent:
        return None
    names = [*spent[0].steps, ALL]
    steps = tuple(_row(name, _of(spent[0], name), _bars(spent, name)) for name in names)
    runs = tuple(_row(run.judged_at, run.total)._replace(report=run.report) for run in spent)
    return Costs(spent[0].judged_at, steps, runs)


def _of(spent: spending.Spent, step: str) -> StepCost:
    """Returns what a step took in a run; nothing, if the run did not have it."""
    from skin_pipeline.contracts import StepCost

    return spent.total if step == ALL else spent.steps.get(step, StepCost())


def _bars(spent: Sequence[spending.Spent], step: str) -> tuple[Bar, ...]:
    """Returns the core time of a step in each run, the oldest first; none for a single run."""
    from skin_pipeline.evaluation import wording

    if len(spent) < 2:
        return ()
    seconds = [(run.judged_at[:10], _of(run, step).core_seconds) for run in reversed(spent)]
    most = max(value for _, value in seconds) or 1.0
    return tuple(Bar(value / most, f"{day}: {wording.duration(value)}") for day, value in seconds)


def _row(name: str, cost: StepCost, bars: tuple[Bar, ...] = ()) -> Row:
    from skin_pipeline.evaluation import wording

    needed = cost.cached + cost.computed
    return Row(
        name,
        f"{cost.found} of {cost.results}",
        wording.duration(cost.seconds),
        wording.duration(cost.core_seconds),
        f"{cost.peak_mib:,.0f} MiB" if cost.peak_mib else "",
        wording.size(cost.bytes_read),
        wording.size(cost.bytes_written),
        f"{cost.cached} of {needed}" if needed else "",
        bars,
    )
