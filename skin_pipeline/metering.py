"""What the making of a result takes: time, processors, memory, bytes, and how much work it was.

with metered(store.traffic) as meter:
    note(work="features", units=8 * 900)    # anywhere in the block, by those who know
meter.seconds, meter.core_seconds
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import psutil

from skin_pipeline.storage import Traffic

MIB = 2**20
MAXRSS = 1 if sys.platform == "darwin" else 1024  # the unit of `ru_maxrss`, in bytes


@dataclass
class Meter:
    """What was measured; see `contracts.Cost`. The first five are known after the block."""

    seconds: float = 0.0
    core_seconds: float = 0.0
    peak_mib: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    found: int = 0
    computed: int = 0
    work: str = ""
    units: int = 0


# Of the innermost block: a step may make another result within its own.
_CURRENT: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered(traffic: Traffic) -> Generator[Meter, None, None]:
    """Measures what the block takes; what it uses in blocks within it counts, too.

    Args:
        traffic: The counts of the store that the block works with.
    """
    meter, before, around = Meter(), replace(traffic), _CURRENT.get()
    began, used = time.monotonic(), core_seconds()
    token = _CURRENT.set(meter)
    try:
        yield meter
    finally:
        _CURRENT.reset(token)
        meter.seconds = time.monotonic() - began
        meter.core_seconds = core_seconds() - used
        meter.peak_mib = _peak()
        meter.bytes_read = traffic.read - before.read
        meter.bytes_written = traffic.written - before.written
        if around:
            around.found += meter.found
            around.computed += meter.computed


def note(**known: str | int) -> None:
    """Notes what the result that is being made consists of: fields of its `Meter`."""
    meter = _CURRENT.get()
    if meter is not None:
        for name, value in known.items():
            setattr(meter, name, value)


def core_seconds() -> float:
    """Returns the CPU time that this process and all processes below it have used so far."""
    counted = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # the second are those that ended
    spent = sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, counted))
    return spent + sum(map(_of_living, psutil.Process().children()))


def _of_living(process: psutil.Process) -> float:
    """Returns the CPU time of a process below this one, and of its own that have ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:  # it ended meanwhile
        return 0.0
    below: float = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system) + below


def _peak() -> float:
    counted = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in counted) * MAXRSS / MIB
