"""Incidents: one for a thing that lasts, however often it is seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
