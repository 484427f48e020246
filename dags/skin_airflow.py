"""What the DAGs share: a `Job` from a task's context, and errors as Airflow's own.

Nothing else in the project but `dags/` and `plugins/` imports Airflow.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import skin_lineage
import skin_metrics
from airflow.sdk import get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)
from airflow.sdk.log import mask_secret
from skin_clock import clock
from skin_elsewhere import give_back
from skin_pods import makes_pods, pod_options

from skin_pipeline import timing
from skin_pipeline.config import Deployment, placement, read_deployment, read_settings
from skin_pipeline.contracts import Cost
from skin_pipeline.errors import BadInput, Rejected, Unavailable, UnavailableHere
from skin_pipeline.foreign import line, reveals_secret
from skin_pipeline.job import Job
from skin_pipeline.roots import Roots
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

MINUTE = timedelta(minutes=1)


@contextmanager
def airflow_errors() -> Generator[None, None, None]:
    """Raises errors as Airflow's own: bad input fails a task, others have it tried once more."""
    try:
        with _pointing_to_runbook():
            yield
    except BadInput as error:
        raise AirflowFailException(str(error)) from None
    except Rejected as error:
        raise AirflowSkipException(f"refused by the gate: {error}") from None
    except Unavailable as error:
        if isinstance(error, UnavailableHere):
            give_back(error)
        raise AirflowException(str(error)) from (None if reveals_secret(error) else error)
    except AirflowException:
        raise
    except Exception as error:  # an unexpected one, whose whole chain Airflow would log
        if reveals_secret(error):
            raise AirflowException(f"{type(error).__name__}: {line(error)}") from None
        raise


@contextmanager
def _pointing_to_runbook() -> Generator[None, None, None]:
    """Logs which entry of the runbook is about an error, with its address if there is one."""
    from skin_page_runbook import runbook_link
    from skin_web import airflow_url

    from skin_pipeline.operations import runbook

    try:
        yield
    except (Rejected, AirflowSkipException):
        raise
    except Exception as error:
        entry = runbook.entry_of(error)
        log.error("see_runbook entry=%s link=%s", entry, runbook_link(entry, airflow_url()))
        raise


def airflow_deployment() -> Deployment:
    """Returns the settings of the installation; a task has one core unless they say otherwise."""
    deployment = read_deployment()
    return deployment.model_copy(update={"threads": deployment.slots})


def _of_task(deployment: Deployment, task: Any) -> Deployment:
    """Returns the settings for a task: it has as many threads as it takes slots of our pool."""
    if task.pool != deployment.pool:
        return deployment
    return deployment.model_copy(update={"threads": task.pool_slots})


@contextmanager
def airflow_job(
    *, kaggle: bool = False, settings: Mapping[str, Any] | None = None
) -> Generator[Job, None, None]:
    """Gives the job of the running task, with errors as in `airflow_errors`.

    Args:
        settings: The settings of the run, where its form asks for something else than settings.
        kaggle: Whether the step may download from Kaggle. Only then is the connection looked up,
            which costs two requests to Airflow.
    """
    from skin_connections import (
        data_access,
        kaggle_credentials,
        kaggle_endpoint,
        open_configured_store,
    )

    context: Any = get_current_context()
    allow_processes()
    with airflow_errors():
        access: dict[str, Any] = {}
        if kaggle:
            access = {"kaggle": kaggle_credentials(), "kaggle_endpoint": kaggle_endpoint()}
        deployment = _of_task(airflow_deployment(), context["task"])
        if deployment.signing_password:
            mask_secret(deployment.signing_password.get_secret_value())
        _opened.store = open_configured_store()
        yield Job(
            settings=read_settings(dict(context["params"] if settings is None else settings)),
            deployment=deployment,
            store=_opened.store,
            data_access=data_access,
            roots=Roots.of(deployment, by_others=True),
            run_id=context["run_id"],
            # The same for every try and every clearing, unlike the time at which a task starts.
            started=context["dag_run"].run_after,
            allow=clock.allow,
            observe=observe,
            note_memory=note_memory,
            **access,
        )


def observe(job: Job, key: str, cost: Cost | None) -> None:
    """Tells metrics and lineage of a result of the running task; see `Job.observe`."""
    skin_metrics.result(job, key, cost)
    skin_lineage.result(job, key, cost)


def note_memory(needed: float) -> None:
    """Keeps the bytes that the running task is expected to take, for the alert if it is killed.

    It can say nothing itself then. Its XComs stay until its next try.
    """
    from skin_pipeline.training import resources

    allowed = resources.allowed(airflow_deployment())
    ti: Any = get_current_context()["ti"]
    gib = {"needed_gib": needed / resources.GIB, "allowed_gib": allowed / resources.GIB}
    ti.xcom_push(key="memory", value={name: round(value, 2) for name, value in gib.items()})


def allow_processes() -> None:
    """Allows the running task to start processes, which decode images and end with it.

    Celery's library marks its workers as processes that must not start others (`daemon`), and gives
    them a key that cannot be passed on (`authkey`). A task is forked from one and inherits both.
    """
    from multiprocessing import process

    config = process.current_process()._config  # type: ignore[attr-defined]
    config["daemon"] = False
    config["authkey"] = process.AuthenticationString(config["authkey"])  # type: ignore[attr-defined]


