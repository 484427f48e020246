"""Alerts: what they say, that they arrive, and that nothing that goes wrong is raised."""

from __future__ import annotations

import base64
import email
import json
import logging
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from email import policy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skin_notifier
from airflow.sdk import Connection
from models_server import DATASET, DUPLICATES, REAL, SYNTHETIC, AirflowUi, fill, judge, promote
from servers import HOST, Inbox, free_ports, serving, webhook_inbox
from skin_notifier import SkinNotifier, _is_slack, _slack_url, compose

from skin_pipeline import journal
from skin_pipeline.contracts import RESULT, Dataset, Notice, dump, load
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import FolderStore

BASE = "https://airflow.example.org"
RUN = "manual__2026-07-01T09:00:00+00:00"
SECRET = "hush-token-93d7"


# --- servers -------------------------------------------------------------------------------------


@pytest.fixture
def webhook() -> Iterator[Inbox]:
    """A real HTTP server that keeps what is posted to it."""
    with webhook_inbox() as inbox:
        yield inbox


@pytest.fixture
def mailbox() -> Iterator[Inbox]:
    """A real SMTP server that keeps what is sent to it; it asks for a login."""
    inbox = Inbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            mail = SimpleNamespace(login="", recipients=[], message=None)
            self.say("220 ready")
            while line := self.rfile.readline().decode().strip():
                self.answer(line, mail)

        def answer(self, line: str, mail: SimpleNamespace) -> None:
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                self.say("250-hello\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                mail.login = base64.b64decode(line.split(" ")[2]).decode()
                self.say("235 ok")
            elif verb == "DATA":
                self.say("354 go on")
                data = b"".join(iter(self.rfile.readline, b".\r\n"))
                mail.message = email.message_from_bytes(data, policy=policy.default)
                inbox.received.append(mail)
                self.say("250 kept")
            else:
                mail.recipients += re.findall(r"RCPT TO:<(.*)>", line, re.IGNORECASE)
                self.say("250 ok")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer((HOST, 0), Handler) as server:
        inbox.url = str(server.server_address[1])
        with serving(server):
            yield inbox


# --- what stands around an alert -----------------------------------------------------------------


@pytest.fixture(autouse=True)
def base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE)


@pytest.fixture
def judged(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The configured store, with three models in it."""
    fill(store)
    monkeypatch.setenv("SKIN_STORE", store.url)
    return store


def connect(monkeypatch: pytest.MonkeyPatch, **connection: Any) -> None:
    """Let alerts go through an Airflow connection."""
    monkeypatch.setenv("SKIN_NOTIFY_CONNECTION", "alerts")
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps(connection))


def context(
    task: str = "train",
    *,
    map_index: int = -1,
    params: dict[str, Any] | None = None,
    verdict: str = "",
    started: str = "2026-06-30T00:00:00+00:00",
    **more: Any,
) -> dict[str, Any]:
    """A callback's context, as far as the notifier looks at it."""
    ti = SimpleNamespace(
        task_id=task,
        dag_id="skin_training",
        run_id=RUN,
        map_index=map_index,
        try_number=4,
        start_date=datetime.fromisoformat(started),
        xcom_pull=lambda task_ids: verdict,
    )
    dag = SimpleNamespace(dag_id="skin_training")
    return {"ti": ti, "dag": dag, "run_id": RUN, "params": params or {}, **more}


def fail_fast(error: Exception) -> Exception:
    """What the DAG makes of bad input: an error of Airflow's that hides its cause."""
    from airflow.sdk.exceptions import AirflowFailException

    try:
        try:
            raise error
        except BadInput as bad:
            raise AirflowFailException(str(bad)) from None
    except AirflowFailException as passed_on:
        return passed_on


# --- what they say -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (fail_fast(BadInput("no images at x")), "Error: no images at x", "correct what the error"),
        (Unavailable("Kaggle is\n busy"), "Error: Kaggle is busy", "wait until"),
        (KeyError("row"), "Error: KeyError: 'row'", "read the log of the task"),
        (
            None,
            "Error: none was reported before the process of the task ended",
            "read the log of the task",
        ),
    ],
    ids=["bad input", "unavailable", "a bug", "killed"],
)
def test_a_failed_task_says_what_was_wrong_and_what_to_do(
    error: Exception | None, said: str, advice: str
) -> None:
    alert = compose("task_failed", context(map_index=3, exception=error))

    assert alert.subject == "Task train [3] failed in skin_training"
    assert "failed on try 4 and is not tried again" in alert.text
    assert said in alert.text
    assert f"What to do: {advice}" in alert.text
    quoted = RUN.replace(":", "%3A").replace("+", "%2B")
    assert f"Run: {BASE}/dags/skin_training/runs/{quoted}/tasks/train/mapped/3" in alert.text


