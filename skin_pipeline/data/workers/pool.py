"""Worker processes, confined, and the folder in which each notes what it works on.

The note is a file of eight bytes for each process. It is written before each item, so it is
right however the process ends, also by a signal that leaves it no time.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from skin_pipeline.data import bounds
from skin_pipeline.data.workers.answers import CarefulContext
from skin_pipeline.sandbox import confine_decoder, workers_without_secrets

END_SECONDS = 10.0  # for the thread of a pool to end, after its processes
NOTHING = -1  # the number that a process notes between its items
B = TypeVar("B")


class _Process(SpawnProcess):
    """A process that does not run the main script again, as spawned ones do.

    In a task of Airflow the main script is Airflow's own, which refuses to run there. So another
    main module is shown while the process is started, one that comes from no file.
    """

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
    """Starts processes that are not forked, and keeps a list of them.

    A process that is forked from one with threads may block for ever, on a lock that one of those
    threads held. The list is needed for the exit status of each when the pool breaks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Process] = []

    def Process(self, *args: Any, **options: Any) -> _Process:  # type: ignore[override]  # ruff: ignore[invalid-function-name]
        self.started.append(_Process(*args, **options))
        return self.started[-1]


class Pool:
    """Processes that work on what is submitted, until one of them dies."""

    def __init__(self, processes: int) -> None:
        self._notes = tempfile.TemporaryDirectory(prefix="skin-", ignore_cleanup_errors=True)
        self._context = _Context()
        self._executor = ProcessPoolExecutor(
            processes, mp_context=self._context, initializer=begin, initargs=(self._notes.name,)
        )

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, work: Callable[..., B], *arguments: Any) -> Future[B]:
        """Returns the future of the work.

        A pool whose process has died takes no more work. The future then has that error, like the
        futures of the work that the pool took before, so callers meet it at one place only.
        """
        try:
            return self._executor.submit(work, *arguments)
        except BrokenProcessPool as error:
            refused: Future[B] = Future()
            refused.set_exception(error)
            return refused

    def deaths(self) -> dict[int, int]:
        """Closes a broken pool; returns which items may be to blame, and how their process ended.

        When a process dies, or its answer cannot be read, the executor ends all others with
        SIGTERM. A process with another signal or exit status ended by itself. If there is none,
        each may have been the one.

        Returns:
            By the number of the item: an exit status, or a signal's number below zero.
        """
        self._executor.shutdown()
        ended = [(process.pid, process.exitcode or 0) for process in self._context.started]
        found = [(pid, code) for pid, code in ended if code not in {0, -signal.SIGTERM}]
        items = {self._noted(pid): code for pid, code in found or ended}
        self.close()
        items.pop(NOTHING, None)
        return items

    def _noted(self, pid: int | None) -> int:
        path = Path(self._notes.name, str(pid))
        return int.from_bytes(path.read_bytes(), "big", signed=True) if path.exists() else NOTHING

    @contextmanager
    def killed_at_once(self) -> Generator[None, None, None]:
        """Ends the processes at once if the block raises, or the generator around it is closed."""
        try:
            yield
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends the processes in the middle of their work."""
        manager: Any = self._executor._executor_manager_thread
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self._context.started:
            if process.pid is not None:
                process.terminate()
        # Python's own exit wakes this thread by a pipe, which the thread closes when it ends. If
        # both come at once, an error is printed.
        if manager is not None:
            manager.join(END_SECONDS)

    def close(self) -> None:
        """Ends the processes; what has not begun is not done."""
        self._executor.shutdown(cancel_futures=True)
        self._notes.cleanup()


# The file in which this process notes the number of its item. It stays open, since a confined
# process can open no file for writing.
_notes = -1


def begin(notes: str) -> None:
    """Prepares a worker process, before it sees any of its work."""
    global _notes
    _notes = os.open(Path(notes, str(os.getpid())), os.O_WRONLY | os.O_CREAT, 0o600)
    note(NOTHING)
    bounds.prepare()
    # Before there is another thread, which would not be confined, and before it sees an image.
    confine_decoder()
    _end_with_parent()


def note(number: int) -> None:
    """Notes the number of the item that this process begins with, or `NOTHING`."""
    os.pwrite(_notes, number.to_bytes(8, "big", signed=True), 0)


def _end_with_parent() -> None:
    """Ends this worker when its parent ends; otherwise it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
