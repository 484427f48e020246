"""Runs the DAG `skin_training` once on a local Airflow, shows each step, and ends with the verdict.

```
python scripts/demo.py                                        synthetic lesions
python scripts/demo.py --data FOLDER_OR_ZIP --weights FILE    real images
python scripts/demo.py --judged-on point --min-accuracy 0.7   any setting of the trigger form
```

The exit status is 0 when the model was promoted, 3 when the gate refused it, 1 when something
failed, and 128 + N after signal N. (`make demo` runs this file; make itself has only one status for
everything that is not 0, which is 2.)
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import daily
import requests
from local_airflow import (
    DAGS,
    HOME,
    PLUGINS,
    ApiError,
    LocalAirflow,
    end_on_signals,
)

from skin_pipeline import journal
from skin_pipeline.config import DEMO, form_schema, read_deployment, read_settings
from skin_pipeline.contracts import Evaluation, Figures, Interval, Verdict, load
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.storage import open_store

DAG = "skin_training"
PROMOTED, FAILED, REFUSED = 0, 1, 3
MEANING = {PROMOTED: "promoted", FAILED: "failed", REFUSED: "refused by the gate"}
# Small pictures and one view make it quick. A test set of a fifth of these few images would be too
# small to show a lower bound of .80 on sensitivity: so it is larger, and so is the target.
SYNTHETIC: dict[str, Any] = {
    "data": DEMO,
    "weights": "none",
    "strategy": "head",
    "image_size": 64,
    "views": 1,
    "shard_size": 300,
    "test_fraction": 0.3,
    "target_sensitivity": 0.95,
}
REAL: dict[str, Any] = {"strategy": "head", "views": 1}
AIRFLOW = {
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",  # no scheduled runs beside this one
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # nobody edits DAGs meanwhile
}
POLL_SECONDS = 0.8
LOST_SECONDS = 120.0  # without an answer from Airflow before the demo gives up
PAGE = 100  # task instances that Airflow returns at once, at most
ENDED_RUN = {"success", "failed"}

Task = tuple[str, int]


def main(
    arguments: list[str] | None = None,
    *,
    home: Path = HOME,
    dags: Path = DAGS,
    plugins: Path = PLUGINS,
) -> int:
    """Runs the demo. Returns the exit status."""
    end_on_signals()
    began = time.monotonic()
    # The demo runs as the user who starts it, so it may read what that user may read.
    settings = {**AIRFLOW, "SKIN_PATHS": os.environ.get("SKIN_PATHS") or "/"}

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

    try:
        params = parameters(sys.argv[1:] if arguments is None else arguments)
        say("Starting Airflow")
        with LocalAirflow(
            "make demo", home=home, dags=dags, plugins=plugins, settings=settings, say=say
        ) as airflow:
            return _run(airflow, params, say)
    except PipelineError as error:
        print(f"\n{paint('FAILED', 31)}  {error}", flush=True)
        return FAILED


# --- what to run ---------------------------------------------------------------------------------


def parameters(arguments: list[str]) -> dict[str, Any]:
    """Returns the run's parameters: those of the command line, and for the rest those of the demo.

    Raises:
        BadInput: a path does not exist, or a setting is unknown or does not fit.
    """
    given = {name: text for name, text in vars(_parser().parse_args(arguments)).items() if text}
    for name, wanted in (("data", "a folder or a zip file"), ("weights", "a .weights.h5 file")):
        if name in given:
            given[name] = _located(name, given[name], wanted)
    schema = form_schema()
    values = {name: _value(text, schema[name]["type"]) for name, text in given.items()}
    values = {**(REAL if "data" in values else SYNTHETIC), **values}
    settings = read_settings(values)
    return {name: getattr(settings, name) for name in values}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}. The settings: {', '.join(form_schema())}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(description=str(__doc__).splitlines()[0], allow_abbrev=False)
    for name, schema in form_schema().items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", help=schema["description"].replace("%", "%%")
        )
    return parser


def _located(name: str, text: str, wanted: str) -> str:
    """Returns a path as an absolute one; what is no path (`imagenet`, `kaggle://…`) stays."""
    path = Path(text).expanduser()
    if path.exists():
        return str(path.resolve())
    if text in {DEMO, "imagenet", "none"} or "://" in text:
        return text
    raise BadInput(
        f"{name.upper()}: {path.absolute()} does not exist. Give {wanted} that does: "
        f"make demo {name.upper()}=PATH"
    )


def _value(text: str, kind: list[str]) -> Any:
    """Returns the text of a flag as the type that the trigger form requires, if it can."""
    if "string" in kind:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- running it ----------------------------------------------------------------------------------


def _run(airflow: LocalAirflow, params: dict[str, Any], say: Callable[[str], None]) -> int:
    airflow.wait_for_dag(DAG)
    airflow.api.patch(f"dags/{DAG}?update_mask=is_paused", {"is_paused": False})
    try:
        run = airflow.api.post(f"dags/{DAG}/dagRuns", {"logical_date": None, "conf": params})
    except ApiError as error:
        raise BadInput(f"Airflow does not accept the run: {error}") from None
    say(f"Airflow runs {DAG} with {json.dumps(params)}")
    follower = Follower(airflow, run["dag_run_id"])
    for line in follower.lines():
        say(line)
    status = _conclude(airflow, follower)
    settings = read_settings(params)
    if status == PROMOTED and settings.synthetic:
        daily.operate(airflow, settings.released_as, airflow.home.parent / "demo", say)
    return status


class Follower:
    """Follows a DAG run until it ends."""

    def __init__(self, airflow: LocalAirflow, run: str) -> None:
        self.run = run
        self.states: dict[Task, str] = {}
        self.errors: dict[Task, str] = {}
        self._airflow = airflow
        self._path = f"dags/{DAG}/dagRuns/{run}"
        self._shown: dict[Task, tuple[int, str]] = {}

    def lines(self) -> Iterator[str]:
        """Yields a line for each step that starts or ends, as it happens."""
        answered = time.monotonic()
        while True:
            self._airflow.check()
            try:
                ended = self._airflow.api.get(self._path)["state"] in ENDED_RUN
                instances = self._instances()
            except requests.RequestException as error:
                if time.monotonic() - answered > LOST_SECONDS:
                    raise Unavailable(f"Airflow does not answer any more: {error}") from None
            else:
                answered = time.monotonic()
                for instance in instances:
                    yield from self._line(instance)
                if ended:
                    return
            time.sleep(POLL_SECONDS)

    def value(self, task: str) -> str | None:
        """Returns what a task returned, or None if it did not succeed."""
        if self.states.get((task, -1)) != "success":
            return None
        entry = self._airflow.api.get(f"{self._path}/taskInstances/{task}/xcomEntries/return_value")
        return str(entry["value"])

    def _instances(self) -> list[dict[str, Any]]:
        """Returns all task instances in the order of their start; unstarted ones come last."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._airflow.api.get(
                f"{self._path}/taskInstances?limit={PAGE}&offset={len(found)}"
            )
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return sorted(found, key=lambda task: task["start_date"] or "9")

    def _line(self, instance: Mapping[str, Any]) -> Iterator[str]:
        task, state = (instance["task_id"], instance["map_index"]), instance["state"] or ""
        now = (instance["try_number"], state)
        self.states[task] = state
        before, self._shown[task] = self._shown.get(task, (1, "")), now
        if now == before:
            return
        told = max(1, before[0]) + (before[1] == "up_for_retry")
        for attempt in range(told, now[0] + (state == "up_for_retry")):
            yield f"{label(task):<14} {retried(self._error(task, attempt))}"
        if state == "failed":
            self.errors[task] = self._error(task, now[0])
        if text := describe(instance, self.errors.get(task, "")):
            yield f"{label(task):<14} {text}"

    def _error(self, task: Task, attempt: int) -> str:
        """Returns the message of the exception that ended an attempt, from its log."""
        name, index = task
        try:
            log = self._airflow.api.get(
                f"{self._path}/taskInstances/{name}/logs/{attempt}"
                f"?map_index={index}&full_content=true"
            )
        except (ApiError, requests.RequestException) as error:
            return f"its log could not be read ({error})"
        return error_in(log["content"])


