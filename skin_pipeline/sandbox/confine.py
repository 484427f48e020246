"""A process that touches strangers' bytes, given no more than its work needs.

    cell = Cell(folder, readable=(), memory=2**31, file_bytes=2**26, seconds=900)
    ended = run(cell, "skin_pipeline.model_file.trial", ["1", "image"])

The module's `main` runs in a process of its own. Before anything of it is imported, that process
gives up, as far as the system lets it: reading and writing files but those of its work, the
network, other programs and processes, and root's rights. What it could give up stands in one line
of the log, and what it could not in another. Its answer is text to be distrusted, and bounded.

    python -m skin_pipeline.sandbox.confine CELL MODULE ARGUMENT…   # what `run` starts
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import multiprocessing.util
import os
import resource
import selectors
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from skin_pipeline.errors import PipelineError, Unavailable
from skin_pipeline.sandbox import kernel

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]  # all of skin_pipeline: the work is in another room than this
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "LANG")
FAMILIES = ("PYTHON", "LC_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_")
NOBODY = 65534
FILES, THREADS, ENTRIES = 128, 1024, 10_000
PAUSE = 0.2  # seconds between two looks at what the process writes
ANSWER_BYTES = 2**20
TAIL_BYTES = 2**14  # of what it says beside its answer
REPORT_BYTES = 2**12
SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo"),
    *("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom", "/dev/random"),
    *(f"/proc/self/{name}" for name in ("auxv", "cgroup", "cmdline", "maps")),  # TensorFlow's too
    *(f"/proc/self/{name}" for name in ("stat", "statm", "status")),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version"),
    *("/proc/sys/vm/overcommit_memory", "/sys/devices/system", "/sys/kernel/mm"),
)
# Where a person's images do not lie, but other processes, their sockets and secrets do.
NO_IMAGES = frozenset({"proc", "sys", "dev", "run"})

STARTING = threading.Lock()


class Overflow(PipelineError):
    """A confined process wrote more than it may."""


@dataclass(frozen=True)
class Cell:
    """What a confined process may do.

    It reads and writes in `folder`, and reads `readable` and what Python needs. Each file that it
    writes has at most `file_bytes`, and all that it ever writes at most twice as many.
    """

    folder: str
    readable: tuple[str, ...]
    memory: int
    file_bytes: int
    seconds: float


class Ended(NamedTuple):
    """How a confined process ended: its exit status, its answer, and the last that it said."""

    status: int
    answer: bytes
    said: str


class Report(NamedTuple):
    """What a process gave up; 0 and empty where it could not."""

    landlock: int = 0
    filter: str = ""
    namespaces: tuple[str, ...] = ()
    user: str = ""
    capabilities: str = ""

    def line(self) -> str:
        """Returns it for a log."""
        return (
            f"landlock={self.landlock or 'none'} filter={self.filter or 'none'} "
            f"namespaces={','.join(self.namespaces) or 'none'} user={self.user} "
            f"capabilities={self.capabilities or 'kept'} network={self._network()}"
        )

    def _network(self) -> str:
        if self.filter or "network" in self.namespaces:
            return "none"
        return "no-tcp" if self.landlock >= kernel.TCP_VERSION else "open"

    def missing(self) -> list[str]:
        """Returns what is not guaranteed here."""
        gaps = {
            "it can read the files that its user may read": self.landlock,
            "it can use the network": self._network() == "none",
            "it can start processes": self.filter,
            "it can look into processes of its user that are not hidden": (
                self.landlock or "user" in self.namespaces
            ),
            "it can send signals to processes of its user": (
                self.filter or self.landlock >= kernel.SCOPES_VERSION
            ),
        }
        return [gap for gap, closed in gaps.items() if not closed]


def environment() -> dict[str, str]:
    """Returns what of this environment a process that touches strangers' bytes gets to know."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith(FAMILIES)
    }


# --- the process that starts it -------------------------------------------------------------------


