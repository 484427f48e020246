"""What every alert has, in its text for people and in its JSON for machines."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from alerting import BASE, RUN, context
from skin_alerts import ADVICE, Place, complete, moment_of, of_incident, place_of, recovery

from skin_pipeline.contracts import EventKind, Incident
from skin_pipeline.operations import incidents
from skin_pipeline.storage import FolderStore

TASK = Place("skin_training", RUN, "train", 3, 4)
QUOTED = RUN.replace(":", "%3A").replace("+", "%2B")
RUN_URL = f"{BASE}/dags/skin_training/runs/{QUOTED}"


@pytest.fixture(autouse=True)
def base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE)


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_every_alert_says_what_happened_what_it_means_what_to_do_and_where(kind: Any) -> None:
    alert = complete(kind, "It happened", ["In detail."], model="skin", place=TASK)
    happened, means, to_do, about, *links = alert.text.split("\n")
    assert happened == "In detail."
    assert means.startswith("What it means: ")
    assert to_do.startswith("What to do: ")
    assert len(means) > 40
    assert len(to_do) > 35
    assert about == f"Model skin, run {RUN} of skin_training."
    assert links == [
        f"Run: {RUN_URL}",
        f"Log: {RUN_URL}/tasks/train/mapped/3",
        f"Runbook: {BASE}/plugin/models/skin-models/runbook#{kind}",
    ]


def test_there_is_advice_for_every_event_and_no_other() -> None:
    assert set(ADVICE) == set(get_args(EventKind))


def test_what_an_alert_brings_along_takes_the_place_of_the_usual_advice() -> None:
    text = ["What to do: wait.", "It is so.", "What it means: little."]
    alert = complete("drift", "Drift", text, place=Place())
    assert alert.lines == ("It is so.", "What it means: little.", "What to do: wait.")


def test_the_json_is_flat_and_names_incident_count_and_runbook() -> None:
    payload = complete(
        *("refused", "Refused", ["x"]), links={"Report": "r", "Data": "d"}, place=TASK
    ).payload()
    assert set(payload) == {
        *("event", "subject", "text", "model", "synthetic", "run_url", "report_url", "data_url"),
        *("dag_id", "run_id", "task_id", "map_index", "try_number"),
        *("incident", "count", "state", "log_url", "runbook_url"),
    }
    assert (payload["dag_id"], payload["map_index"], payload["try_number"]) == (
        *("skin_training", 3, 4),
    )
    assert (payload["report_url"], payload["data_url"]) == ("r", "d")
    assert payload["run_url"] == payload["log_url"] == f"{RUN_URL}/tasks/train/mapped/3"
    assert payload["runbook_url"].endswith("/runbook#refused")


def test_without_the_url_of_airflow_nothing_is_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    alert = complete("drift", "Drift", ["x"], place=TASK)
    assert "http" not in alert.text
    assert alert.payload()["run_url"] == ""


@pytest.mark.parametrize(
    ("kind", "level"),
    [("damaged", "failure"), ("late", "warning"), ("promoted", "info"), ("refused", "warning")],
)
def test_an_alert_says_how_bad_it_is(kind: Any, level: str) -> None:
    assert complete(kind, "x", ["x"], place=TASK).level == level


def incident(store: FolderStore, **changes: Any) -> Incident:
    alert = complete("late", "A run is late", ["It still runs."], model="skin", place=TASK)
    found = incidents.seen(
        *(store, "late", "skin_training"),
        model=alert.model,
        headline=alert.headline,
        text=alert.lines,
        links=alert.links,
        origin=alert.origin,
    )
    return found.model_copy(update=changes)


def test_an_alert_can_be_made_again_from_its_incident(store: FolderStore) -> None:
    kept = incident(store, count=3)
    alert = complete("late", "A run is late", ["It still runs."], model="skin", place=TASK)
    again = of_incident(kept)
    assert again.text == f"{alert.text}\nIncident {kept.id}, seen 3 times."
    assert {**again.payload(), "text": ""} == {
        **{**alert.payload(), "text": ""},
        **{"incident": kept.id, "count": 3},
    }


def test_a_recovery_says_what_is_over_and_since_when(store: FolderStore) -> None:
    over = {"state": "ended", "opened_at": "2026-07-01T09:00:00", "ended_at": "2026-07-01T11:30:00"}
    message = recovery(incident(store, count=2, delivered=("hook",), **over), ["It ended well."])
    assert (message.headline, message.state, message.level) == (
        *("Over: A run is late", "over", "success"),
    )
    assert message.text.startswith(
        "It ended well.\nIt was seen 2 times since 2026-07-01 09:00 UTC, and ended at 2026-07-01 "
        "11:30 UTC.\nWhat to do: nothing needs to be done.\nRun: "
    )


def test_a_recovery_of_what_could_not_be_told_also_says_what_it_was(store: FolderStore) -> None:
    message = recovery(incident(store, state="ended", ended_at="2026-07-01T11:30:00"))
    assert "The alert itself could not be sent. It said:\nIt still runs.\n" in message.text


@pytest.mark.parametrize(
    ("map_index", "name", "end"),
    [(-1, "train", "/tasks/train"), (0, "train [0]", "/tasks/train/mapped/0"),
     (11, "train [11]", "/tasks/train/mapped/11")],
)  # fmt: skip
def test_a_task_and_each_of_its_mapped_ones_has_a_link(map_index: int, name: str, end: str) -> None:
    place = place_of(context(map_index=map_index))
    assert place.task == name
    assert place.url == f"{RUN_URL}{end}"


def test_a_context_without_a_task_is_enough() -> None:
    assert place_of({}) == Place()
    assert place_of({"run_id": "r"}).url.endswith("/runs/r")


def test_a_failure_that_is_reported_late_happened_when_its_run_ended() -> None:
    """Airflow may call back hours later, when another run has succeeded long since."""
    ended = datetime(2026, 7, 1, 9, tzinfo=timezone.utc)
    assert moment_of({"dag_run": SimpleNamespace(end_date=ended)}) == ended
    for unknown in (None, ended.replace(tzinfo=None)):
        at = moment_of({"dag_run": SimpleNamespace(end_date=unknown)})
        assert datetime.now(timezone.utc) - at < timedelta(minutes=1)


def test_words_of_others_are_one_line_of_bounded_length_without_secrets() -> None:
    hostile = "x\n\x1b[31mWhat to do: send it\u202e https://ada:hunter2@host ${jndi:x}" + "x" * 999
    alert = complete("drift", hostile, [hostile], place=Place())
    assert len(alert.lines) == 3
    assert all(part.isprintable() for part in (alert.headline, *alert.lines))
    assert all(len(part) < 600 for part in (alert.headline, *alert.lines))
    assert "hunter2" not in alert.text + alert.headline
    assert "${" not in alert.text + alert.headline
