"""Batches are made while those before are worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from skin_pipeline.training.ahead import read_ahead


def test_a_batch_is_made_while_the_one_before_is_worked_on() -> None:
    made = [threading.Event() for _ in range(3)]

    def batches() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in read_ahead(batches()):
        assert made[min(number + 1, 2)].wait(30)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_batches_that_are_read_ahead_come_in_their_order(count: int) -> None:
    assert list(read_ahead(iter(range(count)))) == list(range(count))
    assert list(read_ahead(iter([None] * count))) == [None] * count


def test_what_stops_the_reading_stops_the_work() -> None:
    def batches() -> Iterator[int]:
        yield 0
        raise OSError("the disk is gone")

    done = read_ahead(batches())
    assert next(done) == 0
    with pytest.raises(OSError, match="gone"):
        next(done)
