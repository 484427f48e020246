"""The DAG `skin_watch`: what it finds, whom it tells, and that it stops at nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import key_pairs
import pytest
import skin_watch
from alerting import connect
from released import MODEL, opened, promote, releases
from servers import Inbox, webhook_inbox

from skin_pipeline.contracts import CHAMPION
from skin_pipeline.errors import Unavailable
from skin_pipeline.operations import incidents
from skin_pipeline.release import Model, version_key
from skin_pipeline.storage import FolderStore

DAMAGED = f"What {CHAMPION} of {MODEL} names is damaged or not signed as it must be"


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with webhook_inbox() as inbox:
        connect(monkeypatch, "hook", conn_type="http", host=inbox.url)
        yield inbox


@pytest.fixture(autouse=True)
def configured(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_STORE", store.url)


@pytest.fixture
def champion(store: FolderStore) -> str:
    """The key of a file of the champion; a second alias names another version."""
    first, second = releases(store, 2)
    promote(store, first)
    assert opened(store).move(second, "canary", by="a person", reason="on trial", expected=None)
    return f"{version_key(MODEL, first)}/metrics.json"


def watch() -> dict[str, list[str]]:
    found: dict[str, list[str]] = skin_watch.verify_all.function()
    return found


def told(inbox: Inbox) -> list[tuple[str, str]]:
    return [(post.json["subject"], post.json["state"]) for post in inbox.received]


def test_what_is_whole_is_told_to_nobody(webhook: Inbox, champion: str) -> None:
    assert watch() == {
        "whole": [f"{MODEL} canary", f"{MODEL} champion"],
        "damaged": [],
        "not answered": [],
    }
    assert told(webhook) == []


def test_damage_is_told_once_and_told_again_when_it_is_mended(
    store: FolderStore, webhook: Inbox, champion: str
) -> None:
    kept = store.read(champion)
    store.remove(champion)
    for _ in range(2):
        found = watch()
        assert (found["whole"], found["damaged"]) == ([f"{MODEL} canary"], [f"{MODEL} champion"])
    assert told(webhook) == [(DAMAGED, "open")]
    post = webhook.received[0].json
    assert post["model"] == MODEL
    assert "metrics.json is missing" in post["text"]
    assert "What to do: roll back" in post["text"]
    (incident,) = incidents.every(store)
    assert incident.count == 2
    store.put(champion, kept)
    assert watch()["damaged"] == []
    assert told(webhook)[1:] == [(f"Over: {DAMAGED}", "over")]
    assert incidents.every(store)[0].state == "ended"


def test_what_is_not_signed_as_it_must_be_is_damaged(
    webhook: Inbox, champion: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("SKIN_PUBLIC_KEY", str(key_pairs.write(tmp_path, "ours").public))
    assert len(watch()["damaged"]) == 2
    assert {post.json["event"] for post in webhook.received} == {"damaged"}
    assert "signed" in webhook.received[0].json["text"]


def test_a_store_that_does_not_answer_for_one_does_not_stop_the_others(
    webhook: Inbox, store: FolderStore, champion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowException

    store.remove(champion)
    verify = Model.verify_alias

    def verify_alias(model: Model, alias: str) -> Any:
        if alias == "canary":
            raise Unavailable("no answer")
        return verify(model, alias)

    monkeypatch.setattr(Model, "verify_alias", verify_alias)
    with pytest.raises(AirflowException, match=f"could not be verified: {MODEL} canary"):
        watch()
    assert told(webhook) == [(DAMAGED, "open")]


def test_it_sends_again_what_could_not_be_sent(
    webhook: Inbox, store: FolderStore, champion: str
) -> None:
    store.remove(champion)
    webhook.answers = [404]
    watch()
    assert len(incidents.unsent(store)) == 1
    assert skin_watch.resend.function() == {"arrived": 1, "failed": 0}
    assert incidents.unsent(store) == []
    assert told(webhook) == [(DAMAGED, "open")] * 2


def test_it_is_described_runs_daily_one_at_a_time_and_sends_whatever_was_found() -> None:
    dag = skin_watch.dag_object
    assert (dag.max_active_runs, dag.catchup, str(dag.schedule)) == (1, False, "@daily")
    assert dag.get_task("resend").trigger_rule == "all_done"
    assert dag.get_task("resend").upstream_task_ids == {"verify_all"}
    for task in dag.tasks:
        assert (task.doc_md or "")[0].isalpha()
        assert [each.event for each in task.on_failure_callback] == ["task_failed"]
    assert dag.on_success_callback.event == "recovered"
    assert dag.on_failure_callback.event == "run_failed"
