"""The confined process itself: it gives up its rights, says which, and only then does its work."""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import resource
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from skin_pipeline.sandbox import kernel
from skin_pipeline.sandbox.cell import Cell, Report

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]  # all of skin_pipeline: the work is in another room than this
NOBODY = 65534  # the user without any rights
OPEN_FILES, THREADS = 128, 1024
# Files of the system that Python and TensorFlow read.
SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo"),
    *("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom", "/dev/random"),
    *(f"/proc/self/{name}" for name in ("auxv", "cgroup", "cmdline", "maps")),  # TensorFlow's too
    *(f"/proc/self/{name}" for name in ("stat", "statm", "status")),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version"),
    *("/proc/sys/vm/overcommit_memory", "/sys/devices/system", "/sys/kernel/mm"),
)
# No images are in these folders; other processes, their sockets and secrets are.
NO_IMAGES = frozenset({"proc", "sys", "dev", "run"})


def main(cell: str, module: str, *arguments: str) -> None:
    """Gives up rights, reports which, and only then imports the module that does the work."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what any library prints must not become part of the answer
    channel.write(json.dumps(confine_this_process(Cell(**json.loads(cell)))._asdict()) + "\n")
    channel.flush()
    channel.write(importlib.import_module(module).main(*arguments))
    channel.flush()


def confine_this_process(cell: Cell) -> Report:
    """Gives up, in this process and for good, all that its cell does not allow.

    There must be no other thread yet: it would keep its rights. The order of the steps matters:
    Landlock and the filter need the promise of `keep_privileges`, root must become the user
    `nobody` while it still may, and the filter comes last since it refuses some of what the others
    do.
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


def confine_decoder() -> Report:
    """Gives up writing, the network and other processes, in a process that decodes images.

    Images may be in any folder, so most files stay readable to it.
    """
    if _threads() > 1:  # a tool that watches over the installation may have started one
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
    # RLIMIT_CPU counts the time of all cores together. RLIMIT_DATA counts the process' own memory;
    # a limit on addresses would also count the libraries that TensorFlow maps.
    seconds = math.ceil(cell.seconds) * (os.cpu_count() or 1) + 1
    limits = {
        resource.RLIMIT_DATA: cell.memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: cell.file_bytes,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CPU: seconds,
    }
    for which, most in limits.items():
        hard = resource.getrlimit(which)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (bound, bound))


def _of_python() -> Iterator[str]:
    """Yields the paths of what Python imports, without the folder around this package.

    A checkout contains more than the package: notes, data, keys.
    """
    yield from (str(PACKAGE), sys.executable, os.path.realpath(sys.executable))
    yield from (f"{prefix}/lib" for prefix in (sys.prefix, sys.base_prefix))
    installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    around = {str(folder) for folder in PACKAGE.parents} - installed
    yield from (path for path in sys.path if path and path not in {*around, str(Path.cwd())})
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))


def _leave_root(cell: Cell, readable: Iterable[str]) -> str:
    """Becomes the user `nobody` if this is root and that user can read all that is needed.

    Returns the user by which the process now runs.
    """
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
    except PermissionError:  # root in a container may not have the right to become another user
        return "root"
    return "nobody"


def _nobody_can_read(paths: Iterable[str]) -> bool:
    """Returns whether the user `nobody` can read these paths, and all that is in the folders."""
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
