"""The page "Models" in the Airflow UI (champions, judged runs and their reports), and the tab
"Data" of each run.

Every component of Airflow loads this file, but only the API server gets requests. So FastAPI, the
templates and the store are imported at the first request.
"""

from __future__ import annotations

import functools
import importlib
import logging
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from skin_web import (
    HEADERS,
    PREFIX,
    ROUTE,
    LazyApp,
    Route,
    build_app,
    icon,
    page_link,
    readable,
    render,
    view_path,
)

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.responses import Response

    from skin_pipeline.contracts import Figures, Judgement, Pointer
    from skin_pipeline.release import Model
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

DAG = "skin_training"  # the DAG whose runs have data
LAST_RUNS = 20  # judged runs in the table
LAST_DRAWN = 50  # judged runs in the drawing
LAST_MOVES = 10  # moves of the champion in the table
RUN_ROUTE = "skin-data"  # of the tab "Data"

# `sandbox` forbids scripts. The report keeps its origin (`allow-same-origin`), because a link from
# one page of the Data Docs to the next must send the login cookie.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'; sandbox allow-same-origin allow-downloads"
)


def report_link(key: str, base_url: str) -> str:
    """Returns the URL that shows a report inside the Airflow UI, which requires a login.

    Args:
        key: Key of the report in the store, such as `gate/4f1a…/report.html`.
        base_url: The URL at which people reach Airflow; if it is empty, so is the link.
    """
    return page_link(view_path(key), base_url) if readable(key) else ""


def data_link(dag_id: str, run_id: str, base_url: str) -> str:
    """Returns the URL of a run's tab "Data"; "" for runs of other DAGs, or without a base URL."""
    if not base_url or dag_id != DAG:
        return ""
    return f"{base_url.rstrip('/')}/dags/{DAG}/runs/{quote(run_id)}/plugin/{RUN_ROUTE}"


@dataclass(frozen=True)
class ModelView:
    """What the page shows about one model name.

    Attributes:
        name: The model's name.
        champion: The pointer of the champion; None if no run was approved.
        figures: The champion's figures on its test set.
        report: The key of the champion's report.
        synthetic: Whether the model was made from synthetic data.
        judged: The latest judged runs, newest first.
        history: A drawing of the judged runs; empty until there are two.
        problem: Why the model cannot be read; the page then shows nothing else about it.
        trust: What is known of the signature of the champion's pointer, after "its pointer is".
        refused: Why the champion must not be used; empty if it may be.
        moves: The latest moves of the champion, each with the state of its signature, newest first.
    """

    name: str
    champion: Pointer | None = None
    figures: Figures | None = None
    report: str = ""
    synthetic: bool = False
    judged: tuple[Judgement, ...] = ()
    history: str = ""
    problem: str = ""
    trust: str = ""
    refused: str = ""
    moves: tuple[tuple[Pointer, str], ...] = ()


def overview(store: Store) -> list[ModelView]:
    """Returns all models of the store, synthetic ones last.

    A damaged document affects only the model that it belongs to.

    Raises:
        PipelineError: The store cannot be listed.
    """
    from skin_pipeline.config import read_deployment
    from skin_pipeline.release import Registry

    registry = Registry.of(store, read_deployment())
    views = [_view(registry.model(name)) for name in registry.models()]
    return sorted(views, key=lambda view: view.synthetic)


def _view(model: Model) -> ModelView:
    from skin_pipeline.config import SYNTHETIC
    from skin_pipeline.contracts import CHAMPION
    from skin_pipeline.errors import BadInput

    name, synthetic = model.name, model.name.endswith(SYNTHETIC)
    trust, refused = _trust(model)
    try:
        champion = model.unverified.pointer(CHAMPION)
        every = _each_once(model.judgements(last=LAST_DRAWN))
        judged, drawing = every[:LAST_RUNS], _history(every, champion.version if champion else None)
        if champion is None:
            return ModelView(
                name, judged=judged, history=drawing, synthetic=synthetic, refused=refused
            )
        moves = _moves(model)
        figures, report, generated = _champion_figures(model, champion)
        synthetic = synthetic or generated
        shown = (name, champion, figures, report, synthetic, judged, drawing)
        return ModelView(*shown, trust=trust, refused=refused, moves=moves)
    except BadInput as error:
        log.warning("model_unreadable model=%s error=%s", name, error)
        return ModelView(name, synthetic=synthetic, problem=str(error))


def _trust(model: Model) -> tuple[str, str]:
    """Returns the state of the champion's signature, and why the champion must not be used.

    The second is empty if it may be used.
    """
    from skin_pipeline.contracts import CHAMPION
    from skin_pipeline.errors import BadInput
    from skin_pipeline.provenance import PUBLIC_KEY

    if not model.keys.public:
        return f"not verified, as {PUBLIC_KEY} is not set here", ""
    try:
        model.pointer(CHAMPION)
    except BadInput as error:
        return "not trusted", str(error)
    return "signed with the trusted key", ""


