"""The alarm timer of the process, and a task that stands still until it rings."""

from __future__ import annotations

import signal
import time

PATIENCE = 300.0  # seconds until what waits gives up


def left() -> float:
    """Seconds until the timer rings, which pytest sets too; 0 if it does not."""
    return signal.getitimer(signal.ITIMER_REAL)[0]


def stand_still() -> None:
    """Do nothing until somebody ends it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.01)
