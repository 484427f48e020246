"""The DAG `skin_alias`, as Airflow reads it and as it runs it."""

from __future__ import annotations

from typing import Any

import pytest
from released import MODEL, champion_of, judged_release, moves, named, opened, promote, releases
from small_dags import Airflow, check_by_hand

from skin_pipeline.operations import actions
from skin_pipeline.release import version_key


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


def test_it_runs_only_when_asked_is_never_paused_and_says_what_it_does(airflow: Airflow) -> None:
    dag = airflow.read("skin_alias")
    check_by_hand(dag, {"verify": [], "move": ["verify"]})
    assert set(dag["params"]) == {"model", "alias", "version", "instead_of", "reason"}


@pytest.fixture(scope="module")
def ran(airflow: Airflow) -> Any:
    """A canary that is made and moved, and what a champion may and may not name; the log."""
    store = airflow.store
    first, second, damaged = releases(store, 3)
    passed = judged_release(store, b"passed")
    refused = judged_release(store, b"no", approved=False, reasons=("accuracy: 0.7",))
    promote(store, first)
    promote(store, second)
    store.remove(f"{version_key(MODEL, damaged)}/metrics.json")
    move = {"dag": "skin_alias", "model": MODEL, "instead_of": "", "reason": "on trial"}
    asked: dict[str, dict[str, str]] = {
        "new": {"alias": "canary", "version": refused, "instead_of": "nothing"},
        "moved": {"alias": "canary", "version": first, "instead_of": refused},
        "overtaken": {"alias": "canary", "version": second, "instead_of": refused},
        "there": {"alias": "canary", "version": second, "instead_of": "nothing"},
        "damaged": {"alias": "canary", "version": damaged},
        "missing": {"alias": "canary", "version": "0123abcd"},
        "refused": {"alias": "champion", "version": refused},
        "again": {"alias": "champion", "version": first},
        "passed": {"alias": "champion", "version": passed},
        "hidden": {"alias": "../champion", "version": first},
    }
    return airflow.run(**{name: {**move, **conf} for name, conf in asked.items()})


def outcome(airflow: Airflow, run: str) -> Any:
    """What became of an action."""
    (found,) = [item for item in actions.latest(airflow.store) if item.intent.run == run]
    return found.outcome


def test_an_alias_is_made_and_moved_to_any_published_version(airflow: Airflow, ran: Any) -> None:
    assert [ran[0][name][0] for name in ("new", "moved")] == ["success", "success"]
    now, before = moves(airflow.store, "canary")
    assert (now.previous, before.previous) == (before.version, None)
    assert (now.reason, now.rollback) == ("on trial", False)
    assert ran[0]["moved"][1] in now.by
    opened(airflow.store).verify_alias("canary")
    made = [item.intent for item in actions.latest(airflow.store)][::-1]
    assert made[0].plan == f"canary: from nothing to version {before.version}"
    assert made[1].plan == f"canary: from version {before.version} to version {now.version}"
    assert {item.kind for item in made} == {"move"}
    assert outcome(airflow, ran[0]["new"][1]).done


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("overtaken", "Look at it and decide again"),
        ("there", "by now, and not nothing; nothing was moved"),
        ("damaged", "metrics.json is missing"),
        ("missing", "has no version 0123abcd"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_moves(
    airflow: Airflow, ran: Any, case: str, said: str
) -> None:
    state, run = ran[0][case]
    assert state == "failed"
    assert said in outcome(airflow, run).result
    assert not outcome(airflow, run).done
    assert len(moves(airflow.store, "canary")) == 2


def test_the_champion_names_what_it_named_before_and_nothing_that_the_gate_refused(
    airflow: Airflow, ran: Any
) -> None:
    state, run = ran[0]["refused"]
    assert state == "failed"
    assert "the gate refused it: accuracy: 0.7" in outcome(airflow, run).result
    assert ran[0]["again"][0] == "success"
    assert ran[0]["passed"][0] == "success"
    now, again, *_ = moves(airflow.store)
    assert again.version == named(airflow.store, "canary")
    assert now.number == champion_of(airflow.store).number == 4


def test_a_name_that_is_no_alias_is_not_begun(ran: Any) -> None:
    assert ran[0]["hidden"][0] == "not begun"
