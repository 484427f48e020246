"""Spreads work over processes: `spread` for our own data, `each` for files of strangers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Generic, TypeVar

from skin_pipeline.data.workers.batches import Batch, batched
from skin_pipeline.data.workers.judging import Judge
from skin_pipeline.data.workers.pool import Pool

# Pieces under way for each process: enough that none waits, and few, as each is held in memory.
AHEAD = 3
A = TypeVar("A")
B = TypeVar("B")


def spread(work: Callable[[A], B], pieces: Iterable[A], processes: int) -> Iterator[B]:
    """Yields `work(piece)` for each piece, in order.

    Args:
        work: A function of a module, which the processes import.
        pieces: What to work on; taken only as far ahead as the processes need.
        processes: How many to use.

    Raises:
        BrokenProcessPool: A process died.
        Exception: Whatever `work` raises.
    """
    waiting: deque[Future[B]] = deque()
    source = iter(pieces)
    with Pool(processes) as pool, pool.killed_at_once():
        while True:
            for piece in islice(source, AHEAD * processes - len(waiting)):
                waiting.append(pool.submit(work, piece))
            if not waiting:
                return
            yield waiting.popleft().result()


def each(
    work: Callable[[A], B],
    items: Iterable[A],
    processes: int,
    killed: Callable[[A, str], B],
    named: Callable[[A], str],
) -> Generator[B, None, None]:
    """Yields `work(item)` for each item, in order and within `bounds`, whatever some of them do.

    Args:
        work: A function of a module, which the processes import.
        items: What to work on; taken only as far ahead as the processes need.
        processes: How many to use.
        killed: Returns the result of an item that took too long, or on which a process died twice;
            it is given the item and what happened, in words.
        named: Returns the name of an item, for errors.

    Raises:
        BadInput: Over `MOST_SLOW` items took too long, or over `MOST_FATAL` ended their process.
        Unavailable: No process can be started, or one waited too long for its disk.
        Exception: Whatever `work` raises.
    """
    crew = _Crew(work, processes, Judge(work, killed, named))
    try:
        yield from crew.results(batched(items))
    except BaseException:  # also when the caller takes no more results
        crew.pool.kill()
        raise
    finally:
        crew.pool.close()


class _Crew(Generic[A, B]):
    """The pool that works for `each`, replaced when it breaks, and the batches under way."""

    def __init__(self, work: Callable[[A], B], processes: int, judge: Judge[A, B]) -> None:
        self.pool = Pool(processes)
        self._work, self._processes, self._judge = work, processes, judge
        self._waiting: deque[Batch[A, B]] = deque()

    def results(self, batches: Iterator[Batch[A, B]]) -> Iterator[B]:
        """Yields the results of all items, in order."""
        while True:
            for batch in islice(batches, AHEAD * self._processes - len(self._waiting)):
                self._waiting.append(batch)
                batch.begin(self.pool, self._work)
            if not self._waiting:
                return
            try:
                results = self._waiting[0].future.result()
            except BrokenProcessPool:
                self._replace_pool()
                continue
            yield from self._waiting.popleft().merged(results)

    def _replace_pool(self) -> None:
        """Goes on after a process died.

        A `ProcessPoolExecutor` gives up all of its work when one process dies. So the items to
        blame are judged first. Then a new pool does what else was under way, without them.
        """
        self._judge.blame(self.pool.deaths(), self._waiting)
        self.pool = Pool(self._processes)
        for batch in self._waiting:
            batch.begin_again(self.pool, self._work)
