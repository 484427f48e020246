"""What code does that has taken over a process of ours; each attack returns what it got.

`compromised/sitecustomize.py` runs them in the process that tries a model, at the moment when that
model is loaded, and `test_workers.py` in a process that decodes images.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
Facts = dict[str, Any]
ATTACKS: dict[str, Callable[[Facts], object]] = {}


def attack(function: Callable[[Facts], object]) -> Callable[[Facts], object]:
    ATTACKS[function.__name__] = function
    return function


def run(facts: Facts, names: list[str] | None = None) -> dict[str, str]:
    """What each attack got: those that got nothing are left out."""
    return {name: got for name in names or ATTACKS if (got := _tried(ATTACKS[name], facts))}


def _tried(attempt: Callable[[Facts], object], facts: Facts) -> str:
    try:
        got = attempt(facts)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError):
        return ""
    return repr(got)[:50] if got else ""


def call(number: int, *arguments: object) -> int:
    """A system call. Raises OSError."""
    return checked(LIBC.syscall(ctypes.c_long(number), *arguments))


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def first(*attempts: Callable[[], object]) -> object:
    """What the first attempt got that got something."""
    for attempt in attempts:
        try:
            if got := attempt():
                return got
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError):
            continue
    return None


# --- other processes: the parent, and a bystander of the same user that nobody hides -------------


def victims(facts: Facts) -> list[int]:
    return [os.getppid(), facts["bystander"]]


@attack
def environment_of_another(facts: Facts) -> object:
    return first(*(lambda n=n: Path(f"/proc/{n}/environ").read_bytes() for n in victims(facts)))


@attack
def memory_of_another(facts: Facts) -> object:
    return first(*(lambda n=n: Path(f"/proc/{n}/mem").open("rb") for n in victims(facts)))


@attack
def memory_read_by_call(facts: Facts) -> object:
    buffer = ctypes.create_string_buffer(8)
    part = struct.pack("@PN", ctypes.addressof(buffer), 8)
    address = struct.pack("@PN", ctypes.addressof(ctypes.c_long.in_dll(LIBC, "environ")), 8)
    for number in victims(facts):
        if LIBC.process_vm_readv(number, part, 1, address, 1, 0) >= 0:
            return "read"
        if ctypes.get_errno() == errno.EFAULT:
            return "allowed, at another address"
    return None


@attack
def map_of_another(facts: Facts) -> object:
    return first(*(lambda n=n: Path(f"/proc/{n}/maps").read_bytes() for n in victims(facts)))


@attack
def files_of_another(facts: Facts) -> object:
    return first(*(lambda n=n: list(Path(f"/proc/{n}/fd").iterdir()) for n in victims(facts)))


@attack
def folders_of_another(facts: Facts) -> object:
    links = [f"/proc/{n}/{link}" for n in victims(facts) for link in ("cwd", "exe")]
    roots = [f"/proc/{n}/root/" for n in victims(facts)]
    return first(
        *(Path(link).readlink for link in links),
        *(lambda p=p: list(Path(p).iterdir()) for p in roots),
    )


@attack
def taking_a_file_of_another(facts: Facts) -> object:
    def taken(number: int) -> object:
        return call(438, call(434, number, 0), 1, 0) + 1

    return first(*(lambda n=n: taken(n) for n in victims(facts)))


@attack
def tracing_another(facts: Facts) -> object:
    seize = 0x4206
    return [n for n in victims(facts) if LIBC.ptrace(seize, n, None, None) == 0]


@attack
def signals_to_another(facts: Facts) -> object:
    number = os.getppid()
    return first(
        lambda: os.kill(number, 0) is None,
        lambda: os.kill(facts["bystander"], signal.SIGTERM) is None,
        lambda: call(234, number, number, 0) == 0,  # tgkill
        lambda: call(200, number, 0) == 0,  # tkill
        lambda: call(129, number, 0, ctypes.create_string_buffer(128)) == 0,  # rt_sigqueueinfo
        lambda: call(424, call(434, number, 0), 0, None, 0) == 0,  # pidfd_send_signal
    )


@attack
def a_signal_by_way_of_a_pipe(facts: Facts) -> object:
    """Whoever is set as a pipe's owner gets a signal of the setter's choice when it has data."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, facts["bystander"])
    fcntl.fcntl(reader, 10, signal.SIGTERM)  # F_SETSIG
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    return os.write(writer, b"x")


@attack
def limits_of_another(facts: Facts) -> object:
    import resource

    return resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)


@attack
def priority_of_another(facts: Facts) -> object:
    return first(
        lambda: os.setpriority(os.PRIO_PROCESS, facts["bystander"], 19) is None,
        lambda: os.sched_setaffinity(facts["bystander"], {0}) is None,
        lambda: os.sched_setscheduler(facts["bystander"], os.SCHED_IDLE, os.sched_param(0)) is None,
    )


