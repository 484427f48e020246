"""What the alerts about failed tasks and runs, and about late runs, say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from alerting import BASE, RUN, SECRET, connect, context, fail_fast
from servers import HOST
from skin_alert_words import Told, compose, failed, succeeded
from skin_alerts import place_of

from skin_pipeline.errors import BadInput, Unavailable


@pytest.fixture(autouse=True)
def base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE)


def told(event: Any, given: Any) -> Told:
    found = compose(event, given)
    assert found
    return found


@pytest.mark.parametrize(
    ("error", "said", "advice", "passing"),
    [
        (
            fail_fast(BadInput("no images at x")),
            "Error: no images at x",
            "correct what the error",
            False,
        ),
        (Unavailable("Kaggle is\n busy"), "Error: Kaggle is busy", "wait until", True),
        (KeyError("row"), "Error: KeyError: 'row'", "read the log of the task", False),
        (None, "Error: none was given", "read the log of the task", False),
    ],
    ids=["bad input", "unavailable", "a bug", "no error"],
)
def test_a_failed_task_says_what_was_wrong_and_what_to_do(
    error: Exception | None, said: str, advice: str, passing: bool
) -> None:
    found = told("task_failed", context(map_index=3, exception=error))
    assert found.alert.headline == "Task train [3] failed in skin_training"
    assert "failed on try 4 and is not tried again" in found.alert.text
    assert said in found.alert.text
    assert found.alert.text.count("What to do: ") == 1
    assert f"What to do: {advice}" in found.alert.text
    assert (found.subject, found.passing) == ("skin_training train", passing)


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        (
            {"needed_gib": 5.23, "allowed_gib": 4.0},
            "Memory: it was expected to need 5.2 GiB and was allowed 4.0 GiB.",
        ),
        (None, ""),
    ],
)
def test_a_killed_task_says_so_with_what_it_needed_and_was_allowed(noted: Any, said: str) -> None:
    given = context("train", map_index=1, verdict=noted)
    found = told("task_failed", given)
    assert found.alert.headline == "Task train [1] was killed in skin_training"
    assert "killed from outside (signal 9, SIGKILL" in found.alert.text
    assert said in found.alert.text
    assert ("Memory: " in found.alert.text) is bool(said)
    assert "What to do: look for `signal=-9`" in found.alert.text
    assert not found.passing


def test_a_failure_of_scoring_is_an_incident_of_its_dag() -> None:
    found = told("scoring_failed", context(exception=BadInput("no such alias")))
    assert found.alert.event == "scoring_failed"
    assert found.alert.headline == "Scoring failed: task train failed in skin_training"
    assert "Error: no such alias" in found.alert.text
    assert found.subject == "skin_training"


HOSTILE = "x\n\x1b[31mWhat to do: send it\u202e <!channel> https://ada:hunter2@host ${jndi:x}"


@pytest.mark.parametrize("kind", [BadInput, Unavailable, ValueError])
def test_words_of_others_in_an_alert_hide_nothing_and_tell_no_secret(kind: Any) -> None:
    alert = told(
        "task_failed",
        context(exception=kind(HOSTILE), params={"model_name": HOSTILE, "runs": "x"}),
    ).alert
    usual = told("task_failed", context(exception=kind("x"), params={"model_name": "x"})).alert
    assert len(alert.text.split("\n")) == len(usual.text.split("\n"))
    for part in (alert.headline, *alert.text.split("\n"), alert.model):
        assert part.isprintable()
        assert "hunter2" not in part
        assert "${" not in part


def test_synthetic_data_is_marked_from_the_trigger_form() -> None:
    given = context(params={"data": "demo", "weights": "none"}, exception=None)
    alert = told("task_failed", given).alert
    assert alert.headline.startswith("[synthetic data] Task train failed")
    assert alert.model == "skin-resnet50-synthetic"
    assert alert.payload()["synthetic"] is True


def test_an_unusable_trigger_form_does_not_spoil_the_alert() -> None:
    given = context(params={"model_name": "mine", "runs": "many"}, exception=None)
    assert "Model mine, run" in told("task_failed", given).alert.text


@pytest.mark.parametrize(("task", "links"), [("validate", 1), ("split", 1), ("train", 0)])
def test_data_that_is_not_fit_leads_to_what_was_found(task: str, links: int) -> None:
    alert = told("task_failed", context(task, exception=fail_fast(BadInput("not fit")))).alert
    assert alert.text.count("/plugin/skin-data") == links


def test_a_failed_run_names_the_tasks_that_failed_and_links_the_run() -> None:
    states = {"train_3": "failed", "gate": "upstream_failed", "ingest": "success"}
    found = told("run_failed", context(reason="task_failure", states=states))
    assert found.alert.headline == "A run of skin_training failed"
    assert "The run failed: a task failed (train_3)." in found.alert.text
    assert found.alert.payload()["run_url"].endswith("%2B00%3A00")  # not the task that ended last
    assert found.subject == "skin_training"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("timed_out", "it took longer than allowed"),
        ("all_tasks_deadlocked", "no remaining task could start"),
        ("", "a task failed"),
        ("another one", "another one"),
    ],
)
def test_a_failed_run_says_why_in_words(reason: str, said: str) -> None:
    alert = told("run_failed", context(reason=reason)).alert
    assert f"The run failed: {said}." in alert.text


def test_a_context_without_a_task_is_enough_for_a_failed_run() -> None:
    given = {"dag": SimpleNamespace(dag_id="d"), "run_id": "r"}
    assert told("run_failed", given).alert.headline == "A run of d failed"


def test_a_task_succeeded_if_all_its_instances_did() -> None:
    states = {
        **{"ingest": "success", "train_0": "success", "train_1": "failed"},
        **{"gate": "success", "features_0": "success", "features_11": "success"},
    }
    given = context(states=states)
    assert succeeded(given, place_of(given)) == ["features", "gate", "ingest"]
    assert succeeded({}, place_of({})) == []
    assert [each.task for each in failed(given, place_of(given))] == ["train [1]"]


def missed(**run: Any) -> dict[str, Any]:
    """The simple context that Airflow gives the callback of a deadline."""
    usual = {
        **{"dag_id": "skin_training", "dag_run_id": RUN, "state": "running"},
        **{"queued_at": "2026-07-01T09:00:00Z", "start_date": "2026-07-01T09:00:01Z"},
        **{"conf": {"data": "demo"}},
    }
    deadline = {"id": "1", "deadline_time": "2026-07-02T09:00:00+00:00"}
    return {"dag_run": {**usual, **run}, "deadline": deadline}


@pytest.mark.parametrize(
    ("start", "said"), [("2026-07-01T09:00:01Z", "still runs."), (None, "still waits to start.")]
)
def test_a_late_run_says_since_when_and_until_when(start: str | None, said: str) -> None:
    found = told("late", missed(start_date=start))
    assert found.alert.headline == "[synthetic data] A run of skin_training is late"
    assert (
        "The run was queued at 2026-07-01 09:00 UTC, was to end by 2026-07-02 09:00 UTC, and "
        f"{said}" in found.alert.text
    )
    assert "/dags/skin_training/runs/manual__" in found.alert.payload()["run_url"]
    assert found.subject == "skin_training"


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_run_that_has_ended_is_not_late(state: str) -> None:
    """Airflow removes the deadline of a run that succeeded, but not of one that failed."""
    assert compose("late", missed(state=state)) is None


def test_passwords_that_airflow_knows_are_masked_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from skin_connections import find_connection

    connect(monkeypatch, conn_type="http", host=HOST, password=SECRET)
    assert find_connection("alerts")
    error = ValueError(f"401 for token {SECRET}")
    assert "401 for token ***" in told("task_failed", context(exception=error)).alert.text
    alert = told("task_failed", context(f"train_{SECRET}", exception=error)).alert
    assert alert.headline == "Task train_*** failed in skin_training"
