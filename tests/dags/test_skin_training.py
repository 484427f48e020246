"""The DAG as Airflow reads it; `test_runs.py` runs it."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skin_pipeline import timing
from skin_pipeline.config import form_schema
from skin_pipeline.seeds import run_seed
from skin_pipeline.steps import Ingested

ROOT = Path(__file__).parents[2]
PROBE = """
import json, sys
from datetime import timedelta

def option(task, name):
    return task.partial_kwargs.get(name) if task.is_mapped else getattr(task, name)

def events(callbacks):
    callbacks = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [each.event for each in callbacks if each]

def delay(task, tried):
    # As Airflow reckons: the delay times the factor for each try so far, up to the longest.
    first, longest = option(task, "retry_delay"), option(task, "max_retry_delay")
    factor = option(task, "retry_exponential_backoff") or 1
    seconds = first.total_seconds() * float(factor) ** (tried - 1)
    return min(seconds, longest.total_seconds() if longest else seconds)

before = set(sys.modules)
import skin_training
dag = skin_training.dag_object
heavy = {"boto3", "great_expectations", "kaggle", "keras", "model_signing", "tensorflow", "pandas"}
heavy |= {"sklearn"}
print("DAG", json.dumps({
    "heavy": sorted(heavy & (set(sys.modules) - before)),
    "doc": dag.doc_md, "catchup": dag.catchup, "active": dag.max_active_runs,
    "schedule": str(dag.schedule), "defaults": dag.params.dump(),
    "params": {name: dag.params.get_param(name).schema for name in dag.params},
    "tasks": {task.task_id: {
        "doc": task.doc_md, "pool": task.pool, "slots": task.pool_slots, "retries": task.retries,
        "backoff": task.retry_exponential_backoff, "mapped": task.is_mapped,
        "before": sorted(task.upstream_task_ids), "rule": task.trigger_rule.value,
        "failed": events(option(task, "on_failure_callback")),
        "succeeded": events(option(task, "on_success_callback")),
        "retried": events(option(task, "on_retry_callback")),
        "hours": option(task, "execution_timeout") / timedelta(hours=1),
        "queue": option(task, "queue"), "executor": option(task, "executor"),
        "delays": [delay(task, tried) for tried in range(1, 11)],
    } for task in dag.tasks if not task.inherits_from_empty_operator},
    "empty": {task.task_id: [sorted(task.upstream_task_ids), task.trigger_rule.value, task.doc_md]
        for task in dag.tasks if task.inherits_from_empty_operator},
    "late": [[d.interval / timedelta(hours=1), d.callback.path] for d in dag.deadline or []],
    "run_failed": events(dag.on_failure_callback), "run_succeeded": events(dag.on_success_callback),
}))
"""


def read_dag(tmp_path: Path, **environment: Any) -> Any:
    run = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "dags",
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": f"{ROOT}/dags:{ROOT}/plugins:{ROOT}",
            **environment,
        },
    )
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("DAG ")]
    return json.loads(line.removeprefix("DAG "))


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read_dag(tmp_path_factory.mktemp("airflow"))


def test_every_task_ends_at_some_time_which_a_setting_stretches(dag: Any, tmp_path: Path) -> None:
    slow = read_dag(tmp_path, SKIN_TIME_FACTOR="4")
    for name, task in dag["tasks"].items():
        hours = timing.LONGEST_HOURS[name]
        assert task["hours"] == pytest.approx(hours, abs=0.1), name
        assert slow["tasks"][name]["hours"] == pytest.approx(4 * hours, abs=0.1), name


def test_reading_the_dag_imports_nothing_heavy(dag: Any) -> None:
    assert dag["heavy"] == []


def test_the_steps_stand_in_order(dag: Any) -> None:
    before = {name: set(task["before"]) for name, task in dag["tasks"].items()}
    assert before == {
        "listing": set(),
        "decode": {"listing"},
        "ingest": {"decode", "listing"},
        "engine": {"ingest"},
        "duplicates": {"ingest"},
        "validate": {"duplicates", "ingest"},
        "split": {"validate"},
        "shards": {"ingest"},
        "features": {"engine", "shards", "split"},
        "parts": {"split"},
        "runs": {"features", "split"},
        "train": {"runs", "split"},
        "logits": {"parts", "split", "train"},
        "evaluate": {"scored", "split", "train", "validate"},
        "champion": {"scored", "split"},
        "external_logits": {"evaluate", "validate"},
        "external": {"evaluate", "external_logits", "validate"},
        "gate": {"champion", "evaluate", "external", "validate"},
        "promote": {"gate"},
        "reject": {"gate"},
    }
    mapped = [name for name, task in dag["tasks"].items() if task["mapped"]]
    assert mapped == ["decode", "duplicates", "features", "train", "logits", "external_logits"]


def test_what_is_skipped_for_a_small_set_is_waited_for_and_skips_nothing_else(dag: Any) -> None:
    """An empty task, for which Airflow runs no process, stands between."""
    (before, rule, doc) = dag["empty"]["scored"]
    assert (list(dag["empty"]), before, rule) == (["scored"], ["logits"], "none_failed")
    assert doc.startswith("Waits for *logits*")
    # Any skipped task before it would skip `evaluate`.
    assert dag["tasks"]["evaluate"]["rule"] == "all_done_min_one_success"
    assert dag["tasks"]["logits"]["rule"] == "all_done_min_one_success"


def test_each_step_runs_in_the_queue_and_by_the_executor_that_are_set_for_it(
    dag: Any, tmp_path: Path
) -> None:
    assert {task["queue"] for task in dag["tasks"].values()} == {"default", None}  # None: mapped
    assert {task["executor"] for task in dag["tasks"].values()} == {None}
    asked = {"SKIN_APPROVAL": "always", "SKIN_BUDGET_CORE_HOURS": "2"}
    where = {
        "SKIN_QUEUES": "features=gpu, train=gpu, *=small",
        "SKIN_EXECUTORS": "train=KubernetesExecutor",
    }
    tasks = read_dag(tmp_path, **asked, **where)["tasks"]
    assert {"approve", "budget"} < set(tasks)
    for name, task in tasks.items():
        assert task["queue"] == ("gpu" if name in {"features", "train"} else "small"), name
        assert task["executor"] == ("KubernetesExecutor" if name == "train" else None), name


def test_a_queue_for_a_step_that_there_is_not_is_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        read_dag(tmp_path, SKIN_QUEUES="trian=gpu")
    assert "SKIN_QUEUES names 'trian', which is no step" in failed.value.stderr


def test_tasks_that_ask_a_person_are_there_only_where_the_settings_can_make_them_ask(
    tmp_path: Path,
) -> None:
    settings = {"SKIN_APPROVAL": "first", "SKIN_BUDGET_CORE_HOURS": "2", "SKIN_TIME_FACTOR": "3"}
    tasks = read_dag(tmp_path, **settings)["tasks"]
    before = {name: set(task["before"]) for name, task in tasks.items()}
    assert before["approve"] == {"gate"}
    assert before["promote"] == before["reject"] == {"approve", "gate"}
    assert before["budget"] == {"split"}
    assert before["features"] == {"budget", "engine", "shards", "split"}
    assert before["champion"] == {"scored", "split"}  # which come after `features`
    for name in ("approve", "budget"):
        asking = tasks[name]
        assert asking["doc"].startswith("Asks a person whether ")
        assert asking["hours"] == pytest.approx(3 * timing.LONGEST_HOURS[name], abs=0.1)
        assert (asking["failed"], asking["retries"], asking["slots"]) == (["task_failed"], 3, 1)


def test_the_dag_and_every_task_are_documented(dag: Any) -> None:
    assert "refused" in dag["doc"].lower()
    for name, task in dag["tasks"].items():
        assert task["doc"][0].isalpha(), name  # indented, it would be shown as code


def test_one_run_at_a_time_and_none_for_the_past(dag: Any) -> None:
    assert (dag["active"], dag["catchup"], dag["schedule"]) == (1, False, "@weekly")


@pytest.mark.parametrize(("setting", "schedule"), [("0 3 * * 1", "0 3 * * 1"), ("", "None")])
def test_a_setting_changes_the_schedule(tmp_path: Path, setting: str, schedule: str) -> None:
    assert read_dag(tmp_path, SKIN_SCHEDULE=setting)["schedule"] == schedule


def test_computing_tasks_share_the_pool(dag: Any) -> None:
    pools = {name: task["pool"] for name, task in dag["tasks"].items()}
    assert {name for name, pool in pools.items() if pool == "training"} == {
        "decode",
        "ingest",
        "engine",
        "duplicates",
        "validate",
        "features",
        "train",
        "logits",
        "evaluate",
        "champion",
        "external_logits",
        "external",
    }


@pytest.mark.parametrize(("threads", "slots"), [("0", 1), ("3", 3)])
def test_a_computing_task_takes_a_slot_for_each_of_its_threads(
    tmp_path: Path, threads: str, slots: int
) -> None:
    tasks = read_dag(tmp_path, SKIN_THREADS=threads)["tasks"].values()
    assert {task["slots"] for task in tasks if task["pool"] == "training"} == {slots}


def test_tasks_that_a_run_waits_for_can_take_more_slots(tmp_path: Path) -> None:
    tasks = read_dag(tmp_path, SKIN_THREADS="2", SKIN_ALONE_THREADS="6")["tasks"]
    slots = {name: task["slots"] for name, task in tasks.items() if task["pool"] == "training"}
    assert {name for name, taken in slots.items() if taken == 6} == {
        "ingest",
        "evaluate",
        "external",
    }
    assert set(slots.values()) == {2, 6}


def test_tasks_are_tried_again_after_delays_that_grow_from_a_minute_to_a_quarter_of_an_hour(
    dag: Any,
) -> None:
    for name, task in dag["tasks"].items():
        assert task["retries"] == 3, name
        delays = task["delays"]
        assert 10 <= delays[0] <= 60, name
        assert all(later > 1.5 * earlier for earlier, later in pairwise(delays[:4])), name
        assert 300 <= delays[-1] <= 1800, name


def test_how_often_is_a_setting(tmp_path: Path) -> None:
    tasks = read_dag(tmp_path, SKIN_RETRIES="0")["tasks"]
    assert {task["retries"] for task in tasks.values()} == {0}


def test_every_task_and_the_run_tell_of_their_failure_and_nothing_else(dag: Any) -> None:
    assert (dag["run_failed"], dag["run_succeeded"]) == (["run_failed"], ["recovered"])
    for name, task in dag["tasks"].items():
        assert (task["failed"], task["retried"]) == (["task_failed"], []), name


def test_promotion_refusal_and_new_warnings_are_told_by_the_task_that_knows(dag: Any) -> None:
    told = {name: task["succeeded"] for name, task in dag["tasks"].items() if task["succeeded"]}
    assert told == {"promote": ["promoted"], "reject": ["refused"], "split": ["data_warning"]}


def test_a_run_is_late_after_the_hours_that_are_set(dag: Any, tmp_path: Path) -> None:
    assert dag["late"] == [[24.0, "skin_notifier.late"]]
    assert read_dag(tmp_path, SKIN_DEADLINE_HOURS="0.5")["late"] == [[0.5, "skin_notifier.late"]]
    assert read_dag(tmp_path, SKIN_DEADLINE_HOURS="0")["late"] == []


def test_a_failed_run_does_not_keep_the_others_from_being_judged(dag: Any) -> None:
    rules = {name: task["rule"] for name, task in dag["tasks"].items()}
    for name in ("logits", "evaluate", "champion"):
        assert rules.pop(name) == "all_done_min_one_success", name
    for name in ("ingest", "validate", "external"):  # also if there was nothing to do before
        assert rules.pop(name) == "none_failed", name
    assert set(rules.values()) == {"all_success"}


def test_the_trigger_form_is_made_from_the_settings(dag: Any) -> None:
    assert dag["params"].keys() == form_schema().keys()
    for name, schema in form_schema().items():
        shown = dag["params"][name]
        assert shown["description_md"].startswith(schema["description"].replace("`", "*"))
        assert f"*{name}*" in shown["description_md"]  # as the README and `conf` call it
        for part in ("title", "type", "enum"):
            assert shown.get(part) == schema.get(part), (name, part)


def test_what_most_runs_need_stands_open_at_the_top_and_the_rest_is_folded(dag: Any) -> None:
    # Airflow shows sections as they come first, and opens the one of fields without a section.
    sections = list(dict.fromkeys(field.get("section") for field in dag["params"].values()))
    assert sections == [None, "Data", "Split", "Training", "Judging"]
    open_fields = [name for name, field in dag["params"].items() if "section" not in field]
    assert open_fields == ["data", "strategy", "min_accuracy", "min_sensitivity"]


def test_airflow_asks_for_no_field_and_never_changes_a_value_to_fit_its_bounds(dag: Any) -> None:
    for name, field in dag["params"].items():
        assert "null" in field["type"], name  # without it, a field is required
        assert "enum" not in field or None in field["enum"], name
        # The form's own limits are applied without a word; these ones Airflow's server checks.
        assert not {"minimum", "maximum", "minLength"} & field.keys(), name
        numeric = {"integer", "number"} & set(field["type"])
        assert "enum" in field or bool(numeric) == ("allOf" in field), name


def test_a_default_of_the_form_can_be_set_for_scheduled_runs(tmp_path: Path) -> None:
    seen = read_dag(tmp_path, SKIN_IMAGE_SIZE="128", SKIN_DATA="/srv/images")
    assert seen["defaults"]["image_size"] == 128
    assert seen["defaults"]["data"] == "/srv/images"


# --- what each task does --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wired() -> Any:
    """The DAG in this process."""
    import skin_training

    return skin_training.dag_object


def source(value: Any) -> str:
    """Where an argument comes from: a task and, of what it hands on, which part."""
    return f"{value.operator.task_id}.{value.key}"


def arguments(task: Any) -> tuple[dict[Any, str], Any]:
    """The arguments of a task by name, and those that it is mapped over."""
    if task.is_mapped:
        given = task.partial_kwargs["op_kwargs"]
        mapped = task.op_kwargs_expand_input.value
        if not isinstance(mapped, dict):  # a list of the arguments of each
            mapped = {"features, run": mapped}
        return {name: source(value) for name, value in {**given, **mapped}.items()}, set(mapped)
    names = inspect.signature(task.python_callable).parameters
    given = {**dict(zip(names, task.op_args, strict=False)), **task.op_kwargs}
    return {name: source(value) for name, value in given.items()}, set()


RESULT = "return_value"
WIRED = {
    "listing": {},
    "decode": {"ranges": f"listing.{RESULT}"},
    "ingest": {"listed": f"listing.{RESULT}"},
    "engine": {"dataset": "ingest.dataset", "weights": "ingest.weights"},
    "duplicates": {
        "dataset": "ingest.dataset",
        "external": "ingest.external",
        "searches": f"ingest.{RESULT}",
    },
    "validate": {"dataset": "ingest.dataset", "external": "ingest.external"},
    "split": {"validation": f"validate.{RESULT}"},
    "shards": {"dataset": "ingest.dataset"},
    "features": {
        "split": f"split.{RESULT}",
        "weights": f"engine.{RESULT}",
        "shards": f"shards.{RESULT}",
    },
    "parts": {"split": f"split.{RESULT}"},
    "runs": {"split": f"split.{RESULT}", "features": f"features.{RESULT}"},
    "train": {"split": f"split.{RESULT}", "features, run": f"runs.{RESULT}"},
    "logits": {
        "split": f"split.{RESULT}",
        "trained": f"train.{RESULT}",
        "shards": f"parts.{RESULT}",
    },
    "evaluate": {
        "split": f"split.{RESULT}",
        "trained": f"train.{RESULT}",
        "validation": f"validate.{RESULT}",
    },
    "champion": {"split": f"split.{RESULT}"},
    "external_logits": {
        "evaluation": "evaluate.evaluation",
        "validation": f"validate.{RESULT}",
        "parts": f"evaluate.{RESULT}",
    },
    "external": {"evaluation": "evaluate.evaluation", "validation": f"validate.{RESULT}"},
    "gate": {
        "evaluation": "evaluate.evaluation",
        "validation": f"validate.{RESULT}",
        "champion": f"champion.{RESULT}",
        "external": f"external.{RESULT}",
    },
    "promote": {"verdict": f"gate.{RESULT}"},
    "reject": {"verdict": f"gate.{RESULT}"},
}


def test_each_task_is_given_what_an_earlier_one_hands_on(wired: Any) -> None:
    working = [task for task in wired.tasks if not task.inherits_from_empty_operator]
    found = {task.task_id: arguments(task) for task in working}
    assert {name: given for name, (given, _) in found.items()} == WIRED
    mapped = {name: over for name, (_, over) in found.items() if over}
    assert mapped == {
        "decode": {"ranges"},
        "duplicates": {"searches"},
        "features": {"shards"},
        "train": {"features, run"},
        "logits": {"shards"},
        "external_logits": {"parts"},
    }


class Steps:
    """Replaces the steps and `sharding`: keeps the calls, and answers with the name of each."""

    MOST_TASKS = 512

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    def __getattr__(self, name: Any) -> Callable[..., Any]:
        def call(job: Any, *arguments: Any) -> Any:
            self.calls.append((name, job, arguments))
            if name == "ingest":
                return Ingested("dataset", "weights", {"a": "b"})
            if name == "index":
                arguments = tuple(map(list, arguments))
                self.calls[-1] = (name, job, arguments)
            results = {
                "groups": [[0], [1]],
                "mapped_parts": [[[0], [1]], [[2]]],
                "images_in": "images 9 to 16",
            }
            results |= {"ranges": [["r0"], ["r1"]], "files_in": "images 1 to 20"}
            results |= {"searches": [[["d", "0"]], [["d", "1"]]], "buckets_in": "buckets 1 to 2"}
            results |= {"mapped_external": [["p0"]], "external_images_in": "images 1 to 9 of a"}
            return results.get(name, f"{name} result")

        return call


@pytest.fixture
def called(wired: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls the function of a task as Airflow does; its result, the steps' calls, the names."""
    import skin_training

    stand_in = Steps()
    names: list[Any] = []
    asked: list[Any] = []
    verdict = SimpleNamespace(approved=False, runs=3)

    @contextmanager
    def job(**how: Any) -> Generator[SimpleNamespace, None, None]:
        asked.append(how)
        settings = SimpleNamespace(runs=3, seed=7, released_as="skin")
        known = {"settings": settings, "store": None, "run_id": "r", "deployment": None}
        yield SimpleNamespace(**known, load=lambda *_: verdict)

    monkeypatch.setattr(skin_training, "steps", stand_in)
    monkeypatch.setattr(skin_training, "sharding", stand_in)
    decided = SimpleNamespace(
        refused=lambda _, key: "" if verdict.approved else key, why=lambda *_: "too few"
    )
    monkeypatch.setattr(skin_training, "decisions", decided)
    monkeypatch.setattr(skin_training, "airflow_job", job)
    monkeypatch.setattr(skin_training, "call_task", names.append)
    told = _what_is_told(skin_training, monkeypatch)

    def call(name: Any, *arguments: Any) -> tuple[Any, list[tuple[Any, Any]], Any, Any]:
        task = wired.get_task(name)
        result = task.python_callable(*arguments)
        made = [(step, given) for step, _, given in stand_in.calls]
        return result, made, names, asked

    call.__dict__.update(verdict=verdict, told=told)
    return call