@attack
def who_else_is_there(facts: Facts) -> object:
    return list(Path("/proc").iterdir())


# --- files ---------------------------------------------------------------------------------------


@attack
def the_signing_key(facts: Facts) -> object:
    return Path(facts["key"]).read_bytes()


@attack
def the_key_by_another_path(facts: Facts) -> object:
    inside = Path("link")
    inside.symlink_to(facts["key"])
    hard = Path("hard")
    around = f"/proc/self/root{facts['key']}"
    folder = os.open("/", os.O_PATH)
    return first(
        inside.read_bytes,
        lambda: (os.link(facts["key"], hard), hard.read_bytes()),
        lambda: (Path(facts["key"]).rename(hard), hard.read_bytes()),
        Path(around).read_bytes,
        Path("/proc/thread-self/root", facts["key"][1:]).read_bytes,
        lambda: os.read(os.open(facts["key"][1:], os.O_RDONLY, dir_fd=folder), 9),
    )


@attack
def files_of_the_user(facts: Facts) -> object:
    return first(*(Path(path).read_bytes for path in facts["files"]))


@attack
def lists_of_folders(facts: Facts) -> object:
    folders = ["/", "/etc", "/home", "/root", "/tmp", "/var", facts["folder"], facts["checkout"]]
    return first(*(lambda f=f: list(Path(f).iterdir()) for f in folders))


@attack
def files_of_the_system(facts: Facts) -> object:
    paths = ["/etc/passwd", "/etc/hostname", "/etc/shadow", "/proc/1/environ", "/proc/mounts"]
    return first(*(Path(path).read_bytes for path in (*paths, "/dev/mem", "/proc/kcore")))


@attack
def files_of_the_checkout(facts: Facts) -> object:
    return first(*(Path(facts["checkout"], name).read_bytes for name in ("README.md", "Makefile")))


def outside(facts: Facts) -> Path:
    return Path(facts["folder"], "written")


@attack
def a_file_outside(facts: Facts) -> object:
    return first(
        lambda: outside(facts).write_text("x"),
        lambda: Path("/tmp", f"attack-{os.getpid()}").write_text("x"),
        lambda: Path("/dev/shm", f"attack-{os.getpid()}").write_text("x"),
        lambda: Path(facts["checkout"], "skin_pipeline", "attack.txt").write_text("x"),
        lambda: Path(sys.prefix, "attack.pth").write_text("x"),
        lambda: Path("/proc/self/oom_score_adj").write_text("0"),
        lambda: Path("/proc/self/uid_map").write_text("0 0 1"),
    )


@attack
def other_things_outside(facts: Facts) -> object:
    path = outside(facts)
    return first(
        lambda: path.mkdir() is None,
        lambda: path.symlink_to("/") is None,
        lambda: os.mkfifo(path) is None,
        lambda: Path("inside").write_text("x") and Path("inside").rename(path) is None,
        lambda: os.link("inside", path) is None,
        lambda: os.open(facts["folder"], os.O_TMPFILE | os.O_WRONLY),
        lambda: os.mknod("device", 0o600 | 0o020000, os.makedev(1, 1)) is None,
    )


@attack
def what_is_there_changed(facts: Facts) -> object:
    spare = facts["spare"]
    return first(
        lambda: Path(spare).open("ab"),
        lambda: os.truncate(spare, 0) is None,
        lambda: os.open(spare, os.O_RDONLY | os.O_TRUNC),
        lambda: Path(spare).chmod(0o666) is None,
        lambda: os.fchmod(os.open(spare, os.O_RDONLY), 0o666) is None,
        lambda: Path(f"/proc/self/fd/{os.open(spare, os.O_PATH)}").chmod(0o666) is None,
        lambda: os.utime(spare) is None,
        lambda: os.chown(spare, os.getuid(), os.getgid()) is None,
        lambda: os.setxattr(spare, "user.x", b"x") is None,
        lambda: Path(spare).unlink() is None,
    )


@attack
def a_program_of_python_changed(facts: Facts) -> object:
    """What this process may read, it may not write."""
    own = str(sys.modules["json"].__file__)
    return first(
        lambda: Path(own).open("ab"),
        lambda: os.utime(own) is None,
        lambda: Path(own).chmod(0o644) is None,
    )


@attack
def names_of_files_by_watching(facts: Facts) -> object:
    return checked(LIBC.inotify_add_watch(checked(LIBC.inotify_init1(0)), b"/tmp", 0x100))


@attack
def files_by_handle(facts: Facts) -> object:
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    return call(303, -100, facts["key"].encode(), handle, ctypes.byref(ctypes.c_int()), 0) == 0


# --- the network ---------------------------------------------------------------------------------


@attack
def tcp(facts: Facts) -> object:
    return socket.create_connection(("127.0.0.1", facts["tcp"]), timeout=5)


