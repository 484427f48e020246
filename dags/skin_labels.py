"""
### Bring back the labels of images that were scored

Reads files with an image and its label in each row, and keeps what they say. So the page
*Monitoring* shows how good the model is in use, and the images may become training data.

* *Start it* with **Trigger**: the place of the files (a CSV or Excel file, a folder, or
  `s3://BUCKET/PREFIX`), or nothing for the one that `SKIN_LABELS_SOURCE` names.
* An image is named by its file name as it was scored, its ISIC id, or its SHA-256. Each file is
  read once.
* *Late* images: a label whose image was not scored yet waits for it. *Corrected* labels: the file
  that was read last holds, and the log names each change. *Not clear* (a name that two images have,
  two labels of one image, an unknown word): the row is not taken, and the log says what to do.
* *Failed* means that nothing at this place could be read.

If the sensitivity or the specificity of a version is then surely below what its release had to
show, an alert says so, and the asset `skin-drift/MODEL` changes. The schedule is the setting
`SKIN_LABELS_SCHEDULE`.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from airflow.sdk import Param, dag, get_current_context
from skin_airflow import airflow_job, note, step, tries
from skin_assets import DRIFT, LABELS, announce, drift, labels
from skin_form import OPTIONAL, answers
from skin_notifier import SkinNotifier, SkinRecovery, alert, recovered

from skin_pipeline.config import read_deployment, read_settings

deployment = read_deployment()
DEFAULTS = {"source": deployment.labels_source, "model": read_settings({}).released_as}
PARAMS = {
    "source": Param(
        DEFAULTS["source"],
        title="Labels",
        type=OPTIONAL,
        description_md="A file, a folder, or *s3://BUCKET/PREFIX*. Empty for the installation's "
        "place, the setting *SKIN_LABELS_SOURCE*.",
    ),
    "model": Param(
        DEFAULTS["model"],
        title="Model",
        type=OPTIONAL,
        description_md="The model that the images were scored with.",
    ),
}


@step(outlets=[LABELS])
def bring_back() -> dict[str, Any]:
    """
    Reads the files that were not read before. If a label is new or changed, the asset
    `skin-labels/MODEL` changes.

    *Fails at once* when there is nothing to read; *tries again* when a server does not answer.
    """
    from skin_pipeline.operations import labelling

    given, context = answers(DEFAULTS), get_current_context()
    with airflow_job(settings={}) as job:
        news = labelling.bring_back(
            job,
            given["source"],
            given["model"],
            by=context["dag_run"].triggering_user_name or "",
            dag=context["dag"].dag_id,
        )
    note(news.words)
    counts = {"new": len(news.new), "changed": len(news.changed), "pending": len(news.pending)}
    if news.anything:
        announce(LABELS, labels(news.model), {"model": news.model, **counts})
    return {"words": news.words, "model": news.model, **counts}


@step(outlets=[DRIFT])
def judge(read: dict[str, Any]) -> dict[str, Any]:
    """
    Compares what labels say about each version with the bounds that it was released by.
    """
    from skin_pipeline.monitoring import performance, worsening

    with airflow_job(settings={}) as job:
        model = read["model"]
        alarms = worsening.alarms(job.store, model, job.deployment)
        words = performance.shown(performance.real(job.store, model))
        quiet = set(worsening.watched(job.store, model)) - {alarm.subject for alarm in alarms}
    for alarm in alarms:
        told = alert("drift", alarm.subject, model=model, headline=alarm.headline, text=alarm.text)
        if told and told.count == 1:
            announce(DRIFT, drift(model), {"model": model, "version": alarm.version})
    for subject in sorted(quiet):
        recovered("drift", subject)
    return {"words": words, "alarms": [alarm.headline for alarm in alarms]}


@dag(
    dag_id="skin_labels",
    dag_display_name="Skin-cancer screening: labels that come back",
    schedule=deployment.labels_schedule or None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    doc_md=__doc__,
    tags=["skin", "monitoring"],
    on_failure_callback=SkinNotifier("run_failed"),
    on_success_callback=SkinRecovery(),
    default_args=tries(on_failure_callback=SkinNotifier("task_failed")),
)
def skin_labels() -> None:
    """Connects the tasks: what the labels say is judged after they were read."""
    judge(bring_back())


dag_object = skin_labels()
