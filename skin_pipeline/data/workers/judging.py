"""Decides what becomes of the items on which processes died.

An item is to blame if its process ended while it was worked on: by the signal of a timer, by a
crash, or by the kernel for its memory. A process may also die without any fault of its item, so an
item without a timer's signal is tried once more, alone.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, NamedTuple, TypeVar

from skin_pipeline.data import bounds
from skin_pipeline.data.workers.batches import Batch
from skin_pipeline.data.workers.pool import Pool
from skin_pipeline.errors import BadInput, Unavailable

# Items of one task that may take too long, and that may end their process. Each of the first kind
# costs `bounds.SECONDS`, each of the second a few for new processes, so that files that were made
# to cost time cost half an hour in all.
MOST_SLOW = 20
MOST_FATAL = 200
BREAKDOWNS = 3  # in a row for which no item is to blame
SHOWN = 10  # names in an error
FATAL = "decoding it ended the process (a crash, or out of memory)"
A = TypeVar("A")
B = TypeVar("B")


class Judge(Generic[A, B]):
    """Gives results to items on which processes died; see `spreading.each` for its arguments."""

    def __init__(
        self,
        work: Callable[[A], B],
        killed: Callable[[A, str], B],
        named: Callable[[A], str],
    ) -> None:
        self._work, self._killed, self._named = work, killed, named
        self._slow: list[str] = []
        self._fatal: list[str] = []
        self._without_blame = 0  # breakdowns in a row for which no item is to blame

    def blame(self, deaths: dict[int, int], waiting: Iterable[Batch[A, B]]) -> None:
        """Gives the items to blame their results.

        Args:
            deaths: Numbers of items, and the signal or exit status by which its process ended.
            waiting: The batches among which they are.
        """
        self._without_blame = 0 if deaths else self._without_blame + 1
        if self._without_blame:
            _refuse_dead(self._without_blame)
        for batch in waiting:
            for number, item in enumerate(batch.items, batch.first):
                if number in deaths:
                    batch.known[number] = self._judged(item, deaths[number])

    def _judged(self, item: A, ended: int) -> B:
        if -ended not in bounds.TIMERS.values():
            # The memory may have been taken by another process, or this one ended together with the
            # others when the pool broke. Alone, the item shows whether it is to blame.
            found = _alone(self._work, item)
            if not isinstance(found, _Death):
                return found
            ended = found.ended
        if -ended == bounds.TOO_LATE:
            raise Unavailable(
                f"reading {self._named(item)} took longer than {bounds.WAITED:g} s, most of which "
                "was spent waiting. See whether its disk or network still answers"
            )
        if -ended == bounds.TOO_SLOW:
            self._count(item, self._slow, MOST_SLOW, "took too long")
            return self._killed(item, too_slow())
        self._count(item, self._fatal, MOST_FATAL, "ended their process")
        return self._killed(item, FATAL)

    def _count(self, item: A, known: list[str], most: int, did: str) -> None:
        """Refuses to go on when too many items did the same."""
        known.append(self._named(item))
        if len(known) > most:
            raise BadInput(
                f"{len(known)} files {did} while they were decoded, so that the work was given up. "
                "A usual image takes a fraction of a second. Leave these out, or have them looked "
                f"at: {', '.join(known[:SHOWN])}, …"
            )


def too_slow() -> str:
    """Returns what is wrong with an item that took too long."""
    return f"decoding it took longer than {bounds.SECONDS:g} s of the processor's time"


class _Death(NamedTuple):
    """How a process ended: its exit status, or the signal's number below zero."""

    ended: int


def _alone(work: Callable[[A], B], item: A) -> B | _Death:
    """Returns the result of an item that has a process for itself, or how that process ended."""
    batch: Batch[A, B] = Batch(0, [item])
    with Pool(1) as pool:
        batch.begin(pool, work)
        try:
            return batch.future.result()[0]
        except BrokenProcessPool:
            # A process that left no note of an item counts as killed.
            return _Death(next(iter(pool.deaths().values()), -signal.SIGKILL))


def _refuse_dead(times: int) -> None:
    """Refuses to go on where processes die by themselves, whatever item they are given.

    A process that does nothing shows whether the machine can start any. If it cannot, further tries
    are useless.
    """
    problem = "worker processes end without any file's being to blame"
    with Pool(1) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool:
            problem, times = "worker processes end as soon as they start", BREAKDOWNS
    if times >= BREAKDOWNS:
        raise Unavailable(
            f"{problem}; see the lines above, and whether the machine has memory left"
        )
