"""Open alerts and the next scheduled runs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
import skin_status

from skin_pipeline.operations import incidents
from skin_pipeline.operations.reading import Reading
from skin_pipeline.storage import FolderStore


def opened(store: FolderStore, subject: str, model: str) -> str:
    return incidents.seen(
        store, "drift", subject, model=model, headline=f"{subject} drifts", text=("a",)
    ).id


def test_alerts_that_are_not_over_are_shown_by_their_model(store: FolderStore) -> None:
    first, taken = opened(store, "one", "skin"), opened(store, "two", "skin")
    opened(store, "three", "")
    opened(store, "over", "skin")
    incidents.ended(store, "drift", "over")
    incidents.acknowledge(store, taken, "ann")
    found = skin_status.open_alerts(Reading(store))
    assert {item.id for item in found.of("skin")} == {first, taken}
    assert [item.headline for item in found.of("")] == ["three drifts"]
    assert found.problems == ()


def test_a_damaged_alert_hides_no_other(store: FolderStore) -> None:
    number = opened(store, "one", "skin")
    opened(store, "two", "skin")
    (store.root / f"incidents/{number}.json").write_text("{}")
    found = skin_status.open_alerts(Reading(store))
    assert [item.headline for item in found.open] == ["two drifts"]
    (problem,) = found.problems
    assert "not a Incident document" in problem


def test_a_database_that_does_not_answer_hides_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.utils import session
    from sqlalchemy.exc import OperationalError

    def away() -> Any:
        raise OperationalError("SELECT", {}, Exception("down"))

    monkeypatch.setattr(session, "create_session", away)
    assert skin_status.next_runs() == []


def test_the_next_run_of_each_dag_is_the_time_at_which_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contextlib import nullcontext

    from airflow.utils import session

    at = datetime(2026, 11, 29, tzinfo=timezone.utc)
    rows = [("skin_scoring", None, None, True), ("skin_training", at, "On Sunday", False)]

    class Session:
        def execute(self, _: object) -> Any:
            return self

        def all(self) -> Any:
            return rows

    monkeypatch.setattr(session, "create_session", lambda: nullcontext(Session()))
    assert skin_status.next_runs() == [
        skin_status.Scheduled("skin_training", "2026-11-29T00:00:00+00:00", "On Sunday", False),
        skin_status.Scheduled("skin_scoring", "", "", True),
    ]
