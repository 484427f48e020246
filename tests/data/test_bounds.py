"""The bounds of time and memory, as the system holds them."""

from __future__ import annotations

import os
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
def test_a_machine_without_memory_is_told_from_an_item_that_asks_for_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "_pages", os.open(bounds.PAGES, os.O_RDONLY))
    assert not bounds.were_reached()  # nothing is bounded here
    with bounds.of_memory(1 << 20):
        assert bounds.were_reached()
        monkeypatch.setattr(bounds, "MEMORY", 1 << 60)  # which no machine has
        assert not bounds.were_reached()
        with pytest.raises(MemoryError):
            bytearray(64 << 20)
    bytearray(64 << 20)
