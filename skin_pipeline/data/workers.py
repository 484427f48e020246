"""Work spread over processes on all cores, in order, with memory bounded and crashes contained.

A hostile file can bring down the decoder's process, have the kernel end it for its memory, or take
longer than it may. Each process notes which item it works on, so that the one to blame is known.
Nothing else is lost: what was under way beside it is done again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from skin_pipeline.data import bounds
from skin_pipeline.data.answers import CarefulContext
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.sandbox import confine_decoder, workers_without_secrets

AHEAD = 3  # pieces under way for each process
BATCH = 16  # items that a process is given at a time
# Items of one task that may take too long, and that may end their process. The ones cost
# `bounds.SECONDS` each and the others a few for new processes, so that files that were made to cost
# time cost half an hour in all.
MOST_SLOW = 20
MOST_FATAL = 200
BREAKDOWNS = 3  # in a row for which no item is to blame
SHOWN = 10  # names in an error
FATAL = "decoding it ended the process (a crash, or out of memory)"
NOTHING = -1  # the number that a process notes between its items
A = TypeVar("A")
B = TypeVar("B")


def spread(work: Callable[[A], B], pieces: Iterable[A], processes: int) -> Iterator[B]:
    """`work(piece)` for each piece, in order.

    Args:
        work: A function of a module, which the processes import.
        pieces: What to work on; taken only as far ahead as the processes need.
        processes: How many to use.

    Raises:
        BrokenProcessPool: a process died.
        Exception: whatever `work` raises.
    """
    waiting: deque[Future[B]] = deque()
    source = iter(pieces)
    with _Pool(processes) as pool, pool.killed_at_once():
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
) -> Iterator[B]:
    """`work(item)` for each item, in order and within `bounds`, whatever some of them do.

    Args:
        work: A function of a module, which the processes import.
        items: What to work on; taken only as far ahead as the processes need.
        processes: How many to use.
        killed: What to give for an item that took too long, or on which a process died twice; it
            is told which of them, in words.
        named: What an item is called.

    Raises:
        BadInput: over `MOST_SLOW` items took too long, or over `MOST_FATAL` ended their process.
        Unavailable: no process can be started, or one waited too long for its disk.
        Exception: whatever `work` raises.
    """
    batches = _batches(items)
    waiting: deque[_Batch[A, B]] = deque()
    judge = _Judge(work, killed, named)
    pool = _Pool(processes)
    try:
        while True:
            for batch in islice(batches, AHEAD * processes - len(waiting)):
                waiting.append(batch)
                batch.begin(pool, work)
            if not waiting:
                return
            try:
                results = waiting[0].future.result()
            except BrokenProcessPool:
                judge.blame(pool.deaths(), waiting)
                pool = _Pool(processes)
                for batch in waiting:
                    batch.begin_again(pool, work)
                continue
            yield from waiting.popleft().merged(results)
    except BaseException:
        pool.kill()
        raise
    finally:
        pool.close()


@dataclass
class _Batch(Generic[A, B]):
    """Items that a process is given at once. `known` are results of those on which one died."""

    first: int
    items: list[A]
    known: dict[int, B] = field(default_factory=dict)
    future: Future[list[B]] = field(default_factory=Future)

    def begin(self, pool: _Pool, work: Callable[[A], B]) -> None:
        left = [item for item in enumerate(self.items, self.first) if item[0] not in self.known]
        limits = _Limits(bounds.SECONDS, bounds.WAITED, bounds.MEMORY)
        self.future = pool.submit(partial(_work_on, work, limits=limits), left)

    def begin_again(self, pool: _Pool, work: Callable[[A], B]) -> None:
        """Does what was not done when a process died."""
        if not self.future.done() or isinstance(self.future.exception(), BrokenProcessPool):
            self.begin(pool, work)

    def merged(self, results: list[B]) -> Iterator[B]:
        """Gives the results of all items, in order."""
        done = iter(results)
        for place in range(self.first, self.first + len(self.items)):
            yield self.known[place] if place in self.known else next(done)


def _batches(items: Iterable[A]) -> Iterator[_Batch[A, Any]]:
    source, first = iter(items), 0
    while some := list(islice(source, BATCH)):
        yield _Batch(first, some)
        first += len(some)


class _Limits(NamedTuple):
    """What each item may take: seconds of the processor, seconds on the clock, and memory."""

    seconds: float
    waited: float
    memory: int


def _work_on(work: Callable[[A], B], items: list[tuple[int, A]], limits: _Limits) -> list[B]:
    """Works on a batch, in a worker process. Before each item its number is noted."""
    results = []
    with bounds.of_memory(limits.memory):
        for place, item in items:
            _note(place)
            with bounds.of_time(limits.seconds, limits.waited):
                results.append(work(item))
    _note(NOTHING)
    return results


class _Judge(Generic[A, B]):
    """Decides what becomes of the items on which processes died."""

    def __init__(
        self,
        work: Callable[[A], B],
        killed: Callable[[A, str], B],
        named: Callable[[A], str],
    ) -> None:
        self._work, self._killed, self._named = work, killed, named
        self._slow: list[str] = []
        self._fatal: list[str] = []
        self._nobody = 0  # breakdowns in a row for which no item is to blame

    def blame(self, deaths: dict[int, int], waiting: Iterable[_Batch[A, B]]) -> None:
        """Gives those items their results.

        Args:
            deaths: Numbers of items, and the signal or exit status by which its process ended.
            waiting: The batches among which they are.
        """
        self._nobody = 0 if deaths else self._nobody + 1
        if self._nobody:
            _refuse_dead(self._nobody)
        for batch in waiting:
            for place, item in enumerate(batch.items, batch.first):
                if place in deaths:
                    batch.known[place] = self._judged(item, deaths[place])

    def _judged(self, item: A, ended: int) -> B:
        if -ended not in bounds.TIMERS.values():
            # Perhaps another one took the memory: this one is tried again, alone.
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
    """Says what was wrong with an item that took too long."""
    return f"decoding it took longer than {bounds.SECONDS:g} s of the processor's time"


class _Death(NamedTuple):
    """How a process ended: its exit status, or the signal's number below zero."""

    ended: int


