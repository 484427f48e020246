"""The ends of the training DAG alone, for a run whose results are there: asked, promoted, rejected.

Its tasks are those of `skin_training`, but for the first, which begins with an evaluation that the
environment names by the setting `epochs`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, dag, task
from skin_airflow import airflow_job
from skin_approval import Approve, Budget
from skin_form import form
from skin_notifier import SkinNotifier, SkinRecovery
from skin_training import promote, reject

from skin_pipeline import steps


@task
def gate() -> str:
    """Judges the evaluation against the champion of now."""
    with airflow_job() as job:
        evaluation = os.environ[f"TEST_EVALUATION_{job.settings.epochs}"]
        champion = steps.champion(job, os.environ["TEST_SPLIT"])
        return steps.gate(job, evaluation, os.environ["TEST_VALIDATION"], champion)


@task
def numbers() -> list[int]:
    """Lists what the work is mapped over."""
    return [1, 2]


@task
def work(number: int) -> int:
    """Stands for what is expensive."""
    return number


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def judge(done: Any) -> int:
    """Stands for what comes after it, even if some of it failed."""
    return len(list(done))


HOW: Any = {
    "params": form(),
    "on_failure_callback": SkinNotifier("run_failed"),
    "on_success_callback": SkinRecovery(),
    "default_args": {
        "retries": 1,
        "retry_delay": timedelta(seconds=1),
        "on_failure_callback": SkinNotifier("task_failed"),
    },
}


@dag(dag_id="asking", schedule=None, **HOW)
def asking() -> None:
    """Connects the ends, as `skin_training` does."""
    verdict = gate()
    Approve(task_id="approve", about=verdict) >> [promote(verdict), reject(verdict)]


@dag(dag_id="dear", schedule=None, **HOW)
def dear() -> None:
    """Asks before expensive work."""
    cached = work.expand(number=numbers())
    Budget(task_id="budget", about=os.environ["TEST_SPLIT"]) >> cached
    judge(cached)


asking_dag, dear_dag = asking(), dear()
