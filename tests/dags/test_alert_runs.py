"""The alerts of DAG runs in a real Airflow: each arrives once by mail and by a webhook, and again
when it is over."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow_home import put_database
from alerting import MAIL, SECRET, mail_connection, mail_inbox
from local_airflow import ApiError, LocalAirflow
from released import opened
from servers import Inbox, webhook_inbox

from skin_pipeline.contracts import CHAMPION
from skin_pipeline.operations import incidents
from skin_pipeline.release import version_key
from skin_pipeline.storage import FolderStore

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
MODEL = "skin-resnet50-synthetic"
TOKEN = "planted/token+93d7"
PATIENCE = 420.0  # seconds until a test that waits gives up
QUICK = {
    **{"data": "demo", "weights": "none", "strategy": "head", "image_size": 64, "views": 1},
    **{"regions": "centre", "corrupted": 0},
    **{"runs": 2, "min_runs": 2, "epochs": 10, "target_sensitivity": 0.95},
    **{"min_accuracy": 0.5, "min_sensitivity": 0.5},
}
# A DAG with the deadline and the callbacks of `skin_training`, whose task waits to be let go on.
SLOW = """
import os, time
from pathlib import Path

os.environ["SKIN_DEADLINE_HOURS"] = str(1 / 3600)

from airflow.sdk import dag, task
from skin_airflow import deadline
from skin_notifier import SkinNotifier, SkinRecovery

@dag(dag_id="slow", schedule=None, deadline=deadline(), on_success_callback=SkinRecovery(),
     on_failure_callback=SkinNotifier("run_failed"))
def slow():
    @task
    def wait():
        while not Path("GO_ON").exists():
            time.sleep(0.1)

    wait()

slow()
"""


@dataclass
class Place:
    """The Airflow of these tests, its store, where its alerts arrive, and its folder."""

    airflow: LocalAirflow
    store: FolderStore
    webhook: Inbox
    mailbox: Inbox
    folder: Path

    def trigger(self, dag: str, **conf: Any) -> str:
        """Start a run; its path in Airflow's API."""
        body = {"logical_date": None, "conf": conf}
        run = self.airflow.api.post(f"dags/{dag}/dagRuns", body)["dag_run_id"]
        return f"dags/{dag}/dagRuns/{run}"

    def run(self, dag: str, **conf: Any) -> str:
        """Start a run and wait until it has ended; its state."""
        return self.ended(self.trigger(dag, **conf))

    def ended(self, path: str) -> str:
        """Wait until a run has ended; its state."""
        self.wait(lambda: self.found(path)["state"] in {"success", "failed"})
        return str(self.found(path)["state"])

    def found(self, path: str) -> Any:
        """What is at a path of Airflow's API; nothing before it is there."""
        try:
            return self.airflow.api.get(path)
        except ApiError:
            return {}

    def wait(self, ready: Callable[[], object]) -> None:
        """Wait until something is so."""
        until = time.monotonic() + PATIENCE
        while not ready():
            assert time.monotonic() < until, (self.told, self.mailed)
            time.sleep(0.5)

    @property
    def told(self) -> Counter[tuple[str, str]]:
        """What the webhook received."""
        return Counter((p.json["subject"], p.json["state"]) for p in self.webhook.received)

    @property
    def mailed(self) -> Counter[str]:
        """The subjects of the mails."""
        return Counter(str(mail.message["Subject"]) for mail in self.mailbox.received)

    def once(self, *subjects: str) -> None:
        """Wait until these were received; each once, by mail and by webhook."""
        self.wait(lambda: all(self.mailed[each] and self.posts(each) for each in subjects))
        received = {each: (self.mailed[each], len(self.posts(each))) for each in subjects}
        assert received == dict.fromkeys(subjects, (1, 1))

    def posts(self, subject: str) -> list[dict[str, Any]]:
        """What the webhook received under a subject."""
        return [post.json for post in self.webhook.received if post.json["subject"] == subject]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("alerts")
    dags = folder / "dags"
    dags.mkdir()
    for file in (ROOT / "dags").glob("skin_*.py"):
        (dags / file.name).symlink_to(file)
    (dags / "slow.py").write_text(SLOW.replace("GO_ON", str(folder / "go on")))
    store = FolderStore(folder / "store")
    with webhook_inbox() as webhook, mail_inbox() as mailbox:
        hook = {"conn_type": "http", "host": webhook.url, "password": TOKEN}
        settings = {
            "SKIN_STORE": store.url,
            "SKIN_NOTIFY_CONNECTION": "hook, mail",
            "SKIN_RETRIES": "0",
            "SKIN_PATHS": "/",
            "SKIN_SCHEDULE": "",
            "SKIN_WATCH_SCHEDULE": "",
            "AIRFLOW_CONN_HOOK": json.dumps(hook),
            "AIRFLOW_CONN_MAIL": json.dumps(mail_connection(mailbox)),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        }
        put_database(folder / "airflow")
        with LocalAirflow(
            "the tests",
            home=folder / "airflow",
            dags=dags,
            settings=settings,
            say=lambda text: None,
        ) as airflow:
            for dag in ("skin_training", "skin_watch", "slow"):
                airflow.wait_for_dag(dag)
                airflow.api.patch(f"dags/{dag}?update_mask=is_paused", {"is_paused": False})
            yield Place(airflow, store, webhook, mailbox, folder)