def _alone(work: Callable[[A], B], item: A) -> B | _Death:
    batch: _Batch[A, B] = _Batch(0, [item])
    with _Pool(1) as pool:
        batch.begin(pool, work)
        try:
            return batch.future.result()[0]
        except BrokenProcessPool:
            return _Death(next(iter(pool.deaths().values()), -signal.SIGKILL))


def _refuse_dead(times: int) -> None:
    """Tells a machine on which processes die of themselves from an item that kills them."""
    problem = "worker processes end without any file's being to blame"
    with _Pool(1) as pool:
        try:
            pool.submit(int).result()
        except BrokenProcessPool:
            problem, times = "worker processes end as soon as they start", BREAKDOWNS
    if times >= BREAKDOWNS:
        raise Unavailable(
            f"{problem}; see the lines above, and whether the machine has memory left"
        )


# --- processes -----------------------------------------------------------------------------------


class _Process(SpawnProcess):
    """A process that does not run the main script again, as spawned ones do: in a task of Airflow
    that is Airflow's own, and it refuses to run there."""

    @staticmethod
    def _Popen(process: Any) -> Any:  # ruff: ignore[invalid-function-name]
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            with workers_without_secrets():
                return SpawnProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _Context(CarefulContext):
    """Processes that are not forked: forked from one with threads, they may stand still. Those that
    were started are kept in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Process] = []

    def Process(self, *args: Any, **options: Any) -> _Process:  # type: ignore[override]  # ruff: ignore[invalid-function-name]
        self.started.append(_Process(*args, **options))
        return self.started[-1]


class _Pool:
    """Processes, and the folder in which each notes what it works on."""

    def __init__(self, processes: int) -> None:
        self._notes = tempfile.TemporaryDirectory(prefix="skin-", ignore_cleanup_errors=True)
        self._context = _Context()
        self._executor = ProcessPoolExecutor(
            processes, mp_context=self._context, initializer=_begin, initargs=(self._notes.name,)
        )

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, work: Callable[..., B], *arguments: Any) -> Future[B]:
        """Returns the work's future. A pool whose process has died takes no more work: then the
        future holds that error, like those of the work that the pool took before."""
        try:
            return self._executor.submit(work, *arguments)
        except BrokenProcessPool as error:
            refused: Future[B] = Future()
            refused.set_exception(error)
            return refused

    def deaths(self) -> dict[int, int]:
        """Returns the numbers of items that may be to blame that the pool is broken, and how the
        process of each ended; closes the pool.

        When a process dies, or answers what cannot be read, all the others are told to end. If none
        ended by itself, each may have been the one.
        """
        self._executor.shutdown()
        ended = [(process.pid, process.exitcode or 0) for process in self._context.started]
        found = [(pid, code) for pid, code in ended if code not in {0, -signal.SIGTERM}]
        items = {self._noted(pid): code for pid, code in found or ended}
        self.close()
        items.pop(NOTHING, None)
        return items

    def _noted(self, pid: int | None) -> int:
        note = Path(self._notes.name, str(pid))
        return int.from_bytes(note.read_bytes(), "big", signed=True) if note.exists() else NOTHING

    @contextmanager
    def killed_at_once(self) -> Generator[None, None, None]:
        """Kills the processes when the block raises, or is left for good."""
        try:
            yield
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends the processes in the middle of their work."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self._context.started:
            if process.pid is not None:
                process.terminate()

    def close(self) -> None:
        """Ends the processes; what has not begun is not done."""
        self._executor.shutdown(cancel_futures=True)
        self._notes.cleanup()


_notes = -1  # the file in which this process notes the number of its item


def _begin(notes: str) -> None:
    """Prepares a worker process, before it sees any of its work."""
    global _notes
    _notes = os.open(Path(notes, str(os.getpid())), os.O_WRONLY | os.O_CREAT, 0o600)
    _note(NOTHING)
    bounds.prepare()
    _end_with_parent()


def _note(place: int) -> None:
    os.pwrite(_notes, place.to_bytes(8, "big", signed=True), 0)


def _end_with_parent() -> None:
    """Confines a worker, and ends it with its parent, for whose work it would wait for ever."""
    confine_decoder()  # before there is another thread, and before it sees an image
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
