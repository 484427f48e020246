"""What stands between Airflow and the steps: errors, and what a task is given."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skin_airflow
from airflow.sdk import dag
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from airflow.sdk.execution_time.task_runner import _run_execute_callable
from airflow.utils.file import list_py_file_paths
from alarm import PATIENCE, stand_still
from jinja2 import Template
from skin_airflow import (
    AS_CALLED,
    airflow_errors,
    airflow_job,
    airflow_store,
    call_task,
    check_mapped,
    most_mapped,
    step,
)

from skin_pipeline import timing
from skin_pipeline.config import form_schema
from skin_pipeline.data import workers
from skin_pipeline.errors import BadInput, PipelineError, Rejected, Unavailable
from skin_pipeline.storage import FolderStore

AFTER = datetime(2026, 7, 1, 9, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadInput("no images"), AirflowFailException),  # never again
        (Rejected("accuracy"), AirflowSkipException),  # no failure at all
        (Unavailable("busy"), AirflowException),  # once more
        (KeyError("bug"), KeyError),  # once more, as Airflow does with any error
    ],
)
def test_each_kind_of_error_is_what_airflow_should_make_of_it(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught, airflow_errors():
        raise error
    assert caught.type is kind
    assert str(error) in str(caught.value)


def test_an_error_that_nobody_expected_tells_no_secret() -> None:
    """Airflow logs all errors that led to one, with their words."""
    chained = ValueError("x")
    chained.__context__ = OSError("https://ada:hunter2@host/x")
    for error in (chained, KeyError("https://b.aws/k?X-Amz-Signature=hunter2")):
        with pytest.raises(AirflowException) as caught, airflow_errors():
            raise error
        assert type(error).__name__ in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__suppress_context__
    busy = Unavailable("busy")
    busy.__context__ = chained
    with pytest.raises(AirflowException, match="busy") as caught, airflow_errors():
        raise busy
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_a_skipped_task_stays_skipped() -> None:
    with pytest.raises(AirflowSkipException, match="approved"), airflow_errors():
        raise AirflowSkipException("approved by the gate")


def test_a_run_that_others_trigger_may_name_no_path_but_below_the_roots(
    running: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with airflow_job() as job:
        assert job.roots.folders == ()
    monkeypatch.setenv("SKIN_PATHS", "/srv/skin")
    with airflow_job() as job:
        assert job.roots.folders == ("/srv/skin",)


def test_only_what_may_pass_shows_its_cause() -> None:
    """The alert finds the pipeline's own error by it; a person reads the message alone."""
    for error in (BadInput("x"), Rejected("x")):
        with pytest.raises(AirflowException) as caught, airflow_errors():
            raise error
        assert caught.value.__suppress_context__
        assert isinstance(caught.value.__context__, PipelineError)


