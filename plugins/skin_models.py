"""The page "Models" in the Airflow UI (champions, judged runs and their reports), and the tab
"Data" of each run.

Every component of Airflow loads this file, but only the API server gets requests. So FastAPI, the
templates and the store are imported at the first request.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import logging
import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from airflow.plugins_manager import AirflowPlugin

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.responses import Response

    from skin_pipeline.contracts import Figures, Interval, Judgement, Pointer
    from skin_pipeline.release import Model
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

PREFIX = "skin-models"
ROUTE = "models"
RUN_ROUTE = "skin-data"  # of the tab "Data"
DAG = "skin_training"  # the DAG whose runs have data
PAGES = Path(__file__).parent / "skin_pages"
LAST_RUNS = 20  # judged runs in the table
LAST_DRAWN = 50  # judged runs in the drawing
LAST_MOVES = 10  # moves of the champion in the table
DASH = "\N{EN DASH}"

# The only keys of the store whose objects the page shows. No part of one starts with a dot, so
# none leads out of its folder. `again_…` is the folder of a result whose first try was killed.
REPORT_KEY = re.compile(r"gate/\w+/(?:again_\w+/)?report\.html")
DOCS_KEY = re.compile(r"(?:validate|split)/\w+/(?:again_\w+/)?docs/\w+\.html")

PAGE_POLICY = (
    "default-src 'none'; script-src 'sha256-{}'; style-src 'unsafe-inline'; img-src data:; "
    "frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
# `sandbox` forbids scripts. The report keeps its origin (`allow-same-origin`), because a link from
# one page of the Data Docs to the next must send the login cookie.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'; sandbox allow-same-origin allow-downloads"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",  # looking a report's links up would reveal that it is read
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


def report_link(key: str, base_url: str) -> str:
    """Returns the URL that shows a report inside the Airflow UI, which requires a login.

    Args:
        key: Key of the report in the store, such as `gate/4f1a…/report.html`.
        base_url: The URL at which people reach Airflow; if it is empty, so is the link.
    """
    if not base_url or not readable(key):
        return ""
    base = base_url.rstrip("/")
    return f"{base}/plugin/{ROUTE}{urlsplit(base).path}/{PREFIX}/{view_path(key)}"


def data_link(dag_id: str, run_id: str, base_url: str) -> str:
    """Returns the URL of a run's tab "Data"; "" for runs of other DAGs, or without a base URL."""
    if not base_url or dag_id != DAG:
        return ""
    return f"{base_url.rstrip('/')}/dags/{DAG}/runs/{quote(run_id)}/plugin/{RUN_ROUTE}"


def view_path(key: str) -> str:
    """Returns the path of the page that frames a report, relative to the page "Models"."""
    return f"view/{quote(key)}"


def readable(key: str) -> bool:
    """Returns whether the page may show the object under `key`."""
    return bool(REPORT_KEY.fullmatch(key) or DOCS_KEY.fullmatch(key))


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


def figure(value: float) -> str:
    """Returns a figure in 0…1 as text; a dash if it is not defined."""
    return DASH if math.isnan(value) else f"{value:.3f}"


def interval(item: Interval) -> str:
    """Returns the ends of a figure's interval as text."""
    if math.isnan(item.value):
        return "not defined"
    return f"{figure(item.low)} {DASH} {figure(item.high)}"


def share(value: float) -> str:
    """Returns a figure in 0…1 as a CSS percentage."""
    return f"{100 * min(max(value, 0.0), 1.0):.1f}%" if not math.isnan(value) else "0%"


def moment(text: str) -> str:
    """Returns a time of a document to the minute; text that is no time is returned unchanged."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".rstrip()


@functools.cache
def _pages() -> tuple[Any, str]:
    """Returns the Jinja2 environment, which escapes all values, and the content policy of pages."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from skin_pipeline.foreign import on_page

    pages = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        finalize=on_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        figure=figure, interval=interval, share=share, moment=moment, view_path=view_path
    )
    pages.tests["readable"] = readable
    script = (PAGES / "theme.js").read_bytes()
    pages.globals["theme_script"] = Markup(script.decode())
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return pages, PAGE_POLICY.format(digest)


def _render(template: str, status: int = 200, **values: Any) -> Response:
    from fastapi.responses import HTMLResponse

    pages, policy = _pages()
    html = pages.get_template(template).render(**values)
    return HTMLResponse(html, status, {**HEADERS, "Content-Security-Policy": policy})


