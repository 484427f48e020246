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
from dataclasses import dataclass, field, replace

import psutil

from skin_pipeline.storage import Traffic

MIB = 2**20
MAXRSS = 1 if sys.platform == "darwin" else 1024  # the unit of `ru_maxrss`, in bytes


@dataclass
class Spent:
    """What blocks within a block used that count by themselves only."""

    seconds: float = 0.0
    core_seconds: float = 0.0
    read: int = 0
    written: int = 0


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
    apart: Spent = field(default_factory=Spent)


# Of the innermost block: a step may make another result within its own.
_CURRENT: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered(traffic: Traffic, *, apart: bool = False) -> Generator[Meter, None, None]:
    """Measures what the block takes; what it uses in blocks within it counts, too.

    Args:
        traffic: The counts of the store that the block works with.
        apart: Whether a block around it does not count it.
    """
    meter, before, around = Meter(), replace(traffic), _CURRENT.get()
    began, used = time.monotonic(), core_seconds()
    token = _CURRENT.set(meter)
    try:
        yield meter
    finally:
        _CURRENT.reset(token)
        inner = meter.apart
        meter.seconds = time.monotonic() - began - inner.seconds
        meter.core_seconds = core_seconds() - used - inner.core_seconds
        meter.peak_mib = _peak()
        meter.bytes_read = traffic.read - before.read - inner.read
        meter.bytes_written = traffic.written - before.written - inner.written
        if around:
            _tell(around, meter, apart)


def _tell(around: Meter, meter: Meter, apart: bool) -> None:
    """Adds what a block took to the meter of the block around it."""
    if not apart:
        around.found += meter.found
        around.computed += meter.computed
    spent, inner = around.apart, meter.apart
    spent.seconds += inner.seconds + apart * meter.seconds
    spent.core_seconds += inner.core_seconds + apart * meter.core_seconds
    spent.read += inner.read + apart * meter.bytes_read
    spent.written += inner.written + apart * meter.bytes_written


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
