"""
### Point the champion back to an earlier version

Moves an alias, mostly `champion`, back to a version that it named before.

* *Start it* with **Trigger**: the model, the version or `previous`, and the reason, which stays in
  the history.
* `previous` is the version before the one that is named now. After a rollback it is the version
  before that, so that two rollbacks never lead back to the version that was given up.
* Every byte of the version is compared with its manifest *before* anything moves. A version that
  is damaged or not there is refused, with the versions that there are; so is one that is not
  signed, if `SKIN_PUBLIC_KEY` is set. The alias must then be signed too, as its own rollback will
  be: set `SKIN_SIGNING_KEY` where this runs.
* If a training run promotes a model meanwhile, nothing moves and the task says so: look at the new
  model and decide again.

The versions and the history: `python -m skin_pipeline models show MODEL`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context
from skin_airflow import airflow_store, answers, step
from skin_assets import RELEASED, announce_move

from skin_pipeline.config import read_deployment, read_settings, with_blanks
from skin_pipeline.contracts import CHAMPION
from skin_pipeline.release import ALIAS_PATTERN, PREVIOUS, Model, Registry, Rollback
from skin_pipeline.storage import Store

DEFAULTS = {
    "model": read_settings({}).model_name,
    "version": PREVIOUS,
    "alias": CHAMPION,
    "reason": "",
}
OPTIONAL: Any = ["null", "string"]  # an empty field is sent as null, and takes its default
PARAMS = {
    "model": Param(
        DEFAULTS["model"],
        title="Model",
        type=OPTIONAL,
        description_md="Name under which the model was released.",
    ),
    "version": Param(
        DEFAULTS["version"],
        title="Version",
        type=OPTIONAL,
        description_md="A version, or *previous* for the one that was named before.",
    ),
    "alias": Param(
        DEFAULTS["alias"],
        title="Alias",
        type=OPTIONAL,
        pattern=with_blanks(ALIAS_PATTERN),
        description_md="The alias that is to name the version: *champion*, or another one.",
    ),
    "reason": Param(
        title="Reason",
        type="string",
        pattern=r"\S",
        description_md="Why. It stays in the history.",
    ),
}


@step()
def verify() -> list[str]:
    """
    Finds the version and compares every byte of it with its manifest. Moves nothing.

    *Fails at once* when there is no such version, it is damaged or not signed as it must be;
    *tries again* when the store does not answer.
    """
    given = answers(DEFAULTS)
    with airflow_store() as store:
        return list(model_in(store, given).plan_rollback(given["version"], given["alias"]))


# A task of its own: if it also searched for the version, a second try would find one further back.
@step(outlets=[RELEASED])
def rollback(plan: list[str]) -> str:
    """
    Moves the alias to the version that was verified. A second try does not move it again. The asset
    `skin-model/MODEL/ALIAS` then changed, so that DAGs of others can start.

    *Fails at once* when the alias was moved meanwhile, by a training run or a person.
    """
    given = answers(DEFAULTS)
    with airflow_store() as store:
        model, rollback = model_in(store, given), Rollback(*plan)
        now = model.carry_out(rollback, given["alias"], by=mover(), reason=given["reason"])
        if rollback.version != rollback.instead_of:
            announce_move(model, given["alias"])
    return now.version


@dag(
    dag_id="skin_rollback",
    dag_display_name="Skin-cancer screening: rollback",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    doc_md=__doc__,
    tags=["skin", "release"],
    default_args={"retries": read_deployment().retries, "retry_delay": timedelta(seconds=30)},
)
def skin_rollback() -> None:
    """Connects the two tasks: the plan that `verify` returns is what `rollback` carries out."""
    rollback(verify())


def model_in(store: Store, given: dict[str, str]) -> Model:
    """Returns the model that the form names, with the keys of the deployment."""
    return Registry.of(store, read_deployment()).model(given["model"])


def context() -> Any:
    """Returns what Airflow knows of the running task."""
    return get_current_context()


def mover() -> str:
    """Returns who triggered the run, if Airflow knows, and the run."""
    run = context()["dag_run"]
    return f"{run.triggering_user_name}, {run.run_id}" if run.triggering_user_name else run.run_id


dag_object = skin_rollback()
