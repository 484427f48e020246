"""The DAG `skin_site`, as Airflow reads it and as it runs it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from released import opened
from small_dags import Airflow, check_by_hand

from skin_pipeline.data import demo
from skin_pipeline.operations import actions
from skin_pipeline.release import sites

if TYPE_CHECKING:
    from tests.conftest import Finished

MODEL = "skin-resnet50-synthetic"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


def test_it_runs_only_when_asked_is_never_paused_and_says_what_it_does(airflow: Airflow) -> None:
    dag = airflow.read("skin_site")
    check_by_hand(dag, {"score_site": [], "make_profile": ["score_site"]})
    assert set(dag["params"]) == {
        *("source", "site", "model", "version", "sensitivity", "threshold_by", "width"),
    }


@pytest.fixture(scope="module")
def ran(airflow: Airflow, finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A profile that is made, and what is refused; the log."""
    shutil.copytree(finished.root, airflow.store.root, dirs_exist_ok=True)
    place = tmp_path_factory.mktemp("site")
    demo.generate(place / "enough", seed=7, per_class=30)
    demo.generate(place / "few", seed=8, per_class=6)
    ask = {
        "dag": "skin_site",
        "model": MODEL,
        "site": "clinic-b",
        "source": str(place / "enough"),
        "sensitivity": "0.9",
        "environment": {"SKIN_PATHS": str(place)},
    }
    asked: dict[str, dict[str, Any]] = {
        "made": {},
        "few": {"source": str(place / "few"), "site": "clinic-c"},
        "word": {"sensitivity": "high"},
        "elsewhere": {"source": str(Path(place).parent)},
        "name": {"site": "../x"},
        "kind": {"threshold_by": "luck"},
    }
    return airflow.run(**{name: {**ask, **conf} for name, conf in asked.items()})


def outcome(airflow: Airflow, run: str) -> Any:
    """What became of an action."""
    (found,) = [item for item in actions.latest(airflow.store) if item.intent.run == run]
    return found.outcome


def test_a_profile_is_made_recorded_and_told_in_the_log(airflow: Airflow, ran: Any) -> None:
    state, run = ran[0]["made"]
    assert state == "success"
    model = opened(airflow.store, name=MODEL)
    champion = model.champion
    assert champion
    made = sites.Profiles.of(model, champion.version).newest("clinic-b")
    assert made.images == 60
    assert made.target_sensitivity == pytest.approx(0.9)
    assert run in made.by
    (intent,) = [item.intent for item in actions.latest(airflow.store) if item.intent.run == run]
    assert (intent.kind, intent.subject, intent.model) == ("site", "clinic-b", MODEL)
    result = f"profile 1 of clinic-b for version {champion.version}: threshold "
    assert outcome(airflow, run).result.startswith(result)
    assert f"result {result}" in ran[1]
    assert "result 60 labelled images are scored by version" in ran[1]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("few", "site clinic-c: too few labelled images of different patients"),
        ("elsewhere", "SKIN_PATHS"),
    ],
)
def test_what_cannot_be_made_is_refused_and_recorded(
    airflow: Airflow, ran: Any, case: str, said: str
) -> None:
    state, run = ran[0][case]
    assert state == "failed"
    assert said in outcome(airflow, run).result
    assert not outcome(airflow, run).done


def test_a_form_that_makes_no_sense_is_refused(ran: Any) -> None:
    assert ran[0]["word"][0] == "failed"
    assert "sensitivity is a number such as 0.9. Received: 'high'" in ran[1]
    assert ran[0]["name"][0] == ran[0]["kind"][0] == "not begun"
