"""Airflow's event log, as entries: read in parts, newest first, only what is wanted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import skin_event_log

from skin_pipeline.operations.audit import Wanted

START = datetime(2026, 7, 1, tzinfo=timezone.utc)


def event(number: int) -> Any:
    """A row of Airflow's table."""
    return SimpleNamespace(
        id=number,
        dttm=START + timedelta(minutes=number),
        dag_id="skin_alias",
        run_id=f"manual__{number}",
        task_id="move" if number % 2 else None,
        map_index=-1,
        event="success",
        owner="eve",
        extra='{"token": "AKIAABCDEFGHIJKLMNOP"}',
    )


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Seven events in parts of three; the parts that were read."""
    parts: list[Any] = []

    def rows(_dags: Any, _wanted: Any, last: Any) -> list[Any]:
        older = [event(number) for number in range(6, -1, -1) if not last or number < last.id]
        parts.append(older[:3])
        return older[:3]

    monkeypatch.setattr(skin_event_log, "_rows", rows)
    return parts


def test_events_come_newest_first_and_are_read_as_far_as_somebody_looks(events: Any) -> None:
    found = skin_event_log.entries(("skin_alias",), Wanted())
    first = next(found)
    assert len(events) == 1
    assert (first.kind, first.by, first.what) == ("airflow", "eve", "skin_alias: success")
    assert (first.dag, first.run) == ("skin_alias", "manual__6")
    assert [entry.at for entry in found] == [
        (START + timedelta(minutes=number)).isoformat() for number in range(5, -1, -1)
    ]


def test_an_event_of_a_task_names_it_and_no_secret_is_shown(events: Any) -> None:
    _, second, *_ = skin_event_log.entries(("skin_alias",), Wanted())
    assert second.what == "skin_alias move: success"
    assert "AKIA" not in second.result


def test_a_log_that_is_too_long_says_where_it_ends(
    events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skin_event_log, "MOST", 3)
    *_, last = skin_event_log.entries(("skin_alias",), Wanted())
    assert last.unread
    assert "older events are not looked through" in last.what


@pytest.mark.parametrize(
    ("dags", "wanted"),
    [((), Wanted()), (("skin_alias",), Wanted(kind="move")), (("skin_alias",), Wanted(model="m"))],
)
def test_what_is_not_wanted_or_not_allowed_is_not_read(
    events: Any, dags: tuple[str, ...], wanted: Wanted
) -> None:
    assert list(skin_event_log.entries(dags, wanted)) == []
    assert events == []


def test_what_tasks_do_by_themselves_is_left_out_unless_airflows_events_are_asked_for() -> None:
    from sqlalchemy import column

    columns = SimpleNamespace(event=column("event"), owner=column("owner"), dttm=column("dttm"))
    (left_out,) = skin_event_log._conditions(columns, Wanted())
    shown = str(left_out.compile(compile_kwargs={"literal_binds": True}))
    assert "NOT IN" in shown
    assert "'running'" in shown
    assert "'failed'" not in shown
    assert list(skin_event_log._conditions(columns, Wanted(kind="airflow"))) == []


def test_the_machine_of_a_task_is_no_result() -> None:
    task = event(1)
    task.extra = '{"host_name": "worker-1"}'
    assert skin_event_log._entry(task).result == ""
