"""What the processes of one test run share: what one of them has made, and servers.

`folder()` is theirs alone and goes with the last of them. A process lets go of its locks whatever
ends it, so a server ends with the last process that uses it, also where that one was killed.

```
python sharing.py FOLDER MODULE FUNCTION   # a server's own process, which `server` starts
```
"""

from __future__ import annotations

import fcntl
import importlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
FOLDER = "TESTS_SHARED_FOLDER"
READY = "ready"  # what a server is, for those who use it
START_SECONDS = 240.0  # until a server that others share is up; they may keep the cores busy


def begin() -> None:
    """Makes the folder; the process that starts the others calls it before it does."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="tests-")


def end() -> None:
    """Waits until no server is left, and removes the folder."""
    for alive in folder().glob("*/alive"):
        with locked(alive):
            pass
    shutil.rmtree(folder(), ignore_errors=True)


def folder() -> Path:
    """The folder that all processes of this test run share."""
    return Path(os.environ[FOLDER])


@contextmanager
def locked(path: Path, how: int = fcntl.LOCK_EX) -> Generator[None, None, None]:
    """No other process holds this lock during the block, unless all share it."""
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


Made = TypeVar("Made")


def made_once(name: str, make: Callable[[Path], Made]) -> tuple[Path, Made]:
    """A folder that the first process that asks has filled, and what filling it gave.

    The others get the same folder: whoever wants to change something in it takes a copy.

    Args:
        name: Of the folder.
        make: Fills it. What it gives can be pickled.
    """
    made, given = folder() / name, folder() / f"{name}.pickle"
    with locked(folder() / f"{name}.lock"):
        if not given.exists():
            shutil.rmtree(made, ignore_errors=True)  # of a process that broke off
            made.mkdir()
            given.write_bytes(pickle.dumps(make(made)))
    return made, pickle.loads(given.read_bytes())


@contextmanager
def server(module: str, function: str) -> Generator[Any, None, None]:
    """What a context manager gives that one process keeps open for all who use it.

    Args:
        module: Where it stands.
        function: Its name; it is called without arguments, and what it gives can be pickled.

    Raises:
        RuntimeError: it did not come up; the message has what it said.
    """
    place = folder() / function
    place.mkdir(exist_ok=True)
    with (place / "users").open("a") as users:
        with locked(place / "starting"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (place / READY).exists():
                _start(place, module, function)
        yield pickle.loads((place / READY).read_bytes())


def _start(place: Path, module: str, function: str) -> None:
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    with (place / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, str(place), module, function],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            start_new_session=True,  # it ends with its users, not with a Ctrl-C at some of them
        )
    until = time.monotonic() + START_SECONDS
    while not (place / READY).exists():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise RuntimeError(f"{function} did not start:\n{(place / 'log').read_text()}")
        time.sleep(0.05)


def main(place: Path, module: str, function: str) -> None:
    """Keeps a server until nobody uses it any more."""
    with locked(place / "alive"), getattr(importlib.import_module(module), function)() as found:
        new = place / "new"
        new.write_bytes(pickle.dumps(found))
        new.replace(place / READY)
        with locked(place / "users"):  # each user shares this lock
            (place / READY).unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
