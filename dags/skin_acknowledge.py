"""
### Acknowledge an alert

Marks an incident as being worked on, so that the others see who is at it.

* *Start it* with **Trigger**: the id of the incident, which the alert and the pages show, and a
  note if you like. Who acknowledges is the user who triggers the run.
* An incident that is acknowledged still counts what is seen of it, and ends by itself when the
  cause is gone. It sends no second alert while it lasts.
"""

from __future__ import annotations

from airflow.sdk import Param, dag
from skin_acting import context, intent, person, recorded
from skin_airflow import airflow_store, step, tries
from skin_form import OPTIONAL, answers

from skin_pipeline.storage import Store

DEFAULTS = {"incident": "", "note": ""}
PARAMS = {
    "incident": Param(
        title="Incident",
        type="string",
        pattern=r"^\s*[0-9a-f]{12}\s*$",
        description_md="The id of the incident: twelve hexadecimal digits.",
    ),
    "note": Param(
        DEFAULTS["note"],
        title="Note",
        type=OPTIONAL,
        description_md="What you know or will do, for the others.",
    ),
}


@step()
def acknowledge() -> str:
    """
    Writes who works on the incident, beside it.

    *Fails at once* when no open incident has this id; the log names those that are open.
    """
    from skin_pipeline.contracts import Action
    from skin_pipeline.operations import incidents

    given = answers(DEFAULTS)
    number, by = given["incident"], person() or context()["dag_run"].run_id

    def intended(store: Store) -> Action:
        found = incidents.of_id(store, number)
        return intent(
            "acknowledge",
            model=found.model if found else "",
            subject=number,
            plan=f"{found.kind}: {found.headline}" if found else f"incident {number}",
            reason=given["note"],
        )

    with airflow_store() as store, recorded(store, intended(store)) as doing:
        known = incidents.acknowledge(store, number, by)
        doing.result = f"acknowledged by {known.acknowledged_by}"
    return number


@dag(
    dag_id="skin_acknowledge",
    dag_display_name="Skin-cancer screening: acknowledge an alert",
    schedule=None,
    catchup=False,
    max_active_runs=4,
    params=PARAMS,
    doc_md=__doc__,
    tags=["skin", "alerts"],
    is_paused_upon_creation=False,  # it has no schedule: a run is always one that somebody wants
    default_args=tries(),
)
def skin_acknowledge() -> None:
    """Has one task."""
    acknowledge()


dag_object = skin_acknowledge()