@attack
def udp(facts: Facts) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
        b"x", ("127.0.0.1", facts["udp"])
    )


@attack
def a_socket_of_a_path(facts: Facts) -> object:
    return socket.socket(socket.AF_UNIX).connect(facts["unix"]) is None


@attack
def an_abstract_socket(facts: Facts) -> object:
    return socket.socket(socket.AF_UNIX).connect("\0" + facts["abstract"]) is None


@attack
def netlink_and_raw_sockets(facts: Facts) -> object:
    return first(
        lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        lambda: socket.socket(38, socket.SOCK_SEQPACKET),  # AF_ALG
        lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        socket.socketpair,
    )


@attack
def a_server(facts: Facts) -> object:
    return socket.create_server(("127.0.0.1", 0))


@attack
def a_socket_by_another_way(facts: Facts) -> object:
    return first(
        lambda: call(425, 1, ctypes.create_string_buffer(120)),  # io_uring
        lambda: call(0x4000_0000 + 41, 1, 1, 0),  # a number of x32
    )


# --- programs and processes ----------------------------------------------------------------------


@attack
def a_shell(facts: Facts) -> object:
    return subprocess.run(["/bin/sh", "-c", "echo got"], capture_output=True, timeout=60).stdout


@attack
def another_program_in_this_process(facts: Facts) -> object:
    try:
        os.execv("/no/such/program", ["x"])
    except FileNotFoundError:
        return "would have been started"


@attack
def a_process_that_stays(facts: Facts) -> object:
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                # Before it lets go of the output, at whose end the others look for it.
                Path(facts["daemon"]).write_text(str(os.getpid()))
                for number in range(3):
                    os.close(number)
                signal.pause()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)


@attack
def a_process_by_another_way(facts: Facts) -> object:
    thread_less = 0x11  # SIGCHLD alone
    arguments = ctypes.create_string_buffer(struct.pack("=8Q", 0, 0, 0, 0, thread_less, 0, 0, 0))
    for number, *given in ((56, thread_less, 0, 0, 0, 0), (435, arguments, 64)):
        child = LIBC.syscall(number, *given)
        if child == 0:
            os._exit(0)
        if child > 0:
            return os.waitpid(child, 0)
    return None


# --- the machine ---------------------------------------------------------------------------------


@attack
def memory_that_is_not_counted(facts: Facts) -> object:
    return first(lambda: os.memfd_create("x"), lambda: mmap.mmap(-1, 4096))


@attack
def memory_shared_with_others(facts: Facts) -> object:
    return first(
        lambda: checked(LIBC.shmctl(checked(LIBC.shmget(0, 4096, 0o1666)), 0, None)) == 0,
        lambda: checked(LIBC.msgctl(checked(LIBC.msgget(0, 0o1666)), 0, None)) == 0,
        lambda: call(240, b"attack", os.O_CREAT | os.O_RDWR, 0o600, None),  # mq_open
        lambda: call(248, b"user", b"attack", b"x", 1, -2),  # add_key, of the process
    )


@attack
def rights_of_a_namespace(facts: Facts) -> object:
    return first(
        lambda: checked(LIBC.unshare(0x1000_0000)) == 0,
        lambda: checked(LIBC.unshare(0x0002_0000)) == 0,
        lambda: os.chroot("/") is None,
        lambda: checked(LIBC.mount(b"x", b"/tmp", b"tmpfs", 0, None)) == 0,
        lambda: call(321, 0, ctypes.create_string_buffer(120), 120),  # bpf
        lambda: call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0),  # perf_event_open
        lambda: call(323, 0),  # userfaultfd
    )


@attack
def root_again(facts: Facts) -> object:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    rights = dict(line.split(":\t", 1) for line in status.splitlines())
    may = int(rights["CapEff"], 16) | int(rights["CapPrm"], 16)
    privileged = rights["NoNewPrivs"] != "1"
    return (may & ~4 and hex(may)) or (privileged and "may get more")


@attack
def secrets_of_its_own(facts: Facts) -> object:
    secret = facts["secret"]
    return secret in repr(dict(os.environ)) or secret.encode() in _started_with()


def _started_with() -> bytes:
    """The environment as it lies in memory from the start, whatever was removed since."""
    ends = Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[47:49]
    start, end = map(int, ends)
    return ctypes.string_at(start, end - start)


@attack
def files_that_were_left_open(facts: Facts) -> object:
    """Standard input leads to Airflow in a task of its: it answers with any connection."""
    kinds = {}
    for number in range(64):
        try:
            kinds[number] = str(Path(f"/proc/self/fd/{number}").readlink())
        except OSError:
            continue
    odd = {n: kind for n, kind in kinds.items() if kind.startswith("socket") and n > 2}
    return odd or (kinds.get(0) != "/dev/null" and f"stdin {kinds.get(0)}")


class Bomb:
    """An answer that has its reader call a function."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
