"""The process that starts a confined one, listens to it, and ends it.

    cell = Cell(folder, readable=(), memory=2**31, file_bytes=2**26, seconds=900)
    ended = run_confined(cell, "skin_pipeline.model_file.trial", ["1", "image"])

It trusts nothing that comes back: a hostile file may have taken the confined process over, and then
chooses what that writes.
"""

from __future__ import annotations

import json
import logging
import multiprocessing.util
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

from skin_pipeline.errors import Unavailable
from skin_pipeline.sandbox import kernel
from skin_pipeline.sandbox.cell import Cell, Ended, Overflow, Report

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]  # the folder that contains the package `skin_pipeline`

# What Python and its numeric libraries need of the environment. Everything else may be a secret.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "LANG")
FAMILIES = ("PYTHON", "LC_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_")
MOST_ENTRIES = 10_000  # files and folders in the folder of the process
PAUSE = 0.2  # seconds between two looks at what the process writes
ANSWER_BYTES = 2**20
REPORT_BYTES = 2**12  # of the line before the answer
TAIL_BYTES = 2**14  # of what it writes beside its answer: the end, where an error is

STARTING = threading.Lock()


def environment() -> dict[str, str]:
    """Returns the part of this environment that a process that touches strangers' bytes gets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith(FAMILIES)
    }


def run_confined(
    cell: Cell, module: str, arguments: Iterable[str], extra: dict[str, str] | None = None
) -> Ended:
    """Runs a module's `main` in a process that can do no more than its cell allows.

    Args:
        cell: What the process may do.
        module: Its `main` takes the arguments, and returns the answer, a text.
        arguments: What `main` is given.
        extra: Variables for its environment, beside what Python needs.

    Raises:
        Unavailable: the process could not be started, or not be confined.
        TimeoutError: it took too long.
        Overflow: it wrote too much.
    """
    kernel.hide()
    given = {**environment(), **(extra or {}), "HOME": cell.folder, "TMPDIR": cell.folder}
    paths = [str(ROOT), *filter(None, [given.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", __package__, json.dumps(asdict(cell)), module, *arguments],
        cwd=cell.folder,
        env={**given, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            answer, said = _heard(process, cell)
            status = process.wait()
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # also what it started, where it could
            process.kill()
    report, _, rest = answer.partition(b"\n")
    last = said.decode(errors="replace").strip()
    _log_report(report, status, last)
    return Ended(status, rest, last)


@contextmanager
def workers_without_secrets() -> Generator[None, None, None]:
    """Has `multiprocessing` start processes, during the block, that know no secret of this one.

    Of the environment they get what Python needs. They cannot read this process' standard input
    either: in a task of Airflow that is a channel to Airflow, which answers with any connection.
    """
    kernel.hide()  # their user is the same, so they could look into this process
    with STARTING:  # one thread at a time: the function is replaced for all of them
        usual = multiprocessing.util.spawnv_passfds
        multiprocessing.util.spawnv_passfds = _started
        try:
            yield
        finally:
            multiprocessing.util.spawnv_passfds = usual


def _started(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """Starts a process as `multiprocessing` does, and returns its number."""
    process = subprocess.Popen(
        args, executable=path, env=environment(), stdin=subprocess.DEVNULL, pass_fds=tuple(passfds)
    )
    process.returncode = 0  # multiprocessing waits for it itself; this object must not do so
    return process.pid


def _log_report(report: bytes, status: int, last: str) -> None:
    """Logs what the process gave up.

    The report can be trusted: it is written before the process sees a stranger's byte. Without one,
    the process did not get as far as that.
    """
    try:
        gave_up = Report(**json.loads(report))
    except (ValueError, TypeError):
        why = (last or "it wrote nothing").splitlines()[-1][:500]
        raise Unavailable(
            f"a process that reads strangers' files could not be started and confined (exit status "
            f"{status}): {why}"
        ) from None
    log.info("confined %s", gave_up.line())
    if gaps := gave_up.missing():
        log.warning("confined_in_part not guaranteed on this system: %s", "; ".join(gaps))


def _heard(process: subprocess.Popen[bytes], cell: Cell) -> tuple[bytes, bytes]:
    """Returns the answer of a process and the end of everything else that it writes."""
    until = time.monotonic() + cell.seconds
    answer, said = bytearray(), bytearray()
    with selectors.DefaultSelector() as waiting:
        for stream, heard in ((process.stdout, answer), (process.stderr, said)):
            waiting.register(cast("IO[bytes]", stream), selectors.EVENT_READ, heard)
        while waiting.get_map():
            _check(process, cell, until, len(answer))
            for key, _ in waiting.select(PAUSE):
                if not (part := os.read(key.fd, 2**16)):
                    waiting.unregister(key.fileobj)
                key.data.extend(part)
            del said[:-TAIL_BYTES]
    while not _over(process):  # it closed both streams, and may still write files
        _check(process, cell, until, 0)
    return bytes(answer), bytes(said)


def _over(process: subprocess.Popen[bytes]) -> bool:
    """Waits for a short while, and returns whether the process has ended."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(PAUSE)
    return process.returncode is not None


def _check(process: subprocess.Popen[bytes], cell: Cell, until: float, said: int) -> None:
    if time.monotonic() > until:
        raise TimeoutError(f"no answer within {cell.seconds:g} s")
    if said > REPORT_BYTES + ANSWER_BYTES:
        raise Overflow(f"its answer has more than {ANSWER_BYTES} bytes")
    if max(_written(process.pid), _held(cell.folder)) > 2 * cell.file_bytes:
        raise Overflow(f"it wrote more than {2 * cell.file_bytes} bytes, or {MOST_ENTRIES} files")


def _written(number: int) -> int:
    """Returns how many bytes a process has written, including files that it has removed.

    It is 0 if the system does not say.
    """
    try:
        lines = Path(f"/proc/{number}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), 0)


def _held(folder: str) -> int:
    """Returns how many bytes a folder takes.

    Too many files, or a folder that cannot be looked into, count as endless: the process may have
    made it so to hide what it writes.
    """
    total, seen, left = 0, 0, [folder]
    while left:
        try:
            for entry in os.scandir(left.pop()):
                seen += 1
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:  # the process works there meanwhile, and removed it
            continue
        except OSError:
            return sys.maxsize
        if seen > MOST_ENTRIES:
            return sys.maxsize
    return total