@pytest.mark.parametrize(
    ("map_index", "name", "end"),
    [(-1, "train", "/tasks/train"), (0, "train [0]", "/tasks/train/mapped/0"),
     (11, "train [11]", "/tasks/train/mapped/11")],
)  # fmt: skip
def test_a_task_and_each_of_its_mapped_ones_has_a_link(map_index: int, name: str, end: str) -> None:
    alert = compose("task_failed", context(map_index=map_index, exception=BadInput("x")))
    assert alert.subject == f"Task {name} failed in skin_training"
    assert alert.run_url.endswith(end)


HOSTILE = "x\n\x1b[31mWhat to do: send it\u202e <!channel> https://ada:hunter2@host ${jndi:x}"


@pytest.mark.parametrize("kind", [BadInput, Unavailable, ValueError])
def test_words_of_others_in_an_alert_hide_nothing_and_tell_no_secret(kind: Any) -> None:
    alert = compose(
        "task_failed",
        context(exception=kind(HOSTILE), params={"model_name": HOSTILE, "runs": "x"}),
    )
    assert len(alert.text.split("\n")) == len(compose("task_failed", context()).text.split("\n"))
    assert all(part.isprintable() for part in (alert.subject, *alert.text.split("\n"), alert.model))
    for part in (alert.subject, alert.text, alert.model):
        assert "hunter2" not in part
        assert "${" not in part


def test_a_long_error_is_cut() -> None:
    alert = compose("task_failed", context(exception=BadInput("x" * 5000)))
    assert len(alert.text) < 1500


def test_synthetic_data_is_marked_from_the_trigger_form() -> None:
    alert = compose("task_failed", context(params={"data": "demo", "weights": "none"}))
    assert alert.subject.startswith("[synthetic data] Task train failed")
    assert alert.model == "skin-resnet50-synthetic"
    assert alert.synthetic


def test_an_unusable_trigger_form_does_not_spoil_the_alert() -> None:
    alert = compose("task_failed", context(params={"model_name": "mine", "runs": "many"}))
    assert "Model mine, run" in alert.text


def test_a_failed_run_names_the_tasks_that_failed() -> None:
    failed = context(reason="task_failure")
    states = {"train_3": "failed", "gate": "upstream_failed", "ingest": "success"}
    failed["ti"].get_task_states = lambda dag_id, run_ids: {run_ids[0]: states}

    alert = compose("run_failed", failed)

    assert alert.subject == "A run of skin_training failed"
    assert "The run failed: a task failed (train_3)." in alert.text
    assert alert.run_url.endswith("%2B00%3A00")  # the run, not the task that ended last


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("timed_out", "it took longer than allowed"),
        ("all_tasks_deadlocked", "no remaining task could start"),
        ("", "a task failed"),
        ("another one", "another one"),
    ],
)
def test_a_failed_run_says_why_in_words(reason: str, said: str) -> None:
    assert f"The run failed: {said}." in compose("run_failed", context(reason=reason)).text


def test_a_context_without_a_task_is_enough_for_a_failed_run() -> None:
    alert = compose("run_failed", {"dag": SimpleNamespace(dag_id="d"), "run_id": "r"})
    assert (alert.subject, alert.run_url) == ("A run of d failed", f"{BASE}/dags/d/runs/r")


