"""The tasks that ask a person, in a real Airflow: answers, time-outs, and all ways around them."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import key_pairs
import pytest
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow_home import put_database
from local_airflow import Api, ApiError, LocalAirflow
from released import champion_of, moves, named, opened, registry, release, vouch_for

from skin_pipeline import steps
from skin_pipeline.contracts import Approval, EventKind, Incident, Verdict, dump, load
from skin_pipeline.operations import actions, incidents
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import approvals
from skin_pipeline.storage import FolderStore

in_airflow = pytest.mark.airflow  # for all but the last part, which needs none running

EASY = {
    "data": "demo",
    "weights": "none",
    "strategy": "head",
    "image_size": 64,
    "views": 1,
    "runs": 2,
    "min_runs": 2,
    "min_accuracy": 0.5,
    "min_sensitivity": 0.5,
    "min_auc_change": -1.0,  # whatever passes the bounds may replace the champion
}
FIRST, SECOND = 1, 2  # the evaluations of these tests, by the setting `epochs`
ROOT = Path(__file__).parents[2]
DAGS = ROOT / "tests/support/asking_dags"
PATIENCE = 400.0  # seconds until a test that waits gives up
BUDGET = 0.03  # core-hours: more than training heads takes, and less than a whole network


@dataclass
class Run:
    """A run of the DAG, and what people do to it."""

    place: Place
    dag: str
    id: str
    model: str

    @property
    def path(self) -> str:
        return f"dags/{self.dag}/dagRuns/{self.id}"

    def state(self, task: str = "") -> str | None:
        """The state of a task, or of the run."""
        try:
            path = f"{self.path}/taskInstances/{task}" if task else self.path
            state: str | None = self.place.airflow.api.get(path)["state"]
        except ApiError:
            return None
        return state

    def wait_for(self, *states: str, task: str = "") -> None:
        self.place.wait(lambda: self.state(task) in states, f"{task or self.id}: {states}")

    def asked(self, task: str = "approve") -> dict[str, Any]:
        """Wait until a person is asked; what Airflow shows them."""
        self.wait_for("awaiting_input", task=task)
        # Airflow takes an answer that comes before it has noted the end of the process that asked
        # for a fault, and tries the task again. No person is so fast.
        self.place.wait(lambda: self._noted(task), f"{task}: asked")
        found: dict[str, Any] = self.place.airflow.api.get(self._details(task))
        return found

    def _noted(self, task: str) -> bool:
        """Whether the scheduler has noted the end of each process of a task that it began."""
        lines = (self.place.home / "logs/scheduler.log").read_text().splitlines()
        began = [line for line in lines if f"{self.dag}.{task} {self.id} " in line]
        began = [line for line in began if "Trying to enqueue tasks" in line]
        key = f"dag_id='{self.dag}', task_id='{task}', run_id='{self.id}'"
        ended = [line for line in lines if "Received executor event" in line and key in line]
        ended = [line for line in ended if "with state queued" not in line]
        return len(ended) >= len(began) > 0

    def answer(self, option: str, by: str = "alice", note: str = "", task: str = "approve") -> None:
        body = {"chosen_options": [option], "params_input": {"note": note}}
        self.place.api(by).patch(self._details(task), body)

    def _details(self, task: str) -> str:
        return f"{self.path}/taskInstances/{task}/-1/hitlDetails"

    def ended(self) -> Run:
        self.wait_for("success", "failed")
        return self

    def states(self) -> dict[str, str]:
        """The states of the last tasks."""
        return {task: self.state(task) or "" for task in ("approve", "promote", "reject")}

    def clear(self, *tasks: str, downstream: bool = False) -> None:
        """Clear tasks of the run that has ended, as people do in the UI."""
        self.place.airflow.api.post(
            f"dags/{self.dag}/clearTaskInstances",
            {
                **{"dry_run": False, "dag_run_id": self.id, "task_ids": list(tasks)},
                **{"include_downstream": downstream, "only_failed": False},
                **{"reset_dag_runs": True},
            },
        )

    def mark(self, task: str, state: str = "success") -> None:
        """Mark a task, as people do in the UI."""
        self.place.airflow.api.patch(f"{self.path}/taskInstances/{task}", {"new_state": state})

    def value(self, task: str) -> str:
        path = f"{self.path}/taskInstances/{task}/xcomEntries/return_value"
        return str(self.place.airflow.api.get(path)["value"])

    def log(self, task: str) -> str:
        folder = self.place.home / f"logs/dag_id={self.dag}" / f"run_id={self.id}"
        return "".join(p.read_text() for p in sorted(folder.glob(f"task_id={task}/**/*.log")))


@dataclass
class Place:
    """The Airflow of these tests, its users, its store, and the keys of the installation."""

    airflow: LocalAirflow
    home: Path
    store: FolderStore
    keys: SigningKeys

    def api(self, user: str) -> Api:
        """The REST API as a user."""
        passwords = json.loads((self.home / "passwords.json").read_text())
        api = Api(self.airflow.url)
        login = {"username": user, "password": passwords[user]}
        token = api._call("POST", "auth/token", login)["access_token"]
        api._session.headers["Authorization"] = f"Bearer {token}"
        return api

    def run(
        self, model: str, epochs: int = FIRST, by: str = "admin", dag: str = "asking", **more: Any
    ) -> Run:
        conf = {**EASY, "model_name": model, "epochs": epochs, **more}
        body = {"logical_date": None, "conf": conf}
        made = self.api(by).post(f"dags/{dag}/dagRuns", body)
        return Run(self, dag, made["dag_run_id"], f"{model}-synthetic")

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE
        while not ready():
            assert time.monotonic() < until, what
            self.airflow.check()
            time.sleep(0.5)

    def incident(self, kind: EventKind, subject: str, state: str) -> Incident:
        """An incident, once a callback of Airflow has brought it to a state."""
        number = incidents.id_of(kind, subject)

        def there() -> bool:
            found = incidents.of_id(self.store, number)
            return found is not None and found.state == state

        self.wait(there, f"{kind} {subject} {state}")
        found = incidents.of_id(self.store, number)
        assert found
        return found

    def actions(self, run: Run) -> list[tuple[str, str, str]]:
        """Kind, person and result of the actions of a run, newest first."""
        found = (each for each in actions.latest(self.store) if each.intent.run == run.id)
        return [
            (each.intent.kind, each.intent.by, each.outcome.result if each.outcome else "")
            for each in found
        ]

    def time_is_over(self, run: Run, task: str) -> None:
        """Let the time to answer end now; Airflow's scheduler sees to what follows."""
        with closing(sqlite3.connect(self.home / "airflow.db", timeout=30)) as database:
            changed = database.execute(
                "UPDATE task_instance SET trigger_timeout = '2020-01-01 00:00:00' "
                "WHERE run_id = ? AND task_id = ? AND state = 'awaiting_input'",
                (run.id, task),
            )
            assert changed.rowcount == 1
            database.commit()


