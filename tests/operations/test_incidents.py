"""Incidents: one for a thing that lasts, however often it is seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from skin_pipeline.contracts import Incident
from skin_pipeline.errors import BadInput
from skin_pipeline.operations import incidents
from skin_pipeline.storage import FolderStore

SUBJECT = "skin_training train"


def fail(store: FolderStore, text: str = "it failed") -> Incident:
    """A task is seen to have failed."""
    return incidents.seen(
        store, "task_failed", SUBJECT, model="skin-resnet50", headline="Task failed", text=[text]
    )


def test_an_incident_is_counted_until_it_ends_and_then_begins_a_new_episode(
    store: FolderStore,
) -> None:
    first, second = fail(store), fail(store, "it failed again")
    assert (first.count, second.count, second.episode) == (1, 2, 1)
    assert second.text == ("it failed again",)
    over = incidents.ended(store, "task_failed", SUBJECT)
    assert over is not None
    assert (over.state, bool(over.ended_at), over.count) == ("ended", True, 2)
    again = fail(store)
    assert (again.id, again.episode, again.count, again.state) == (first.id, 2, 1, "open")


def test_what_was_never_seen_does_not_end(store: FolderStore) -> None:
    assert incidents.ended(store, "task_failed", SUBJECT) is None
    fail(store)
    incidents.ended(store, "task_failed", SUBJECT)
    assert incidents.ended(store, "task_failed", SUBJECT) is None


def test_an_acknowledged_incident_stays_so_when_it_is_seen_again(store: FolderStore) -> None:
    number = fail(store).id
    incidents.acknowledge(store, number, "alice")
    again = fail(store)
    assert (again.state, again.acknowledged_by, again.count) == ("acknowledged", "alice", 2)


def test_only_an_incident_that_is_open_is_acknowledged(store: FolderStore) -> None:
    number = fail(store).id
    with pytest.raises(BadInput, match=f"Received: 'no such'; open are: {number}"):
        incidents.acknowledge(store, "no such", "alice")
    incidents.ended(store, "task_failed", SUBJECT)
    with pytest.raises(BadInput, match="open are: none"):
        incidents.acknowledge(store, number, "alice")


def test_what_is_seen_by_many_at_once_is_counted_once_each(store: FolderStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: fail(store), range(24)))
    (item,) = incidents.every(store)
    assert item.count == 24


def promote(store: FolderStore) -> Incident:
    return incidents.seen(
        store, "promoted", "skin gate/1", model="skin", headline="Promoted", text=["So."]
    )


def test_a_moment_is_never_open_and_is_counted_in_one_episode(store: FolderStore) -> None:
    first, second = promote(store), promote(store)
    assert (first.state, first.count, bool(first.ended_at)) == ("ended", 1, True)
    assert (second.state, second.count, second.episode) == ("ended", 2, 1)
    assert incidents.ended(store, "promoted", "skin gate/1") is None


def test_a_new_episode_has_its_own_alert(store: FolderStore) -> None:
    number = fail(store).id
    incidents.update(store, number, sent="2026-07-01T00:00:00+00:00", delivered=("hook",))
    incidents.ended(store, "task_failed", SUBJECT)
    again = fail(store)
    assert (again.sent, again.delivered, again.recovery_sent) == ("", (), "")


def older(store: FolderStore, number: str, **more: str) -> None:
    """An hour passes."""
    hour = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    incidents.update(store, number, opened_at=hour, **more)


def test_what_has_a_problem_is_unsent_and_what_is_being_sent_is_not(store: FolderStore) -> None:
    number = fail(store).id
    assert incidents.unsent(store) == []
    incidents.update(store, number, problem="hook: no answer")
    assert [item.id for item in incidents.unsent(store)] == [number]
    incidents.update(store, number, problem="", sent="2026-07-01T00:00:00+00:00")
    assert incidents.unsent(store) == []


def test_an_alert_that_was_lost_with_its_process_is_unsent(store: FolderStore) -> None:
    older(store, fail(store).id)
    older(store, promote(store).id)
    assert {item.kind for item in incidents.unsent(store)} == {"task_failed", "promoted"}


def test_the_end_of_an_incident_is_unsent_until_its_message_arrived(store: FolderStore) -> None:
    number = fail(store).id
    incidents.update(store, number, sent="2026-07-01T00:00:00+00:00")
    incidents.ended(store, "task_failed", SUBJECT)
    assert incidents.unsent(store) == []  # it is being sent
    incidents.update(store, number, ended_at="2026-07-01T00:00:00+00:00")
    assert [item.id for item in incidents.unsent(store)] == [number]
    incidents.update(store, number, recovery_sent="2026-07-01T00:00:01+00:00")
    assert incidents.unsent(store) == []


def test_an_incident_keeps_what_machines_read(store: FolderStore) -> None:
    origin = {"dag_id": "skin_training", "map_index": 3, "synthetic": True}
    said = {"model": "m", "headline": "h", "text": ["t"]}
    incidents.seen(store, "late", "skin_training", origin=origin, **said)  # type: ignore[arg-type]
    (kept,) = incidents.every(store)
    assert kept.origin == origin


def test_the_runs_that_saw_an_incident_are_known_over_its_episodes(store: FolderStore) -> None:
    """Airflow may tell of an earlier run when a later one has been seen already."""
    for run in ("first", "second"):
        said = {"model": "", "headline": "Task failed", "text": ["it failed"]}
        incidents.seen(store, "task_failed", SUBJECT, **said, origin={"run_id": run})  # type: ignore[arg-type]
        incidents.ended(store, "task_failed", SUBJECT)
    (item,) = incidents.every(store)
    assert item.runs == ("first", "second")


def test_a_damaged_incident_does_not_hide_the_others(
    store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fail(store)
    store.put("incidents/0123456789ab.json", b"{")
    assert incidents.every(store) == [whole]
    assert "incident_unreadable id=0123456789ab" in caplog.text


def test_an_earlier_failure_that_is_reported_later_does_not_make_the_incident_older(
    store: FolderStore,
) -> None:
    said = {"model": "", "headline": "Task failed", "text": ["it failed"]}
    noon = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
    for minutes in (5, 0):
        at = noon + timedelta(minutes=minutes)
        incidents.seen(store, "task_failed", SUBJECT, at=at, **said)  # type: ignore[arg-type]
    for minutes, outdated in ((2, True), (6, False)):
        at = noon + timedelta(minutes=minutes)
        assert incidents.is_outdated(store, "task_failed", SUBJECT, at) == outdated
