"""
### Watch whether the images are still like those that the model was judged on

Reads the log of scores of each model and compares its images with the validation images of the
version that scores them: colour, exposure, sharpness and vignette, what the trunk sees, the scores,
the share of malignant, unreadable and abstained images. What was scored with the profile of a site
is watched by itself, and compared with the labelled images of that site.

* *An alarm* is an alert, and asks for retraining once (asset `skin-drift/MODEL`, see
  `SKIN_RETRAIN_ON`). The run is green: it did what it is for.
* *A false alarm* is expected at most once in 600 days with images, all that is watched taken
  together; within a month with a probability of at most 5 %.
* *Acknowledge* the alert, and evidence is counted anew from then on; so it is for a new version.
* *Failed* means that the log or a reference is damaged, or that the store did not answer.

The page **Monitoring** shows the reports. The schedule is the setting `SKIN_MONITORING_SCHEDULE`.
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import skin_metrics
from airflow.sdk import dag, get_current_context
from skin_airflow import AS_CALLED, airflow_store, call_task, most_mapped, step, tries
from skin_assets import DRIFT, announce
from skin_assets import drift as drift_of
from skin_notifier import SkinNotifier, SkinRecovery, alert, recovered

from skin_pipeline.config import read_deployment
from skin_pipeline.contracts import DriftReport
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    from skin_pipeline.operations import actions

log = logging.getLogger(__name__)
deployment = read_deployment()
MOST_MODELS = 512  # that are watched, each in a task of its own


@step()
def scoring_models() -> list[str]:
    """
    Lists the models that have scored images, each also by the sites whose profile was used.
    """
    from skin_pipeline.monitoring import report

    with airflow_store() as store:
        found = report.streams(store)
    most = most_mapped(MOST_MODELS)
    if len(found) > most:
        log.warning('not_watched models="%s"', ", ".join(found[most:]))
    return found[:most]


@step(map_index_template=AS_CALLED, outlets=[DRIFT])
def compare(model: str) -> str:
    """
    Writes the report of a model, or of a model at a site (`MODEL@SITE`), and tells people if its
    images have moved, or are as before again.
    An alarm asks for retraining, once.

    *Fails at once* when the log of scores is damaged; *tries again* when the store does not answer.
    """
    from skin_pipeline.monitoring import report
    from skin_pipeline.release import Registry

    call_task(model)
    with airflow_store() as store:
        name, site = report.parted(model)
        named = Registry.of(store, read_deployment()).model(name)
        # The labelled images of a site have the share of malignant ones that is expected there.
        share = 0.0 if site else read_deployment().monitoring_share
        made = report.make(store, named, site, anew=acknowledged_at(store, model), share=share)
        if made is None:
            return ""
        key, found = made
        tell(found)
        measure(found)
        ask(store, found)
    return key


@dag(
    dag_id="skin_monitoring",
    dag_display_name="Skin-cancer screening: monitoring",
    schedule=deployment.monitoring_schedule or None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["skin", "monitoring"],
    on_failure_callback=SkinNotifier("run_failed"),
    on_success_callback=SkinRecovery(),
    default_args=tries(on_failure_callback=SkinNotifier("task_failed")),
)
def skin_monitoring() -> None:
    """Compares each model in a task of its own, so that one does not stop the others."""
    compare.expand(model=scoring_models())


def measure(found: DriftReport) -> None:
    """Sends the evidence to where Airflow sends its metrics, as shares of what raises an alarm."""
    shares = {moved.name: moved.evidence / found.alarm for moved in found.moved}
    skin_metrics.drift(
        found.stream, {"all": found.evidence / found.alarm, **shares}, alarm=found.drifting
    )


def subject(stream: str) -> str:
    """Returns what an incident of drift is about: a stream of images, whatever the version."""
    return f"{stream} images"


def acknowledged_at(store: Store, stream: str) -> str:
    """Returns when a person last acknowledged the drift of a stream; "" if nobody did."""
    from skin_pipeline.operations import actions, incidents

    number = incidents.id_of("drift", subject(stream))
    done = (item for item in actions.latest(store) if acknowledges(item, number))
    return max((item.intent.at for item in done), default="")


def acknowledges(item: actions.Recorded, number: str) -> bool:
    """Returns whether an action acknowledged an incident."""
    intent, outcome = item.intent, item.outcome
    return (
        intent.kind == "acknowledge" and intent.subject == number and bool(outcome and outcome.done)
    )


def tell(found: DriftReport) -> None:
    """Tells people that images have moved, or that they are as before again."""
    from skin_web import airflow_url, page_link

    from skin_pipeline.monitoring import report

    if found.drifting:
        link = page_link(f"monitoring/{found.stream}", airflow_url())
        alert(
            *("drift", subject(found.stream)),
            model=found.model,
            headline=f"The images that {found.stream} scores have changed",
            text=[*report.lines(found), f"Version {found.version}. {report.said(found)}."],
            links={"Monitoring": link} if link else {},
        )
    elif found.returned:
        text = [f"Version {found.version}: {report.said(found)}."]
        recovered("drift", subject(found.stream), text=text)


def ask(store: Store, found: DriftReport) -> None:
    """Announces the drift of a model as an event of its asset, once for each alarm."""
    from skin_pipeline.monitoring import report

    context: Any = get_current_context()
    run = context["dag_run"]
    if report.asks(store, found, run.run_id, run.run_after.isoformat()):
        extra = {"version": found.version, "since": found.moved[0].since, "until": found.until}
        announce(DRIFT, drift_of(found.model), extra)


dag_object = skin_monitoring()