def evaluated_again(finished: Any) -> str:
    """Another model of the same runs, with another threshold. The key of its verdict."""
    settings = finished.job.settings.model_copy(update={"target_sensitivity": 0.8})
    job = replace(finished.job, settings=settings)
    made = steps.evaluate(job, finished.split, finished.trained, finished.validation)
    return steps.gate(job, made, finished.validation)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, finished: Any) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("approval")
    keys = key_pairs.write(folder, "ours")
    home, store = folder / "airflow", FolderStore(finished.root)
    signed = {"signing_key": keys.private, "public_key": keys.public}
    job = replace(finished.job, deployment=finished.job.deployment.model_copy(update=signed))
    verdicts = {FIRST: finished.verdict, SECOND: evaluated_again(finished)}
    for verdict in verdicts.values():
        vouch_for(job, verdict)
    evaluations = {
        f"TEST_EVALUATION_{number}": load(store, verdict, Verdict).evaluation
        for number, verdict in verdicts.items()
    }
    settings = {
        **evaluations,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "dags"))),
        "TEST_SPLIT": finished.split,
        "TEST_VALIDATION": finished.validation,
        "SKIN_STORE": store.url,
        "SKIN_CACHE": str(folder / "cache"),
        "SKIN_PATHS": "/",
        "SKIN_SCHEDULE": "",
        "SKIN_STATE": str(folder / "state"),
        "SKIN_SIGNING_KEY": keys.private,
        "SKIN_PUBLIC_KEY": keys.public,
        "SKIN_APPROVAL": "always",
        "SKIN_APPROVERS": "alice, carol",
        "SKIN_BUDGET_CORE_HOURS": str(BUDGET),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,alice:op,carol:op,bob:op",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # the DAGs stay as they are
    }
    put_database(home)
    with LocalAirflow(
        "the tests", home=home, dags=DAGS, settings=settings, say=lambda text: None
    ) as airflow:
        for dag in ("asking", "dear"):
            airflow.wait_for_dag(dag)
            airflow.api.patch(f"dags/{dag}?update_mask=is_paused", {"is_paused": False})
        yield Place(airflow, home, store, keys)