def _models_page() -> Response:
    from skin_connections import open_configured_store

    store = open_configured_store()
    shown: dict[str, Any] = {"models": overview(store), "last": LAST_RUNS, "last_moves": LAST_MOVES}
    return _render("models.html", **shown, store=store.url)


def _run_page(dag_id: str, run_id: str) -> Response:
    """Returns the tab "Data" of a run: its data, even if the run failed because of it."""
    from skin_connections import open_configured_store

    from skin_pipeline import journal
    from skin_pipeline.contracts import Verdict, load

    if dag_id != DAG:
        nothing = f"Only runs of {DAG} have data."
        return _render("run.html", run=run_id, data=None, nothing=nothing)
    store = open_configured_store()
    made = journal.of_run(store, run_id)
    if made is None or not made.validation:
        nothing = "The data appears here as soon as the task validate has checked the images."
        return _render("run.html", run=run_id, data=None, nothing=nothing)
    data = journal.data_of(store, made.validation, made.split)
    verdict = load(store, made.verdict, Verdict) if made.verdict else None
    return _render(
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
    return _render("report.html", home=up, source=f"{up}report/{quote(key)}", key=key)


def _report(key: str) -> Response:
    from fastapi import HTTPException
    from fastapi.responses import HTMLResponse
    from skin_connections import open_configured_store

    store = open_configured_store() if readable(key) else None
    if store is None or not store.exists(key):
        raise HTTPException(404, "There is no such report.")
    headers = {**HEADERS, "Content-Security-Policy": REPORT_POLICY}
    return HTMLResponse(store.read(key), 200, headers)


def _failed(_request: Any, error: Exception) -> Response:
    """Returns a page that says what is wrong with the store, instead of a stack trace."""
    log.error("store_unreadable error=%s: %s", type(error).__name__, error)
    heading = "The model store cannot be read"
    return _render("problem.html", 503, heading=heading, problem=str(error))


def _broken(_request: Any, error: Exception) -> Response:
    """Returns the page for an unexpected error, which Airflow logs with its stack trace."""
    problem = f"{type(error).__name__}. The log of the API server says more."
    return _render("problem.html", 500, heading="The models cannot be shown", problem=problem)


def build_app() -> FastAPI:
    """Returns the FastAPI app; every route requires a login with the right to see plugins."""
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
    from airflow.api_fastapi.core_api.security import requires_access_view
    from fastapi import Depends, FastAPI

    from skin_pipeline.errors import PipelineError

    # FastAPI calls plain functions as well, but its type allows only coroutines as handlers.
    handlers: dict[Any, Any] = {PipelineError: _failed, Exception: _broken}
    app = FastAPI(
        title="Skin models",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
        exception_handlers=handlers,
    )
    for path, page in (
        ("/", _models_page),
        ("/run/{dag_id}/{run_id:path}", _run_page),
        ("/view/{key:path}", _frame_page),
        ("/report/{key:path}", _report),
    ):
        app.add_api_route(path, page, methods=["GET"], response_model=None)
    return app


class _LazyApp:
    """An ASGI app that is built at its first request."""

    app: FastAPI | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.app is None:
            self.app = build_app()
        await self.app(scope, receive, send)


def _icon() -> str:
    """Returns the navigation's icon as a data URL: a request for it would require the login."""
    encoded = base64.b64encode((PAGES / "icon.svg").read_bytes()).decode()
    return f"data:image/svg+xml;base64,{encoded}"


class SkinModelsPlugin(AirflowPlugin):
    """The plugin that Airflow loads: the page, its navigation entry, and the tab of each run."""

    name = "skin_models"
    # Airflow reads these two from the class, although its base class declares them for instances.
    fastapi_apps: ClassVar[list[Any]] = [  # type: ignore[misc]
        {"app": _LazyApp(), "url_prefix": f"/{PREFIX}", "name": "Skin models"}
    ]
    external_views: ClassVar[list[Any]] = [  # type: ignore[misc]
        {
            "name": "Models",
            "href": f"{PREFIX}/",  # relative, so that it also works below a base path
            "destination": "nav",
            "url_route": ROUTE,
            "nav_top_level": True,
            "icon": _icon(),
        },
        {
            "name": "Data",
            "href": f"{PREFIX}/run/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": RUN_ROUTE,
            "icon": _icon(),
        },
    ]
