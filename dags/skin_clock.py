"""Ends a task whose time is over, with a message that says what to do."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from airflow.sdk.exceptions import AirflowTaskTimeout

from skin_pipeline.config import read_deployment

log = logging.getLogger(__name__)


class Clock:
    """Ends a task whose time is over.

    Airflow must know the longest time of a task before the task begins. The task itself knows more
    as soon as it has counted its images: `allow` then sets a shorter time. A process has one alarm
    timer, which Airflow uses as well, so its state is restored at the end.
    """

    def __init__(self) -> None:
        self._end: float | None = None  # on the clock of `time.monotonic`; None outside a task
        self._step, self._work, self._seconds = "", "", 0.0

    @contextmanager
    def running(self, step: str, most: timedelta) -> Generator[None, None, None]:
        """Ends the block, which is the work of a task, after its longest time."""
        if threading.current_thread() is not threading.main_thread():
            yield  # no signal would reach it
            return
        began = time.monotonic()
        old = signal.signal(signal.SIGALRM, self._ring)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        self._step, self._end = step, began + most.total_seconds()
        self.allow(most.total_seconds(), "work of any size")
        try:
            yield
        finally:
            self._end = None
            signal.signal(signal.SIGALRM, old)
            rest = max(0.001, left - (time.monotonic() - began)) if left else 0
            signal.setitimer(signal.ITIMER_REAL, rest)

    def allow(self, seconds: float, work: str) -> None:
        """Sets the time of the work that begins now, within what is left of the longest time."""
        if self._end is None:
            return
        self._work, self._seconds = work, min(seconds, self._end - time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self._seconds))
        log.info('allowed seconds=%.0f work="%s"', self._seconds, work)

    def _ring(self, *_: object) -> None:
        raise AirflowTaskTimeout(
            f"{self._step} did not finish {self._work} within {self._seconds:.0f} s. What it "
            "finished is kept, and the next try continues from there. If the machine is only "
            f"slow, raise SKIN_TIME_FACTOR (now {read_deployment().time_factor:g}) or "
            "SKIN_THREADS; otherwise the log shows how far it came"
        )


clock = Clock()
