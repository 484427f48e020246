"""The report of a judged run: one HTML file that opens offline."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from skin_pipeline import journal
from skin_pipeline.contracts import Evaluation, TrainedRun, Verdict, load
from skin_pipeline.storage import Store

TEMPLATES = Path(__file__).parent / "templates"


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
        runs=runs,
    )