def label(task: Task) -> str:
    """Returns a task's name as people see it: `train [3]`."""
    name, index = task
    return name if index < 0 else f"{name} [{index}]"


def describe(instance: Mapping[str, Any], error: str) -> str:
    """Returns what just happened to a task instance; "" if people need not know."""
    attempt = instance["try_number"]
    again = f" (try {attempt})" if attempt > 1 else ""
    return {
        "running": f"started{again}",
        "success": f"done in {_seconds(instance['duration'])}",
        "failed": paint(f"failed: {error}", 31),
        "skipped": "skipped",
        "upstream_failed": "not run, because a step before it failed",
        "awaiting_input": "waits for an answer in Airflow",
    }.get(instance["state"] or "", "")


def retried(error: str) -> str:
    """Returns the words for an attempt that failed and is not the last."""
    return paint(f"failed, will try again: {error}", 33)


def error_in(content: Any) -> str:
    """Returns the message of the last exception in a task's log, or else its last error line.

    Args:
        content: The log as Airflow's API gives it: a list of events.
    """
    events = [event for event in content if isinstance(event, dict)]
    for event in reversed(events):
        for error in event.get("error_detail") or []:
            return str(error.get("exc_value") or error.get("exc_type"))
    for event in reversed(events):
        if event.get("level") in {"error", "critical"}:
            return str(event["event"])
    return "its log has no error; the process may have been killed"