@contextmanager
def airflow_store() -> Generator[Store, None, None]:
    """Gives the store alone, for tasks that are no step; with errors as in `airflow_errors`."""
    from skin_connections import open_configured_store

    with airflow_errors():
        _opened.store = open_configured_store()
        yield _opened.store


class Opened:
    """The store that the running task has opened last; a process runs one task."""

    store: Store | None = None


_opened = Opened()


def log_result(task: str, value: Any) -> None:
    """Logs in words what a task led to: the last line of its log."""
    from skin_pipeline.operations import results

    try:
        words = results.in_words(_opened.store, task, value) if _opened.store else ""
    except Exception as error:  # the task has succeeded, whatever can be said of it
        log.warning("result_without_words error=%s", type(error).__name__)
        words = ""
    if words:
        log.info("result %s", words)


NOTE = "skin_note"  # the key of the text that the plugin `skin_notes` makes the note of a run


def note(text: str) -> None:
    """Makes a text the note of the running DAG run, when the run ends.

    A task has no right to do that itself, so that the scheduler does it (`plugins/skin_notes.py`).
    """
    context: Any = get_current_context()
    context["ti"].xcom_push(key=NOTE, value=line(text))
    log.info('note text="%s"', line(text))


def step(*, mapped: str = "", **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Returns a decorator like `@task`, which also gives a task its description (the docstring of
    the function), its time-out (as in `skin_pipeline.timing`), and the queue, executor and pod that
    are set for it.

    Args:
        mapped: The output that other tasks are mapped over, of a function that returns several by
            name. Airflow maps over the value that a task returns and nothing else, so that value is
            this output; the others are XComs of their names.
        options: Those of `@task`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        name, deployment = function.__name__, read_deployment()
        most = timing.longest(name, deployment.time_factor)

        @functools.wraps(function)
        def timed(*args: Any, **values: Any) -> Any:
            with clock.running(name, most):
                value = function(*args, **values)
                log_result(name, value)
                return _handed_over(value, mapped) if mapped else value

        about = inspect.cleandoc(function.__doc__ or "")
        # The clock ends a task a minute earlier, with a message that says what to do.
        # The last line of the log is the result in words, and not the key that is returned.
        made = task(
            doc_md=about,
            execution_timeout=most + MINUTE,
            show_return_value_in_logs=False,
            multiple_outputs=False,  # which Airflow takes from the annotation otherwise
            **{**placed(name, deployment), **options},
        )
        return made(timed)

    return decorate


def _handed_over(outputs: Mapping[str, Any], mapped: str) -> Any:
    ti: Any = get_current_context()["ti"]
    for name in outputs.keys() - {mapped}:
        ti.xcom_push(key=name, value=outputs[name])
    return outputs[mapped]


def placed(name: str, deployment: Deployment) -> dict[str, Any]:
    """Returns where a task runs, as options of it: its queue, executor and pod."""
    where = placement(name, deployment.queues, deployment.executors, timing.LONGEST_HOURS)
    return {**where, **pod_options(name, where.get("executor", ""), deployment)}


def deadline() -> Any:
    """Returns when a run is reported as late, from `SKIN_DEADLINE_HOURS`; None for never.

    Airflow's scheduler looks for runs that missed it, and calls `skin_notifier.late` in the
    executor. There is none in `airflow dags test`, which has no scheduler and in Airflow 3.3 fails
    at the end of a run with a deadline. Nor is there one if that executor starts pods: given
    anything but a task, it raises an error, and the scheduler ends by it.
    """
    from airflow.sdk import (  # type: ignore[attr-defined]
        DeadlineAlert,
        DeadlineReference,
        SyncCallback,
    )

    hours = read_deployment().deadline_hours
    if not hours or sys.argv[1:3] == ["dags", "test"]:
        return None
    if makes_pods():
        log.warning("deadline_not_used reason=KubernetesExecutor setting=SKIN_DEADLINE_HOURS")
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours),
        callback=SyncCallback("skin_notifier.late"),
    )


def tries(**more: Any) -> dict[str, Any]:
    """Returns the `default_args` of a DAG: how often its tasks are tried, and `more`."""
    retries = read_deployment().retries
    return {"retries": retries, "retry_delay": timedelta(seconds=30), **more}


AS_CALLED = "{{ called }}"  # a `map_index_template`: the name that `call_task` gives


def call_task(name: str) -> None:
    """Names the running task among those that are mapped over, for the pages of Airflow."""
    context: Any = get_current_context()
    context["called"] = name


def most_mapped(most: int) -> int:
    """Returns how many tasks a step may have: `most`, or fewer if this Airflow allows fewer.

    Airflow refuses a list that is mapped over when the task that made it ends, after all its work.
    """
    allowed: int = conf.getint("core", "max_map_length")
    return min(allowed, most)


def check_mapped(runs: int) -> None:
    """Raises `BadInput` if there are more training runs than this Airflow makes tasks of a step."""
    allowed = most_mapped(runs)
    if runs > allowed:
        raise BadInput(
            f"runs={runs}, but this Airflow makes at most {allowed} tasks of one step ([core] "
            "max_map_length). Raise that, or lower runs and min_runs"
        )