def test_a_late_run_is_told_once_and_over_when_it_ends(place: Place) -> None:
    """First, since all that it needs is here: the scheduler, and a callback in the executor."""
    late = "A run of slow is late"
    run = place.trigger("slow")
    place.once(late)
    assert "still " in place.posts(late)[0]["text"]
    assert place.posts(late)[0]["runbook_url"].endswith("/runbook#late")
    assert place.found(run)["state"] == "running"
    (place.folder / "go on").touch()
    assert place.ended(run) == "success"
    place.once(late, f"Over: {late}")


def test_a_failure_is_told_once_however_often_it_comes(place: Place) -> None:
    for _ in range(2):
        assert place.run("skin_training", data="/no/such/folder") == "failed"
    run_failed = "A run of skin_training failed"
    place.once("Task listing failed in skin_training", run_failed)

    def counted() -> dict[str, int]:
        open_ones = (each for each in incidents.every(place.store) if each.state == "open")
        return {each.kind: each.count for each in open_ones}

    place.wait(lambda: counted() == {"task_failed": 2, "run_failed": 2})
    (post,) = place.posts("Task listing failed in skin_training")
    assert "there is nothing at /no/such/folder" in post["text"]
    assert "What to do: correct what the error names" in post["text"]
    assert (post["task_id"], post["dag_id"]) == ("listing", "skin_training")
    (mail,) = [each for each in place.mailbox.received if each.message["Subject"] == run_failed]
    assert (mail.login, mail.recipients) == (("ops", SECRET), str(MAIL["to"]).split(", "))
    assert "a task failed (listing)" in mail.message.get_body(("html",)).get_content()


@pytest.fixture(scope="module")
def killed(place: Place) -> str:
    """A run one of whose two training tasks is killed, so that its model is refused."""
    long = {"epochs": 1000, "patience": 1000}  # it must not end before it is killed
    run = place.trigger("skin_training", **QUICK | long)
    task = f"{run}/taskInstances/train"
    # It has said how much memory it needs, and trains.
    place.wait(lambda: place.found(f"{task}/xcomEntries/memory?map_index=0"))
    assert place.found(f"{task}/0")["state"] == "running"
    os.kill(place.found(f"{task}/0")["pid"], signal.SIGKILL)
    assert place.ended(run) == "success"
    return run


def test_a_task_that_was_killed_says_so_with_its_memory(place: Place, killed: str) -> None:
    subject = "[synthetic data] Task train [0] was killed in skin_training"
    place.once(subject)
    text = place.posts(subject)[0]["text"]
    assert "killed from outside (signal 9, SIGKILL" in text
    assert "Memory: it was expected to need " in text
    assert "/tasks/train/mapped/0" in text


def test_a_refusal_is_told_with_its_reasons_and_ends_the_earlier_failures(
    place: Place, killed: str
) -> None:
    place.once(
        f"[synthetic data] {MODEL} was refused",
        "Over: Task listing failed in skin_training",
        "Over: A run of skin_training failed",
    )
    (post,) = place.posts(f"[synthetic data] {MODEL} was refused")
    assert "Failed: successful runs: 1, required at least 2" in post["text"]
    assert post["report_url"]


@pytest.fixture(scope="module")
def promoted(place: Place, killed: str) -> str:
    """The same again, with nobody to kill it."""
    run = place.trigger("skin_training", **QUICK)
    assert place.ended(run) == "success"
    return run


def test_a_promotion_is_told_and_ends_the_refusal_and_the_kill(place: Place, promoted: str) -> None:
    place.once(
        f"[synthetic data] {MODEL} was promoted",
        f"Over: [synthetic data] {MODEL} was refused",
        "Over: [synthetic data] Task train [0] was killed in skin_training",
    )


def test_warnings_about_the_data_are_told_in_the_first_run_only(
    place: Place, promoted: str
) -> None:
    place.once(f"[synthetic data] New warnings about the data of {MODEL}")


def test_a_damaged_version_is_told_and_over_when_it_is_whole(place: Place, promoted: str) -> None:
    subject = f"What {CHAMPION} of {MODEL} names is damaged or not signed as it must be"
    champion = opened(place.store, name=MODEL).champion
    assert champion
    key = f"{version_key(MODEL, champion.version)}/metrics.json"
    kept = place.store.read(key)
    place.store.remove(key)
    for _ in range(2):
        assert place.run("skin_watch") == "success"
    place.once(subject)
    assert "metrics.json is missing" in place.posts(subject)[0]["text"]
    place.store.put(key, kept)
    assert place.run("skin_watch") == "success"
    place.once(subject, f"Over: {subject}")


def test_what_the_webhook_refused_is_sent_again_by_the_watch(place: Place, promoted: str) -> None:
    place.webhook.answers = [404]
    before = len(place.posts("Task listing failed in skin_training"))
    assert place.run("skin_training", data="/no/such/folder") == "failed"
    place.wait(lambda: incidents.unsent(place.store))
    (waiting,) = incidents.unsent(place.store)
    assert waiting.problem == "hook: the server answered 404"
    assert place.run("skin_watch") == "success"
    place.wait(lambda: not incidents.unsent(place.store))
    assert waiting.kind in {"task_failed", "run_failed"}
    assert place.mailed["Task listing failed in skin_training"] == before + 1  # by mail only once


def test_no_secret_is_in_logs_or_incidents(place: Place, promoted: str) -> None:
    logs = [path.read_bytes() for path in (place.folder / "airflow/logs").rglob("*.log")]
    kept = [place.store.read(key) for key in place.store.list("incidents")]
    assert any(b"alert_sent event=" in text for text in logs)
    assert len(kept) > 5
    for text in (*logs, *kept):
        assert TOKEN.encode() not in text
        assert SECRET.encode() not in text
