"""Runs a family of processes, and ends them when its own standard input ends.

```
python keeper.py GRACE
```

Each line of standard input is a JSON list, `[NAME, LOG, COMMAND, ARGUMENT, …]`: a command to start.
Standard input ends when the process at its other end closes it or dies, even by SIGKILL. Then, or
when a command ends by itself, every process that came from the commands gets SIGTERM, and SIGKILL
after GRACE seconds. In the second case the last line of standard output says which command it was:
`NAME ended with status N`.

It is a process of its own, because only a parent that outlives a crash can clear up after it.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TICK = 0.2  # seconds between two looks at the children
KILL_SECONDS = 10.0  # to wait after SIGKILL; only a process stuck in the kernel takes longer

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def main(grace: float) -> None:
    """Starts the commands on standard input until it or one of them ends; then ends them all."""
    if LIBC:  # orphans become children of this process, not of init, so that it can end them
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    commands: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
    try:
        for line in _lines():
            if line:
                name, log, *command = json.loads(line)
                process = _start(Path(log), command)
                commands[process.pid] = name, process
            for pid, status in _reap():
                if pid in commands:
                    print(f"{commands[pid][0]} ended with status {status}", flush=True)
                    return
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _end_all(grace)


def _lines() -> Iterator[bytes]:
    """Yields lines of standard input as they come, and an empty one every tick, until it ends."""
    rest = b""
    while True:
        yield b""
        if not select.select([0], [], [], TICK)[0]:
            continue
        received = os.read(0, 65536)
        if not received:
            return
        *lines, rest = (rest + received).split(b"\n")
        yield from lines


def _start(log: Path, command: list[str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
        )


def _end_with_parent() -> None:
    """Makes this child end when the keeper is killed, which can then not end it."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _reap() -> Iterator[tuple[int, int]]:
    """Yields process id and exit status of each child that has ended, adopted ones included."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _end_all(grace: float) -> None:
    family = set(psutil.Process().children(recursive=True))
    _signal(family, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while left := _living(family):
        now = time.monotonic()
        if now > deadline + KILL_SECONDS:
            return
        if now > deadline:
            _signal(left, signal.SIGKILL)
        time.sleep(0.05)


def _living(family: set[psutil.Process]) -> set[psutil.Process]:
    for _ in _reap():
        pass
    everyone = family | set(psutil.Process().children(recursive=True))
    return {process for process in everyone if _lives(process)}


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(processes: set[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


if __name__ == "__main__":
    main(float(sys.argv[1]))
