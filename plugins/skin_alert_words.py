"""What the alerts say that callbacks of DAGs and tasks send, from what Airflow and the store know.

told = compose("task_failed", context)
told.alert.headline    # Task train [3] failed in skin_training
told.subject           # skin_training train: the incident that it belongs to
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skin_alerts import (
    TO_DO,
    Alert,
    Place,
    Words,
    complete,
    data_url,
    model_of,
    moment_of,
    one_line,
    place_of,
)
from skin_verdict_words import data_warning, judged

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from skin_pipeline.contracts import EventKind

log = logging.getLogger(__name__)
guard(__name__)

DATA_TASKS = ("validate", "split")  # if they fail, the run's tab "Data" says more
MEMORY = "memory"  # the XCom with what a task was expected to take: `skin_airflow` writes it


@dataclass(frozen=True)
class Told:
    """An alert, the incident that it belongs to, and when it happened; see `Words`."""

    alert: Alert
    subject: str
    at: datetime
    passing: bool


def compose(event: EventKind, context: Any, place: Place | None = None) -> Told | None:
    """Returns the alert for an event, or None if there is nothing to tell.

    Args:
        event: What happened.
        context: The context that Airflow gives a callback; every part of it may be missing.
        place: The task that it is about, where that is not the context's.
    """
    if place is None:
        place = late_place(context) if event == "late" else place_of(context)
    words = WORDS[event](context, place)
    if words is None:
        return None
    # The context of a run names the task that ended last, whatever the cause.
    where = place.run if event == "run_failed" else place
    alert = complete(
        *(event, words.headline, words.lines),
        model=words.model,
        synthetic=words.synthetic,
        links=words.links,
        place=where,
    )
    if words.verdict:
        alert = replace(alert, origin={**alert.origin, "verdict": words.verdict})
    return Told(alert, words.subject, moment_of(context), words.passing)


# --- failures ------------------------------------------------------------------------------------


def _task_failed(context: Any, place: Place) -> Words:
    """Returns the text about a task that failed for good."""
    from skin_pipeline.errors import Unavailable

    # Airflow calls the callback of a task in its process. A process that was killed calls nothing,
    # and the run, which tells of it, knows no error.
    killed = "exception" not in context
    fault = _fault(context.get("exception"))
    lines = _killed(context, place) if killed else (f"Error: {_described(fault)}",)
    tried = f" on try {place.try_number}" if place.try_number else ""
    model, synthetic = model_of(context)
    return Words(
        f"{place.dag_id} {place.task_id}",
        f"Task {place.task} {'was killed' if killed else 'failed'} in {place.dag_id}",
        (
            f"Task {place.task} failed{tried} and is not tried again.",
            *lines,
            f"{TO_DO}{_after_kill() if killed else _next_step(fault)}",
        ),
        model,
        synthetic,
        {"Data": data_url(place)} if place.task_id in DATA_TASKS else {},
        passing=isinstance(fault, Unavailable),
    )


def _scoring_failed(context: Any, place: Place) -> Words:
    words = _task_failed(context, place)
    headline = f"Scoring failed: {words.headline[0].lower()}{words.headline[1:]}"
    return replace(words, subject=place.dag_id, headline=headline)


def _fault(error: Any) -> Any:
    """Returns the pipeline's own error if the DAG turned one into an error of Airflow's."""
    from skin_pipeline.errors import PipelineError

    # Raised `from None`, Airflow's error has no cause, but the first error is still its context.
    cause = getattr(error, "__cause__", None) or getattr(error, "__context__", None)
    return cause if isinstance(cause, PipelineError) else error


def _described(fault: Any) -> str:
    """Returns an error on one line. Other errors than the pipeline's own come with their type, as
    their messages alone may say little."""
    from skin_pipeline.errors import PipelineError

    if isinstance(fault, BaseException) and not isinstance(fault, PipelineError):
        return one_line(f"{type(fault).__name__}: {fault}")
    return one_line(fault) or "none was given"


def _next_step(fault: Any) -> str:
    """Returns what a person should do about a failed task."""
    from skin_pipeline.errors import BadInput, Unavailable

    if isinstance(fault, BadInput):
        return "correct what the error names, then clear the task or start a new run."
    again = "then clear the task; finished steps are not repeated."
    if isinstance(fault, Unavailable):
        return f"wait until what the error names is available again, {again}"
    return f"read the log of the task, remove the cause, {again}"


def _killed(context: Any, place: Place) -> tuple[str, ...]:
    """Returns what is known of a task whose process ended without an error of its own."""
    lines = (
        "Its process was killed from outside (signal 9, SIGKILL, as the system does when memory "
        "runs out), its worker was lost, or somebody marked it as failed: it ended without an "
        "error of its own.",
    )
    expected = _expected_memory(context, place)
    return (*lines, expected) if expected else lines


def _expected_memory(context: Any, place: Place) -> str:
    """Returns what the task needed against what it was allowed; "" if it did not get so far."""
    try:
        noted = context["ti"].xcom_pull(
            task_ids=place.task_id, key=MEMORY, map_indexes=place.map_index
        )
        return (
            f"Memory: it was expected to need {noted['needed_gib']:.1f} GiB and was allowed "
            f"{noted['allowed_gib']:.1f} GiB."
        )
    except Exception as error:
        log.info("memory_unknown error=%s", type(error).__name__)
        return ""


def _after_kill() -> str:
    return (
        "look for `signal=-9` at the end of the task's log and for what else took memory on its "
        "machine; give it more, or lower what the task takes (fewer slots of the pool, strategy, "
        "tune_batch_size, image_size), then clear the task; finished steps are not repeated."
    )


REASONS = {
    "task_failure": "a task failed",
    "all_tasks_deadlocked": "no remaining task could start",
    "timed_out": "it took longer than allowed",
}


def _run_failed(context: Any, place: Place) -> Words:
    reason = str(context.get("reason") or "")
    names = sorted(name for name, state in task_states(context, place).items() if state == "failed")
    model, synthetic = model_of(context)
    return Words(
        place.dag_id,
        f"A run of {place.dag_id} failed",
        (
            f"The run failed: {REASONS.get(reason, reason) or 'a task failed'}"
            + (f" ({', '.join(names)})." if names else "."),
        ),
        model,
        synthetic,
    )


def task_states(context: Any, place: Place) -> Mapping[str, str]:
    """Returns the states of the tasks of a run; none if Airflow does not say."""
    try:
        states = context["ti"].get_task_states(dag_id=place.dag_id, run_ids=[place.run_id])
        found: Mapping[str, str] = states[place.run_id]
    except Exception as error:  # not available under `airflow dags test`
        log.info("task_states_unknown error=%s", type(error).__name__)
        return {}
    return found


def succeeded(context: Any, place: Place) -> list[str]:
    """Returns the tasks of a run all of whose instances succeeded."""
    states: dict[str, set[str]] = {}
    for task, state in _instances(context, place):
        states.setdefault(task.task_id, set()).add(state)
    return sorted(task for task, found in states.items() if found == {"success"})


def failed(context: Any, place: Place) -> list[Place]:
    """Returns the tasks of a run that failed themselves."""
    return [task for task, state in _instances(context, place) if state == "failed"]


def _instances(context: Any, place: Place) -> list[tuple[Place, str]]:
    """Returns the tasks of a run, each instance of a mapped one for itself, with their states."""
    known = set(getattr(context.get("dag"), "task_ids", ()))
    found = []
    for name, state in sorted(task_states(context, place).items()):
        # Airflow names the instances of a mapped task `train_0`, `train_1` …
        parts = None if name in known else re.fullmatch(r"(.+)_(\d+)", name)
        task, index = (parts[1], int(parts[2])) if parts else (name, -1)
        found.append((replace(place.run, task_id=task, map_index=index), str(state)))
    return found


# --- late ----------------------------------------------------------------------------------------


def late_place(context: Any) -> Place:
    """Returns the run that the simple context of a missed deadline is about."""
    run = context.get("dag_run") or {}
    return Place(str(run.get("dag_id") or ""), str(run.get("dag_run_id") or ""))


def _late(context: Any, place: Place) -> Words | None:
    run = context.get("dag_run") or {}
    if run.get("state") in {"success", "failed"}:  # Airflow keeps the deadline of a failed run
        return None
    model, synthetic = model_of({"params": run.get("conf") or {}})
    since = str(run.get("queued_at") or run.get("run_after") or "")
    state = "runs" if run.get("start_date") else "waits to start"
    due = (context.get("deadline") or {}).get("deadline_time")
    return Words(
        place.dag_id,
        f"A run of {place.dag_id} is late",
        (
            f"The run was queued at {_minute(since)}, was to end by {_minute(due)}, and still "
            f"{state}.",
        ),
        model,
        synthetic,
    )


def _minute(moment: Any) -> str:
    try:
        when = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    except ValueError:
        return "an unknown time"
    return f"{when:%Y-%m-%d %H:%M} UTC"


WORDS: dict[EventKind, Callable[[Any, Place], Words | None]] = {
    "task_failed": _task_failed,
    "scoring_failed": _scoring_failed,
    "run_failed": _run_failed,
    "promoted": judged,
    "refused": judged,
    "data_warning": data_warning,
    "late": _late,
}