def _what_is_told(module: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces what tasks tell beside their result: the note of the run, its cost, and others."""
    told: dict[str, Any] = {"unchanged": False}

    def keep(name: str) -> Callable[..., None]:
        return lambda *given, **_: told.update({name: given[-1]})

    monkeypatch.setattr(module, "note", keep("note"))
    monkeypatch.setattr(module, "announce_move", keep("moved"))
    monkeypatch.setattr(module.costs, "announce", keep("cost"))
    monkeypatch.setattr(module.skin_metrics, "promoted", keep("metric"))
    monkeypatch.setattr(module.skin_lineage, "promoted", keep("lineage"))
    monkeypatch.setattr(module.journal, "changed_nothing", lambda *_: told["unchanged"])
    registry = SimpleNamespace(of=lambda *_: SimpleNamespace(model=lambda name: name))
    monkeypatch.setattr(module, "Registry", registry)
    return told


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("engine", ("d", "w")),
        ("validate", ("d", {"e": "f"})),
        ("split", ("v",)),
        ("champion", ("s",)),
        ("external", ("e", "v")),
        ("gate", ("e", "v", "c", ["x"])),
        ("promote", ("g",)),
        ("reject", ("g",)),
    ],
)
def test_a_task_calls_its_step_and_returns_its_key(
    called: Callable[..., Any], name: str, arguments: Any
) -> None:
    result, made, names, asked = called(name, *arguments)
    assert (result, made) == (f"{name} result", [(name, arguments)])
    assert (names, asked) == ([], [{}])


@pytest.mark.parametrize(
    ("name", "unchanged", "note"),
    [
        ("promote", False, "Promoted promote result."),
        ("promote", True, "Nothing changed: same images and settings as before. promote result"),
        ("reject", False, "Refused: too few"),
        ("reject", True, "Nothing changed: refused like the same images and settings before: too"),
    ],
)
def test_the_note_of_the_run_says_how_it_ended(
    called: Callable[..., Any], name: str, unchanged: bool, note: str
) -> None:
    told = called.__dict__["told"]
    told["unchanged"] = unchanged
    called(name, "g")
    assert told["note"].startswith(note)
    assert ("moved" in told) == (name == "promote" and not unchanged)


def test_what_the_rest_of_a_run_is_expected_to_take_is_told_once_it_is_known(
    called: Callable[..., Any],
) -> None:
    called("split", "v")
    assert called.__dict__["told"]["cost"] == "split result"


def test_a_features_task_works_on_its_shards_one_after_another(called: Callable[..., Any]) -> None:
    result, made, names, _ = called("features", "s", "w", [4, 5])
    assert result == ["features result", "features result"]
    assert made == [
        ("images_in", ("s", [4, 5])),
        ("features", ("s", "w", 4)),
        ("features", ("s", "w", 5)),
    ]
    assert names == ["images 9 to 16"]


def test_a_run_reads_the_index_of_all_features(called: Callable[..., Any]) -> None:
    result, made, names, _ = called("train", "s", "i", 2)
    assert names == [f"run 2, seed {run_seed(7, 2)}"]
    assert (result, made) == ("train result", [("train", ("s", "i", 2))])


def test_a_part_is_scored_by_all_runs_and_by_the_champion(called: Callable[..., Any]) -> None:
    result, made, names, _ = called("logits", "s", ["t"], [[4, 5], [6]])
    assert made == [
        ("images_in", ("s", [4, 5, 6])),
        ("logits", ("s", ["t"], [4, 5])),
        ("logits", ("s", ["t"], [6])),
        ("champion_logits", ("s", [4, 5])),
        ("champion_logits", ("s", [6])),
    ]
    assert result == ["logits result"] * 2 + ["champion_logits result"] * 2
    assert names == ["images 9 to 16"]


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a task hands on beside the value that it returns, by name."""
    import skin_airflow

    found: dict[str, Any] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: found.update({key: value}))
    monkeypatch.setattr(skin_airflow, "get_current_context", lambda: {"ti": ti})
    return found


