"""How much time and memory the file of a stranger may take, in the worker process that reads it.

    prepare()                      # once, when the process starts
    with of_memory():              # for a few files
        with of_time(SECONDS):     # for each of them
            …

Decoders are written in C. No exception reaches them while they work, so the system ends the whole
process when the time is over; who started it sees by which signal. Memory is bounded by the system
too: what is asked for beyond the bound is refused, which Python raises as `MemoryError`.

Time is that of the processor, so that a busy machine makes no file slow. What waits for a disk or a
network uses none, and has a bound of its own.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20
# The largest images that are taken need some 5 s on a slow core, and usual ones a fiftieth of one.
SECONDS = 60.0
# For a disk that stands still: a busy machine gives a process a twentieth of its time, if not more.
WAITED = 20 * SECONDS
# Two copies of the largest image, at the four bytes that Pillow takes for each pixel.
MEMORY = 1024 * MIB
# Beyond any dermatoscope; a few kilobytes of a hostile PNG can claim to be gigabytes of pixels.
MOST_PIXELS = 120_000_000

TOO_SLOW, TOO_LATE = signal.SIGPROF, signal.SIGALRM
TIMERS = {signal.ITIMER_PROF: TOO_SLOW, signal.ITIMER_REAL: TOO_LATE}
PAGES = Path("/proc/self/statm")  # of Linux. Elsewhere the system bounds no memory of this kind

_bounded = False
_pages = -1  # `PAGES`, kept open: a process that is confined later could not open it


def prepare() -> None:
    """Lets the signals of the timers end this process, whatever its parent made of them. Called
    before the process gives up any right."""
    global _pages
    if PAGES.exists():
        _pages = os.open(PAGES, os.O_RDONLY | os.O_CLOEXEC)
    for sign in TIMERS.values():
        signal.signal(sign, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TIMERS.values())
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextmanager
def of_time(seconds: float, waited: float) -> Generator[None, None, None]:
    """Has the system end this process if the block takes longer.

    Args:
        seconds: Of the processor's time.
        waited: Of time on the clock.
    """
    signal.setitimer(signal.ITIMER_REAL, waited)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        for timer in TIMERS:
            signal.setitimer(timer, 0)


@contextmanager
def of_memory(size: int) -> Generator[None, None, None]:
    """Has the system refuse the block more than `size` bytes of memory beyond what is used now, in
    a process that was prepared."""
    global _bounded
    if _pages < 0:
        yield
        return
    old, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _used() + size
    _set(limit if most == resource.RLIM_INFINITY else min(limit, most))
    _bounded = True
    try:
        yield
    finally:
        _bounded = False
        _set(old)


def _used() -> int:
    """Bytes of memory as the system counts them against RLIMIT_DATA."""
    return int(os.pread(_pages, 200, 0).split()[5]) * resource.getpagesize()


def _set(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def were_reached() -> bool:
    """Tells a file that asks for too much memory from a machine that has none, at a `MemoryError`:
    whether without the bound the machine would give as much as that."""
    if not _bounded:
        return False
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    try:
        _set(resource.getrlimit(resource.RLIMIT_DATA)[1])
        mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    finally:
        _set(limit)
    return True
