"""The plugin that Airflow loads: our pages, their entry in the menu, the tab "Data" of runs.

The pages themselves are in the modules that `MODULES` names; here are the frame of a report and the
tab.

Every component of Airflow loads this file, but only the API server gets requests. So FastAPI, the
templates and the store are imported at the first request.
"""

from __future__ import annotations

import importlib
import logging
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from skin_request import HOME
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


log = logging.getLogger(__name__)
guard(__name__)

DAG = "skin_training"  # the DAG whose runs have data
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
    return render("report.html", source=f"{HOME.get()}report/{quote(key)}", key=key)


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
MODULES = (
    "skin_page_models",
    "skin_page_comparison",
    "skin_page_versions",
    "skin_page_monitoring",
    "skin_page_runbook",
    "skin_page_acting",
    "skin_page_audit",
)


def build() -> FastAPI:
    """Returns the app with the pages of all modules."""
    others = (importlib.import_module(name).ROUTES for name in MODULES)
    return build_app((*ROUTES, *chain.from_iterable(others)))


ROUTES = (
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
