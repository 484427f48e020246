"""Writes the report of a judged run: one HTML file that opens offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from skin_pipeline import journal, tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Answered, Evaluation, Mistake, Scored, TrainedRun, Verdict, load
from skin_pipeline.data import manifest
from skin_pipeline.evaluation import wording
from skin_pipeline.foreign import on_page
from skin_pipeline.intervals import Floats
from skin_pipeline.storage import Store

TEMPLATES = Path(__file__).parent / "templates"


class TrainingRow(NamedTuple):
    """A row of the table of runs: the run, and its history in figures and as `data:` address."""

    run: TrainedRun
    images_per_second: float
    seconds: float
    csv: str


class Pictures(NamedTuple):
    """A mistake, and its two pictures as `data:` addresses."""

    mistake: Mistake
    square: str
    saliency: str


class Knob(NamedTuple):
    """A setting of the run in words, and whether it differs from the default."""

    name: str
    value: str
    default: str
    changed: bool


def render(store: Store, verdict: Verdict, evaluation: Evaluation) -> str:
    """Returns the report as HTML, which contains everything that it shows.

    Raises:
        BadInput, Unavailable: As the store raises them.
    """
    runs = sorted((load(store, key, TrainedRun) for key in evaluation.runs), key=lambda r: r.run)
    data = journal.data_of(store, verdict.validation, evaluation.split)
    champion = load(store, verdict.champion, Scored) if verdict.champion else None
    external = [load(store, key, Scored) for key in verdict.external]
    answered = {"Test images": evaluation.answered}
    answered |= {item.name: item.answered for item in external if item.answered}
    return (
        _environment()
        .get_template("report.html")
        .render(
            verdict=verdict,
            evaluation=evaluation,
            dataset=data.dataset,
            split=data.split,
            data=data,
            champion=champion,
            external=external,
            answered=answered,
            mistakes=[_pictures(store, item) for item in evaluation.mistakes],
            training=[_training_row(store, run) for run in runs],
            knobs=[_knob(name, value) for name, value in verdict.settings.items()],
            drawings=_drawings(store, evaluation, runs, champion, answered),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=on_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": wording.shown,
        "signed": wording.signed,
        "abstaining": wording.abstaining,
        "duration": wording.duration,
        "size": wording.size,
    }
    environment.globals |= {"words": wording.FIGURES, "not_a_device": wording.NOT_A_DEVICE}
    return environment


def _drawings(
    store: Store,
    evaluation: Evaluation,
    runs: list[TrainedRun],
    champion: Scored | None,
    answered: Mapping[str, Sequence[Answered]],
) -> dict[str, Markup]:
    # Imports matplotlib, which takes a second: only a report that is written needs it.
    from skin_pipeline.evaluation import plots

    test = tables.read_scores(store, evaluation.predictions).query("test").set_index("key")
    labels = manifest.labels(test)
    others = _others(store, test, champion)
    ensemble = evaluation.ensemble
    drawn = {
        "roc": plots.roc(labels, test["probability"].to_numpy(), ensemble, others),
        "reliability": plots.reliability(evaluation.calibration),
        "spread": plots.spread(ensemble, evaluation.per_run),
        "answering": plots.answering(answered) if evaluation.answered else "",
        "training": plots.training_curves(runs),
    }
    return {name: Markup(svg) for name, svg in drawn.items()}


def _others(store: Store, test: pd.DataFrame, champion: Scored | None) -> Mapping[str, Floats]:
    """Returns the probabilities that each run and the champion give to the test images."""
    others: dict[str, Floats] = {}
    others["each run alone"] = test.filter(regex=r"^run_\d+$").to_numpy(float).T
    if champion and champion.predictions:
        scored = tables.read_scores(store, champion.predictions).set_index("key")["probability"]
        others[f"champion {champion.name}"] = scored.reindex(test.index).to_numpy(float)
    return others


def _training_row(store: Store, run: TrainedRun) -> TrainingRow:
    last = run.history[-1].stage
    # Stages differ in speed: the last one is what the strategy is about.
    speed = median(line.images_per_second for line in run.history if line.stage == last)
    seconds = sum(line.seconds for line in run.history)
    return TrainingRow(run, speed, seconds, _address(store, run.table, "text/csv"))


def _pictures(store: Store, mistake: Mistake) -> Pictures:
    square, saliency = (
        _address(store, key, "image/jpeg") for key in (mistake.square, mistake.saliency)
    )
    return Pictures(mistake, square, saliency)


def _address(store: Store, key: str, kind: str) -> str:
    """Returns a `data:` address, which contains the file itself: the report needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(store.read(key)).decode()}"


def _knob(name: str, value: Any) -> Knob:
    field = Settings.model_fields.get(name)
    default = field.default if field else None
    return Knob(name, _written(value), _written(default), value != default)


def _written(value: Any) -> str:
    return "empty" if value is None or value == "" else str(value)