def _seconds(duration: float | None) -> str:
    duration = duration or 0.0
    return f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s"


# --- the outcome ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """The outcome of a finished run.

    Attributes:
        verdict: The gate's verdict.
        evaluation: The figures that it was based on.
        report: Where the report is: a path or a URL.
        model: Where the promoted model is, or None if it was refused.
        unchanged: Whether an earlier run had this outcome already.
    """

    verdict: Verdict
    evaluation: Evaluation
    report: str
    model: str | None
    unchanged: bool = False


def _conclude(airflow: LocalAirflow, follower: Follower) -> int:
    print()
    promoted, judged = follower.value("promote"), follower.value("gate")
    refused = follower.value("reject") is not None
    if judged and (promoted or refused):
        status = PROMOTED if promoted else REFUSED
        try:
            print(render(_outcome(airflow, follower.run, judged, promoted)))
        except PipelineError as error:  # this terminal may lack access that the tasks have
            print(f"{'PROMOTED' if promoted else 'REFUSED'}, but the figures are out of reach from")
            print(f'here: {error}. They are on the page "Models" in Airflow.')
    else:
        print(render_failure(follower.states, follower.errors))
        status = FAILED
    run = quote(follower.run, safe="")
    print(f"\nThe run in Airflow's pages: `make up`, then /dags/{DAG}/runs/{run}", flush=True)
    return status


def _outcome(airflow: LocalAirflow, run: str, judged: str, promoted: str | None) -> Outcome:
    store = open_store(airflow.environment["SKIN_STORE"], endpoint=read_deployment().s3_endpoint)
    verdict = load(store, judged, Verdict)
    return Outcome(
        verdict=verdict,
        evaluation=load(store, verdict.evaluation, Evaluation),
        report=store.link(verdict.report),
        model=store.link(f"{promoted}/model.keras") if promoted else None,
        unchanged=journal.changed_nothing(store, run),
    )


def render(outcome: Outcome) -> str:
    """Returns the last words of the demo: the verdict, the table of the runs, and the paths."""
    verdict, evaluation = outcome.verdict, outcome.evaluation
    word = paint("PROMOTED", 32) if outcome.model else paint("REFUSED", 33)
    lines = [f"{word}  {verdict.released_as}"]
    if outcome.unchanged:
        lines += [f"  Nothing changed since {verdict.judged_at}: the same data and settings."]
    lines += [f"  {reason}" for reason in verdict.reasons]
    if evaluation.synthetic:
        lines += ["SYNTHETIC DATA: generated pictures. The figures say nothing about real lesions."]
    lines += ["", *_table(evaluation), ""]
    if outcome.model:
        lines += [f"Model:  {outcome.model}"]
    return "\n".join([*lines, f"Report: {outcome.report}"])


def render_failure(states: Mapping[Task, str], errors: Mapping[Task, str]) -> str:
    """Returns which steps failed and why."""
    failed = [task for task, state in states.items() if state == "failed"]
    lines = [f"{paint('FAILED', 31)}  Nothing was promoted."]
    lines += [f"  {label(task)}: {errors.get(task, 'see its log')}" for task in failed]
    return "\n".join(lines)


def _table(evaluation: Evaluation) -> list[str]:
    heads = ("accuracy", "sensitivity", "specificity", "AUC")
    images = evaluation.ensemble.images
    lines = [
        f"Figures on {images} test images that no run has seen, at the decision threshold:",
        "",
        _row("run", "seed", heads),
    ]
    for run, figures in sorted(evaluation.per_run.items()):
        lines.append(_row(str(run), str(evaluation.seeds.get(run, "")), _values(figures)))
    together = f"all {len(evaluation.per_run)}"
    lines.append(_row(together, "", _values(evaluation.ensemble)))
    lines.append(_row("", "95 % from", _values(evaluation.ensemble, "low")))
    lines.append(_row("", "to", _values(evaluation.ensemble, "high")))
    return lines


def _row(run: str, seed: str, values: tuple[str, ...]) -> str:
    return f"  {run:<6} {seed:>10}" + "".join(f" {value:>12}" for value in values)


def _values(figures: Figures, part: str = "value") -> tuple[str, ...]:
    shown = (figures.accuracy, figures.sensitivity, figures.specificity, figures.auc)
    return tuple(_figure_part(interval, part) for interval in shown)


def _figure_part(interval: Interval, part: str) -> str:
    value: float = getattr(interval, part)
    return "-" if value != value else f"{value:.3f}"  # NaN: not defined


def paint(text: str, colour: int) -> str:
    """Returns the text in an ANSI colour if people see it on a terminal."""
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        return f"\033[{colour}m{text}\033[0m"
    return text


if __name__ == "__main__":
    ended = main()
    print(f"Exit status {ended}: {MEANING[ended]}")
    sys.exit(ended)