@pytest.fixture
def running(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The context of a running task, with the form as people left it."""
    monkeypatch.setenv("SKIN_STORE", store.url)
    monkeypatch.delenv("SKIN_THREADS", raising=False)
    context = {
        "params": {name: field["default"] for name, field in form_schema().items()} | {"runs": 7},
        "run_id": "manual__7",
        "dag_run": SimpleNamespace(run_after=AFTER),
        "task": SimpleNamespace(pool="default_pool", pool_slots=1),
    }
    monkeypatch.setattr(skin_airflow, "get_current_context", lambda: context)
    return context


class Unpicklable(bytes):
    """A key as Celery's own kind of process has it: it does not let itself be handed on."""

    def __reduce__(self) -> Any:
        raise TypeError("Pickling an AuthenticationString object is disallowed")


@pytest.mark.parametrize(
    "made", [{"daemon": True}, {"authkey": Unpicklable(b"key")}], ids=["marked", "of Celery's kind"]
)
def test_a_task_of_celery_s_can_decode_images_in_processes_of_its_own(
    made: dict[str, Any], running: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from multiprocessing import process

    usual = process.current_process()._config  # type: ignore[attr-defined]
    monkeypatch.setattr(process.current_process(), "_config", {**usual, **made})
    with pytest.raises((AssertionError, TypeError), match=r"daemonic|AuthenticationString"):
        list(workers.spread(str, [1], 1))
    with airflow_job():
        assert list(workers.spread(str, [1, 2], 1)) == ["1", "2"]


def test_a_task_is_given_the_form_the_store_and_the_run(
    running: dict[str, Any], store: FolderStore
) -> None:
    with airflow_job() as job:
        assert job.settings.runs == 7
        assert job.store.url == store.url
        assert (job.run_id, job.started) == ("manual__7", AFTER)
        assert job.data_access
        assert (job.kaggle, job.kaggle_endpoint) == (None, "")
    with airflow_store() as opened:
        assert opened.url == store.url


@pytest.mark.parametrize(("setting", "threads"), [(None, 1), ("3", 3)])
def test_a_task_takes_one_thread_unless_told_otherwise(
    setting: str | None,
    threads: int,
    running: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if setting:
        monkeypatch.setenv("SKIN_THREADS", setting)
    with airflow_job() as job:
        assert job.deployment.threads == threads


@pytest.mark.parametrize(("pool", "threads"), [("cores", 5), ("default_pool", 3)])
def test_a_task_has_as_many_threads_as_it_takes_slots_of_the_pool(
    pool: str, threads: int, running: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIN_POOL", "cores")
    monkeypatch.setenv("SKIN_THREADS", "3")
    running["task"] = SimpleNamespace(pool=pool, pool_slots=5)
    with airflow_job() as job:
        assert job.threads == threads


def test_only_a_task_that_may_ask_kaggle_is_given_its_credentials(
    running: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "generic", "login": "ada", "password": "k", "host": "http://h"}
    monkeypatch.setenv("AIRFLOW_CONN_KAGGLE", json.dumps(connection))
    with airflow_job(kaggle=True) as job:
        assert job.kaggle
        assert (job.kaggle.username, job.kaggle_endpoint) == ("ada", "http://h")
    with airflow_job() as job:
        assert job.kaggle is None


def test_settings_and_connections_that_do_not_fit_fail_a_task_at_once(
    running: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running["params"]["runs"] = 0
    with pytest.raises(AirflowFailException, match="runs"), airflow_job():
        pass
    monkeypatch.setenv("SKIN_STORE", "s3://models")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "nowhere")
    with pytest.raises(AirflowFailException, match="nowhere"), airflow_store():
        pass


def test_an_error_of_a_step_is_told_as_one_of_airflows(running: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException, match="no images"), airflow_job():
        raise BadInput("no images")
    with pytest.raises(AirflowException, match="busy"), airflow_store():
        raise Unavailable("busy")


def test_a_mapped_task_is_called_by_a_name_of_its_own(running: dict[str, Any]) -> None:
    call_task("run 2, seed 7")
    assert Template(AS_CALLED).render(running) == "run 2, seed 7"


def test_a_task_shows_the_text_of_its_function() -> None:
    @step(retries=4)
    def gate() -> None:
        """
        Measures.

            indented
        """

    # Bound to its options; its text shows when a DAG takes it.
    assert gate.kwargs["retries"] == 4
    assert gate.kwargs["doc_md"] == "Measures.\n\n    indented"


def test_airflow_reads_the_files_that_have_a_dag_and_no_other() -> None:
    dags = Path(skin_airflow.__file__).parent
    read = {Path(path).name for path in list_py_file_paths(dags)}
    assert read == {path.name for path in dags.glob("*.py") if "\n@dag(" in path.read_text()}


def test_importing_it_imports_no_step() -> None:
    heavy = "{'pandas', 'boto3', 'keras', 'skin_pipeline.steps', 'skin_connections'}"
    code = f"import sys, skin_airflow; print(sorted({heavy} & set(sys.modules)))"
    path = {"PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=path
    )
    assert run.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(("allowed", "most", "tasks"), [(1024, 512, 512), (100, 512, 100)])
def test_there_are_no_more_tasks_than_airflow_allows(
    monkeypatch: pytest.MonkeyPatch, allowed: int, most: int, tasks: int
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", str(allowed))
    assert most_mapped(most) == tasks


def test_more_runs_than_airflow_allows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "5")
    check_mapped(5)
    with pytest.raises(BadInput, match=r"runs=6, but this Airflow makes at most 5 tasks"):
        check_mapped(6)


# --- time -----------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


def run_by_airflow(function: Any) -> Any:
    """Runs a step as Airflow's task runner does, in its timeout."""

    @dag(dag_id="timed", schedule=None)
    def timed() -> None:
        step()(function)()

    (task,) = timed().tasks
    context: Any = {"ti": SimpleNamespace(), "task": task}
    return _run_execute_callable(context, task.execute, task)


def test_a_task_that_stands_still_is_ended_and_says_what_it_was_given_and_what_to_do(
    running: dict[str, Any],
) -> None:
    def features() -> None:
        with airflow_job() as job:
            assert job.allow
            job.allow(0.2, "features of 160 images, 8 times each")
            stand_still()

    began = time.monotonic()
    with pytest.raises(AirflowTaskTimeout) as caught:
        run_by_airflow(features)
    assert time.monotonic() - began < PATIENCE / 2
    said = str(caught.value)
    assert said.startswith(
        "features did not finish features of 160 images, 8 times each within 0 s"
    )
    assert "raise SKIN_TIME_FACTOR (now 1) or SKIN_THREADS" in said


def test_a_task_that_never_says_how_much_it_does_is_ended_too(
    running: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(timing.LONGEST_HOURS, "gate", 0.2 / 3600)

    def gate() -> None:
        stand_still()

    with pytest.raises(AirflowTaskTimeout, match="gate did not finish work of any size within 0 s"):
        run_by_airflow(gate)


def test_work_that_begins_later_gets_its_own_time(running: dict[str, Any]) -> None:
    def train() -> str:
        with airflow_job() as job:
            assert job.allow
            job.allow(1.0, "a")
            job.allow(1000, "b")
            time.sleep(1.2)
        return "done"

    assert run_by_airflow(train) == "done"


# --- what alerts need ----------------------------------------------------------------------------


def test_what_memory_a_task_needs_is_kept_for_the_alert_if_it_is_killed(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setenv("SKIN_STORE", store.url)
    monkeypatch.setenv("SKIN_MEMORY_GIB", "4")
    context = {
        "params": {},
        "run_id": "r",
        "dag_run": SimpleNamespace(run_after=AFTER),
        "task": SimpleNamespace(pool="default_pool", pool_slots=1),
        "ti": SimpleNamespace(xcom_push=lambda key, value: kept.update({key: value})),
    }
    monkeypatch.setattr(skin_airflow, "get_current_context", lambda: context)
    with airflow_job() as job:
        job.note_memory(3.5 * 2**30)
    assert kept == {"memory": {"needed_gib": 3.5, "allowed_gib": 4.0}}


@pytest.mark.parametrize(
    ("hours", "arguments", "found"),
    [
        ("1.5", ["airflow", "scheduler"], timedelta(hours=1.5)),
        ("0", ["airflow", "scheduler"], None),
        ("1.5", ["airflow", "dags", "test", "skin_training"], None),
    ],
)
def test_a_run_has_a_deadline_if_it_is_set_and_there_is_a_scheduler(
    hours: str, arguments: list[str], found: timedelta | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIN_DEADLINE_HOURS", hours)
    monkeypatch.setattr(sys, "argv", arguments)
    made = skin_airflow.deadline()
    assert (made.interval if made else None) == found
    assert made is None or made.callback.path == "skin_notifier.late"


@pytest.mark.parametrize(
    ("executors", "late"),
    [("KubernetesExecutor", False), ("CeleryExecutor,KubernetesExecutor", True)],
)
def test_there_is_no_deadline_that_would_end_the_scheduler(
    executors: str, late: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.executors.workloads import ExecuteCallback
    from airflow.providers.cncf.kubernetes.executors.kubernetes_executor import KubernetesExecutor

    monkeypatch.setenv("SKIN_DEADLINE_HOURS", "1.5")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executors)
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    assert bool(skin_airflow.deadline()) is late
    assert ("deadline_not_used reason=KubernetesExecutor" in caplog.text) is not late
    # What it keeps from happening. If this is no longer so, the deadline can come back.
    workload: Any = ExecuteCallback
    executor = KubernetesExecutor.__new__(KubernetesExecutor)
    with pytest.raises(NotImplementedError, match="does not support ExecuteCallback"):
        executor.queue_workload(workload.model_construct(), session=None)
