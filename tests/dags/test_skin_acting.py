"""What the DAGs share that people start: who acts, the record of it, and the alert."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import skin_acting

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.operations import actions
from skin_pipeline.storage import FolderStore

Act = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The DAG run whose task is running."""
    run = SimpleNamespace(
        dag_id="skin_alias",
        run_id="manual__1",
        run_after=datetime(2026, 7, 1, tzinfo=timezone.utc),
        triggering_user_name="alice",
    )
    monkeypatch.setattr(skin_acting, "context", lambda: {"dag_run": run})
    return run


def intent() -> Any:
    return skin_acting.intent("move", model="m", subject="canary", plan="to 1", reason="on trial")


def test_who_acts_is_the_user_who_triggered_the_run(run: Any) -> None:
    assert (skin_acting.person(), skin_acting.mover()) == ("alice", "alice, manual__1")
    run.triggering_user_name = None
    assert (skin_acting.person(), skin_acting.mover()) == ("", "manual__1")


def test_an_intent_is_the_same_in_each_try_of_its_run(run: Any) -> None:
    first = intent()
    assert (first.by, first.dag, first.run) == ("alice", "skin_alias", "manual__1")
    assert first.at == "2026-07-01T00:00:00+00:00"
    assert actions.key_of(first) == actions.key_of(intent())


def test_a_refusal_is_recorded_and_a_store_that_does_not_answer_is_not(
    run: Any, store: FolderStore
) -> None:
    with pytest.raises(Unavailable), skin_acting.refusals_recorded(store, intent()):
        raise Unavailable("busy")
    assert list(actions.latest(store)) == []
    with skin_acting.refusals_recorded(store, intent()):
        pass
    assert list(actions.latest(store)) == []  # what can be planned is recorded when it is done
    with pytest.raises(BadInput, match="damaged"), skin_acting.refusals_recorded(store, intent()):
        raise BadInput("damaged")
    (made,) = actions.latest(store)
    assert made.outcome
    assert (made.outcome.done, made.outcome.result) == (False, "damaged")


def test_an_alert_that_cannot_be_sent_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no connection")

    monkeypatch.setitem(sys.modules, "skin_notifier", SimpleNamespace(alert=fail))
    skin_acting.alert("rolled_back", "m 1", model="m", headline="h", text=[])
    assert "alert_not_sent kind=rolled_back error=RuntimeError: no connection" in caplog.text


def test_an_alert_is_sent_through_the_notifier(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    notifier = SimpleNamespace(alert=lambda *words, **more: sent.append((words, more)))
    monkeypatch.setitem(sys.modules, "skin_notifier", notifier)
    skin_acting.alert("rolled_back", "m 1", model="m", headline="h", text=["t"])
    assert sent == [
        (("rolled_back", "m 1"), {"model": "m", "headline": "h", "text": ["t"], "links": {}})
    ]
