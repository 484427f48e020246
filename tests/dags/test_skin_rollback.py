"""The DAG `skin_rollback`, as Airflow reads it and as it runs it."""

from __future__ import annotations

from typing import Any

import key_pairs
import pytest
from released import MODEL, champion_of, moves, opened, promote, releases
from small_dags import Airflow

from skin_pipeline import timing
from skin_pipeline.operations import actions
from skin_pipeline.release import version_key


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="module")
def dag(airflow: Any) -> Any:
    return airflow.read("skin_rollback")


def test_reading_the_dag_imports_nothing_heavy(dag: Any) -> None:
    assert dag["heavy"] == []


def test_it_runs_only_when_asked_and_verifies_first(dag: Any) -> None:
    assert (dag["schedule"], dag["active"]) == ("None", 1)
    assert {task["rule"] for task in dag["tasks"].values()} == {"all_success"}
    assert all(10 <= task["delay"] <= 60 for task in dag["tasks"].values())
    for name, task in dag["tasks"].items():
        assert task["hours"] == pytest.approx(timing.LONGEST_HOURS[name], abs=0.1)
    assert {name: task["before"] for name, task in dag["tasks"].items()} == {
        "verify": [],
        "rollback": ["verify"],
    }


def test_the_dag_its_tasks_and_its_form_are_documented(dag: Any) -> None:
    assert "previous" in dag["doc"]
    for name, shown in {**dag["tasks"], **dag["params"]}.items():
        text = shown.get("doc") or shown.get("description_md")
        assert text[0].isalpha(), name  # indented, it would be shown as code
    assert set(dag["params"]) == {"model", "version", "alias", "instead_of", "reason"}


@pytest.fixture(scope="module")
def ran(airflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A rollback, one to a damaged version, two without a reason, one with a field misspelt, one to
    a version that is not signed and one of another alias, after each other; the log.

    They share a process, since it takes Airflow longer to start than to run them.
    """
    keys = key_pairs.write(tmp_path_factory.mktemp("keys"), "ours")
    first, second, damaged, unjudged = releases(airflow.store, 4)
    promote(airflow.store, first)
    promote(airflow.store, second)
    for version, expected in ((first, None), (second, first)):
        more = {"by": "a person", "reason": "on trial"}
        assert opened(airflow.store).move(version, "canary", **more, expected=expected)
    airflow.store.remove(f"{version_key(MODEL, damaged)}/metrics.json")
    rollback = {"dag": "skin_rollback", "model": MODEL, "alias": "champion", "instead_of": ""}
    asked: dict[str, dict[str, Any]] = {
        # Fields that were emptied come as null, and blanks do not count.
        "previous": {
            "model": f" {MODEL} ",
            "version": None,
            "alias": None,
            "reason": " too many false alarms\n",
        },
        "damaged": {"version": damaged, "reason": "a try"},
        "unjudged": {"version": unjudged, "reason": "a try"},
        "overtaken": {"version": second, "reason": "a try", "instead_of": second},
        "unreasoned": {},
        "blank": {"reason": " \n"},
        "misspelt": {"verison": first, "reason": "a try"},
        "unsigned": {
            "version": second,
            "reason": "r",
            "environment": {"SKIN_PUBLIC_KEY": str(keys.public)},
        },
        # Without a version it would have that of the run before: a process keeps what it was given.
        "canary": {
            "alias": "canary",
            "version": "previous",
            "reason": "no better",
            "environment": {"SKIN_PUBLIC_KEY": ""},
        },
    }
    return airflow.run(**{name: {**rollback, **conf} for name, conf in asked.items()})


def recorded(airflow: Any, run: str) -> Any:
    """What was recorded of an action: its intent and its outcome."""
    (found,) = [item for item in actions.latest(airflow.store) if item.intent.run == run]
    return found.intent, found.outcome


def test_a_rollback_moves_the_champion_to_the_version_before(airflow: Any, ran: Any) -> None:
    state, run = ran[0]["previous"]
    assert state == "success"
    now, before, first = moves(airflow.store)
    assert (now.version, now.rollback) == (first.version, True)
    assert now.previous == before.version
    assert now.reason == "too many false alarms"
    assert run in now.by
    opened(airflow.store).verify_alias()
    intent, outcome = recorded(airflow, run)
    assert (intent.kind, intent.subject, intent.dag) == ("rollback", "champion", "skin_rollback")
    assert intent.plan == f"champion: from version {before.version} to version {first.version}"
    assert intent.reason == "too many false alarms"
    assert (outcome.done, outcome.result) == (
        True,
        f"champion of {MODEL} names version {first.version}",
    )
    assert intent.at < outcome.at


def test_a_champion_that_was_rolled_back_is_told_of(ran: Any) -> None:
    assert ran[1].count("kind=rolled_back") == 1  # and a canary is not


def test_a_rollback_of_another_alias_moves_that_one_and_leaves_the_champion(
    airflow: Any, ran: Any
) -> None:
    assert ran[0]["canary"][0] == "success"
    now, _, first = moves(airflow.store, "canary")
    assert (now.version, now.rollback, now.reason) == (first.version, True, "no better")
    assert "no better" not in {move.reason for move in moves(airflow.store)}


def test_a_rollback_to_a_damaged_version_fails_and_moves_nothing(airflow: Any, ran: Any) -> None:
    answer, logged = ran
    assert answer["damaged"][0] == "failed"
    assert "metrics.json is missing" in logged
    assert champion_of(airflow.store).number == 3


def test_a_rollback_that_is_refused_is_recorded_with_the_reason(airflow: Any, ran: Any) -> None:
    intent, outcome = recorded(airflow, ran[0]["damaged"][1])
    assert intent.plan.startswith("champion: to version")
    assert not outcome.done
    assert "metrics.json is missing" in outcome.result


def test_the_champion_never_names_a_version_that_passed_no_gate(airflow: Any, ran: Any) -> None:
    state, run = ran[0]["unjudged"]
    assert state == "failed"
    assert "it never did before, and it has no verdict.json" in recorded(airflow, run)[1].result


def test_a_rollback_of_a_version_that_is_not_the_champion_any_more_moves_nothing(
    airflow: Any, ran: Any
) -> None:
    state, run = ran[0]["overtaken"]
    assert state == "failed"
    assert "Look at the new version and decide again" in recorded(airflow, run)[1].result
    assert champion_of(airflow.store).number == 3


@pytest.mark.parametrize("case", ["unreasoned", "blank"])
def test_a_rollback_without_a_reason_is_not_begun(ran: Any, case: Any) -> None:
    state, said = ran[0][case]
    assert state == "not begun"
    assert "reason" in said


def test_a_field_misspelt_moves_nothing_and_is_named_with_the_nearest(
    airflow: Any, ran: Any
) -> None:
    answer, logged = ran
    assert answer["misspelt"][0] == "failed"
    assert "verison is no setting; the nearest is version" in logged
    assert champion_of(airflow.store).number == 3


def test_a_rollback_to_a_version_that_is_not_signed_fails_where_signatures_are_asked_for(
    ran: Any,
) -> None:
    answer, logged = ran
    assert answer["unsigned"][0] == "failed"
    assert "is not signed, but SKIN_PUBLIC_KEY is set" in logged
