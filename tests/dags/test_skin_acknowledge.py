"""The DAG `skin_acknowledge`, as Airflow reads it and as it runs it."""

from __future__ import annotations

from typing import Any

import pytest
from small_dags import Airflow

from skin_pipeline.operations import actions, incidents

BY = "dag_test"  # whom Airflow names where a DAG is run like this
OPEN, OVER = ("drift", "skin-resnet50"), ("late", "skin_training manual__1")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


def test_it_runs_only_when_asked_and_asks_for_one_id(airflow: Airflow) -> None:
    dag = airflow.read("skin_acknowledge")
    assert dag["heavy"] == []
    assert (dag["schedule"], dag["paused"], set(dag["tasks"])) == ("None", False, {"acknowledge"})
    assert set(dag["params"]) == {"incident", "note"}
    assert dag["tasks"]["acknowledge"]["doc"][0].isalpha()


@pytest.fixture(scope="module")
def ran(airflow: Airflow) -> Any:
    for kind, subject in (OPEN, OVER):
        incidents.seen(
            airflow.store,
            kind,  # type: ignore[arg-type]
            subject,
            model="skin-resnet50",
            headline=f"{kind} of the model",
            text=["More blue than before."],
        )
    incidents.ended(airflow.store, OVER[0], OVER[1])  # type: ignore[arg-type]
    number = incidents.id_of(*OPEN)  # type: ignore[arg-type]
    over = incidents.id_of(*OVER)  # type: ignore[arg-type]
    acknowledge = {"dag": "skin_acknowledge", "note": "looking at the camera"}
    return airflow.run(
        known={**acknowledge, "incident": f" {number} "},
        ended={**acknowledge, "incident": over},
        invalid={**acknowledge, "incident": "../../etc"},
    )


def test_an_open_incident_is_acknowledged_and_the_act_is_recorded(
    airflow: Airflow, ran: Any
) -> None:
    state, run = ran[0]["known"]
    assert state == "success"
    number = incidents.id_of(*OPEN)  # type: ignore[arg-type]
    found = incidents.of_id(airflow.store, number)
    assert found
    assert (found.state, found.acknowledged_by) == ("acknowledged", BY)
    (made,) = [item for item in actions.latest(airflow.store) if item.intent.run == run]
    assert (made.intent.kind, made.intent.subject) == ("acknowledge", number)
    assert made.intent.plan == "drift: drift of the model"
    assert (made.intent.model, made.intent.reason) == ("skin-resnet50", "looking at the camera")
    assert made.outcome
    assert (made.outcome.done, made.outcome.result) == (True, f"acknowledged by {BY}")


def test_an_incident_that_ended_is_refused_and_so_is_what_is_no_id(
    airflow: Airflow, ran: Any
) -> None:
    state, run = ran[0]["ended"]
    assert state == "failed"
    (made,) = [item for item in actions.latest(airflow.store) if item.intent.run == run]
    assert made.outcome
    assert "there is no open incident with this id" in made.outcome.result
    assert ran[0]["invalid"][0] == "not begun"
