"""The DAG `skin_labels`, as Airflow reads it; `test_skin_assets.py` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
READ = """
import json, sys
before = set(sys.modules)
import skin_labels
dag = skin_labels.dag_object
heavy = {"boto3", "great_expectations", "keras", "tensorflow", "pandas", "sklearn", "scipy"}
print("ANSWER", json.dumps({
    "heavy": sorted(heavy & (set(sys.modules) - before)),
    "schedule": str(dag.schedule), "active": dag.max_active_runs, "catchup": dag.catchup,
    "params": {name: dag.params.get_param(name).dump() for name in dag.params},
    "tasks": {task.task_id: {
        "outlets": [item.name for item in task.outlets], "before": sorted(task.upstream_task_ids),
        "doc": task.doc_md, "limit": task.execution_timeout.total_seconds(),
    } for task in dag.tasks},
}, default=str))
"""


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What Airflow reads, in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SKIN_")},
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": f"{ROOT}/dags:{ROOT}/plugins:{ROOT}",
        "SKIN_LABELS_SOURCE": "s3://clinic/labels",
        "SKIN_LABELS_SCHEDULE": "@daily",
    }
    run = subprocess.run(
        [sys.executable, "-c", READ], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("ANSWER ")]
    return json.loads(line.removeprefix("ANSWER "))


def test_reading_it_loads_nothing_slow(dag: Any) -> None:
    assert dag["heavy"] == []


def test_it_runs_by_the_installation_s_schedule_and_one_run_at_a_time(dag: Any) -> None:
    assert (dag["schedule"], dag["active"], dag["catchup"]) == ("@daily", 1, False)


def test_the_form_can_be_sent_as_it_is(dag: Any) -> None:
    """A text without null would be required, and an empty one stop the form."""
    params = dag["params"]
    assert {name: param["value"] for name, param in params.items()} == {
        "source": "s3://clinic/labels",
        "model": "skin-resnet50",
    }
    for param in params.values():
        assert param["schema"]["type"] == ["null", "string"]


def test_what_labels_say_is_judged_after_they_were_read(dag: Any) -> None:
    tasks = dag["tasks"]
    assert (tasks["judge"]["before"], tasks["bring_back"]["before"]) == (["bring_back"], [])
    assert tasks["bring_back"]["outlets"] == ["skin-labels"]
    assert tasks["judge"]["outlets"] == ["skin-drift"]
    for task in tasks.values():
        assert task["doc"]
        assert task["limit"] > 0