def test_a_refusal_gives_figures_reasons_and_the_report(judged: FolderStore) -> None:
    verdict = judge(
        judged, REAL, "late", at="2026-06-30T00:00:01+00:00", accuracy=0.701, approved=False
    )

    alert = compose("refused", context("reject", verdict=verdict))

    assert alert.subject == f"{REAL} was refused"
    assert "The champion stays as it was: version " in alert.text
    assert "accuracy 0.701 (95 % interval 0.651 to 0.751), sensitivity 0.853" in alert.text
    assert "Failed: accuracy: 0.701 [0.651, 0.751], required at least 0.750" in alert.text
    assert "(232 images: 187 correct would show 0.750, 163 were)." in alert.text
    report = f"{BASE}/plugin/models/skin-models/view/{verdict}/report.html"
    assert f"Report: {report}" in alert.text
    assert alert.report_url == report


def test_a_judgement_names_the_warnings_about_the_data(judged: FolderStore) -> None:
    at = "2026-06-30T00:00:01+00:00"
    verdict = judge(judged, REAL, "late", at=at, accuracy=0.701, approved=False)

    alert = compose("refused", context("reject", verdict=verdict))

    assert f"Warnings about the data: {DUPLICATES}; shortcut: border ring colour.\n" in alert.text
    assert f"Data: {alert.data_url}\n" in alert.text
    assert alert.data_url.endswith("%2B00%3A00/plugin/skin-data")


@pytest.mark.parametrize(("task", "links"), [("validate", 1), ("split", 1), ("train", 0)])
def test_data_that_is_not_fit_leads_to_what_was_found(task: str, links: int) -> None:
    alert = compose("task_failed", context(task, exception=fail_fast(BadInput("not fit"))))
    assert alert.text.count("/plugin/skin-data") == links


def test_a_promotion_names_the_new_champion(judged: FolderStore) -> None:
    at = "2026-06-30T00:00:01+00:00"
    verdict = judge(judged, SYNTHETIC, "new", at=at, accuracy=0.9, approved=True, synthetic=True)
    version = promote(judged, SYNTHETIC, verdict, at=at, synthetic=True)

    alert = compose("promoted", context("promote", verdict=verdict))

    assert alert.subject == f"[synthetic data] {SYNTHETIC} was promoted"
    assert f"The champion is now version {version}." in alert.text
    assert "Failed" not in alert.text


def test_the_same_model_again_is_not_called_a_promotion(judged: FolderStore) -> None:
    at = "2026-06-30T00:00:01+00:00"
    verdict = judge(judged, REAL, "new", at=at, accuracy=0.9, approved=True)
    version = promote(judged, REAL, verdict, at=at)
    journal.note(judged, RUN, unchanged=True)

    alert = compose("promoted", context("promote", verdict=verdict))

    assert alert.subject == f"{REAL} is unchanged"
    assert f"The run produced the present champion again: version {version}." in alert.text
    assert "Nothing changed: an earlier run came to the same verdict on " in alert.text


def test_the_same_refusal_again_says_that_nothing_changed(judged: FolderStore) -> None:
    at = "2026-06-30T00:00:01+00:00"
    verdict = judge(judged, REAL, "new", at=at, accuracy=0.6, approved=False)
    journal.note(judged, RUN, unchanged=True)

    alert = compose("refused", context("reject", verdict=verdict))

    assert alert.subject == f"{REAL} was refused, as before"
    assert "Nothing changed: an earlier run came to the same verdict on " in alert.text
    assert "Failed: accuracy: " in alert.text


def test_what_was_found_and_not_used_is_among_the_warnings(judged: FolderStore) -> None:
    found = tuple(
        Notice(kind="table_not_used", subject=name, reason="no column fits")
        for name in ("a.csv", "b.csv")
    )
    data = load(judged, DATASET, Dataset).model_copy(update={"notices": found})
    at = "2026-06-30T00:00:01+00:00"
    verdict = judge(judged, REAL, "new", at=at, accuracy=0.6, approved=False)
    judged.remove(f"{DATASET}/{RESULT}")  # a result is written once
    judged.put(f"{DATASET}/{RESULT}", dump(data))

    alert = compose("refused", context("reject", verdict=verdict))

    assert "table not used: 2" in alert.text


