"""The bounds of time and memory, as the system holds them."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from worker_runs import run

from skin_pipeline.data import bounds


def test_the_bounds_hold_whatever_the_parent_makes_of_their_signals(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    script = f"""
import signal
for sign in (signal.SIGPROF, signal.SIGALRM):
    signal.signal(sign, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF, signal.SIGALRM])
from worker_tasks import compute, named
from skin_pipeline.data import bounds
from skin_pipeline.data.workers import each
bounds.SECONDS = 0.3
print(*each(compute, [{str(tmp_path / "endless")!r}], 1, named, str))
"""
    assert "longer than 0.3 s" in run(script)


@pytest.mark.skipif(not bounds.PAGES.exists(), reason="only Linux bounds this memory")
def test_a_machine_without_memory_is_told_from_an_item_that_asks_for_too_much() -> None:
    # By itself: a process that has freed much memory needs none from the system.
    script = """
import os
from skin_pipeline.data import bounds
bounds._pages = os.open(bounds.PAGES, os.O_RDONLY)
def refused():
    try:
        return not bytearray(64 << 20)
    except MemoryError:
        return True
print(bounds.were_reached())  # nothing is bounded here
with bounds.of_memory(1 << 20):
    print(refused(), bounds.were_reached())
    bounds.MEMORY = 1 << 60  # which no machine has
    print(bounds.were_reached())
    print(refused())
print(refused())
"""
    assert run(script).split() == ["False", "True", "True", "False", "True", "False"]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc can be told")
def test_memory_of_an_image_serves_the_next_one_without_the_system() -> None:
    script = """
import resource
from skin_pipeline.data import bounds
bounds.prepare()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
byte = bytes([1])
byte * (8 << 20)
before = faults()
for _ in range(10):
    byte * (8 << 20)
print(faults() - before)
"""
    assert int(run(script)) < 200  # of 20,480 pages
