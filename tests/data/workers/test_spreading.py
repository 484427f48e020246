"""Results come in order, and work is taken only as far ahead as needed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
import worker_tasks as tasks
from worker_runs import dead, done

from skin_pipeline.data.workers import BATCH, each, judging, spread, spreading
from skin_pipeline.data.workers.pool import Pool
from skin_pipeline.data.workers.spreading import AHEAD

PATIENCE = 300.0  # seconds until a test that waits gives up


def test_results_come_in_the_order_of_the_pieces() -> None:
    assert list(spread(tasks.double, range(50), 2)) == [2 * i for i in range(50)]


def test_no_pieces_give_no_results() -> None:
    assert list(spread(tasks.double, [], 2)) == []


def test_pieces_are_taken_only_as_far_ahead_as_needed() -> None:
    taken = itertools.count()
    results = spread(tasks.double, taken, 2)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    results.close()  # type: ignore[attr-defined]
    assert next(taken) <= 5 + 2 * AHEAD


def test_each_gives_the_results_of_many_batches_in_order() -> None:
    numbers = range(5 * BATCH + 3)
    assert done(tasks.double, numbers) == [2 * number for number in numbers]


def test_items_are_taken_only_as_far_ahead_as_needed() -> None:
    taken = itertools.count()
    results = each(tasks.double, taken, 2, dead, str)
    assert next(results) == 0
    results.close()
    assert next(taken) <= 2 * AHEAD * BATCH + BATCH


def test_a_process_that_dies_while_items_are_handed_out_costs_only_its_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then the pool takes no more work before anybody has asked for a result."""
    pools = []
    real = Pool
    monkeypatch.setattr(spreading, "Pool", lambda n: pools.append(real(n)) or pools[-1])

    def items() -> Iterator[Any]:
        yield from range(BATCH)
        end = time.monotonic() + PATIENCE
        while not pools[0]._executor._broken and time.monotonic() < end:
            time.sleep(0.01)
        yield from range(BATCH, 2 * BATCH)

    expected = [(i, judging.FATAL) if i in {3, 17} else 2 * i for i in range(2 * BATCH)]
    assert done(tasks.double_or_die, items()) == expected


def test_a_crash_of_other_work_is_raised() -> None:
    with pytest.raises(BrokenProcessPool):
        list(spread(tasks.double_or_die, range(5), 2))


def test_an_error_of_the_work_is_raised() -> None:
    with pytest.raises(ValueError, match="0 is refused"):
        list(spread(tasks.refuse, range(5), 2))
