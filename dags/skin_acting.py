"""What the DAGs share that people start to act: who acts, the record of it, and the alert.

Each action is a DAG run. Its intent is in the store before anything changes, and its outcome
afterwards (`skin_pipeline.operations.actions`).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from skin_pipeline.config import read_deployment
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line
from skin_pipeline.release import Model, Registry
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    from skin_pipeline.contracts import Action, ActionKind
    from skin_pipeline.operations import actions

log = logging.getLogger(__name__)


def context() -> Any:
    """Returns what Airflow knows of the running task."""
    return get_current_context()


def model_in(store: Store, given: Mapping[str, str]) -> Model:
    """Returns the model that the form names, with the keys of the deployment."""
    return Registry.of(store, read_deployment()).model(given["model"])


def person() -> str:
    """Returns who triggered the run, as Airflow knows them; "" if it does not."""
    return context()["dag_run"].triggering_user_name or ""


def mover() -> str:
    """Returns who triggered the run, if Airflow knows, and the run."""
    run = context()["dag_run"]
    return f"{run.triggering_user_name}, {run.run_id}" if run.triggering_user_name else run.run_id


def intent(kind: ActionKind, *, model: str, subject: str, plan: str, reason: str) -> Action:
    """Returns the intent of the running task; it is the same in each of its tries."""
    from skin_pipeline.contracts import Action

    run = context()["dag_run"]
    return Action(
        kind=kind,
        model=model,
        subject=subject,
        plan=plan,
        by=person(),
        reason=reason,
        dag=run.dag_id,
        run=run.run_id,
        at=run.run_after.isoformat(),  # the same for every try and every clearing
    )


def move_intent(kind: ActionKind, given: Mapping[str, str], words: str) -> Action:
    """Returns the intent of a run that moves an alias; `words` follow the name of the alias."""
    return intent(
        kind,
        model=given["model"],
        subject=given["alias"],
        plan=f"{given['alias']}: {words}",
        reason=given["reason"],
    )


@contextmanager
def recorded(store: Store, action: Action) -> Generator[actions.Doing, None, None]:
    """Records an action and what becomes of it; see `skin_pipeline.operations.actions`."""
    from skin_pipeline.operations import actions

    with actions.recorded(store, action) as doing:
        yield doing
    log.info("result %s", doing.result)


@contextmanager
def refusals_recorded(store: Store, action: Action) -> Generator[None, None, None]:
    """Records an action that is refused while it is planned; one that can be planned is not yet."""
    from skin_pipeline.operations import actions

    try:
        yield
    except BadInput:
        with actions.recorded(store, action):
            raise


def alert(kind: str, subject: str, *, model: str, headline: str, text: list[str]) -> None:
    """Alerts people to what was done. An alert that cannot be sent fails no action."""
    try:
        notifier = importlib.import_module("skin_notifier")  # slow; few actions need it
        notifier.alert(kind, subject, model=model, headline=headline, text=text, links={})
    except Exception as error:
        log.error("alert_not_sent kind=%s error=%s: %s", kind, type(error).__name__, line(error))
