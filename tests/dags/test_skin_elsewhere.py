"""A task that only this machine cannot run goes to another worker, and costs no try."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import skin_elsewhere
from airflow.sdk.exceptions import AirflowException, AirflowRescheduleException
from skin_airflow import airflow_errors
from skin_elsewhere import MOST, PAUSE

from skin_pipeline.errors import Unavailable, UnavailableHere


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    context: dict[str, Any] = {}
    monkeypatch.setattr(skin_elsewhere, "get_current_context", lambda: context)
    return context


@pytest.mark.parametrize("before", [None, 0, MOST - 1])
def test_it_is_given_back_for_after_a_pause(
    context: dict[str, Any], before: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    context["task_reschedule_count"] = before
    with pytest.raises(AirflowRescheduleException) as caught, airflow_errors():
        raise UnavailableHere("no space left for /tmp")
    pause = caught.value.reschedule_date - datetime.now(timezone.utc)
    assert PAUSE - timedelta(seconds=10) < pause <= PAUSE
    assert f'given_back times={(before or 0) + 1} most={MOST} reason="no space left' in caplog.text


def test_where_no_other_worker_takes_it_it_fails_in_the_end(context: dict[str, Any]) -> None:
    context["task_reschedule_count"] = MOST
    with pytest.raises(AirflowException, match="no space left"), airflow_errors():
        raise UnavailableHere("no space left for /tmp")


def test_what_nobody_can_do_now_is_tried_again(context: dict[str, Any]) -> None:
    with pytest.raises(AirflowException, match="busy"), airflow_errors():
        raise Unavailable("busy")