@pytest.fixture(scope="module")
def approved(place: Place) -> Run:
    """A run whose model alice approved, who started it, too."""
    run = place.run("approved", by="alice")
    run.asked()
    run.answer("Approve", note="figures seen")
    return run.ended()


@in_airflow
def test_an_approved_model_is_promoted_and_the_history_says_by_whom(
    place: Place, approved: Run
) -> None:
    assert approved.states() == {"approve": "success", "promote": "success", "reject": "skipped"}
    champion = champion_of(place.store, place.keys, approved.model)
    assert champion.by == f"{approved.id}, approved by alice"
    said = "passed the gate; approved by alice, who started the run: figures seen"
    assert champion.reason == said
    assert place.actions(approved) == [("approve", "alice", "approved")]
    waiting = place.incident("approval_waiting", f"asking approve {approved.id}", "ended")
    assert (waiting.count, waiting.model) == (1, approved.model)
    assert waiting.headline.startswith(f"[synthetic data] Approve {approved.model}?")
    assert waiting.links["Answer"].endswith("/tasks/approve/required_actions")
    assert "It waits for: alice, carol." in waiting.text


@in_airflow
def test_a_person_is_asked_with_figures_checks_warnings_and_the_report(
    place: Place, approved: Run
) -> None:
    shown = place.airflow.api.get(approved._details("approve"))
    assert shown["subject"] == (
        f"[synthetic data] Approve {approved.model}? It would become the first champion."
    )
    for part in (
        "| sensitivity | ",
        "- passed: `accuracy: ",
        "Warnings about the data",
        "[Report](",
    ):
        assert part in shown["body"], part
    assert [user["id"] for user in shown["assigned_users"]] == ["alice", "carol"]
    assert (shown["defaults"], shown["responded_by_user"]["name"]) == (["Reject"], "alice")


# --- rejected, or not answered --------------------------------------------------------------------


@pytest.fixture(scope="module")
def rejected(place: Place, approved: Run) -> Run:
    """A run whose model alice rejected, after bob tried to approve it, who may not."""
    run = place.run("rejected")
    run.asked()
    with pytest.raises(ApiError, match=r"bob.*is not a respondent") as error:
        run.answer("Approve", by="bob")
    assert error.value.status == 403
    run.answer("Reject", note="too few images")
    return run.ended()


@in_airflow
def test_a_rejected_model_is_not_promoted_and_the_run_is_green(place: Place, rejected: Run) -> None:
    assert rejected.state() == "success"
    assert rejected.states() == {"approve": "success", "promote": "skipped", "reject": "success"}
    assert named(place.store, model=rejected.model) is None
    (judged,) = opened(place.store, name=rejected.model).judgements()
    assert (judged.approved, judged.version) == (False, None)
    assert judged.reasons == ("rejected by alice: too few images",)
    assert place.actions(rejected) == [("reject", "alice", "rejected")]
    told = place.incident("refused", rejected.model, "open")
    assert told.headline.endswith("was refused: rejected by alice: too few images")


@in_airflow
def test_after_a_rejection_clearing_promote_promotes_nothing_and_clearing_approve_asks_again(
    place: Place, rejected: Run
) -> None:
    """Nobody answers the second time."""
    rejected.clear("promote")
    rejected.wait_for("skipped", task="promote")
    assert "rejected by alice" in rejected.ended().log("promote")
    rejected.clear("approve", downstream=True)
    rejected.asked()
    place.time_is_over(rejected, "approve")
    rejected.ended()
    assert rejected.states() == {"approve": "success", "promote": "skipped", "reject": "success"}
    assert named(place.store, model=rejected.model) is None
    told = [judged.reasons for judged in opened(place.store, name=rejected.model).judgements()]
    assert told == [
        ("nobody approved within 72 hours",),
        ("rejected by alice: too few images",),
    ]
    assert place.actions(rejected)[0] == ("reject", "", "rejected")


# --- ways around ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def marked(place: Place, approved: Run) -> Run:
    """A run whose task `approve` somebody marked as successful, instead of answering."""
    run = place.run("marked")
    run.asked()
    run.mark("approve")
    return run.ended()


