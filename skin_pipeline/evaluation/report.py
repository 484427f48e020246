"""The report of a judged run: one HTML file that opens offline."""

from __future__ import annotations

import base64
from pathlib import Path
from statistics import median
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from skin_pipeline import journal
from skin_pipeline.contracts import Evaluation, TrainedRun, Verdict, load
from skin_pipeline.storage import Store

TEMPLATES = Path(__file__).parent / "templates"


class TrainingRow(NamedTuple):
    """A line of the table of runs: the run, and what its history comes to. `csv` is the history
    itself, as an address that holds it."""

    run: TrainedRun
    images_per_second: float
    time: str
    csv: str


def render(store: Store, verdict: Verdict, evaluation: Evaluation) -> str:
    """The report as HTML, everything it needs inside."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    runs = sorted((load(store, key, TrainedRun) for key in evaluation.runs), key=lambda r: r.run)
    data = journal.data_of(store, verdict.validation, evaluation.split)
    return environment.get_template("report.html").render(
        verdict=verdict,
        evaluation=evaluation,
        dataset=data.dataset,
        split=data.split,
        data=data,
        training=[_training_row(store, run) for run in runs],
        curves=_curves(runs) if runs else "",
    )


def _curves(runs: list[TrainedRun]) -> Markup:
    # matplotlib takes long to import, and only a report that is written needs it.
    from skin_pipeline.evaluation import plots

    return Markup(plots.training_curves(runs))


def _training_row(store: Store, run: TrainedRun) -> TrainingRow:
    last = run.history[-1].stage
    speed = median(line.images_per_second for line in run.history if line.stage == last)
    content = base64.b64encode(store.read(run.table)).decode()
    time = _time(sum(line.seconds for line in run.history))
    return TrainingRow(run, speed, time, f"data:text/csv;base64,{content}")


def _time(seconds: float) -> str:
    """For people: `42 s`, `3 min 07 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
