"""Actions of people: the intent is there before the act, the outcome after it."""

from __future__ import annotations

import pytest

from skin_pipeline.contracts import Action
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.operations.actions import latest, recorded
from skin_pipeline.storage import FolderStore


def intent(run: str = "manual__1", at: str = "2026-11-26T08:00:00+00:00") -> Action:
    """A rollback that somebody started."""
    return Action(
        kind="rollback",
        model="skin-resnet50",
        subject="champion",
        plan="champion: 77c0 to 4f1a",
        by="alice",
        reason="false alarms",
        dag="skin_rollback",
        run=run,
        at=at,
    )


def test_the_intent_is_written_before_the_act_and_the_outcome_after_it(store: FolderStore) -> None:
    with recorded(store, intent()) as doing:
        (under_way,) = latest(store)
        assert under_way.intent == intent()
        assert under_way.outcome is None
        doing.result = "champion names 4f1a again"
    (over,) = latest(store)
    assert over.outcome is not None
    assert (over.outcome.done, over.outcome.result) == (True, "champion names 4f1a again")


def test_an_action_that_failed_says_why_until_a_later_try_succeeds(store: FolderStore) -> None:
    with pytest.raises(Unavailable), recorded(store, intent()):
        raise Unavailable("the store does not answer")
    (failed,) = latest(store)
    assert failed.outcome is not None
    assert (failed.outcome.done, failed.outcome.result) == (False, "the store does not answer")
    with recorded(store, intent()) as doing:
        doing.result = "done"
    with pytest.raises(BadInput), recorded(store, intent()):
        raise BadInput("cleared by mistake")
    (item,) = latest(store)
    assert item.outcome is not None
    assert item.outcome.result == "done"


def test_the_newest_actions_come_first(store: FolderStore) -> None:
    for hour in range(3):
        with recorded(store, intent(f"run {hour}", f"2026-11-26T0{hour}:00:00+00:00")):
            pass
    assert [item.intent.run for item in latest(store, last=2)] == ["run 2", "run 1"]
