"""
### Watch over what was released

Verifies every day what all aliases of all models name, and sends alerts again that could not be
sent.

* *A version that is damaged, or not signed as it must be,* is an alert, and a second one when it is
  whole again. The run is green: it did what it is for.
* *Alerts* that no connection took stay in their incident, and are sent by the next run of this DAG.
* *Failed* means that the watch itself could not be kept: the store did not answer.

The schedule is the setting `SKIN_WATCH_SCHEDULE`.
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from airflow.sdk import TriggerRule, dag
from skin_airflow import airflow_store, step, tries
from skin_notifier import SkinNotifier, SkinRecovery, alert, recovered, send_again

from skin_pipeline.config import read_deployment
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.release import Model, Registry

log = logging.getLogger(__name__)
deployment = read_deployment()


@step()
def verify_all() -> dict[str, list[str]]:
    """
    Compares every byte that an alias of any model names with its manifest and its signature, and
    its history with what was seen before. Looks at all of them, whatever it finds.

    *Tries again* when the store does not answer.
    """
    with airflow_store() as store:
        registry = Registry.of(store, read_deployment())
        found: dict[str, list[str]] = {"whole": [], "damaged": [], "not answered": []}
        for name in registry.models():
            for alias in aliases_of(registry.model(name)):
                found[verified(registry.model(name), alias)].append(f"{name} {alias}")
        log.info(
            "watched whole=%d damaged=%d not_answered=%d", *(len(each) for each in found.values())
        )
        if found["not answered"]:
            raise Unavailable(f"could not be verified: {', '.join(found['not answered'])}")
    return found


# Also where the store did not answer for one of the versions.
@step(trigger_rule=TriggerRule.ALL_DONE)
def resend() -> dict[str, int]:
    """
    Sends the alerts, and the messages that something is over, that could not be sent.
    """
    with airflow_store() as store:
        arrived, failed = send_again(store)
    log.info("sent_again arrived=%d failed=%d", arrived, failed)
    return {"arrived": arrived, "failed": failed}


@dag(
    dag_id="skin_watch",
    dag_display_name="Skin-cancer screening: watch",
    schedule=deployment.watch_schedule or None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["skin", "monitoring"],
    on_failure_callback=SkinNotifier("run_failed"),
    on_success_callback=SkinRecovery(),
    default_args=tries(on_failure_callback=SkinNotifier("task_failed")),
)
def skin_watch() -> None:
    """Connects the tasks: what this run finds and cannot send is not tried at once again."""
    verify_all() >> resend()


def aliases_of(model: Model) -> list[str]:
    """Returns the aliases of a model; that they cannot be listed is reported as damage."""
    try:
        found = model.aliases()
    except BadInput as error:
        damaged(model.name, "its list of aliases", error)
        return []
    recovered("damaged", f"{model.name} its list of aliases")
    return found


def verified(model: Model, alias: str) -> str:
    """Verifies what an alias names, and tells people when that changes. Returns what was found."""
    try:
        release = model.verify_alias(alias)
    except BadInput as error:
        damaged(model.name, alias, error)
        return "damaged"
    except PipelineError as error:
        log.warning('not_verified model=%s alias=%s error="%s"', model.name, alias, error)
        return "not answered"
    log.info("verified model=%s alias=%s version=%s", model.name, alias, release.version)
    text = [f"Version {release.version} was verified: every byte is as its manifest says."]
    recovered("damaged", f"{model.name} {alias}", text=text)
    return "whole"


def damaged(model: str, alias: str, error: BadInput) -> None:
    """Tells people that what an alias names is not what was released."""
    log.error('damaged model=%s alias=%s error="%s"', model, alias, error)
    alert(
        *("damaged", f"{model} {alias}"),
        model=model,
        headline=f"What {alias} of {model} names is damaged or not signed as it must be",
        text=[f"Error: {error}"],
    )


dag_object = skin_watch()
