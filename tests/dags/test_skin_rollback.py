"""The DAG `skin_rollback`, as Airflow reads it and as it runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import key_pairs
import pytest
from airflow_home import put_database
from released import MODEL, champion_of, moves, opened, promote, releases

from skin_pipeline import timing
from skin_pipeline.release import version_key
from skin_pipeline.storage import FolderStore

ROOT = Path(__file__).parents[2]
READ = """
import sys
before = set(sys.modules)
import skin_rollback
dag = skin_rollback.dag_object
heavy = {"boto3", "great_expectations", "kaggle", "keras", "model_signing", "tensorflow", "pandas"}
heavy |= {"sklearn"}
answer = {
    "heavy": sorted(heavy & (set(sys.modules) - before)),
    "doc": dag.doc_md, "schedule": str(dag.schedule), "active": dag.max_active_runs,
    "params": {name: dag.params.get_param(name).schema for name in dag.params},
    "tasks": {task.task_id: {
        "hours": task.execution_timeout.total_seconds() / 3600,
        "doc": task.doc_md, "retries": task.retries, "before": sorted(task.upstream_task_ids),
        "delay": task.retry_delay.total_seconds(), "rule": task.trigger_rule.value,
    } for task in dag.tasks},
}
"""
RUN = """
import os
import skin_rollback
answer = {}
for name, conf in asked.items():
    os.environ["SKIN_PUBLIC_KEY"] = conf.pop("public_key", "")
    try:
        run = skin_rollback.dag_object.test(run_conf=conf)
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

    def ask(self, code: str, **asked: dict[str, str]) -> Any:
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


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def dag(airflow: Any) -> Any:
    return airflow.ask(READ)[0]


def test_reading_the_dag_imports_nothing_heavy(dag: Any) -> None:
    assert dag["heavy"] == []


def test_it_runs_only_when_asked_and_verifies_first(dag: Any) -> None:
    assert (dag["schedule"], dag["active"]) == ("None", 1)
    assert {task["rule"] for task in dag["tasks"].values()} == {"all_success"}
    assert all(10 <= task["delay"] <= 60 for task in dag["tasks"].values())
    for name, task in dag["tasks"].items():
        assert task["hours"] == pytest.approx(timing.LONGEST_HOURS[name], abs=0.1)
    assert {name: task["before"] for name, task in dag["tasks"].items()} == {
        "verify": [],
        "rollback": ["verify"],
    }


def test_the_dag_its_tasks_and_its_form_are_documented(dag: Any) -> None:
    assert "previous" in dag["doc"]
    for name, shown in {**dag["tasks"], **dag["params"]}.items():
        text = shown.get("doc") or shown.get("description_md")
        assert text[0].isalpha(), name  # indented, it would be shown as code
    assert set(dag["params"]) == {"model", "version", "alias", "reason"}


@pytest.fixture(scope="module")
def ran(airflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A rollback, one to a damaged version, two without a reason, one with a field misspelt, one to
    a version that is not signed and one of another alias, after each other; the log.

    They share a process, since it takes Airflow longer to start than to run them.
    """
    keys = key_pairs.write(tmp_path_factory.mktemp("keys"), "ours")
    first, second, damaged = releases(airflow.store, 3)
    promote(airflow.store, first)
    promote(airflow.store, second)
    for version, expected in ((first, None), (second, first)):
        more = {"by": "a person", "reason": "on trial"}
        assert opened(airflow.store).move(version, "canary", **more, expected=expected)
    airflow.store.remove(f"{version_key(MODEL, damaged)}/metrics.json")
    return airflow.ask(
        RUN,
        # Fields that were emptied come as null, and blanks do not count.
        previous={
            "model": f" {MODEL} ",
            "version": None,
            "alias": None,
            "reason": " too many false alarms\n",
        },
        damaged={"model": MODEL, "version": damaged, "reason": "a try"},
        unreasoned={"model": MODEL},
        blank={"model": MODEL, "reason": " \n"},
        misspelt={"model": MODEL, "verison": first, "reason": "a try"},
        unsigned={"model": MODEL, "version": second, "reason": "r", "public_key": keys.public},
        # Without a version it would have that of the run before: a process keeps what it was given.
        canary={"model": MODEL, "alias": "canary", "version": "previous", "reason": "no better"},
    )


def test_a_rollback_moves_the_champion_to_the_version_before(airflow: Any, ran: Any) -> None:
    state, run = ran[0]["previous"]
    assert state == "success"
    now, before, first = moves(airflow.store)
    assert (now.version, now.rollback) == (first.version, True)
    assert now.previous == before.version
    assert now.reason == "too many false alarms"
    assert run in now.by
    opened(airflow.store).verify_alias()


def test_a_rollback_of_another_alias_moves_that_one_and_leaves_the_champion(
    airflow: Any, ran: Any
) -> None:
    assert ran[0]["canary"][0] == "success"
    now, _, first = moves(airflow.store, "canary")
    assert (now.version, now.rollback, now.reason) == (first.version, True, "no better")
    assert "no better" not in {move.reason for move in moves(airflow.store)}


def test_a_rollback_to_a_damaged_version_fails_and_moves_nothing(airflow: Any, ran: Any) -> None:
    answer, logged = ran
    assert answer["damaged"][0] == "failed"
    assert "metrics.json is missing" in logged
    assert champion_of(airflow.store).number == 3


@pytest.mark.parametrize("case", ["unreasoned", "blank"])
def test_a_rollback_without_a_reason_is_not_begun(ran: Any, case: Any) -> None:
    state, said = ran[0][case]
    assert state == "not begun"
    assert "reason" in said


def test_a_field_misspelt_moves_nothing_and_is_named_with_the_nearest(
    airflow: Any, ran: Any
) -> None:
    answer, logged = ran
    assert answer["misspelt"][0] == "failed"
    assert "verison is no setting; the nearest is version" in logged
    assert champion_of(airflow.store).number == 3


def test_a_rollback_to_a_version_that_is_not_signed_fails_where_signatures_are_asked_for(
    ran: Any,
) -> None:
    answer, logged = ran
    assert answer["unsigned"][0] == "failed"
    assert "is not signed, but SKIN_PUBLIC_KEY is set" in logged
