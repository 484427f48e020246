"""Work spread over processes on all cores, in order, with memory bounded and crashes contained.

A hostile image can bring down the decoder's process, or have the kernel end it for its memory. Then
the work that was under way is repeated piece by piece, and the piece that does it again is known.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

from skin_pipeline import confine
from skin_pipeline.data.answers import CarefulContext
from skin_pipeline.errors import Unavailable

log = logging.getLogger(__name__)

AHEAD = 3  # pieces under way for each process
A = TypeVar("A")
B = TypeVar("B")


def spread(
    work: Callable[[A], B],
    pieces: Iterable[A],
    processes: int,
    crashed: Callable[[A], B] | None = None,
) -> Iterator[B]:
    """`work(piece)` for each piece, in order.

    Args:
        work: A function of a module, which the processes import.
        pieces: What to work on; taken only as far ahead as the processes need.
        processes: How many to use.
        crashed: What to give for a piece on which a process dies, whatever comes before it.

    Raises:
        BrokenProcessPool: a process died, and `crashed` does not say what to do.
        Unavailable: no process can be started.
        Exception: whatever `work` raises.
    """
    waiting: deque[tuple[A, Future[B]]] = deque()
    source = iter(pieces)
    pool = _pool(processes)
    try:
        while True:
            while len(waiting) < AHEAD * processes and (piece := next(source, None)) is not None:
                waiting.append((piece, _submitted(pool, work, piece)))
            if not waiting:
                return
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool:
                if crashed is None:
                    raise
                pool.shutdown()
                _refuse_dead()
                yield from [_alone(work, piece, crashed) for piece, _ in waiting]
                waiting.clear()
                pool = _pool(processes)
                continue
            waiting.popleft()
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: Callable[[A], B], piece: A) -> Future[B]:
    """Returns the piece's future. A pool whose process has died takes no more work: then the future
    holds that error, like those of the pieces that the pool took before."""
    try:
        return pool.submit(work, piece)
    except BrokenProcessPool as error:
        refused: Future[B] = Future()
        refused.set_exception(error)
        return refused


def _alone(work: Callable[[A], B], piece: A, crashed: Callable[[A], B]) -> B:
    with _pool(1) as pool:
        try:
            return pool.submit(work, piece).result()
        except BrokenProcessPool:
            return crashed(piece)


def _refuse_dead() -> None:
    """Tell a machine on which processes die of themselves from a piece that kills them."""
    with _pool(1) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool:
            raise Unavailable(
                "worker processes end as soon as they start; see the lines above, and whether the "
                "machine has memory left"
            ) from None


class _Process(SpawnProcess):
    """A process that does not run the main script again, as spawned ones do: in a task of Airflow
    that is Airflow's own, and it refuses to run there."""

    @staticmethod
    def _Popen(process: Any) -> Any:  # ruff: ignore[invalid-function-name]
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            with confine.strangers_may_see():
                return SpawnProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _Context(CarefulContext):
    """Processes that are not forked: forked from one with threads, they may stand still."""

    Process = _Process


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=_Context(), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Confines a worker, and ends it with its parent, for whose work it would wait for ever."""
    confine.enter_decoder()  # before there is another thread, and before it sees an image
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
