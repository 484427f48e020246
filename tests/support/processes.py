"""Finds the processes that came from one test, also those that left their parents."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

MARKER = "SKIN_TEST_MARKER"
PATIENCE = 300.0  # seconds until a test that waits gives up, however slow the machine


def family(marker: str) -> set[psutil.Process]:
    """Every process with this marker in its environment: all that came from one test."""
    return {process for process in psutil.process_iter() if _marked(process, marker)}


def _marked(process: psutil.Process, marker: str) -> bool:
    with suppress(psutil.Error):
        return bool(process.environ().get(MARKER) == marker and process.pid != os.getpid())
    return False


def offspring(pid: int) -> set[psutil.Process]:
    """All that came from a process. Airflow's own renamed processes have lost their environment."""
    return set(psutil.Process(pid).children(recursive=True))


def list_entry(process: psutil.Process) -> str:
    """Returns what a list of processes shows of one; "" if it has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return "\n".join([*process.cmdline(), *process.environ().values()])
    return ""


def living(processes: set[psutil.Process]) -> set[psutil.Process]:
    """Those that have not ended."""
    return {process for process in processes if _lives(process)}


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def until(done: Callable[[], Any]) -> Any:
    """Wait for a condition and return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (result := done()):
        assert time.monotonic() < deadline, f"{done} did not come true in {PATIENCE:.0f} s"
        time.sleep(0.1)
    return result