def run(
    cell: Cell, module: str, arguments: Iterable[str], extra: dict[str, str] | None = None
) -> Ended:
    """Runs a module's `main` in a process that can do no more than its cell allows.

    Args:
        cell: What it may do.
        module: Its `main` takes the arguments, and returns the answer, a text.
        arguments: What it is given.
        extra: Of its environment, beside what Python needs.

    Raises:
        Unavailable: the process could not be started and confined.
        TimeoutError: it took too long.
        Overflow: it wrote too much.
    """
    kernel.hide()
    given = {**environment(), **(extra or {}), "HOME": cell.folder, "TMPDIR": cell.folder}
    paths = [str(PACKAGE.parent), *filter(None, [given.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(asdict(cell)), module, *arguments],
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
    _tell(report, status, last)
    return Ended(status, rest, last)


@contextmanager
def strangers_may_see() -> Generator[None, None, None]:
    """Processes that `multiprocessing` starts during the block know nothing of this one's
    environment but what Python needs, and cannot read its standard input: in a task of Airflow that
    is a line to Airflow, which answers with any connection."""
    kernel.hide()
    with STARTING:
        usual = multiprocessing.util.spawnv_passfds
        multiprocessing.util.spawnv_passfds = _started
        try:
            yield
        finally:
            multiprocessing.util.spawnv_passfds = usual


def _started(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """Starts a process as `multiprocessing` does, which also waits for it; returns its number."""
    process = subprocess.Popen(
        args, executable=path, env=environment(), stdin=subprocess.DEVNULL, pass_fds=tuple(passfds)
    )
    process.returncode = 0  # so that nobody else waits for it
    return process.pid


def _tell(report: bytes, status: int, last: str) -> None:
    """Logs what the process gave up. Its report is written before it sees a stranger's byte."""
    try:
        gave_up = Report(**json.loads(report))
    except (ValueError, TypeError):
        why = (last or "it said nothing").splitlines()[-1][:500]
        raise Unavailable(
            f"a process that reads strangers' files could not be started and confined (exit status "
            f"{status}): {why}"
        ) from None
    log.info("confined %s", gave_up.line())
    if gaps := gave_up.missing():
        log.warning("confined_in_part not guaranteed on this system: %s", "; ".join(gaps))


def _heard(process: subprocess.Popen[bytes], cell: Cell) -> tuple[bytes, bytes]:
    """Returns the answer of a process and the end of all else that it says."""
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
    while not _over(process):  # it closed both, and may go on
        _check(process, cell, until, 0)
    return bytes(answer), bytes(said)


def _over(process: subprocess.Popen[bytes]) -> bool:
    """Waits for a short while; returns whether the process ended in it."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(PAUSE)
    return process.returncode is not None


def _check(process: subprocess.Popen[bytes], cell: Cell, until: float, said: int) -> None:
    if time.monotonic() > until:
        raise TimeoutError(f"no answer within {cell.seconds:g} s")
    if said > REPORT_BYTES + ANSWER_BYTES:
        raise Overflow(f"its answer has more than {ANSWER_BYTES} bytes")
    if max(_written(process.pid), _held(cell.folder)) > 2 * cell.file_bytes:
        raise Overflow(f"it wrote more than {2 * cell.file_bytes} bytes, or {ENTRIES} files")


def _written(number: int) -> int:
    """Returns how many bytes a process has written, files included that it has removed; 0 if the
    system does not say."""
    try:
        lines = Path(f"/proc/{number}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), 0)


def _held(folder: str) -> int:
    """Returns how many bytes a folder takes; too many files, or one that cannot be looked into,
    count as endless."""
    total, seen, left = 0, 0, [folder]
    while left:
        try:
            for entry in os.scandir(left.pop()):
                seen += 1
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:  # it goes on working there
            continue
        except OSError:
            return sys.maxsize
        if seen > ENTRIES:
            return sys.maxsize
    return total


# --- the process itself ---------------------------------------------------------------------------


def main(cell: str, module: str, *arguments: str) -> None:
    """Gives up rights, says which, and only then imports the module that does the work."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what any library prints is no answer
    channel.write(json.dumps(enter(Cell(**json.loads(cell)))._asdict()) + "\n")
    channel.flush()
    channel.write(importlib.import_module(module).main(*arguments))
    channel.flush()


def enter(cell: Cell) -> Report:
    """Gives up, in this process and for good, all that its cell does not allow.

    There must be no other thread yet: it would keep its rights.
    """
    if _threads() > 1:
        raise RuntimeError("a process with several threads cannot be confined")
    _limit(cell)
    kernel.keep_privileges()
    rules = kernel.Landlock()
    readable = [*_of_python(), *cell.readable]
    for path in (*readable, *SYSTEM):
        rules.allow(path, kernel.READ)
    rules.allow("/dev/null", kernel.WRITE_FILE)
    written = kernel.WRITE_FILE | kernel.REMOVE | kernel.MAKE | kernel.TRUNCATE
    rules.allow(cell.folder, kernel.READ | written)
    user = _leave_root(cell, readable)
    namespaces = kernel.leave_namespaces(kernel.NAMESPACES)
    kernel.show()
    kernel.end_with(os.getppid())
    if "user" in namespaces:
        kernel.bound_threads(THREADS)
    version = rules.apply()
    dropped = kernel.drop_capabilities()
    machine = kernel.filter_system_calls()
    return Report(version, machine, tuple(namespaces), user, "none" if dropped else "")


def enter_decoder() -> Report:
    """Gives up, in a process that decodes images, writing, the network, and other processes.

    It reads any image, so most files stay readable to it.
    """
    if _threads() > 1:  # of whatever watches over this installation
        log.warning("confined_in_part threads that ran before in this worker keep their rights")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.keep_privileges()
    rules = kernel.Landlock()
    there = [entry.path for entry in os.scandir("/") if entry.name not in NO_IMAGES]
    for path in (*there, *SYSTEM, "/run/media"):
        rules.allow(path, kernel.READ)
    rules.allow("/dev/null", kernel.WRITE_FILE)
    version = rules.apply()
    dropped = kernel.drop_capabilities([kernel.READ_ANY_FILE])
    return Report(version, kernel.filter_system_calls(), (), str(os.getuid()), "few" * dropped)


def _threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 1


def _limit(cell: Cell) -> None:
    seconds = math.ceil(cell.seconds) * (os.cpu_count() or 1) + 1
    limits = {
        resource.RLIMIT_DATA: cell.memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: cell.file_bytes,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_CPU: seconds,
    }
    for which, most in limits.items():
        hard = resource.getrlimit(which)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (bound, bound))


def _of_python() -> Iterator[str]:
    """Files that Python imports, and not the folder around this package: what else a checkout
    holds is none of its business."""
    yield from (str(PACKAGE), sys.executable, os.path.realpath(sys.executable))
    yield from (f"{prefix}/lib" for prefix in (sys.prefix, sys.base_prefix))
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    around = {str(folder) for folder in PACKAGE.parents} - installed
    yield from (path for path in sys.path if path and path not in {*around, str(Path.cwd())})
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))


def _leave_root(cell: Cell, readable: Iterable[str]) -> str:
    """Becomes nobody, if this is root and nobody can read what is needed. Returns who it is."""
    if os.geteuid() != 0:
        return str(os.geteuid())
    inside = [entry.path for entry in os.scandir(cell.folder)]
    try:
        around = Path(cell.folder).parent.stat().st_mode
        if not (around & 0o001 and _nobody_can_read(readable)):
            return "root"
        for path in (cell.folder, *inside):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except PermissionError:  # a root without the right to become another
        return "root"
    return "nobody"


def _nobody_can_read(paths: Iterable[str]) -> bool:
    """Says whether nobody reaches these paths, and what lies in those that are folders."""
    there = [Path(path) for path in paths if Path(path).exists()]
    inside = [inner for path in there if path.is_dir() for inner in path.iterdir()]
    os.seteuid(NOBODY)
    try:
        return all(
            os.access(path, os.R_OK | os.X_OK * path.is_dir(), effective_ids=True)
            for path in (*there, *inside)
        )
    finally:
        os.seteuid(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
