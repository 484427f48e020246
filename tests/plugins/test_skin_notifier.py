"""An incident is told once, counted, and told again when it is over; nothing that goes wrong with
that is raised."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_home import put_database
from alerting import BASE, RUN, SECRET, connect, context, fail_fast, mail_connection, mail_inbox
from models_server import REAL, AirflowUi, judge, promote
from servers import HOST, Inbox, free_ports, webhook_inbox
from skin_notifier import SkinNotifier, SkinRecovery, alert, late, recovered, send_again

from skin_pipeline.contracts import EventKind, Incident
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.operations import incidents
from skin_pipeline.storage import FolderStore

NEXT = "scheduled__2026-07-08T00:00:00+00:00"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """A real HTTP server that alerts go to."""
    with webhook_inbox() as inbox:
        connect(monkeypatch, "hook", conn_type="http", host=inbox.url, password=SECRET)
        yield inbox


@pytest.fixture(autouse=True)
def configured(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE)
    monkeypatch.setenv("SKIN_STORE", store.url)


def fail(task: str = "train", error: Exception | None = None, **more: Any) -> None:
    SkinNotifier("task_failed")(context(task, exception=error or BadInput("no images"), **more))


def succeed(run: str = NEXT, **states: str) -> None:
    SkinRecovery()(context(run=run, states=states))


def told(inbox: Inbox) -> list[tuple[str, str, int]]:
    return [(p.json["event"], p.json["state"], p.json["count"]) for p in inbox.received]


def only(store: FolderStore) -> Incident:
    (incident,) = incidents.every(store)
    return incident


# --- one incident is one alert -------------------------------------------------------------------


def test_a_failure_is_told_once_counted_and_told_again_when_it_is_over(
    store: FolderStore, webhook: Inbox
) -> None:
    fail(map_index=3)
    fail(map_index=4)
    assert told(webhook) == [("task_failed", "open", 1)]
    kept = only(store)
    assert (kept.count, kept.state, kept.delivered, kept.problem) == (2, "open", ("hook",), "")
    assert kept.sent
    assert webhook.received[0].json["incident"] == kept.id
    assert f"Incident {kept.id}." in webhook.received[0].json["text"]

    succeed(train_0="success", train_1="success")
    assert told(webhook)[1:] == [("task_failed", "over", 2)]
    over = webhook.received[1].json
    assert over["incident"] == kept.id
    assert over["subject"] == "Over: Task train [4] failed in skin_training"
    assert f"Task train succeeded in run {NEXT}" in over["text"]
    assert only(store).state == "ended"
    assert only(store).recovery_sent

    succeed(train_0="success")
    assert len(webhook.received) == 2
    fail()
    assert told(webhook)[2:] == [("task_failed", "open", 1)]
    assert only(store).episode == 2


def test_many_at_once_are_one_alert(store: FolderStore, webhook: Inbox) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda index: fail(map_index=index), range(6)))
    assert told(webhook) == [("task_failed", "open", 1)]
    assert only(store).count == 6


def test_a_task_that_failed_in_one_instance_is_not_over(webhook: Inbox) -> None:
    fail()
    succeed(train_0="success", train_1="failed", ingest="success")
    assert told(webhook) == [("task_failed", "open", 1)]


def test_a_run_that_fails_ends_the_failures_of_the_tasks_that_succeeded_in_it(
    webhook: Inbox,
) -> None:
    fail("ingest")
    states = {"ingest": "success", "train_0": "upstream_failed"}
    SkinNotifier("run_failed")(context(run=NEXT, states=states))
    assert told(webhook) == [
        *(("task_failed", "open", 1), ("run_failed", "open", 1), ("task_failed", "over", 1)),
    ]
    succeed()
    assert told(webhook)[3:] == [("run_failed", "over", 1)]


def ended_at(second: int) -> SimpleNamespace:
    """A run that has ended, as a callback of its DAG gets it."""
    return SimpleNamespace(end_date=datetime.now(timezone.utc) + timedelta(seconds=second))


@pytest.mark.parametrize("event", ["task_failed", "scoring_failed", "run_failed"])
def test_a_success_that_airflow_reports_late_does_not_end_a_failure_after_it(
    event: EventKind, store: FolderStore, webhook: Inbox
) -> None:
    """Airflow reports the end of a run minutes later if its DAG processor is busy."""

    def fail() -> None:
        SkinNotifier(event)(context(run="second", exception=BadInput("no images")))

    def succeed(run: str, second: int) -> None:
        dag_run = ended_at(second)
        SkinRecovery()(context(run=run, states={"train": "success"}, dag_run=dag_run))

    fail()
    succeed("first", -3600)
    assert told(webhook) == [(event, "open", 1)]
    assert only(store).state == "open"
    succeed("third", +3600)
    assert told(webhook)[1:] == [(event, "over", 1)]


def test_a_failure_that_airflow_reports_late_is_over_with_the_success_after_it(
    store: FolderStore, webhook: Inbox
) -> None:
    SkinNotifier("run_failed")(context(run="first", dag_run=ended_at(-60)))
    SkinRecovery()(context(run="second", dag_run=ended_at(-30)))
    assert told(webhook) == [("run_failed", "open", 1), ("run_failed", "over", 1)]
    assert only(store).state == "ended"


@pytest.mark.parametrize("ending", ["success", "failed"])
def test_a_task_that_was_killed_is_told_by_the_run_that_it_belongs_to(
    ending: str, webhook: Inbox
) -> None:
    """Airflow calls the callback of a task in its process, so a killed one cannot tell of it."""
    fail("ingest", run=NEXT)
    given = context(
        run=NEXT, states={"train_0": "success", "train_1": "failed", "ingest": "failed"}
    )
    for _ in range(2):
        (SkinRecovery() if ending == "success" else SkinNotifier("run_failed"))(given)
    (killed,) = [p.json for p in webhook.received if "was killed" in p.json["subject"]]
    assert killed["subject"] == "Task train [1] was killed in skin_training"
    assert killed["map_index"] == 1
    told_of = [p.json["subject"] for p in webhook.received if p.json["event"] == "task_failed"]
    assert told_of == ["Task ingest failed in skin_training", killed["subject"]]


def test_a_failure_that_is_held_is_not_told_by_the_run_as_a_kill(webhook: Inbox) -> None:
    fail("train", Unavailable("no answer"), run=NEXT)
    SkinNotifier("run_failed")(context(run=NEXT, states={"train": "failed"}))
    assert told(webhook) == [("run_failed", "open", 1)]


def test_a_late_run_is_told_and_over_with_the_next_success(webhook: Inbox) -> None:
    run = {"dag_id": "skin_training", "dag_run_id": RUN, "state": "running", "conf": {}}
    late(context={"dag_run": run, "deadline": {"deadline_time": "2026-07-02T09:00:00+00:00"}})
    late(context={"dag_run": {**run, "state": "failed"}})
    assert told(webhook) == [("late", "open", 1)]
    succeed()
    assert told(webhook)[1:] == [("late", "over", 1)]


# --- what comes and goes -------------------------------------------------------------------------


def test_what_may_pass_by_itself_is_told_at_two_of_three_and_over_after_two_successes(
    store: FolderStore, webhook: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    def unavailable(run: str) -> None:
        fail(error=Unavailable("the store does not answer"), run=run)

    with caplog.at_level(logging.WARNING):
        unavailable("run 1")
        unavailable("run 1")  # the same run, cleared: it is one observation
    assert "alert_held kind=task_failed opens_at=2 of_last=3" in caplog.text
    assert told(webhook) == []
    assert incidents.every(store) == []
    succeed("run 2", train="success")
    unavailable("run 3")
    assert told(webhook) == [("task_failed", "open", 1)]
    succeed("run 4", train="success")
    assert len(webhook.received) == 1
    succeed("run 5", train="success")
    assert told(webhook)[1:] == [("task_failed", "over", 1)]


def test_an_error_of_the_input_is_told_at_once(webhook: Inbox) -> None:
    fail(error=fail_fast(BadInput("no images")))
    assert told(webhook) == [("task_failed", "open", 1)]


def drift(run: str) -> Incident | None:
    return alert(
        *("drift", "skin champion"),
        model="skin",
        headline="Drift of skin",
        text=["blur: more than usual."],
        context=context("watch", run=run),
    )


def test_drift_is_told_at_once_and_over_after_two_calm_runs(webhook: Inbox) -> None:
    def calm(run: str) -> Incident | None:
        return recovered("drift", "skin champion", context=context(run=run))

    opened = drift("1")
    assert opened is not None
    assert calm("2") is None
    assert drift("3") is not None
    assert calm("4") is None
    over = calm("5")
    assert over is not None
    assert over.id == opened.id
    assert told(webhook) == [("drift", "open", 1), ("drift", "over", 2)]


# --- verdicts ------------------------------------------------------------------------------------


def refuse(store: FolderStore, run: str, at: int) -> str:
    when = f"2026-06-30T00:00:{at:02d}+00:00"
    key = judge(store, REAL, run, at=when, accuracy=0.6, approved=False)
    SkinNotifier("refused")(context("reject", verdict=key, run=run))
    return key


def test_a_refusal_lasts_until_another_verdict(store: FolderStore, webhook: Inbox) -> None:
    refuse(store, "first", 1)
    refuse(store, "first", 1)  # the same verdict, found again
    assert told(webhook) == [("refused", "open", 1)]
    second = refuse(store, "second", 2)  # with other reasons, which must be told
    assert told(webhook)[1:] == [("refused", "open", 1)]
    assert webhook.received[1].json["verdict"] == second
    assert only(store).episode == 2

    at = "2026-06-30T00:00:03+00:00"
    good = judge(store, REAL, "third", at=at, accuracy=0.9, approved=True)
    promote(store, REAL, good, at=at)
    for _ in range(2):
        SkinNotifier("promoted")(context("promote", verdict=good, run="third"))
    assert told(webhook)[2:] == [("promoted", "open", 1), ("refused", "over", 1)]
    assert f"{REAL} was promoted, by run third." in webhook.received[-1].json["text"]
    kinds = {item.kind: (item.state, item.count) for item in incidents.every(store)}
    assert kinds == {"promoted": ("ended", 2), "refused": ("ended", 1)}


# --- what cannot be sent -------------------------------------------------------------------------


def test_what_cannot_be_sent_stays_and_is_sent_again(
    store: FolderStore, webhook: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.answers = [503, 503]
    fail()
    assert incidents.unsent(store) == [only(store)]
    assert (only(store).problem, only(store).sent) == ("hook: the server answered 503", "")
    assert 'alert_not_sent event=task_failed connection=hook reason="the server' in caplog.text

    webhook.answers = [404]
    assert send_again(store) == (0, 1)
    assert send_again(store) == (1, 0)
    assert send_again(store) == (0, 0)
    assert incidents.unsent(store) == []
    assert webhook.received[-1].json["incident"] == only(store).id
    assert len(webhook.received) == 4


def test_a_repeat_of_what_was_not_sent_tries_again(store: FolderStore, webhook: Inbox) -> None:
    webhook.answers = [404]
    fail()
    fail()
    fail()
    assert told(webhook) == [("task_failed", "open", 1), ("task_failed", "open", 2)]
    assert only(store).problem == ""


def test_a_recovery_that_cannot_be_sent_is_sent_again(store: FolderStore, webhook: Inbox) -> None:
    fail()
    webhook.answers = [404]
    succeed(train="success")
    (waiting,) = incidents.unsent(store)
    assert (waiting.state, waiting.recovery_sent) == ("ended", "")
    assert send_again(store) == (1, 0)
    assert told(webhook)[2:] == [("task_failed", "over", 1)]
    assert incidents.unsent(store) == []


def test_of_several_connections_only_those_that_failed_are_tried_again(
    store: FolderStore, webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_inbox() as mailbox:
        connect(monkeypatch, "mail", **mail_connection(mailbox))
        monkeypatch.setenv("SKIN_NOTIFY_CONNECTION", "hook, mail")
        webhook.answers = [404]
        fail()
        assert only(store).delivered == ("mail",)
        assert only(store).problem == "hook: the server answered 404"
        assert send_again(store) == (1, 0)
        assert (len(webhook.received), len(mailbox.received)) == (2, 1)
        succeed(train="success")
        assert (len(webhook.received), len(mailbox.received)) == (3, 2)
        assert mailbox.received[1].message["Subject"].startswith("Over: Task train failed")


def test_a_store_that_cannot_be_read_does_not_silence_the_alert(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SKIN_STORE", "s3://bucket/none")
    monkeypatch.setenv("SKIN_S3_ENDPOINT", f"http://{HOST}:{free_ports(1)[0]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fail()
    assert told(webhook) == [("task_failed", "open", 1)]
    assert webhook.received[0].json["incident"] == ""
    assert 'incident_not_counted kind=task_failed subject="skin_training train"' in caplog.text
    assert recovered("late", "skin_training") is None
    assert "alert_failed" in caplog.text


def test_unusable_settings_are_a_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SKIN_RETRIES", "often")
    SkinNotifier("run_failed")(context())
    assert "alert_failed event=run_failed error=BadInput" in caplog.text


@pytest.mark.parametrize(
    ("kind", "level"), [("late", logging.WARNING), ("rolled_back", logging.INFO)]
)
def test_without_a_connection_the_alert_is_a_line_of_the_log(
    kind: Any, level: int, store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        alert(kind, "skin 1", model="skin", headline="It happened", text=["So."], context={})
    (record,) = [item for item in caplog.records if item.getMessage().startswith("alert ")]
    assert record.levelno == level
    assert record.getMessage() == f'alert event={kind} subject="It happened"'
    assert incidents.unsent(store) == []


def test_a_secret_of_a_connection_is_in_no_document_and_no_alert(
    store: FolderStore, webhook: Inbox
) -> None:
    from skin_connections import find_connection

    assert find_connection("hook")
    fail(error=ValueError(SECRET))
    assert SECRET not in webhook.received[0].body.decode()
    assert all(SECRET not in store.read(key).decode() for key in store.list("incidents"))


def test_an_unknown_event_is_an_error_of_the_dag_file() -> None:
    with pytest.raises(ValueError, match="Received: 'exploded'"):
        SkinNotifier("exploded")  # type: ignore[arg-type]


# --- under Airflow itself ------------------------------------------------------------------------

DAG = """
from airflow.sdk import dag, task
from skin_notifier import SkinNotifier, alert

