"""Bounds the time and memory that the file of a stranger takes, in the worker that reads it.

    prepare()                              # once, when the process starts
    with of_memory(MEMORY):                # for a few files
        with of_time(SECONDS, WAITED):     # for each of them
            …

Decoders are written in C, and no exception can interrupt them. So the system ends the whole process
when the time is over; its parent sees by which signal. Memory is bounded by the system too: an
allocation beyond the bound is refused, which Python raises as `MemoryError`.

Time is that of the processor, so that a busy machine makes no file slow. Waiting for a disk or a
network uses none, and has a bound of its own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20
# The largest images that are allowed take about 5 s on a slow core, usual ones 0.02 s.
SECONDS = 60.0
# For a disk that does not answer. Even on a very busy machine a process gets a twentieth of the
# time, so that one which computes reaches the other bound first.
WAITED = 20 * SECONDS
# Two copies of the largest image, at the four bytes that Pillow needs for each pixel.
MEMORY = 1024 * MIB
# More than any dermatoscope has; a hostile PNG of a few kilobytes can claim gigabytes of pixels.
MOST_PIXELS = 120_000_000

KEPT = 64 * MIB  # of what was freed; a usual image and what is made of it take less
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # what glibc's malloc.h calls M_…

TOO_SLOW, TOO_LATE = signal.SIGPROF, signal.SIGALRM
TIMERS = {signal.ITIMER_PROF: TOO_SLOW, signal.ITIMER_REAL: TOO_LATE}
# How much memory this process has, on Linux. Other systems do not enforce this kind of bound.
PAGES = Path("/proc/self/statm")

_bounded = False
_pages = -1  # `PAGES`, kept open: once a process is confined it cannot open the file any more


def prepare() -> None:
    """Makes the signals of the timers end this process, whatever its parent does with them.

    It must be called before the process is confined.
    """
    global _pages
    if PAGES.exists():
        _pages = os.open(PAGES, os.O_RDONLY | os.O_CLOEXEC)
    for sign in TIMERS.values():
        signal.signal(sign, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TIMERS.values())
    # A dump of the memory at each hostile file would fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _keep_memory()


def _keep_memory() -> None:
    """Makes this process keep memory that it freed, up to `KEPT`, for the next image.

    Otherwise every large array is given back to the system, which hands out pages of zeros for the
    next one: a quarter of the time of a small image. Only glibc can be told so.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell:
        tell(TRIM_THRESHOLD, KEPT)
        tell(MMAP_THRESHOLD, KEPT // 2)  # the most that it accepts


@contextmanager
def of_time(seconds: float, waited: float) -> Generator[None, None, None]:
    """Makes the system end this process if the block takes longer.

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
    """Makes the system refuse the block more than `size` bytes of memory beyond what is used now.

    Without effect in a process that was not prepared.
    """
    global _bounded
    if _pages < 0:
        yield
        return
    # The bound counts all memory of the process, also that of the interpreter and its libraries.
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
    """Returns the bytes of memory that the system counts against RLIMIT_DATA."""
    return int(os.pread(_pages, 200, 0).split()[5]) * resource.getpagesize()


def _set(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def were_reached() -> bool:
    """Returns whether a `MemoryError` is due to the bound, and not to a machine without memory.

    Lifts the bound and tries to allocate as much as it allows: if the machine has that much, the
    file was refused because of the bound.
    """
    if not _bounded:
        return False
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    try:
        _set(resource.getrlimit(resource.RLIMIT_DATA)[1])
        # Reserved and given back; no page of it is ever touched.
        mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    finally:
        _set(limit)
    return True