def test_a_verdict_that_cannot_be_read_still_makes_an_alert(judged: FolderStore) -> None:
    alert = compose("promoted", context("promote", verdict="gate/none", params={"data": "x"}))
    assert alert.subject == "skin-resnet50 was judged"
    assert "could not be read" in alert.text


def test_an_unknown_event_is_an_error_of_the_dag_file() -> None:
    with pytest.raises(ValueError, match="Received: 'exploded'"):
        SkinNotifier("exploded")  # type: ignore[arg-type]


# --- that they arrive ----------------------------------------------------------------------------


def test_a_webhook_gets_json_with_a_bearer_token(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, conn_type="http", host=f"{webhook.url}/hook", password=SECRET)

    SkinNotifier("task_failed")(context(map_index=2, exception=BadInput("no images")))

    (post,) = webhook.received
    assert (post.path, post.headers["Authorization"]) == ("/hook", f"Bearer {SECRET}")
    known = {"event": "task_failed", "dag_id": "skin_training", "run_id": RUN, "task_id": "train"}
    assert known.items() <= post.json.items()
    assert (post.json["map_index"], post.json["try_number"]) == (2, 4)
    assert "no images" in post.json["text"]


@pytest.mark.parametrize(
    "connection",
    [
        {"conn_type": "http", "host": HOST, "port": "PORT", "extra": {"path": "/in/hook"}},
        {"conn_type": "generic", "host": f"http://{HOST}/in/hook", "port": "PORT"},
        {"conn_type": "http", "host": HOST, "port": "PORT", "schema": "in/hook"},
        {"conn_type": "webhook", "host": f"http://{HOST}:PORT/in/hook", "schema": "http"},
    ],
)
def test_a_webhook_is_found_however_the_connection_is_filled_in(
    connection: dict[str, Any], webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = webhook.url.rpartition(":")[2]
    filled = json.loads(json.dumps(connection).replace('"PORT"', port).replace("PORT", port))
    connect(monkeypatch, login="ops", password=SECRET, **filled)

    SkinNotifier("run_failed")(context())

    (post,) = webhook.received
    login = base64.b64encode(f"ops:{SECRET}".encode()).decode()
    assert (post.path, post.headers["Authorization"]) == ("/in/hook", f"Basic {login}")


@pytest.mark.parametrize(
    "connection",
    [
        {"conn_type": "slackwebhook", "password": f"URL/services/T/{SECRET}"},
        {"conn_type": "slack", "host": "URL/services", "password": f"T/{SECRET}"},
        {"conn_type": "http", "host": f"URL/services/T/{SECRET}", "extra": {"format": "slack"}},
    ],
)
def test_slack_gets_one_escaped_text(
    connection: dict[str, Any], webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, **json.loads(json.dumps(connection).replace("URL", webhook.url)))

    SkinNotifier("task_failed")(context(exception=BadInput("<!channel> & co")))

    (post,) = webhook.received
    assert post.path == f"/services/T/{SECRET}"
    assert list(post.json) == ["text"]
    assert post.json["text"].startswith("*Task train failed in skin_training*\n")
    assert "&lt;!channel&gt; &amp; co" in post.json["text"]


@pytest.mark.parametrize(
    "connection",
    [
        {"host": "https://hooks.slack.com/services", "password": "T/B/x"},
        {"host": "https://hooks.slack.com/services/T/B/x"},
        {"password": "https://hooks.slack.com/services/T/B/x"},
    ],
)
def test_slack_is_known_by_its_address(connection: dict[str, Any]) -> None:
    found = Connection(conn_id="alerts", conn_type="generic", **connection)
    assert _is_slack(found)
    assert _slack_url(found) == "https://hooks.slack.com/services/T/B/x"


def test_an_email_reaches_every_recipient(mailbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "to": "ops@example.org, lab@example.org",
        "from_email": "airflow@example.org",
        "disable_ssl": True,
        "disable_tls": True,
    }
    connect(
        monkeypatch,
        conn_type="smtp",
        host=HOST,
        port=int(mailbox.url),
        login="ops",
        password=SECRET,
        extra=extra,
    )

    SkinNotifier("task_failed")(context(exception=BadInput("<b>")))

    (mail,) = mailbox.received
    assert mail.recipients == ["ops@example.org", "lab@example.org"]
    assert mail.login == f"\0ops\0{SECRET}"
    assert mail.message["Subject"] == "Task train failed in skin_training"
    assert mail.message["From"] == "airflow@example.org"
    assert "Error: &lt;b&gt;<br>" in mail.message.get_body(("html",)).get_content()


@pytest.mark.parametrize(
    ("answers", "posts", "arrived"),
    [
        ([500], 2, True),
        ([500, 503], 2, False),
        ([404], 1, False),
        # Followed, the alert and its token would go to wherever the server points.
        *(([status], 1, False) for status in (301, 302, 303, 307, 308)),
    ],
)
def test_a_failing_server_is_tried_once_more_and_no_further(
    answers: list[int],
    posts: int,
    arrived: bool,
    webhook: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(monkeypatch, conn_type="http", host=webhook.url, password=SECRET)
    webhook.answers = list(answers)

    with caplog.at_level(logging.INFO):
        SkinNotifier("run_failed")(context())

    assert [post.path for post in webhook.received] == ["/"] * posts
    assert ("alert_sent" in caplog.text) is arrived
    assert (f'reason="the server answered {answers[-1]}"' in caplog.text) is not arrived


# --- that nothing is raised, and no secret told --------------------------------------------------


def no_server() -> str:
    return f"http://{HOST}:{free_ports(1)[0]}/services/T/{SECRET}"


@pytest.mark.parametrize(
    ("connection", "reason"),
    [
        ({"conn_type": "http", "host": no_server(), "password": SECRET}, "ConnectionError"),
        ({"conn_type": "slackwebhook", "password": no_server()}, "ConnectionError"),
        ({"conn_type": "http", "password": SECRET}, "the connection has no host"),
        ({"conn_type": "http", "host": f"http://[{SECRET}"}, "InvalidURL"),
        ({"conn_type": "smtp", "host": HOST, "password": SECRET}, 'needs "to" and "from_email"'),
        (
            {
                "conn_type": "smtp",
                "host": HOST,
                "port": free_ports(1)[0],
                "password": SECRET,
                "login": "a@example.org",
                "extra": {"to": "b@example.org", "disable_ssl": True, "disable_tls": True},
            },
            "ConnectionRefusedError",
        ),
        (None, "a connection that does not exist"),
    ],
    ids=["dead", "dead slack", "no host", "broken url", "no recipients", "dead mail", "missing"],
)
def test_an_alert_that_cannot_be_sent_is_one_line_without_secrets(
    connection: dict[str, Any] | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect(monkeypatch, **(connection or {}))
    if connection is None:
        monkeypatch.delenv("AIRFLOW_CONN_ALERTS")

    with caplog.at_level(logging.DEBUG):
        SkinNotifier("run_failed")(context())

    (line,) = [
        record.getMessage()
        for record in caplog.records
        if record.name == "skin_notifier" and record.levelno >= logging.WARNING
    ]
    assert line.startswith("alert_not_sent event=run_failed connection=alerts reason=")
    assert reason in line
    assert "A run of skin_training failed" in line
    assert SECRET not in caplog.text


def test_unusable_settings_are_one_line_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SKIN_RETRIES", "often")
    SkinNotifier("run_failed")(context())
    assert "alert_failed event=run_failed error=BadInput" in caplog.text


@pytest.mark.parametrize(
    ("event", "level"), [("run_failed", logging.WARNING), ("promoted", logging.INFO)]
)
def test_without_a_connection_the_alert_is_a_line_of_the_log(
    event: Any, level: int, judged: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        SkinNotifier(event)(context())
    (record,) = [item for item in caplog.records if item.getMessage().startswith("alert ")]
    assert record.levelno == level
    assert f'event={event} subject="' in record.getMessage()


def test_passwords_that_airflow_knows_are_masked_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch, webhook: Inbox
) -> None:
    from skin_connections import find_connection

    connect(monkeypatch, conn_type="http", host=webhook.url, password=SECRET)
    assert find_connection("alerts")
    alert = compose("task_failed", context(exception=ValueError(f"401 for token {SECRET}")))
    assert "401 for token ***" in alert.text
    alert = compose("task_failed", context(f"train_{SECRET}", exception=ValueError("x")))
    assert alert.subject == "Task train_*** failed in skin_training"
    SkinNotifier("task_failed")(context(f"train_{SECRET}", exception=ValueError(SECRET)))
    (post,) = webhook.received
    assert SECRET not in post.json["subject"] + post.json["text"]


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes a connection and never says a word."""
    with socketserver.TCPServer((HOST, 0), socketserver.BaseRequestHandler) as listener:
        yield f"http://{HOST}:{listener.server_address[1]}"


@pytest.mark.parametrize("by", ["http", "smtp"])
def test_a_server_that_says_nothing_is_waited_for_no_longer_than_is_set(
    by: str, silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert skin_notifier.CONNECT_SECONDS + skin_notifier.ANSWER_SECONDS <= 10
    monkeypatch.setattr(skin_notifier, "ANSWER_SECONDS", 0.05)
    people = {"to": "a@example.org", "from_email": "b@example.org"}
    extra = {**people, "disable_ssl": True, "disable_tls": True} if by == "smtp" else {}
    where = {"host": HOST, "port": int(silent.rpartition(":")[2])}
    connect(monkeypatch, conn_type=by, extra=extra, **where)
    sending = threading.Thread(target=SkinNotifier("run_failed"), args=(context(),), daemon=True)
    sending.start()
    sending.join(20)
    assert not sending.is_alive()
    (line,) = [text for text in caplog.messages if text.startswith("alert_not_sent")]
    assert re.search(r'connection=alerts reason="(ReadTimeout|AirflowException)"', line)


def test_an_alert_is_sent_in_the_form_that_its_fields_have(
    webhook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, conn_type="http", host=webhook.url)
    SkinNotifier("task_failed")(context("validate", exception=BadInput("x")))
    (post,) = webhook.received
    assert set(post.json) == {
        *("event", "subject", "text", "model", "synthetic", "run_url", "report_url", "data_url"),
        *("dag_id", "run_id", "task_id", "map_index", "try_number"),
    }
    assert post.json["data_url"].endswith("/plugin/skin-data")
    assert post.json["run_url"].endswith("/tasks/validate")
    assert "Authorization" not in post.headers


# --- under Airflow itself ------------------------------------------------------------------------

DAG = """
from airflow.sdk import dag, task
from skin_notifier import SkinNotifier

@dag(schedule=None, on_failure_callback=SkinNotifier("run_failed"))
def alerting():
    @task
    def gate():
        return "VERDICT"

    @task(on_success_callback=SkinNotifier("refused"))
    def reject(key):
        pass

    @task(on_failure_callback=SkinNotifier("task_failed"))
    def train(run):
        raise ValueError(f"run {run} diverged")

    reject(gate())
    train.expand(run=[7])

alerting()
"""


@pytest.mark.airflow
def test_airflow_calls_it_for_tasks_and_for_the_run(airflow_ui: AirflowUi, webhook: Inbox) -> None:
    at = datetime.now(timezone.utc).isoformat()
    verdict = judge(airflow_ui.store, "skin-alerts", "r", at=at, accuracy=0.5, approved=False)
    dags = Path(airflow_ui.env["AIRFLOW__CORE__DAGS_FOLDER"])
    (dags / "alerting.py").write_text(DAG.replace("VERDICT", verdict))
    env = airflow_ui.env | {
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
    assert posts.keys() == {"refused", "task_failed", "run_failed"}, run.stdout + run.stderr
    assert posts["refused"]["subject"] == "skin-alerts was refused"
    assert posts["task_failed"]["map_index"] == 0
    assert "ValueError: run 7 diverged" in posts["task_failed"]["text"]
    assert posts["run_failed"]["dag_id"] == "alerting"