@dag(schedule=None, on_failure_callback=SkinNotifier("run_failed"))
def alerting():
    @task
    def gate():
        return "VERDICT"

    @task(on_success_callback=SkinNotifier("refused"))
    def reject(key):
        text = ["Version 1 in place of 2."]
        alert("rolled_back", "skin 7", model="skin", headline="Rolled back", text=text)
        return key

    @task(on_failure_callback=SkinNotifier("task_failed"))
    def train(run):
        raise ValueError(f"run {run} diverged")

    reject(gate())
    train.expand(run=[7])

alerting()
"""


@pytest.mark.airflow
def test_airflow_calls_it_for_tasks_and_for_the_run_and_a_task_calls_it_itself(
    airflow_ui: AirflowUi, webhook: Inbox, tmp_path: Path
) -> None:
    put_database(tmp_path)  # its own: SQLite lets only one process write
    at = "2026-06-30T00:00:01+00:00"
    verdict = judge(airflow_ui.store, "skin-alerts", "r", at=at, accuracy=0.5, approved=False)
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "alerting.py").write_text(DAG.replace("VERDICT", verdict))
    env = airflow_ui.env | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "SKIN_NOTIFY_CONNECTION": "alerts",
        "AIRFLOW_CONN_ALERTS": json.dumps({"conn_type": "http", "host": webhook.url}),
    }

    run = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "alerting"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        cwd=os.fspath(dags),
    )

    assert run.returncode == 1, run.stdout + run.stderr  # the run failed, as it should
    posts = {post.json["event"]: post.json for post in webhook.received}
    expected = {"refused", "task_failed", "run_failed", "rolled_back"}
    assert posts.keys() == expected, run.stdout + run.stderr
    assert posts["refused"]["subject"] == "skin-alerts was refused"
    assert posts["task_failed"]["map_index"] == 0
    assert "ValueError: run 7 diverged" in posts["task_failed"]["text"]
    assert posts["run_failed"]["dag_id"] == "alerting"
    assert (posts["rolled_back"]["task_id"], posts["rolled_back"]["model"]) == ("reject", "skin")
    assert all(len(post["incident"]) == 12 for post in posts.values())