def test_evaluate_hands_on_its_key_and_returns_the_parts_of_external_sets(
    called: Callable[..., Any], handed: dict[str, Any]
) -> None:
    result, made, _, asked = called("evaluate", "s", ["t"], "v")
    assert made == [
        ("evaluate", ("s", ["t"], "v")),
        ("mapped_external", ("evaluate result", "v", 512)),
    ]
    assert (result, handed, asked) == ([["p0"]], {"evaluation": "evaluate result"}, [{}])


def test_a_task_scores_its_parts_of_external_sets(called: Callable[..., Any]) -> None:
    parts = [{"name": "a", "shards": [4, 5]}, {"name": "b", "shards": [0]}]
    result, made, names, _ = called("external_logits", "e", "v", parts)
    assert made == [
        ("external_images_in", ("v", parts)),
        ("external_logits", ("e", "v", "a", [4, 5])),
        ("external_logits", ("e", "v", "b", [0])),
    ]
    assert (result, names) == (["external_logits result"] * 2, ["images 1 to 9 of a"])


def test_ingest_may_ask_kaggle_and_hands_on_what_it_pinned(
    called: Callable[..., Any], handed: dict[str, Any]
) -> None:
    first, second = ["", "listing/1", "0"], ["", "listing/1", "1"]
    result, made, _, asked = called("ingest", [[first], [second]])
    (step, (listed,)), searched = made
    assert (step, list(listed), asked) == ("ingest", [first, second], [{"kaggle": True}])
    assert searched == ("searches", ("dataset", {"a": "b"}, 512))
    assert handed == {"dataset": "dataset", "weights": "weights", "external": {"a": "b"}}
    assert result == [[["d", "0"]], [["d", "1"]]]


