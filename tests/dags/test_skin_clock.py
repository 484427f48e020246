"""A task whose time is over is ended, and Airflow's own time-out stays."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from alarm import left, stand_still
from skin_clock import Clock

HOUR = timedelta(hours=1)


def test_no_work_gets_more_than_is_left_of_the_longest_time() -> None:
    clock, before = Clock(), left()
    with clock.running("train", HOUR):
        clock.allow(10 * 3600, "a")
        assert 3590 < left() <= 3600
        clock.allow(60, "b")
        assert 50 < left() <= 60
    assert left() == pytest.approx(before, abs=10)


def test_airflows_own_timeout_is_given_back() -> None:
    """A task's is over when the task is; another block may run in it."""
    before = signal.getsignal(signal.SIGALRM)

    def run() -> None:
        with timeout(0.4, "Airflow's own"):  # type: ignore[no-untyped-call]
            with Clock().running("train", HOUR):
                pass
            stand_still()

    with pytest.raises(AirflowTaskTimeout, match="Airflow's own"):
        run()
    signal.signal(signal.SIGALRM, before)


def test_outside_a_task_time_is_not_bounded() -> None:
    before = left()
    Clock().allow(0.001, "work")
    assert left() == pytest.approx(before, abs=10)