@in_airflow
def test_marking_the_task_as_successful_promotes_nothing(place: Place, marked: Run) -> None:
    assert marked.states() == {"approve": "success", "promote": "failed", "reject": "skipped"}
    assert "nobody has decided about gate/" in marked.log("promote")
    assert "clear the task `approve`" in marked.log("promote")
    assert place.incident("approval_waiting", f"asking approve {marked.id}", "ended")
    assert named(place.store, model=marked.model) is None


@in_airflow
def test_a_forged_approval_and_a_forged_xcom_promote_nothing(
    place: Place, approved: Run, marked: Run
) -> None:
    verdict = marked.value("gate")
    forged = Approval(
        verdict=verdict,
        model=marked.model,
        champion="",
        approved=True,
        by="alice",
        at="2026-11-26T08:00:00+00:00",
        dag="skin_training",
        run=marked.id,
        asked="0123456789",
    )
    key = approvals._key(forged)
    place.store.put(key, dump(forged))
    xcom = f"{marked.path}/taskInstances/approve/xcomEntries"
    place.airflow.api.post(xcom, {"key": "return_value", "value": {"approved": True}})
    marked.clear("promote")
    marked.wait_for("failed", task="promote")
    assert "is not signed, but SKIN_PUBLIC_KEY is set" in marked.ended().log("promote")
    assert named(place.store, model=marked.model) is None
    place.store.remove(key)


@in_airflow
def test_it_is_promoted_once_the_task_was_cleared_and_somebody_approved(
    place: Place, marked: Run
) -> None:
    marked.clear("approve", downstream=True)
    marked.asked()
    marked.answer("Approve", by="carol")
    assert marked.ended().states()["promote"] == "success"
    assert champion_of(place.store, place.keys, marked.model).by.endswith("approved by carol")


@in_airflow
def test_an_approval_does_not_hold_after_the_champion_was_moved(
    place: Place, approved: Run
) -> None:
    run = place.run("approved", SECOND)
    body = run.asked()["body"]
    before = champion_of(place.store, place.keys, approved.model).version
    assert f"replace champion {before}" in body
    assert "| Change |" in body
    model = registry(place.store, place.keys).model(approved.model)
    other = release(place.store, b"other", approved.model).version
    model.move(other, by="other", reason="meanwhile")
    model.move(before, by="other", reason="and back")
    run.answer("Approve")
    assert run.ended().states()["promote"] == "failed"
    assert "does not hold any more" in run.log("promote")
    assert named(place.store, model=approved.model) == before
    run.clear("approve", downstream=True)
    run.asked()
    run.answer("Approve")
    assert run.ended().states()["promote"] == "success"
    now = champion_of(place.store, place.keys, approved.model)
    assert (now.previous, now.number) == (before, 4)
    assert len(moves(place.store, model=approved.model)) == 4
    verdict = load(place.store, run.value("gate"), Verdict)
    assert verdict.approved


# --- the budget -----------------------------------------------------------------------------------


@in_airflow
def test_a_run_over_its_budget_that_is_rejected_ends_green_before_anything_expensive(
    place: Place,
) -> None:
    run = place.run("dear", dag="dear", strategy="full", epochs=200)
    shown = run.asked("budget")
    assert "core-hours; the budget (SKIN_BUDGET_CORE_HOURS) is 0.03." in shown["body"]
    run.answer("Reject", task="budget", note="too dear")
    assert run.ended().state() == "success"
    tasks = place.airflow.api.get(f"{run.path}/taskInstances?limit=100")["task_instances"]
    states = {task["task_id"]: task["state"] for task in tasks}
    assert states == {
        **{"numbers": "success", "budget": "success"},
        **{"work": "skipped", "judge": "skipped"},
    }
    assert "nobody approved it, so all later tasks are skipped" in run.log("budget")
    assert place.actions(run) == [("reject", "alice", "rejected")]


@in_airflow
def test_a_run_over_its_budget_goes_on_if_it_is_approved_and_one_within_it_at_once(
    place: Place,
) -> None:
    within = place.run("cheap", dag="dear")
    over = place.run("dear", dag="dear", strategy="full", epochs=200)
    over.asked("budget")
    over.answer("Approve", task="budget")
    for run in (within, over):
        assert run.ended().state("judge") == "success"
    assert "not_asked task=budget" in within.log("budget")
    assert place.actions(within) == []
    assert place.actions(over) == [("approve", "alice", "approved")]


