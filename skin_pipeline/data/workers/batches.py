"""Gives items to processes in batches, and works on them inside the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from skin_pipeline.data import bounds
from skin_pipeline.data.workers.pool import NOTHING, Pool, note

# Items of a batch. To hand over one item at a time would take longer than the work on a small one.
BATCH = 16
A = TypeVar("A")
B = TypeVar("B")


class Limits(NamedTuple):
    """What each item may take: seconds of the processor, seconds on the clock, and memory."""

    seconds: float
    waited: float
    memory: int


@dataclass
class Batch(Generic[A, B]):
    """Items that a process is given at once.

    Attributes:
        first: Number of the first item among all.
        items: The items.
        known: Results of the items on which a process died, by their number. They are not worked
            on again.
        future: The results of the others.
    """

    first: int
    items: list[A]
    known: dict[int, B] = field(default_factory=dict)
    future: Future[list[B]] = field(default_factory=Future)

    def begin(self, pool: Pool, work: Callable[[A], B]) -> None:
        """Gives the items that have no result yet to a process."""
        left = [item for item in enumerate(self.items, self.first) if item[0] not in self.known]
        # Sent along, because a new process does not have the values that were set in this one.
        limits = Limits(bounds.SECONDS, bounds.WAITED, bounds.MEMORY)
        self.future = pool.submit(partial(_work_on, work, limits=limits), left)

    def begin_again(self, pool: Pool, work: Callable[[A], B]) -> None:
        """Begins again after a process died, unless the batch was done and has its results."""
        if not self.future.done() or isinstance(self.future.exception(), BrokenProcessPool):
            self.begin(pool, work)

    def merged(self, results: list[B]) -> Iterator[B]:
        """Yields the results of all items, in order."""
        done = iter(results)
        for number in range(self.first, self.first + len(self.items)):
            yield self.known[number] if number in self.known else next(done)


def batched(items: Iterable[A]) -> Iterator[Batch[A, Any]]:
    """Yields the items in batches, taken from their source only when they are needed."""
    source, first = iter(items), 0
    while some := list(islice(source, BATCH)):
        yield Batch(first, some)
        first += len(some)


def _work_on(work: Callable[[A], B], items: list[tuple[int, A]], limits: Limits) -> list[B]:
    """Works on a batch, in a worker process. Before each item its number is noted."""
    results = []
    with bounds.of_memory(limits.memory):
        for number, item in items:
            note(number)
            with bounds.of_time(limits.seconds, limits.waited):
                results.append(work(item))
    # From here on this process is not to blame for its last item.
    note(NOTHING)
    return results
