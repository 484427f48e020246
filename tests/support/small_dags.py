"""Small DAGs in processes of an Airflow of their own, which has a database and no servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow_home import put_database

from skin_pipeline import timing
from skin_pipeline.storage import FolderStore

ROOT = Path(__file__).parents[2]
READ = """
import importlib, sys
before = set(sys.modules)
dag = importlib.import_module(asked["dag"]["name"]).dag_object
heavy = {"boto3", "great_expectations", "kaggle", "keras", "model_signing", "tensorflow", "pandas"}
heavy |= {"sklearn"}
answer = {
    "heavy": sorted(heavy & (set(sys.modules) - before)),
    "doc": dag.doc_md, "schedule": str(dag.schedule), "active": dag.max_active_runs,
    "paused": dag.is_paused_upon_creation,
    "params": {name: dag.params.get_param(name).schema for name in dag.params},
    "tasks": {task.task_id: {
        "hours": task.execution_timeout.total_seconds() / 3600,
        "doc": task.doc_md, "retries": task.retries, "before": sorted(task.upstream_task_ids),
        "delay": task.retry_delay.total_seconds(), "rule": task.trigger_rule.value,
    } for task in dag.tasks},
}
"""
RUN = """
import importlib, os
answer = {}
for name, conf in asked.items():
    dag = importlib.import_module(conf.pop("dag")).dag_object
    os.environ.update(conf.pop("environment", {}))
    try:
        run = dag.test(run_conf=conf)
        answer[name] = [str(run.state), run.run_id]
    except Exception as error:
        answer[name] = ["not begun", str(error)]
"""
TALK = """
import json, sys
asked = json.loads(sys.argv[1])
{code}
print("ANSWER", json.dumps(answer))
"""


def check_by_hand(dag: Any, before: dict[str, list[str]]) -> None:
    """Checks a DAG that only people start: never paused, one run at a time, all of it described.

    Args:
        dag: What `Airflow.read` returned.
        before: The tasks before each of its tasks.
    """
    assert dag["heavy"] == []
    assert (dag["schedule"], dag["active"], dag["paused"]) == ("None", 1, False)
    assert {name: task["before"] for name, task in dag["tasks"].items()} == before
    for name, task in dag["tasks"].items():
        assert task["hours"] == pytest.approx(timing.LONGEST_HOURS[name], abs=0.1)
    for name, shown in {**dag["tasks"], **dag["params"]}.items():
        text = shown.get("doc") or shown.get("description_md")
        assert text[0].isalpha(), name  # indented, it would be shown as code


class Airflow:
    """Runs Python in processes of an Airflow with a database of its own."""

    def __init__(self, home: Path) -> None:
        self.store = FolderStore(home / "store")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SKIN_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "PYTHONPATH": f"{ROOT}/dags:{ROOT}/plugins:{ROOT}",
            "SKIN_STORE": self.store.url,
            "SKIN_RETRIES": "0",
        }
        put_database(home)

    def read(self, dag: str) -> Any:
        """What there is to see of a DAG after its file was imported."""
        return self._ask(READ, dag={"name": dag})[0]

    def run(self, **asked: dict[str, Any]) -> Any:
        """Runs DAGs after each other, each with its own conf.

        They share a process, since it takes Airflow longer to start than to run them. `dag` in a
        conf names the DAG, and `environment` is set for it and those after it.

        Returns:
            The state and the id of each run, or why it was not begun; and all that was logged.
        """
        return self._ask(RUN, **asked)

    def _ask(self, code: str, **asked: dict[str, Any]) -> Any:
        """What the code leaves in `answer`, and everything that it logged."""
        run = self._python("-c", TALK.format(code=code), json.dumps(asked))
        (line,) = [line for line in run.stdout.splitlines() if line.startswith("ANSWER ")]
        return json.loads(line.removeprefix("ANSWER ")), run.stdout + run.stderr

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT / "dags",
            env=self._environment,
        )
