"""The DAG as Airflow reads it; `test_runs.py` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skin_pipeline.config import form_schema

ROOT = Path(__file__).parents[2]
PROBE = """
import json, sys
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
        "alerts": len(task.on_failure_callback or []) if not task.is_mapped else 1,
    } for task in dag.tasks},
}))
"""


def read_dag(tmp_path, **environment):
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
def dag(tmp_path_factory):
    return read_dag(tmp_path_factory.mktemp("airflow"))


def test_reading_the_dag_imports_nothing_heavy(dag):
    assert dag["heavy"] == []


def test_the_steps_stand_in_order(dag):
    before = {name: set(task["before"]) for name, task in dag["tasks"].items()}
    assert before == {
        "ingest": set(),
        "validate": {"ingest"},
        "split": {"validate"},
        "features": {"ingest", "split"},
        "train": {"features", "split"},
        "evaluate": {"split", "train", "validate"},
        "champion": {"split"},
        "external": {"evaluate", "validate"},
        "gate": {"champion", "evaluate", "external", "validate"},
        "promote": {"gate"},
        "reject": {"gate"},
    }
    assert [name for name, task in dag["tasks"].items() if task["mapped"]] == ["features", "train"]


def test_the_dag_and_every_task_are_documented(dag):
    assert "refused" in dag["doc"].lower()
    for name, task in dag["tasks"].items():
        assert task["doc"][0].isalpha(), name  # indented, it would be shown as code


def test_one_run_at_a_time_and_none_for_the_past(dag):
    assert (dag["active"], dag["catchup"], dag["schedule"]) == (1, False, "@weekly")


@pytest.mark.parametrize(("setting", "schedule"), [("0 3 * * 1", "0 3 * * 1"), ("", "None")])
def test_a_setting_changes_the_schedule(tmp_path, setting, schedule):
    assert read_dag(tmp_path, SKIN_SCHEDULE=setting)["schedule"] == schedule


def test_computing_tasks_share_the_pool(dag):
    pools = {name: task["pool"] for name, task in dag["tasks"].items()}
    assert {name for name, pool in pools.items() if pool == "training"} == {
        "ingest",
        "validate",
        "features",
        "train",
        "evaluate",
        "champion",
        "external",
    }


@pytest.mark.parametrize(("threads", "slots"), [("0", 1), ("3", 3)])
def test_a_computing_task_takes_a_slot_for_each_of_its_threads(tmp_path, threads, slots):
    tasks = read_dag(tmp_path, SKIN_THREADS=threads)["tasks"].values()
    assert {task["slots"] for task in tasks if task["pool"] == "training"} == {slots}


def test_tasks_are_tried_again_with_growing_delays(dag):
    for task in dag["tasks"].values():
        assert task["retries"] == 3
        assert task["backoff"] >= 2
        assert task["alerts"]


def test_a_failed_run_does_not_keep_the_others_from_being_judged(dag):
    assert dag["tasks"]["evaluate"]["rule"] == "all_done_min_one_success"


def test_the_trigger_form_is_made_from_the_settings(dag):
    assert dag["params"].keys() == form_schema().keys()
    for name, schema in form_schema().items():
        shown = dag["params"][name]
        assert shown["description_md"].startswith(schema["description"].replace("`", "*"))
        assert f"*{name}*" in shown["description_md"]  # as the README and `conf` call it
        for part in ("title", "type", "enum"):
            assert shown.get(part) == schema.get(part), (name, part)


def test_what_most_runs_need_stands_open_at_the_top_and_the_rest_is_folded(dag):
    # Airflow shows sections as they come first, and opens the one of fields without a section.
    sections = list(dict.fromkeys(field.get("section") for field in dag["params"].values()))
    assert sections == [None, "Data", "Split", "Training", "Judging"]
    open_fields = [name for name, field in dag["params"].items() if "section" not in field]
    assert open_fields == ["data", "strategy", "min_accuracy", "min_sensitivity"]


def test_airflow_asks_for_no_field_and_never_changes_a_value_to_fit_its_bounds(dag):
    for name, field in dag["params"].items():
        assert "null" in field["type"], name  # without it, a field is required
        assert "enum" not in field or None in field["enum"], name
        # The form's own limits are applied without a word; these ones Airflow's server checks.
        assert not {"minimum", "maximum", "minLength"} & field.keys(), name
        numeric = {"integer", "number"} & set(field["type"])
        assert "enum" in field or bool(numeric) == ("allOf" in field), name


def test_a_default_of_the_form_can_be_set_for_scheduled_runs(tmp_path):
    seen = read_dag(tmp_path, SKIN_IMAGE_SIZE="128", SKIN_DATA="/srv/images")
    assert seen["defaults"]["image_size"] == 128
    assert seen["defaults"]["data"] == "/srv/images"
