"""Each item of a batch has its bounds of time and memory."""

from __future__ import annotations

import pytest
import worker_tasks as tasks
from worker_runs import done

from skin_pipeline.data import bounds


def test_time_that_others_take_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    assert done(tasks.wait, [0.5]) == [0.5]


@pytest.mark.skipif(not bounds.PAGES.exists(), reason="only Linux bounds this memory")
def test_an_item_gets_no_more_memory_than_it_may_and_the_next_one_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "MEMORY", 64 << 20)
    assert done(tasks.fill, [32 << 20, 96 << 20, 32 << 20, 10 << 40]) == [True, False, True, False]
