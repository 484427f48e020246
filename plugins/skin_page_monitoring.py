"""The pages "Monitoring": what each model has scored, and whether its images have moved away from
those that it was judged on.

| Page | What it shows |
|---|---|
| `monitoring` | the models, each in a line |
| `monitoring/MODEL` | evidence of drift, what moved, scores, measures, performance |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from skin_web import Route, render

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi.responses import Response
    from skin_charts import Chart, Point

    from skin_pipeline.contracts import DriftReport, WatchedDay
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

T = TypeVar("T")
TAB = "monitoring"
LAST_DAYS = 90
TOLERATED = 0.02  # as `monitoring.watched` does; it is not imported for the page alone
NAMES = {
    "red": "Red",
    "green": "Green",
    "blue": "Blue",
    "saturation": "Saturation",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "dark": "Black part of the image",
    "bright": "Overexposed part of the image",
    "vignette": "Vignette: middle less corners",
    "distance": "Distance from the middle of the reference",
    "novelty": "What the trunk sees and never saw",
}


@dataclass(frozen=True)
class View:
    """What the page shows about one model.

    Attributes:
        name: The model's name.
        report: The report on its newest images; None if there is none.
        problem: Why it cannot be shown.
    """

    name: str
    report: DriftReport | None = None
    problem: str = ""

    @property
    def path(self) -> str:
        """The path of its page, relative to the page "Models"."""
        return f"{TAB}/{quote(self.name)}"

    @property
    def state(self) -> tuple[str, str]:
        """The state in words, and the class of its badge."""
        if self.problem or (self.report and self.report.problem):
            return "cannot be compared", "bad"
        if self.report is None:
            return "no report yet", "plain"
        if self.report.drifting:
            return "drift", "bad"
        return ("no drift", "good") if self.report.returned else ("few images yet", "plain")


def overview(store: Store) -> list[View]:
    """Returns all models that scored images, or were released and could, and those at sites.

    A damaged report affects only the model that it belongs to.
    """
    from skin_pipeline.monitoring import report
    from skin_pipeline.provenance import SigningKeys
    from skin_pipeline.release import Registry

    released = Registry(store, SigningKeys()).models()  # names only, so no key is needed
    watched = {*report.models(store), *report.reported(store)}
    return [view(store, name) for name in sorted({*watched, *released})]


def view(store: Store, name: str) -> View:
    """Returns what is known of a model."""
    from skin_pipeline.errors import BadInput
    from skin_pipeline.monitoring import report

    try:
        return View(name, report.latest(store, name))
    except BadInput as error:
        log.warning("report_unreadable model=%s error=%s", name, error)
        return View(name, problem=str(error))


# --- charts --------------------------------------------------------------------------------------


def activity(report: DriftReport) -> list[Chart]:
    """Returns the charts of what was scored, and of what the model said."""
    from skin_charts import Chart, Level

    days = report.days[-LAST_DAYS:]
    charts = [
        Chart(
            "Images scored a day",
            _points(days, lambda day: day.images),
            others=_points(days, lambda day: day.unreadable),
            bars=True,
            note="Red: images that could not be read.",
        ),
        Chart(
            "Classified as malignant",
            _points(days, lambda day: _share(day.malignant, _decided(day))),
            level=Level(report.malignant_share, "judged on"),
            percent=True,
        ),
        Chart(
            "Mean probability",
            _points(days, lambda day: day.means.get("probability", float("nan"))),
            level=_mean(report, "probability"),
        ),
        Chart(
            "Unreadable",
            _points(days, lambda day: _share(day.unreadable, day.images)),
            level=Level(TOLERATED, "tolerated"),
            percent=True,
        ),
    ]
    if any(day.abstained for day in days):
        abstained = _points(days, lambda day: _share(day.abstained, day.images - day.unreadable))
        note = (
            "Of the images that could be read: the model is unsure. They count for no other figure "
        )
        note += "of decisions."
        charts.append(Chart("Without a decision", abstained, percent=True, note=note))
    return charts


def _decided(day: WatchedDay) -> int:
    return day.images - day.unreadable - day.abstained


def evidence(report: DriftReport) -> Chart:
    """Returns the chart of the evidence against the line at which there is an alarm."""
    from skin_charts import Chart, Level

    return Chart(
        "Evidence of drift",
        _points(report.days[-LAST_DAYS:], lambda day: day.evidence),
        level=Level(report.alarm, "alarm at", alarm=True),
        logarithmic=True,
    )


def measured(report: DriftReport) -> list[Chart]:
    """Returns a chart of each measure of the images, with its range in the reference."""
    from skin_charts import Chart

    days, charts = report.days[-LAST_DAYS:], []
    for name, title in NAMES.items():
        band = report.bands.get(name)
        if band is None:
            continue
        points = _points(days, _mean_of_day(name))
        level = _mean(report, name)
        charts.append(Chart(title, points, band=(band.low, band.high), level=level))
    return charts


def _mean(report: DriftReport, name: str) -> Any:
    from skin_charts import Level

    band = report.bands.get(name)
    return Level(band.mean, "judged on") if band else None


def _mean_of_day(name: str) -> Callable[[WatchedDay], float]:
    return lambda day: day.means.get(name, float("nan"))


def _points(days: Sequence[WatchedDay], value: Callable[[WatchedDay], float]) -> list[Point]:
    from skin_charts import Point

    return [Point(day.day, float(value(day))) for day in days]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def performance(store: Store, model: str) -> tuple[list[Chart], list[str]]:
    """Returns charts of sensitivity and specificity in use, and what must be known to read them.

    Full dots are measured by labels that came back, hollow ones are estimated without labels.
    """
    from skin_charts import Chart

    from skin_pipeline.monitoring import performance as figures

    real, estimated = figures.real(store, model), figures.estimated(store, model)
    with_labels = [window for window in real if window.labelled]
    charts = [
        Chart(
            title,
            _windows(with_labels, f"adjusted_{name}"),
            others=_windows(estimated, name),
            percent=True,
            other="estimated",
            note="Full dots: measured by labels, adjusted for images without. "
            "Hollow, dashed: estimated, without labels.",
        )
        for name, title in {"sensitivity": "Sensitivity", "specificity": "Specificity"}.items()
    ]
    notes = [real[-1].selection] if real else []
    if estimated:
        notes += [estimated[-1].assumption, estimated[-1].check]
    return charts, notes


def _windows(windows: Sequence[Any], name: str) -> list[Point]:
    from skin_charts import Point

    points = []
    for _, same in groupby(sorted(windows, key=_last_day), key=_last_day):
        last = list(same)[-1]
        item = getattr(last, name)
        points.append(Point(_last_day(last), item.value, item.low, item.high))
    return points


def _last_day(window: Any) -> str:
    return str(window.end)[:10]


# --- pages ---------------------------------------------------------------------------------------


def _monitoring_page() -> Response:
    from skin_connections import open_configured_store

    return render("monitoring.html", tab=TAB, views=overview(open_configured_store()))


def _model_page(model: str) -> Response:
    from fastapi import HTTPException
    from skin_charts import draw
    from skin_connections import open_configured_store

    from skin_pipeline.errors import BadInput

    store = open_configured_store()
    shown = next((item for item in overview(store) if item.name == model), None)
    if shown is None:
        raise HTTPException(404, "There is no model of this name.")
    report = shown.report if shown.report and not shown.report.problem else None
    charts: list[Chart] = []
    notes: list[str] = []
    try:
        charts, notes = performance(store, model) if report else ([], [])
    except BadInput as error:
        log.warning("performance_unreadable model=%s error=%s", model, error)
        notes = [f"Cannot be shown. {error}"]
    return render(
        "monitoring_model.html",
        tab=TAB,
        view=shown,
        report=report,
        draw=draw,
        evidence=evidence(report) if report else None,
        activity=activity(report) if report else [],
        measured=measured(report) if report else [],
        performance=charts,
        notes=notes,
        last_days=LAST_DAYS,
    )


ROUTES = (
    Route("/monitoring", _monitoring_page),
    Route("/monitoring/{model}", _model_page),
)
