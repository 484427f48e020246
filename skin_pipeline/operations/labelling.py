"""Labels that come back, as an action that somebody started: with intent, outcome and owner."""

from __future__ import annotations

from skin_pipeline.contracts import Action
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.monitoring import labels
from skin_pipeline.operations.actions import recorded


def bring_back(
    job: Job, source: str, model: str, *, by: str = "", dag: str = "command-line"
) -> labels.News:
    """Reads the files of labels at a place that were not read before, and records that.

    Args:
        job: The job; see `monitoring.labels.bring_back`.
        source: A file, a folder, or `s3://BUCKET/PREFIX`.
        model: The model that the images were scored with.
        by: Who started it; empty for a schedule.
        dag: The DAG that carries it out.

    Raises:
        BadInput: There is nothing at this place, or none of its files has labels.
        Unavailable: A server does not answer.
    """
    if not source.strip():
        raise BadInput(
            "source is empty, so there are no labels to read. Enter a file, a folder or "
            "s3://BUCKET/PREFIX, or set SKIN_LABELS_SOURCE for all runs"
        )
    intent = Action(
        kind="labels",
        model=model,
        subject=source,
        plan=f"read the labels at {source} for images that {model} scored",
        by=by,
        reason="",
        dag=dag,
        run=job.run_id,
        at=job.moment,
    )
    with recorded(job.store, intent) as doing:
        news = labels.bring_back(job, source.strip(), model)
        doing.result = news.words
    return news