def _moves(model: Model) -> tuple[tuple[Pointer, str], ...]:
    """Returns the latest moves of the champion, each with the state of its signature."""
    from skin_pipeline.errors import BadInput
    from skin_pipeline.provenance import SigningKeys
    from skin_pipeline.release import Registry

    history = model.unverified.documents(last=LAST_MOVES)
    try:
        words = model.signatures(history)
    except BadInput:  # the public key cannot be read, which `_trust` reports
        words = Registry(model.store, SigningKeys()).model(model.name).signatures(history)
    return tuple((document.move, word) for document, word in zip(history, words, strict=True))


def _each_once(newest_first: list[Judgement]) -> tuple[Judgement, ...]:
    """Returns judged runs with one judgement for each version: the first.

    Stores of older releases also contain runs that made an approved version again.
    """
    known: set[str | None] = set()
    kept = []
    for item in reversed(newest_first):
        if item.version is None or item.version not in known:
            kept.append(item)
        known.add(item.version)
    return tuple(reversed(kept))


@functools.lru_cache(maxsize=32)  # drawing takes as long as all the rest of the page
def _history(judged: tuple[Judgement, ...], champion: str | None) -> str:
    """Returns the figures of judged runs over time as an `<svg>` element; "" for fewer than two."""
    if len(judged) < 2:
        return ""
    from markupsafe import Markup

    from skin_pipeline.evaluation import plots

    return Markup(plots.history(judged, champion))


def _champion_figures(model: Model, champion: Pointer) -> tuple[Figures, str, bool]:
    """Returns the champion's figures on its test set, the key of its report, and whether its data
    is synthetic."""
    from skin_pipeline.contracts import Evaluation, Verdict, load

    release = model.unverified.release(champion.version)
    verdict = load(model.store, release.verdict, Verdict)
    evaluation = load(model.store, verdict.evaluation, Evaluation)
    return evaluation.ensemble, verdict.report, evaluation.synthetic


def _models_page() -> Response:
    from skin_connections import open_configured_store

    store = open_configured_store()
    shown: dict[str, Any] = {"models": overview(store), "last": LAST_RUNS, "last_moves": LAST_MOVES}
    return render("models.html", **shown, store=store.url)


def _run_page(dag_id: str, run_id: str) -> Response:
    """Returns the tab "Data" of a run: its data, even if the run failed because of it."""
    from skin_connections import open_configured_store

    from skin_pipeline import journal
    from skin_pipeline.contracts import Verdict, load

    if dag_id != DAG:
        nothing = f"Only runs of {DAG} have data."
        return render("run.html", run=run_id, data=None, nothing=nothing)
    store = open_configured_store()
    made = journal.of_run(store, run_id)
    if made is None or not made.validation:
        nothing = "The data appears here as soon as the task validate has checked the images."
        return render("run.html", run=run_id, data=None, nothing=nothing)
    data = journal.data_of(store, made.validation, made.split)
    verdict = load(store, made.verdict, Verdict) if made.verdict else None
    return render(
        "run.html",
        run=run_id,
        data=data,
        report=verdict.report if verdict else "",
        unchanged=made.unchanged,
        judged_at=verdict.judged_at if verdict else "",
    )


def _frame_page(key: str) -> Response:
    from fastapi import HTTPException

    if not readable(key):
        raise HTTPException(404, "There is no such report.")
    up = "../" * (key.count("/") + 1)
    return render("report.html", home=up, source=f"{up}report/{quote(key)}", key=key)


def _report(key: str) -> Response:
    from fastapi import HTTPException
    from fastapi.responses import HTMLResponse
    from skin_connections import open_configured_store

    store = open_configured_store() if readable(key) else None
    if store is None or not store.exists(key):
        raise HTTPException(404, "There is no such report.")
    headers = {**HEADERS, "Content-Security-Policy": REPORT_POLICY}
    return HTMLResponse(store.read(key), 200, headers)


# The modules whose pages are in the app, besides this one.
MODULES: tuple[str, ...] = ("skin_page_runbook",)


def build() -> FastAPI:
    """Returns the app with the pages of all modules."""
    others = (importlib.import_module(name).ROUTES for name in MODULES)
    return build_app((*ROUTES, *chain.from_iterable(others)))


ROUTES = (
    Route("/", _models_page),
    Route("/run/{dag_id}/{run_id:path}", _run_page),
    Route("/view/{key:path}", _frame_page),
    Route("/report/{key:path}", _report),
)


class SkinModelsPlugin(AirflowPlugin):
    """The plugin that Airflow loads: the page, its navigation entry, and the tab of each run."""

    name = "skin_models"
    # Airflow reads these two from the class, although its base class declares them for instances.
    fastapi_apps: ClassVar[list[Any]] = [  # type: ignore[misc]
        {"app": LazyApp(build), "url_prefix": f"/{PREFIX}", "name": "Skin models"}
    ]
    external_views: ClassVar[list[Any]] = [  # type: ignore[misc]
        {
            "name": "Models",
            "href": f"{PREFIX}/",  # relative, so that it also works below a base path
            "destination": "nav",
            "url_route": ROUTE,
            "nav_top_level": True,
            "icon": icon(),
        },
        {
            "name": "Data",
            "href": f"{PREFIX}/run/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": RUN_ROUTE,
            "icon": icon(),
        },
    ]
