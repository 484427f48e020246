"""Work spread over processes on all cores, in order, with memory bounded and crashes contained.

A hostile image can bring down the decoder's process, or have the kernel end it for its memory. Then
the work that was under way is repeated piece by piece, and the piece that does it again is known.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

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
        Exception: whatever `work` raises.
    """
    waiting: deque[tuple[A, Future[B]]] = deque()
    source = iter(pieces)
    pool = _pool(processes)
    try:
        while True:
            while len(waiting) < AHEAD * processes and (piece := next(source, None)) is not None:
                waiting.append((piece, pool.submit(work, piece)))
            if not waiting:
                return
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool:
                if crashed is None:
                    raise
                pool.shutdown()
                yield from [_alone(work, piece, crashed) for piece, _ in waiting]
                waiting.clear()
                pool = _pool(processes)
                continue
            waiting.popleft()
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(work: Callable[[A], B], piece: A, crashed: Callable[[A], B]) -> B:
    with _pool(1) as pool:
        try:
            return pool.submit(work, piece).result()
        except BrokenProcessPool:
            return crashed(piece)


def _pool(processes: int) -> ProcessPoolExecutor:
    # Not forked: a process forked from one with threads may stand still for ever.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A worker whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
