"""Open alerts and the next runs, as several pages show them."""

from __future__ import annotations

import html
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
from models_server import fill
from skin_status import Alerts, Scheduled, next_runs, open_alerts
from sqlalchemy import create_engine
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError, TimeoutError
from sqlalchemy.orm import Session

from skin_pipeline.operations import incidents
from skin_pipeline.operations.reading import Reading
from skin_pipeline.storage import FolderStore


def alert(store: FolderStore, subject: str, model: str = "skin", headline: str = "Failed") -> str:
    """Open an incident; its id."""
    made = incidents.seen(
        store, "task_failed", subject, model=model, headline=headline, text=("It failed.",)
    )
    return made.id


def test_what_is_not_over_is_shown_the_latest_first(store: FolderStore) -> None:
    first, over, worked_on = (alert(store, subject) for subject in ("one", "two", "three"))
    incidents.ended(store, "task_failed", "two")
    incidents.acknowledge(store, worked_on, by="olga")
    for number, at in ((first, "2026-06-02"), (over, "2026-06-03"), (worked_on, "2026-06-01")):
        incidents.update(store, number, seen_at=f"{at}T03:00:00+00:00")
    found = open_alerts(Reading(store))
    assert [(item.id, item.state) for item in found.open] == [
        (first, "open"),
        (worked_on, "acknowledged"),
    ]
    assert found.problems == ()


def test_alerts_are_those_of_a_model_or_of_none(store: FolderStore) -> None:
    ours, none = alert(store, "one", "skin"), alert(store, "two", "")
    found = open_alerts(Reading(store))
    assert {name: [item.id for item in found.of(name)] for name in ("skin", "", "other")} == {
        "skin": [ours],
        "": [none],
        "other": [],
    }


def test_a_damaged_alert_is_told_and_hides_no_other(client: Any, empty: FolderStore) -> None:
    good = alert(empty, "one", "", headline="The store is <b>full</b>")
    bad = alert(empty, "two", "")
    (empty.root / f"incidents/{bad}.json").write_text("{")
    empty.put("incidents/notes.txt", b"of somebody else")
    found = open_alerts(Reading(empty))
    assert [item.id for item in found.open] == [good]
    assert len(found.problems) == 1
    assert bad in found.problems[0]
    text = client.get("/").text
    assert "An alert cannot be shown" in text
    assert bad in text
    assert html.escape("The store is <b>full</b>") in text


def test_without_alerts_nothing_is_shown(store: FolderStore) -> None:
    assert open_alerts(Reading(store)) == Alerts()


# --- the next runs -------------------------------------------------------------------------------

AT = datetime(2026, 6, 15, 3, tzinfo=timezone.utc)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The table of DAGs in a database of its own, which Airflow's sessions use."""
    from airflow.models.dag import DagModel

    engine = create_engine("sqlite://")
    DagModel.metadata.create_all(engine, tables=[DagModel.metadata.tables["dag"]])
    with Session(engine) as session:

        @contextmanager
        def shared() -> Generator[Session, None, None]:
            yield session

        monkeypatch.setattr("airflow.utils.session.create_session", shared)
        yield session


def know(session: Session, dag: str, **fields: Any) -> None:
    """Have Airflow know a DAG."""
    from airflow.models.dag import DagModel

    known = {"is_paused": False, "is_stale": False, "bundle_name": "dags", **fields}
    made: Any = DagModel
    session.add(made(dag_id=dag, **known))
    session.flush()


def test_the_next_runs_are_those_of_training_then_scoring(database: Session) -> None:
    known = {"next_dagrun_create_after": AT, "timetable_description": "At 03:00"}
    know(database, "skin_scoring", is_paused=True)
    know(database, "skin_training", **known)
    know(database, "another", **known)
    training, scoring = next_runs()
    assert training == Scheduled("skin_training", AT.isoformat(), "At 03:00", paused=False)
    assert (scoring.dag, scoring.at, scoring.paused) == ("skin_scoring", "", True)


def test_a_dag_that_is_gone_has_no_next_run(database: Session) -> None:
    know(database, "skin_training", is_stale=True)
    assert next_runs() == []


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT", {}, Exception("password=hunter2: connection refused")),
        ProgrammingError("SELECT", {}, Exception("no such table")),
        InterfaceError("SELECT", {}, Exception("connection already closed")),
        TimeoutError("QueuePool limit reached"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pages_are_shown_without_next_runs_if_airflow_s_database_does_not_answer(
    client: Any,
    empty: FolderStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    @contextmanager
    def unreachable() -> Generator[Session, None, None]:
        raise error
        yield

    fill(empty)
    monkeypatch.setattr("airflow.utils.session.create_session", unreachable)
    assert next_runs() == []
    assert f"next_runs_unknown error={type(error).__name__}" in caplog.text
    assert "hunter2" not in caplog.text
    page = client.get("/")
    assert page.status_code == 200
    assert "0.831</dd>" in page.text
    assert "Next run of" not in page.text


def test_the_page_says_when_a_run_is_next(
    client: Any, empty: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        Scheduled("skin_training", AT.isoformat(), "At 03:00", paused=False),
        Scheduled("skin_scoring", "", "an <i>asset</i>", paused=True),
    ]
    monkeypatch.setattr("skin_page_models.next_runs", lambda: runs)
    text = client.get("/").text
    assert "2026-06-15 03:00 UTC" in text
    assert "none, as the DAG is paused (an &lt;i&gt;asset&lt;/i&gt;)" in text
