"""
### Score new images with a released model

Looks into a folder, a zip file or a bucket, and scores what is new there: each image once, whatever
it is called, by the version that the alias names when the run begins.

* *Start it* with **Trigger**, or set a schedule (`SKIN_SCORING_SCHEDULE`). Without a source of its
  own, a run takes `SKIN_SCORING_SOURCE`.
* *A threshold does not travel*: for images of another clinic, name its site, whose profile
  (`skin_site`) has the threshold that holds there.
* *Nothing new* is no failure: the run is green, and `merge` is skipped.
* *Images that cannot be read* get a row that says why; they stop no other image. Files that are no
  images are skipped, and the log of `plan` counts them.
* *A chunk that failed* loses nothing of the others. Clear it to try it again; the next run takes
  its images as well.
* *Scores* go to the log in the store, as Parquet, with a CSV beside it for people. The log of
  `merge` says where. `python -m skin_pipeline scores MODEL --out scores.csv` makes one table of
  many batches.

Each batch updates the asset `skin-scores/MODEL`, which `skin_monitoring` reads. The scores are for
research and are no diagnosis.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import skin_lineage
import skin_metrics
from airflow.sdk import Param, TriggerRule, dag
from airflow.sdk.exceptions import AirflowSkipException
from skin_airflow import (
    AS_CALLED,
    airflow_deployment,
    airflow_job,
    call_task,
    most_mapped,
    step,
    tries,
)
from skin_assets import SCORES, announce, scores
from skin_form import OPTIONAL, answers, model_field
from skin_notifier import SkinNotifier, SkinRecovery

from skin_pipeline.config import read_settings, with_blanks
from skin_pipeline.contracts import CHAMPION, SITE_PATTERN
from skin_pipeline.release import ALIAS_PATTERN

deployment = airflow_deployment()
# A slot of the pool is a core: tasks share the cores through it, instead of slowing each other.
computing: dict[str, Any] = {"pool": deployment.pool, "pool_slots": deployment.threads}
DEFAULTS = {
    "model": read_settings({}).model_name,
    "alias": CHAMPION,
    "source": deployment.scoring_source,
    "site": deployment.scoring_site,
}
PARAMS = {
    "model": model_field(DEFAULTS["model"]),
    "alias": Param(
        DEFAULTS["alias"],
        title="Alias",
        type=OPTIONAL,
        pattern=with_blanks(ALIAS_PATTERN),
        description_md="The alias whose version scores: *champion*, or another one.",
    ),
    "source": Param(
        DEFAULTS["source"] or None,
        title="Source",
        type=OPTIONAL,
        description_md="A folder or a zip file below one that *SKIN_PATHS* names, or "
        "*s3://BUCKET/PREFIX*. Empty: what *SKIN_SCORING_SOURCE* names.",
    ),
    "site": Param(
        DEFAULTS["site"] or None,
        title="Site",
        type=OPTIONAL,
        pattern=with_blanks(SITE_PATTERN),
        description_md="The site that the images are from, whose profile (*skin_site*) has the "
        "threshold. Empty: what *SKIN_SCORING_SITE* names, or the version as it is.",
    ),
}


@step()
def plan() -> str:
    """
    Lists what is new in the source, without fetching it, and divides it into chunks. Remembers the
    version that the alias names.

    *Fails at once* when the model has no such version, or the source is none or may not be read;
    *tries again* when the source or the store does not answer.
    """
    from skin_pipeline.monitoring import scoring

    given = answers(DEFAULTS)
    with airflow_job(settings={}) as job:
        return scoring.plan(job, scoring.Request(**given), most_mapped(scoring.MOST_CHUNKS))


# A task of its own: Airflow maps only over the whole of what a task returns.
@step()
def chunks(batch: str) -> list[str]:
    """
    Lists the chunks of images that each *score* task works on.
    """
    from skin_pipeline.monitoring import scoring

    with airflow_job(settings={}) as job:
        return scoring.chunks_of(job, batch)


@step(map_index_template=AS_CALLED, **computing)
def score(chunk: str) -> str:
    """
    Fetches the images of a chunk, leaves out those that were scored under another name, and scores
    the rest. An image that cannot be read gets a row that says why.

    *Tries again* when the source or the store does not answer.
    """
    from skin_pipeline.monitoring import scoring

    with airflow_job(settings={}) as job:
        call_task(scoring.counted(scoring.size_of(job, chunk)))
        return scoring.score(job, chunk)


# What was scored is kept, even if a chunk failed; this task then fails after that.
@step(outlets=[SCORES], trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def merge(batch: str) -> str:
    """
    Writes the scores of all chunks into the log, each image once, and a table for people beside it.
    Skipped when nothing was new.

    *Fails at once* when a chunk failed, after the others were written.
    """
    from skin_pipeline.monitoring import scoring

    with airflow_job(settings={}) as job:
        told = scoring.merge(job, batch)
        if not told.batch:
            raise AirflowSkipException(told.words)
        skin_metrics.scored(job.store, told.batch)
        skin_lineage.scored(job.store, told.batch)
        model = scoring.planned(job.store, batch).model
        announce(SCORES, scores(model), {"batch": told.batch})
    return told.words


@dag(
    dag_id="skin_scoring",
    dag_display_name="Skin-cancer screening: batch scoring",
    schedule=deployment.scoring_schedule or None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    doc_md=__doc__,
    tags=["skin", "scoring"],
    on_success_callback=SkinRecovery(),
    default_args=tries(
        retry_exponential_backoff=2,
        max_retry_delay=timedelta(minutes=15),
        on_failure_callback=SkinNotifier("scoring_failed"),
    ),
)
def skin_scoring() -> None:
    """Connects the tasks: the chunks of the plan are mapped over, and merged at the end."""
    batch = plan()
    score.expand(chunk=chunks(batch)) >> merge(batch)


dag_object = skin_scoring()
