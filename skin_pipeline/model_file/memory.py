"""Bounds the memory that this process may still take."""

from __future__ import annotations

import re
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")
KIB = 2**10


@contextmanager
def at_most(more: int) -> Generator[None, None, None]:
    """Bounds how many more bytes the process may take in the block; beyond it is `MemoryError`.

    A tighter bound that exists already stays. Where the system does not report how much a process
    has (only Linux does), nothing is bounded.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    if (used := _used()) is None:
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (min([used + more, *bounds]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _used() -> int | None:
    """Returns the bytes of memory that this process has, as `RLIMIT_DATA` counts them."""
    try:
        found = re.search(r"^VmData:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * KIB if found else None
