"""The note of a run comes from the words that one of its tasks left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import skin_airflow
import skin_notes


def run(dag: str = "skin_training", note: str | None = None) -> Any:
    return SimpleNamespace(dag_id=dag, run_id="manual__1", note=note)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skin_notes, "_left_by_a_task", lambda dag_run: "Nothing changed." * 100)


def test_the_words_become_the_note_however_the_run_ended(left: None) -> None:
    for end in ("on_dag_run_success", "on_dag_run_failed"):
        ended = run()
        getattr(skin_notes.Listener(), end)(dag_run=ended, msg="")
        assert ended.note == ("Nothing changed." * 100)[: skin_notes.MOST]


def test_a_note_of_a_person_and_runs_of_others_stay_as_they_are(left: None) -> None:
    for other in (run(note="look at this"), run(dag="of_another_team")):
        before = other.note
        skin_notes.Listener().on_dag_run_success(dag_run=other, msg="")
        assert other.note == before


def test_what_fails_here_does_not_stop_the_scheduler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(dag_run: Any) -> str:
        raise RuntimeError("the database is busy")

    monkeypatch.setattr(skin_notes, "_left_by_a_task", fails)
    ended = run()
    skin_notes.Listener().on_dag_run_success(dag_run=ended, msg="")
    assert ended.note is None
    assert "note_not_written dag=skin_training" in caplog.text


def test_tasks_leave_the_words_where_the_listener_looks() -> None:
    assert skin_notes.NOTE == skin_airflow.NOTE
    (listener,) = skin_notes.SkinNotesPlugin.listeners
    assert isinstance(listener, skin_notes.Listener)
