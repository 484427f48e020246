"""The DAG `skin_monitoring`, as Airflow reads it and as it runs it: quiet, drift, over again."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest
import watched_days
from small_dags import Airflow
from watched_days import MODEL, VERSION

from skin_pipeline.contracts import Action, Incident
from skin_pipeline.monitoring import report
from skin_pipeline.operations import actions, incidents

pytestmark = pytest.mark.airflow

SUBJECT = f"{MODEL} images"
NUMBER = incidents.id_of("drift", SUBJECT)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"))


def fill(airflow: Airflow, first: int, last: int, **moved: Any) -> None:
    for day in range(first, last):
        watched_days.put_day(airflow.store, watched_days.rows(day, **moved))


def run(airflow: Airflow, name: str, **environment: str) -> tuple[str, str, str]:
    """Runs the DAG; returns its state, its id, and all that was logged."""
    about = {"dag": "skin_monitoring", "environment": environment}
    answer, logged = airflow.run(**{name: about})
    return answer[name][0], answer[name][1], logged


def incident(airflow: Airflow) -> Incident:
    found = incidents.of_id(airflow.store, NUMBER)
    assert found is not None
    return found


def test_it_runs_daily_and_each_model_has_a_task(airflow: Airflow) -> None:
    dag = airflow.read("skin_monitoring")
    assert dag["heavy"] == []
    assert (dag["schedule"], dag["active"]) == ("@daily", 1)
    assert set(dag["tasks"]) == {"scoring_models", "compare"}
    assert dag["tasks"]["compare"]["before"] == ["scoring_models"]
    assert all(task["doc"][0].isalpha() for task in dag["tasks"].values())


def test_without_scores_it_has_nothing_to_do(airflow: Airflow) -> None:
    state, _, logged = run(airflow, "empty")
    assert state in ("success", "skipped")
    assert "result 0 streams of images are watched" in logged


def test_the_story_of_a_drift(airflow: Airflow) -> None:
    """One story, since each step needs what was before."""
    watched_days.put_reference(airflow.store)
    fill(airflow, 0, 8)
    state, _, logged = run(airflow, "quiet")
    assert state == "success"
    assert "result no drift of skin: evidence" in logged
    assert incidents.of_id(airflow.store, NUMBER) is None

    fill(airflow, 8, 12, red=0.25)
    state, first, logged = run(airflow, "drift")
    assert state == "success"
    assert re.search(r"result drift of skin since 2026-10-\d\d: images are redder", logged)
    assert 'asset_announced asset="skin-drift/skin"' in logged
    opened = incident(airflow)
    assert (opened.state, opened.count, opened.model) == ("open", 1, MODEL)
    assert opened.headline == "The images that skin scores have changed"
    assert opened.text[0].startswith("Images are redder than those that the model was judged on")
    (key,) = airflow.store.list(f"monitoring/{MODEL}/retraining")
    assert first.encode() in airflow.store.read(key)

    _, _, logged = run(airflow, "again")
    assert "asset_announced" not in logged
    assert incident(airflow).count == 2

    acknowledge(airflow)
    _, _, logged = run(airflow, "acknowledged")
    found = report.latest(airflow.store, MODEL)
    assert found is not None
    assert (found.anew[:10], found.images, found.drifting) == ("2026-10-12", 0, False)
    assert incident(airflow).state == "acknowledged"  # no image says yet that it is over

    fill(airflow, 12, 23)
    run(airflow, "calm")
    assert incident(airflow).state == "acknowledged"  # which one run may find by chance
    fill(airflow, 23, 24)
    _, _, logged = run(airflow, "over")
    assert incident(airflow).state == "ended"
    assert "result no drift of skin" in logged


def acknowledge(airflow: Airflow) -> None:
    """Acknowledge the incident as the DAG `skin_acknowledge` does, after the last image."""
    at = datetime(2026, 10, 12, 20, tzinfo=timezone.utc).isoformat()
    intent = Action(
        **{"kind": "acknowledge", "model": MODEL, "subject": NUMBER, "plan": "drift", "by": "me"},
        **{"reason": "the camera", "dag": "skin_acknowledge", "run": "manual__1", "at": at},
    )
    with actions.recorded(airflow.store, intent):
        incidents.acknowledge(airflow.store, NUMBER, "me")


def test_the_share_of_malignant_images_that_is_expected_is_a_setting(airflow: Airflow) -> None:
    before = report.latest(airflow.store, MODEL)
    state, _, _ = run(airflow, "share", SKIN_MONITORING_SHARE="0.1")
    after = report.latest(airflow.store, MODEL)
    assert state == "success"
    assert before is not None
    assert after is not None
    assert after.version == VERSION
    assert after.reference_images < before.reference_images


def test_a_damaged_log_fails_the_task_of_its_model_only(airflow: Airflow) -> None:
    airflow.store.put("scoring/broken/batches/20261001T080000-1.json", b"{}")
    state, _, logged = run(airflow, "damaged")
    assert state == "failed"
    assert "is not a Batch document" in logged
    assert "result no drift of skin" in logged
