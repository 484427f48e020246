"""Gives a task back that this machine cannot run now, so that another worker takes it.

A retry would not do: a worker on which each task fails at once is always free. So it takes most of
the tasks that wait, and takes the same one again until its tries are used up.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowRescheduleException

from skin_pipeline.errors import UnavailableHere

log = logging.getLogger(__name__)

MOST = 20  # afterwards it fails, and is retried: there may be no other worker
PAUSE = timedelta(seconds=30)


def give_back(error: UnavailableHere) -> None:
    """Gives the running task back to the scheduler, which costs none of its tries; it begins again
    after a pause, on whichever worker is free. Returns if that has been done too often."""
    context: Any = get_current_context()
    times = int(context.get("task_reschedule_count") or 0)
    if times >= MOST:
        return
    log.warning('given_back times=%d most=%d reason="%s"', times + 1, MOST, error)
    until = datetime.now(timezone.utc) + PAUSE
    raise AirflowRescheduleException(until) from None  # type: ignore[no-untyped-call]
