"""
### Train, judge and release a skin-cancer screening model

Dermoscopic images (benign / malignant) go in; a judged model in object storage comes out.
Six ResNet50 runs on resampled data are averaged, judged on a test set that nothing else has seen,
and **promoted** if the figures reach their bounds and are better than the champion's on the same
images, else **rejected** with reasons.

* *Start it* with **Trigger**; every field of the form is explained and has bounds.
* *Started again* with the same data and settings it ends in a minute: each step finds its result.
* *Refused* is a verdict, not a failure: the run is green, `promote` is skipped, and an alert
  gives the reasons.
* *Asked*: with `SKIN_APPROVAL`, a person must approve a model before it is promoted, in *Required
  Actions*. Rejected, or not answered in time: the run is green and nothing changes.
* *Failed* tasks say what was wrong in the last lines of their log. Correct it and clear the task.

The models are for research and give no diagnosis.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any

import skin_lineage
import skin_metrics
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TriggerRule, dag
from airflow.sdk.exceptions import AirflowSkipException
from skin_airflow import (
    AS_CALLED,
    airflow_deployment,
    airflow_job,
    call_task,
    check_mapped,
    deadline,
    most_mapped,
    note,
    step,
    tries,
)
from skin_approval import Approve, Budget
from skin_assets import RELEASED, announce_move, problem_of, schedule_of
from skin_form import form
from skin_notifier import SkinNotifier, SkinRecovery

from skin_pipeline import decisions, journal, sharding, steps
from skin_pipeline.contracts import Split
from skin_pipeline.operations import costs
from skin_pipeline.release import Registry
from skin_pipeline.seeds import run_seed

deployment = airflow_deployment()
problem = problem_of(deployment)  # of SKIN_RETRAIN_ON
SCORED = "Waits for *logits*, which is skipped if *evaluate* does its work."
# A slot of the pool is a core: tasks share the cores through it, instead of slowing each other.
computing: dict[str, Any] = {"pool": deployment.pool, "pool_slots": deployment.threads}
# Few others of the run go on meanwhile, so cores would stay idle.
alone: dict[str, Any] = {"pool": deployment.pool, "pool_slots": deployment.alone_slots}


@step()
def listing() -> list[list[list[str]]]:
    """
    Lists the images where `data` and `external` point, and divides those of large sets into ranges
    for the *decode* tasks. Sets of up to 20 shards are not listed; *ingest* decodes them by itself.

    *Fails at once* on wrong credentials, an unknown data set, a broken archive, a missing class or
    metadata that contradict the folders; *tries again* when Kaggle or the bucket does not answer.
    """
    with airflow_job(kaggle=True) as job:
        check_mapped(job.settings.runs)
        return sharding.ranges(job, most_mapped(sharding.MOST_TASKS))


@step(map_index_template=AS_CALLED, **computing)
def decode(ranges: list[list[str]]) -> list[str]:
    """
    Fetches a range of images, decodes each once, and packs them. Skipped where there is no large
    set. What a lost worker has not made, *ingest* makes.

    *Tries again* when an image is not as it was listed; if it stays so, clear *listing*.
    """
    with airflow_job(kaggle=True) as job:
        call_task(sharding.files_in(job, ranges))
        return [sharding.decode(job, one) for one in ranges]


# Where no set is large there is nothing to decode before, and those tasks are skipped.
@step(mapped="searches", trigger_rule=TriggerRule.NONE_FAILED, **alone)
def ingest(listed: list[list[list[str]]]) -> dict[str, Any]:
    """
    Fetches the images of small sets, decodes each once, and writes the manifest (a row an image)
    and the packed images; unites what was decoded of large sets, and sorts their images for the
    *duplicates* tasks. Also brings the weight file to the store.

    *Fails at once* on wrong credentials, an unknown data set, a broken archive, a missing class or
    metadata that contradict the folders; *tries again* when Kaggle or the store does not answer.
    """
    with airflow_job(kaggle=True) as job:
        made = steps.ingest(job, chain.from_iterable(listed))
        most = most_mapped(sharding.MOST_TASKS)
        searches = steps.searches(job, made.dataset, made.external, most)
        return {**made._asdict(), "searches": searches}


# Beside `validate` and `split`, since only `features` needs to know.
@step(**computing)
def engine(dataset: str, weights: str) -> str:
    """
    Chooses what computes the network: TensorFlow, or OpenVINO if it is quicker and agrees. It is
    measured once on such a machine. For small sets, which are computed sooner than that, it is
    TensorFlow.

    *Fails at once* when the settings ask for an engine that is not installed.
    """
    with airflow_job() as job:
        return steps.engine(job, dataset, weights)


@step(map_index_template=AS_CALLED, **computing)
def duplicates(dataset: str, external: dict[str, str], searches: list[list[str]]) -> list[str]:
    """
    Searches the near-duplicates of some buckets of similar images, so that many tasks share the
    work of a large set. Skipped where there is no large set. What is missing, *validate* makes.
    """
    with airflow_job() as job:
        call_task(sharding.buckets_in(searches, external))
        return [steps.duplicates(job, dataset, key, int(bucket)) for key, bucket in searches]


# Where no set is large, nothing is searched before, and those tasks are skipped.
@step(**computing, trigger_rule=TriggerRule.NONE_FAILED)
def validate(dataset: str, external: dict[str, str]) -> str:
    """
    Finds duplicates, near-duplicates and images shared with external sets; audits for shortcuts;
    checks the manifest with Great Expectations. The Data Docs are kept with the result.

    *Fails at once* when a critical check fails; warnings are in the log and the report.
    """
    with airflow_job() as job:
        return steps.validate(job, dataset, external)


@step(on_success_callback=SkinNotifier("data_warning"))
def split(validation: str) -> str:
    """
    Sets the test set apart (by the hash of the group, so that it never changes) and draws train and
    validation images for each run. Images of one patient stay together.
    """
    with airflow_job() as job:
        key = steps.split(job, validation)
        costs.announce(job, key)
        return key


@step()
def shards(dataset: str) -> list[list[int]]:
    """
    Lists the shards of images that each *features* task works on.
    """
    with airflow_job() as job:
        return sharding.groups(job, dataset, most_mapped(sharding.MOST_TASKS))


@step(map_index_template=AS_CALLED, **computing)
def features(split: str, weights: str, shards: list[int]) -> list[str]:
    """
    Computes what the frozen ResNet50 sees in each image of a shard, once for all runs; shard by
    shard where there are more of them than tasks.

    *Fails at once* on a weight file of another network; *tries again* when ImageNet weights could
    not be downloaded.
    """
    with airflow_job() as job:
        call_task(sharding.images_in(job, split, shards))
        return [steps.features(job, split, weights, shard) for shard in shards]


@step()
def parts(split: str) -> list[list[list[int]]]:
    """
    Lists the shards of images that each *logits* task works on; none if *evaluate* does it alone,
    as for a small set.
    """
    with airflow_job() as job:
        return sharding.mapped_parts(job, split, most_mapped(sharding.MOST_TASKS))


@step()
def runs(split: str, features: list[list[str]]) -> list[dict[str, Any]]:
    """
    Lists the training runs that the split has images for. Also writes the index of all features, so
    that each run reads one result.
    """
    with airflow_job() as job:
        index = steps.index(job, chain.from_iterable(features))
        return [{"features": index, "run": run} for run in range(job.load(split, Split).runs)]


@step(map_index_template=AS_CALLED, **computing)
def train(split: str, features: str, run: int) -> str:
    """
    Trains one run, with one log line an epoch. The epoch with the best validation AUC is kept. A
    run that diverges fails, and the others go on.
    """
    with airflow_job() as job:
        call_task(f"run {run}, seed {run_seed(job.settings.seed, run)}")
        return steps.train(job, split, features, run)


# Runs that failed do not stop the others from being judged.
@step(
    map_index_template=AS_CALLED,
    **computing,
    trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
)
def logits(split: str, trained: list[str], shards: list[list[int]]) -> list[str]:
    """
    Scores the test and validation images of some shards by all runs, and the test images by the
    champion, so that many tasks share the work of a large set. *evaluate* and *champion* make what
    is missing.
    """
    with airflow_job() as job:
        call_task(sharding.images_in(job, split, [*chain.from_iterable(shards)]))
        made = [steps.logits(job, split, trained, part) for part in shards]
        rival = [steps.champion_logits(job, split, part) for part in shards]
        return [*made, *filter(None, rival)]


# A failed run does not stop the others from being judged: the gate counts them.
@step(mapped="parts", **alone, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def evaluate(split: str, trained: list[str], validation: str) -> dict[str, Any]:
    """
    Averages the runs, sets temperature and threshold on validation images, and judges the ensemble
    and each run on the test set, in all and by slices. Builds the self-contained model, loads it
    again and tries it. Also lists the parts of large external sets for the *external_logits* tasks.
    """
    with airflow_job() as job:
        evaluation = steps.evaluate(job, split, trained, validation)
        most = most_mapped(sharding.MOST_TASKS)
        parts = sharding.mapped_external(job, evaluation, validation, most)
        return {"evaluation": evaluation, "parts": parts}


# It makes by itself what `logits` could not.
@step(**computing, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def champion(split: str) -> str:
    """
    Scores the champion again, on the same test set as the new model and by the same code. Images
    that it was trained on are left out. Nothing to do while there is no champion.
    """
    with airflow_job() as job:
        return steps.champion(job, split)


@step(map_index_template=AS_CALLED, **computing)
def external_logits(evaluation: str, validation: str, parts: list[dict[str, Any]]) -> list[str]:
    """
    Computes what the network sees in the images of some shards of external sets, and scores them by
    all runs, so that many tasks share the work of a large set. Skipped where there is no large set.
    What is missing, *external* makes.
    """
    with airflow_job() as job:
        call_task(sharding.external_images_in(job, validation, parts))
        known = (job, evaluation, validation)
        return [steps.external_logits(*known, part["name"], part["shards"]) for part in parts]


# Where no external set is large, nothing is scored before, and those tasks are skipped.
@step(**alone, trigger_rule=TriggerRule.NONE_FAILED)
def external(evaluation: str, validation: str) -> list[str]:
    """
    Scores the new model on each set of another origin that `external` names, by the parts of
    *external_logits* or by itself. Images that the model's own data contain too are left out.
    """
    with airflow_job() as job:
        return steps.external(job, evaluation, validation)


@step()
def gate(evaluation: str, validation: str, champion: str, external: list[str]) -> str:
    """
    Compares the figures with the bounds, and with the champion's. Writes the verdict with its
    reasons, the report and the model card.
    """
    with airflow_job() as job:
        return steps.gate(job, evaluation, validation, champion, external)


@step(on_success_callback=SkinNotifier("promoted"), outlets=[RELEASED])
def promote(verdict: str) -> str:
    """
    Writes the model as an immutable version, signs it if there is a key to sign with, and points
    the champion to it. Skipped when the gate or a person refused. If the champion is new, the asset
    `skin-model/NAME/champion` changed, so that DAGs of others can start.

    *Fails at once* when a person must approve the model and nobody has: clear `approve`.
    """
    with airflow_job() as job:
        version = steps.promote(job, verdict)
        skin_metrics.promoted(job.settings.released_as)
        skin_lineage.promoted(job, version, verdict)
        name = job.settings.released_as
        if journal.changed_nothing(job.store, job.run_id):
            note(f"Nothing changed: same images and settings as before. {version} stays champion.")
        else:
            note(f"Promoted {version}.")
            announce_move(Registry.of(job.store, job.deployment).model(name))
        return version


@step(on_success_callback=SkinNotifier("refused"))
def reject(verdict: str) -> str:
    """
    Records the refusal in the model's history: the gate's, or that of the person who was asked.
    Skipped when nobody refused.
    """
    with airflow_job() as job:
        refused = decisions.refused(job, verdict)
        if not refused:
            raise AirflowSkipException("approved")
        key = steps.reject(job, refused)
        unchanged = journal.changed_nothing(job.store, job.run_id)
        why = decisions.why(job, key)
        said = (
            "Nothing changed: refused like the same images and settings before"
            if unchanged
            else "Refused"
        )
        note(f"{said}: {why}")
        return key


@dag(
    dag_id="skin_training",
    dag_display_name="Skin-cancer screening: training",
    schedule=schedule_of(deployment),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    params=form(),
    doc_md=f"**{problem}**\n{__doc__}" if problem else __doc__,
    tags=["skin", "training"],
    on_failure_callback=SkinNotifier("run_failed"),
    on_success_callback=SkinRecovery(),
    deadline=deadline(),
    default_args=tries(
        retry_exponential_backoff=2,
        max_retry_delay=timedelta(minutes=15),
        on_failure_callback=SkinNotifier("task_failed"),
    ),
)
def skin_training() -> None:
    """Connects the steps: each takes the keys that earlier ones return."""
    listed = listing()
    images = ingest(listed)
    decode.expand(ranges=listed) >> images
    of_sets = {name: images[name] for name in ("dataset", "external")}
    validation = validate(**of_sets)
    duplicates.partial(**of_sets).expand(searches=images) >> validation
    weights = engine(images["dataset"], images["weights"])
    divided = split(validation)
    computed = features.partial(split=divided, weights=weights)
    cached = computed.expand(shards=shards(images["dataset"]))
    trained = train.partial(split=divided).expand_kwargs(runs(divided, cached))
    made = logits.partial(split=divided, trained=trained).expand(shards=parts(divided))
    # For a small set `logits` has no task and is skipped, which must skip nothing else. Airflow
    # runs no process for an empty task.
    scored = EmptyOperator(task_id="scored", trigger_rule=TriggerRule.NONE_FAILED, doc_md=SCORED)
    judged = evaluate(divided, trained, validation)
    model = {"evaluation": judged["evaluation"], "validation": validation}
    scores = external(**model)
    external_logits.partial(**model).expand(parts=judged) >> scores
    rival = champion(divided)
    made >> scored >> [judged, rival]
    verdict = gate(**model, champion=rival, external=scores)
    ends = [promote(verdict), reject(verdict)]
    if deployment.budget_core_hours:
        Budget(task_id="budget", about=divided) >> cached
    if deployment.approval != "never":
        Approve(task_id="approve", about=verdict) >> ends


dag_object = skin_training()
