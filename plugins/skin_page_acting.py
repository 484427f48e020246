"""The pages on which people act: roll a model back, move an alias, acknowledge an alert.

A page shows first what will change, and its form starts a DAG run that does it: so an action has a
log, an owner and a row on the page "Audit". Who may not trigger that DAG in Airflow sees no form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from skin_rights import check_form, form_token, may_trigger, to_read_runs, to_trigger
from skin_standing import standing
from skin_status import open_alerts
from skin_web import Route, render

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from fastapi.responses import Response
    from skin_web import Field

    from skin_pipeline.contracts import Incident
    from skin_pipeline.release import Model
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

ROLLBACK, ALIAS, ACKNOWLEDGE = "skin_rollback", "skin_alias", "skin_acknowledge"
TRAINING = "skin_training"
DAGS = {ROLLBACK: "Roll back", ALIAS: "Move an alias", ACKNOWLEDGE: "Acknowledge an alert"}
NOTHING = "nothing"  # what an alias names that does not exist yet
CONFIRMED = "yes"


# --- what there is to do -------------------------------------------------------------------------


def _overview() -> Response:
    from skin_reading import page_store

    store = page_store()
    may = {dag: may_trigger(dag) for dag in (*DAGS, TRAINING)}
    alerts = open_alerts(store)
    shown: dict[str, Any] = {"may": may, "incidents": alerts.open, "problems": alerts.problems}
    return render("act.html", models=_named(store), **shown)


def _named(store: Store) -> list[dict[str, Any]]:
    """Returns the models with what their aliases name."""
    from skin_pipeline.errors import BadInput

    found = []
    for name in _registry(store).models():
        try:
            pointers = _registry(store).model(name).unverified.pointers()
            found.append({"name": name, "pointers": pointers, "problem": ""})
        except BadInput as error:
            found.append({"name": name, "pointers": {}, "problem": str(error)})
    return found


# --- aliases -------------------------------------------------------------------------------------


def _rollback_form(model: str, alias: str = "champion", version: str = "") -> Response:
    return _move_page(ROLLBACK, model, alias, version)


def _alias_form(model: str, alias: str = "", version: str = "") -> Response:
    return _move_page(ALIAS, model, alias, version)


def _move_page(
    dag: str, name: str, alias: str, version: str, *, refused: str = "", reason: str = ""
) -> Response:
    """Returns the page that shows what a move will change, and asks for reason and confirmation."""
    from skin_trigger import is_paused

    from skin_pipeline.errors import BadInput

    model = _model(name)
    shown: dict[str, Any] = {
        "dag": dag,
        "title": DAGS[dag],
        "action": "rollback" if dag == ROLLBACK else "alias",
        "model": name,
        "alias": alias,
        "aliases": _aliases(model),
        "version": version,
        "versions": (),
        "token": form_token(dag),
        "refused": refused,
        "reason": reason,
        "paused": is_paused(dag),
        "before": None,
        "after": None,
        "problem": "",
    }
    try:
        shown.update(_change(model, dag, alias, version))
    except BadInput as error:
        shown["problem"] = str(error)
    return render("act_move.html", 400 if refused else 200, **shown)


def _aliases(model: Model) -> list[str]:
    """Returns the names that the form proposes; all others can be written into it."""
    from skin_pipeline.contracts import CHAMPION
    from skin_pipeline.errors import BadInput

    try:
        return sorted({CHAMPION, *model.unverified.pointers()})
    except BadInput:  # the page says so as soon as the damaged one is asked for
        return [CHAMPION]


def _change(model: Model, dag: str, alias: str, version: str) -> dict[str, Any]:
    """Returns what will change: the versions to choose from, the present one and the next.

    Raises:
        BadInput: Nothing can be changed like this.
    """
    if not alias:
        return {"versions": tuple(reversed(model.versions()))}
    moves = [document.move for document in model.unverified.documents(alias)]
    earlier = dict.fromkeys(move.version for move in moves)  # each once, newest first
    versions = tuple(earlier) if dag == ROLLBACK else tuple(reversed(model.versions()))
    now = moves[0].version if moves else ""
    if dag == ROLLBACK and not version:
        version = model.named_before(alias) or ""
    change: dict[str, Any] = {
        "versions": tuple(item for item in versions if item != now),
        "version": version,
        "before": standing(model, now, moves) if now else None,
    }
    return {**change, **_after(model, alias, version, now, moves)}


def _after(model: Model, alias: str, version: str, now: str, moves: Any) -> dict[str, Any]:
    from skin_pipeline.errors import PipelineError

    if not version:
        return {}
    if version not in model.versions():
        return {"problem": f"There is no version {version}."}
    if version == now:
        return {"problem": f"{alias} names version {now} already."}
    try:
        model.check_by_hand(version, alias)
    except PipelineError as error:
        return {"after": standing(model, version, moves), "problem": str(error)}
    return {"after": standing(model, version, moves)}


def _moving(dag: str) -> Callable[..., Response]:
    """Returns the action of a form that moves an alias: it starts a run of the DAG."""

    def act(
        token: Field = "",
        model: Field = "",
        alias: Field = "",
        version: Field = "",
        instead_of: Field = "",
        reason: Field = "",
        confirmed: Field = "",
    ) -> Response:
        asked = {"model": model, "alias": alias, "version": version, "instead_of": instead_of}
        return _moved(dag, token, asked, reason, confirmed)

    return act


def _moved(dag: str, token: str, asked: dict[str, str], reason: str, confirmed: str) -> Response:
    """Starts the run that moves an alias, unless something is missing in the form."""
    check_form(dag, token)
    _model(asked["model"])
    missing = "" if reason.strip() else "Give a reason: it stays in the history."
    if confirmed != CONFIRMED:
        missing = missing or "Confirm that this is what you want."
    if missing or not (asked["version"] and asked["instead_of"]):
        said = {"refused": missing or "Choose a version.", "reason": reason}
        return _move_page(dag, asked["model"], asked["alias"], asked["version"], **said)
    return _started(dag, {**asked, "reason": reason.strip()})


def _model(name: str) -> Model:
    """Returns a model that there is. Raises `HTTPException` (404) if there is none of this name."""
    from fastapi import HTTPException
    from skin_reading import page_store

    registry = _registry(page_store())
    if name not in registry.models():
        raise HTTPException(404, "There is no such model.")
    return registry.model(name)  # type: ignore[no-any-return]


def _registry(store: Store) -> Any:
    from skin_pipeline.config import read_deployment
    from skin_pipeline.release import Registry

    return Registry.of(store, read_deployment())


# --- alerts --------------------------------------------------------------------------------------


def _acknowledge_form(incident: str) -> Response:
    from skin_trigger import is_paused

    found = _incident(incident)
    shown: dict[str, Any] = {"token": form_token(ACKNOWLEDGE), "paused": is_paused(ACKNOWLEDGE)}
    return render("act_acknowledge.html", incident=found, dag=ACKNOWLEDGE, **shown)


def _acknowledge(token: Field = "", incident: Field = "", note: Field = "") -> Response:
    check_form(ACKNOWLEDGE, token)
    found = _incident(incident)
    return _started(ACKNOWLEDGE, {"incident": found.id, "note": note.strip()})


def _incident(number: str) -> Incident:
    """Returns an incident. Raises `HTTPException` (404) if there is none with this id."""
    import re

    from fastapi import HTTPException
    from skin_reading import page_store

    from skin_pipeline.operations import incidents

    valid = re.fullmatch(r"[0-9a-f]{12}", number)
    found = incidents.of_id(page_store(), number) if valid else None
    if found is None:
        raise HTTPException(404, "There is no such incident.")
    return found


# --- runs ----------------------------------------------------------------------------------------


def _started(dag: str, conf: dict[str, str]) -> Response:
    """Starts a run, and leads to the page that follows it."""
    from fastapi.responses import RedirectResponse
    from skin_trigger import trigger
    from skin_web import HEADERS

    run = trigger(dag, conf)
    # Relative to the page that was posted to, `…/act/NAME`; so it also works below a base path.
    return RedirectResponse(f"run/{dag}/{quote(run, safe='')}", 303, HEADERS)


def _run_page(dag_id: str, run_id: str) -> Response:
    from fastapi import HTTPException
    from skin_reading import page_store
    from skin_trigger import state_of

    from skin_pipeline.operations import actions

    state = state_of(dag_id, run_id) if dag_id in DAGS else None
    if state is None:
        raise HTTPException(404, "There is no such run.")
    action = actions.of_run(page_store(), dag_id, run_id)
    shown: dict[str, Any] = {"title": DAGS[dag_id], "state": state, "action": action}
    return render("act_run.html", dag=dag_id, run=run_id, **shown)


ROUTES = (
    Route("/act", _overview),
    Route("/act/rollback", _rollback_form, ("GET",), to_trigger(ROLLBACK)),
    Route("/act/rollback", _moving(ROLLBACK), ("POST",), to_trigger(ROLLBACK)),
    Route("/act/alias", _alias_form, ("GET",), to_trigger(ALIAS)),
    Route("/act/alias", _moving(ALIAS), ("POST",), to_trigger(ALIAS)),
    Route("/act/acknowledge", _acknowledge_form, ("GET",), to_trigger(ACKNOWLEDGE)),
    Route("/act/acknowledge", _acknowledge, ("POST",), to_trigger(ACKNOWLEDGE)),
    Route("/act/run/{dag_id}/{run_id:path}", _run_page, ("GET",), to_read_runs),
)
