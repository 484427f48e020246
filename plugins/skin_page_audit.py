"""The page "Audit": all that was done to the models, in one table, and the same as CSV."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from skin_web import HEADERS, Route, render

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi.responses import Response

    from skin_pipeline.operations import audit
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

ROWS = 50  # on a page
LAST_PAGE = 1000
MOST_ROWS = 50_000  # of the CSV
COLUMNS = ("time", "kind", "model", "who", "what", "why", "result", "dag", "run", "report")


def _page(
    kind: str = "",
    model: str = "",
    by: str = "",
    text: str = "",
    since: str = "",
    until: str = "",
    page: int = 1,
) -> Response:
    from skin_reading import page_store

    from skin_pipeline.config import read_deployment
    from skin_pipeline.errors import BadInput
    from skin_pipeline.operations import audit
    from skin_pipeline.release import Registry

    asked = {"kind": kind, "model": model, "by": by, "text": text, "since": since, "until": until}
    asked = {name: value.strip() for name, value in asked.items()}
    store = page_store()
    shown: dict[str, Any] = {
        "asked": asked,
        "kinds": audit.KINDS,
        "models": Registry.of(store, read_deployment()).models(),
        "query": urlencode({name: value for name, value in asked.items() if value}),
    }
    try:
        wanted = audit.Wanted(**asked)
    except BadInput as error:
        empty: dict[str, Any] = {"entries": [], "page": 1, "more": False, "events": True}
        return render("audit.html", 400, problem=str(error), **empty, **shown)
    number = min(max(page, 1), LAST_PAGE)
    found, events = _entries(store, wanted)
    entries, more = audit.page(found, number, ROWS)
    table: dict[str, Any] = {"entries": entries, "page": number, "more": more, "events": events}
    return render("audit.html", problem="", **table, **shown)


def _csv(
    kind: str = "",
    model: str = "",
    by: str = "",
    text: str = "",
    since: str = "",
    until: str = "",
) -> Response:
    from fastapi import HTTPException
    from fastapi.responses import Response
    from skin_reading import page_store

    from skin_pipeline.errors import BadInput
    from skin_pipeline.operations import audit

    asked = (value.strip() for value in (kind, model, by, text, since, until))
    try:
        wanted = audit.Wanted(*asked)
    except BadInput as error:
        raise HTTPException(400, str(error)) from None
    named = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    content = as_csv(_entries(page_store(), wanted)[0])
    return Response(content, 200, {**HEADERS, **named}, "text/csv; charset=utf-8")


def _entries(store: Store, wanted: audit.Wanted) -> tuple[Iterator[audit.Entry], bool]:
    """Returns the wanted entries, and whether Airflow's event log is among them."""
    import skin_event_log

    from skin_pipeline.operations import audit

    dags = skin_event_log.readable_dags()
    events = skin_event_log.entries(dags, wanted)
    return audit.table(store, wanted, events), bool(dags)


def as_csv(entries: Iterator[audit.Entry]) -> str:
    """Returns entries as CSV, in which no cell is a formula for a spreadsheet."""
    import csv
    import io

    from skin_pipeline.foreign import defused_all

    sink = io.StringIO()
    table = csv.writer(sink, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for row in islice(entries, MOST_ROWS):
        cells = (row.at, row.kind, row.model, row.by, row.what, row.why, row.result)
        table.writerow(defused_all((*cells, row.dag, row.run, row.report)))
    if next(entries, None):
        table.writerow([f"There are more than {MOST_ROWS} rows: narrow the days down."])
    return sink.getvalue()


ROUTES = (Route("/audit", _page), Route("/audit.csv", _csv))