def test_airflow_expects_no_dict_from_any_task(wired: Any) -> None:
    """By its annotation it would, from those that hand their outputs on by themselves."""
    assert not any(getattr(task, "multiple_outputs", False) for task in wired.tasks)
    for name in ("ingest", "evaluate"):
        assert wired.get_task(name).multiple_outputs is False


def test_a_duplicates_task_searches_its_buckets(called: Callable[..., Any]) -> None:
    searches = [["d", "4"], ["e", "0"]]
    result, made, names, _ = called("duplicates", "d", {"theirs": "e"}, searches)
    assert made == [
        ("buckets_in", ({"theirs": "e"},)),  # which takes no job: `some` stands in its place
        ("duplicates", ("d", "d", 4)),
        ("duplicates", ("d", "e", 0)),
    ]
    assert (result, names) == (["duplicates result"] * 2, ["buckets 1 to 2"])


def test_there_is_a_decode_task_for_each_group_of_ranges_which_may_ask_kaggle_too(
    called: Callable[..., Any],
) -> None:
    result, made, _, asked = called("listing")
    assert (result, made) == ([["r0"], ["r1"]], [("ranges", (512,))])
    result, made, names, asked = called("decode", ["r1", "r2"])
    assert result == ["decode result"] * 2
    assert made[2:] == [("decode", ("r1",)), ("decode", ("r2",))]
    assert (names, asked) == (["images 1 to 20"], [{"kaggle": True}] * 2)


def test_there_is_a_features_task_for_each_group_of_shards_and_a_train_task_for_each_run(
    called: Callable[..., Any],
) -> None:
    assert called("shards", "d")[:2] == ([[0], [1]], [("groups", ("d", 512))])
    runs, made = called("runs", "s", [["f0"], ["f1", "f2"]])[:2]
    assert made[-1] == ("index", (["f0", "f1", "f2"],))  # in the shards' order
    assert runs == [{"features": "index result", "run": run} for run in range(3)]


def test_there_is_a_logits_task_for_some_parts_of_a_large_set(called: Callable[..., Any]) -> None:
    assert called("parts", "s")[:2] == ([[[0], [1]], [[2]]], [("mapped_parts", ("s", 512))])


def test_a_model_that_was_approved_is_not_recorded_as_refused(called: Callable[..., Any]) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    called.__dict__["verdict"].approved = True
    with pytest.raises(AirflowSkipException, match="approved"):
        called("reject", "g")