# --- without a running Airflow --------------------------------------------------------------------


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes an operator that asks once, and keeps what it does."""
    import skin_airflow
    import skin_approval
    from airflow.sdk.configuration import conf

    from skin_pipeline.operations import asking

    done: list[Any] = []

    class Once(skin_approval.Asking):
        """Asks a person."""

        def question(self, job: Any, *, again: bool) -> Any:
            done.append(("asked", again))
            return asking.Question("Really?", "Why"), {"key": "gate/1"}

        def answered(self, job: Any, request: Any, answer: Any) -> None:
            done.append((request, answer))

    @contextmanager
    def job() -> Generator[Any, None, None]:
        deployment = skin_airflow.airflow_deployment()
        settings = SimpleNamespace(released_as="skin", synthetic=False)
        yield SimpleNamespace(deployment=deployment, settings=settings)

    def wait(self: Any, context: Any) -> None:
        raise TaskAwaitingInput(method_name="execute_complete")

    monkeypatch.setattr(skin_approval, "airflow_job", job)
    monkeypatch.setattr(skin_approval, "alert", lambda kind, *_, **told: done.append((kind, told)))
    monkeypatch.setattr(skin_approval, "recovered", lambda *told, **_: done.append(told))
    monkeypatch.setattr(HITLOperator, "execute", wait)

    def make(manager: str = "x.SimpleAuthManager") -> Any:
        monkeypatch.setattr(conf, "get", lambda *_, **__: manager)
        return Once(task_id="approve", about="gate/1"), done

    return make


def context_of(tried: int = 1, by: str | None = "alice") -> Any:
    ti = SimpleNamespace(
        try_number=tried, id="ti", dag_id="skin_training", task_id="approve", run_id="r"
    )
    run = SimpleNamespace(triggering_user_name=by)
    dag = SimpleNamespace(dag_id="skin_training")
    return {"ti": ti, "dag": dag, "dag_run": run, "run_id": "r", "params": {"note": None}}


def event(option: str = "Approve", by: Any = "alice", note: str = "") -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {"note": note},
        "responded_at": datetime(2026, 11, 26, 8, tzinfo=timezone.utc),
        "responded_by_user": {"id": "7", "name": by} if by else None,
    }


def test_a_request_is_kept_where_airflow_keeps_what_the_task_goes_on_with(operator: Any) -> None:
    task, done = operator()
    context = context_of()
    with pytest.raises(TaskAwaitingInput) as waiting:
        task.execute(context)
    assert waiting.value.kwargs == {"request": {"key": "gate/1"}}
    assert (task.subject, task.body) == ("Really?", "Why")
    assert context["params"] == {}  # the note is no setting of the run
    assert done[0] == ("asked", False)
    kind, told = done[1]
    assert (kind, told["headline"], told["model"]) == ("approval_waiting", "Really?", "skin")
    with pytest.raises(TaskAwaitingInput):
        task.execute(context_of(tried=2))
    assert done[2] == ("asked", True)


def test_the_answer_is_that_of_the_user_whom_airflow_names(operator: Any) -> None:
    task, done = operator()
    task.execute_complete(context_of(by="bob"), event(note=" fine "), request={"key": "k"})
    request, answer = done[0]
    assert request == {"key": "k"}
    assert (answer.approved, answer.by, answer.note, answer.started_by) == (
        *(True, "alice", "fine"),
        "bob",
    )
    assert done[1][:2] == ("approval_waiting", "skin_training approve r")


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_an_answer_of_nobody_approves_nothing(operator: Any, option: str) -> None:
    task, done = operator()
    task.execute_complete(context_of(), event(option, by=None, note="x"), request={})
    answer = done[0][1]
    assert (answer.approved, answer.by) == (False, "")
    assert answer.note == "nobody approved within 72 hours"


def test_whom_airflow_cannot_tell_apart_by_name_the_task_does(
    operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAB's users have numbers as ids, so Airflow takes all answers; this asks again."""
    monkeypatch.setenv("SKIN_APPROVERS", "alice, carol")
    by_name, _ = operator()
    assert [user["id"] for user in by_name.assigned_users] == ["alice", "carol"]
    task, done = operator("airflow.providers.fab.FabAuthManager")
    assert task.assigned_users is None
    for option in ("Approve", "Reject"):
        with pytest.raises(TaskAwaitingInput):
            task.execute_complete(context_of(), event(option, by="mallory"), request={"key": "k"})
    assert [item[0] for item in done] == ["asked", "approval_waiting"] * 2
    task.execute_complete(context_of(), event(by="carol"), request={"key": "k"})
    assert done[-2][1].by == "carol"
