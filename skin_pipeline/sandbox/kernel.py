"""What Linux offers a process that wants to give up rights, through the C library.

Each function gives up one kind of right for good, for the calling thread and all that it starts,
and returns whether this kernel could do so. Nothing is imported but the standard library, so that a
process can call them before it has any other thread. On other systems nothing is given up.

This is our own code, since the libraries that wrap these calls for Python are in their first
releases, are not maintained, or need libseccomp or user namespaces, which containers do without.
The calls and their numbers never change: the kernel guarantees that.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import resource
import signal
import struct
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

LINUX = sys.platform == "linux"
ABSENT = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ENOSPC})

SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, NO_NEW_PRIVILEGES = 1, 4, 22, 38
FILTER = 2  # a mode of seccomp
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same for every processor
ASK_VERSION, PATH_BENEATH = 1, 1
CAPABILITIES_VERSION = 0x20080522  # with 64 bits of them
READ_ANY_FILE = 2  # the capability by which root reads other users' files

# Kinds of access to files, of which each version of Landlock knows as many as come with it.
READ_FILE, READ_DIR = 1 << 2, 1 << 3
READ = READ_FILE | READ_DIR
WRITE_FILE, REMOVE, MAKE, TRUNCATE = 1 << 1, 3 << 4, 1 << 7 | 1 << 8, 1 << 14
OF_FILES = 1 << 0 | WRITE_FILE | READ_FILE | TRUNCATE | 1 << 15  # what a file itself can be given
KINDS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # number of kinds, by version
TCP, TCP_VERSION = 3, 4  # binding and connecting
ABSTRACT_SOCKETS_AND_SIGNALS, SCOPES_VERSION = 3, 6

NAMESPACES = {"user": 0x1000_0000, "network": 0x4000_0000, "ipc": 0x0800_0000}


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """Makes a system call, for which the C library has no function. Raises OSError."""
    sent = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_library().syscall(ctypes.c_long(number), *sent))


def _control(option: int, *values: int | ctypes.Array[ctypes.c_char]) -> int:
    sent = [ctypes.c_ulong(v) if isinstance(v, int) else v for v in (*values, 0, 0, 0, 0)[:4]]
    return _checked(_library().prctl(ctypes.c_int(option), *sent))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def hide() -> bool:
    """Hides this process' memory, environment and open files from all others of its user.

    A process that it starts with another program is not hidden.
    """
    if LINUX:
        _control(SET_DUMPABLE, 0)
    return LINUX


def show() -> None:
    """Undoes the hiding that a change of user brings.

    The process that started this one reads in `/proc` how much it writes.
    """
    if LINUX:
        _control(SET_DUMPABLE, 1)


def keep_privileges() -> bool:
    """Gives up getting more rights by starting a program; Landlock and the filter require it."""
    if LINUX:
        _control(NO_NEW_PRIVILEGES, 1)
    return LINUX


def end_with(parent: int) -> None:
    """Has the kernel end this process with the one that started it, whose number is given."""
    if LINUX:
        _control(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the kernel began to watch it
            os._exit(1)


def drop_capabilities(kept: Iterable[int] = ()) -> bool:
    """Gives up root's special rights, except those of `kept` that this process has."""
    if not LINUX:
        return False
    head = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITIES_VERSION, 0))
    sets = ctypes.create_string_buffer(24)
    _checked(_library().capget(head, sets))
    had = struct.unpack("=6I", sets.raw)  # effective, permitted, inheritable; then the upper halves
    left = sum(1 << number for number in kept) & had[1]
    new = ctypes.create_string_buffer(struct.pack("=6I", left, left, 0, 0, 0, 0))
    _checked(_library().capset(head, new))
    return True


def leave_namespaces(names: Iterable[str]) -> list[str]:
    """Enters new namespaces, in which there is nothing yet: no network, for example.

    Returns the names of those that were entered: all, or all but the users', or none. Root needs no
    namespace of users to enter the others, and in containers that one is often forbidden.
    """
    for wanted in (list(names), [name for name in names if name != "user"]):
        try:
            if LINUX and wanted:
                _checked(_library().unshare(sum(NAMESPACES[name] for name in wanted)))
                return wanted
        except OSError as error:
            if error.errno not in {*ABSENT, errno.EUSERS}:
                raise
    return []


def bound_threads(most: int) -> bool:
    """Bounds this process' threads, if they are counted apart from the others of its user.

    They are in a namespace of users. Elsewhere the bound would be on all processes of the user, so
    it is tried out with one thread, and taken back if there are more already.
    """
    old, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
    try:
        probe = threading.Thread(target=int)
        probe.start()
        probe.join()
    except RuntimeError:  # the user has more threads than that in other processes
        resource.setrlimit(resource.RLIMIT_NPROC, (old, hard))
        return False
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    return True


# --- files ---------------------------------------------------------------------------------------


def landlock_version() -> int:
    """Returns the version of Landlock that this kernel has; 0 if it has none."""
    try:
        return _call(CREATE_RULESET, None, 0, ASK_VERSION) if LINUX else 0
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return 0


class Landlock:
    """Rules for files: what they do not name can be neither read nor written, by whatever path.

    In force, they also keep this process from looking into processes outside (Linux 5.13), from
    binding and connecting TCP (6.7), and from sending signals or connecting to abstract sockets
    outside (6.12).
    """

    def __init__(self) -> None:
        self.version = landlock_version()
        if not self.version:
            return
        self._kinds = (1 << KINDS.get(self.version, max(KINDS.values()))) - 1
        tcp = TCP if self.version >= TCP_VERSION else 0
        scoped = ABSTRACT_SOCKETS_AND_SIGNALS if self.version >= SCOPES_VERSION else 0
        wanted = struct.pack("=3Q", self._kinds, tcp, scoped)
        self._rules = _call(CREATE_RULESET, wanted, len(wanted), 0)

    def allow(self, path: Path | str, kinds: int) -> None:
        """Allows kinds of access to a file, or to all that a folder contains, if it exists."""
        if not self.version:
            return
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # it does not exist here, so there is nothing to allow
            return
        try:
            kinds &= self._kinds if Path(path).is_dir() else self._kinds & OF_FILES
            _call(ADD_RULE, self._rules, PATH_BENEATH, struct.pack("=Qi", kinds, opened), 0)
        finally:
            os.close(opened)

    def apply(self) -> int:
        """Puts the rules in force; returns the version of Landlock."""
        if self.version:
            _call(RESTRICT_SELF, self._rules, 0)
            os.close(self._rules)
        return self.version


# --- system calls --------------------------------------------------------------------------------

# The calls that are refused: name, and number on x86_64 and aarch64. All others are allowed: a list
# of allowed calls would fail with new versions of TensorFlow and the C library, which make others.
REFUSED = """
    fork 57 -             vfork 58 -            execve 59 221           execveat 322 281
    socket 41 198         socketpair 53 199     connect 42 203          bind 49 200
    listen 50 201         accept 43 202         accept4 288 242         sendto 44 206
    sendmsg 46 211        sendmmsg 307 269      recvfrom 45 207         recvmsg 47 212
    recvmmsg 299 243      io_uring_setup 425 425  io_uring_enter 426 426  io_uring_register 427 427
    ptrace 101 117        process_vm_readv 310 270  process_vm_writev 311 271
    pidfd_open 434 434    pidfd_getfd 438 438   pidfd_send_signal 424 424  kcmp 312 272
    process_madvise 440 440  process_mrelease 448 448  tkill 200 130
    rt_sigqueueinfo 129 138  rt_tgsigqueueinfo 297 240  migrate_pages 256 238  move_pages 279 239
    chmod 90 -            fchmod 91 52          fchmodat 268 53         fchmodat2 452 452
    chown 92 -            lchown 94 -           fchown 93 55            fchownat 260 54
    setxattr 188 5        lsetxattr 189 6       fsetxattr 190 7         removexattr 197 14
    lremovexattr 198 15   fremovexattr 199 16   utime 132 -             utimes 235 -
    utimensat 280 88      futimesat 261 -       mknod 133 -             mknodat 259 33
    truncate 76 45        fallocate 285 47      splice 275 76           vmsplice 278 75
    tee 276 77            inotify_init 253 -    inotify_init1 294 26    inotify_add_watch 254 27
    fanotify_init 300 262  fanotify_mark 301 263  name_to_handle_at 303 264
    open_by_handle_at 304 265  memfd_create 319 279  memfd_secret 447 447
    shmget 29 194         shmat 30 196          shmctl 31 195           msgget 68 186
    msgsnd 69 189         msgrcv 70 188         msgctl 71 187           semget 64 190
    semop 65 193          semctl 66 191         semtimedop 220 192      mq_open 240 180
    mq_unlink 241 181     unshare 272 97        setns 308 268           mount 165 40
    umount2 166 39        pivot_root 155 41     chroot 161 51           move_mount 429 429
    open_tree 428 428     fsopen 430 430        fsconfig 431 431        fsmount 432 432
    fspick 433 433        mount_setattr 442 442  bpf 321 280            perf_event_open 298 241
    userfaultfd 323 282   add_key 248 217       request_key 249 218     keyctl 250 219
    kexec_load 246 104    kexec_file_load 320 294  init_module 175 105  finit_module 313 273
    delete_module 176 106  reboot 169 142       swapon 167 224          swapoff 168 225
    quotactl 179 60       quotactl_fd 443 443   acct 163 89             syslog 103 116
    settimeofday 164 170  clock_settime 227 112  clock_adjtime 305 266  adjtimex 159 171
    sethostname 170 161   setdomainname 171 162  iopl 172 -             ioperm 173 -
    modify_ldt 154 -      uselib 134 -          lookup_dcookie 212 18   vhangup 153 58
    setpriority 141 140   ioprio_set 251 30
"""
NEWEST = 462  # a call newer than this list is answered as by a kernel that does not have it
# Their arguments are behind a pointer, which a filter cannot follow. They are answered as unknown,
# so that the C library makes the older call, whose arguments the filter can read.
UNKNOWN = {"clone3": (435, 435), "openat2": (437, 437)}
NONE = 0xFFFF_FFFF  # the number of a call that a processor does not have
# Calls for which one argument decides: the call's numbers, and the position of the argument.
CLONE = (56, 220)
OWN_PROCESS = {
    "kill": ((62, 129), 0),
    "tgkill": ((234, 131), 0),
    "prlimit64": ((302, 261), 0),
    "sched_setaffinity": ((203, 122), 0),
    "sched_setscheduler": ((144, 119), 0),
    "sched_setparam": ((142, 118), 0),
    "sched_setattr": ((314, 274), 0),
}
SELF_AS_ZERO = frozenset(OWN_PROCESS) - {"kill", "tgkill"}
CLONE_THREAD = 0x1_0000
VALUES = {
    # Signals by way of a file: F_SETOWN, F_SETSIG, F_SETOWN_EX.
    "fcntl": ((72, 25), 1, (8, 10, 15)),
    # Typing into a terminal: TIOCSTI, TIOCLINUX.
    "ioctl": ((16, 29), 1, (0x5412, 0x541C)),
}
MASKS = {
    # Shared memory is not counted as data, and files written through it escape all counting.
    "mmap": ((9, 222), 3, 0x1, 0x1),
    # Opening a file for reading can empty it: Landlock refuses this from its third version on.
    "open": ((2, NONE), 1, 0x203, 0x200),
    "openat": ((257, 56), 2, 0x203, 0x200),
}
PROCESSORS = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

LOAD, EQUAL, GREATER, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
ALLOWED, ERROR = 0x7FFF_0000, 0x0005_0000
REFUSE, NO_SUCH_CALL = ERROR | errno.EPERM, ERROR | errno.ENOSYS
Step = tuple[int, int, int, int]  # what to do, steps to skip if true, if false, and a number


def filter_system_calls() -> str:
    """Refuses sockets, other processes, and all calls whose effects reach beyond this process.

    Returns:
        The processor that the filter is for; empty if there is none for this one.
    """
    machine = platform.machine() if LINUX else ""
    if machine not in PROCESSORS or sys.maxsize < 2**32:
        return ""
    program = b"".join(struct.pack("=HBBI", *step) for step in _program(*PROCESSORS[machine]))
    held = ctypes.create_string_buffer(program, len(program))
    given = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    try:
        _control(SET_SECCOMP, FILTER, ctypes.create_string_buffer(given, len(given)))
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return ""
    return machine


def _program(column: int, processor: int) -> Iterator[Step]:
    """Yields the filter for one processor, in the kernel's BPF; it is run for every call.

    It reads the call's number at byte 0, the processor at byte 4, and arguments from byte 16 on.
    """
    yield LOAD, 0, 0, 4
    yield from _unless(EQUAL, processor, REFUSE)
    yield LOAD, 0, 0, 0
    yield from _when(GREATER, NEWEST, [(RETURN, 0, 0, NO_SUCH_CALL)])
    for number in (numbers[column] for numbers in UNKNOWN.values()):
        yield from _when(EQUAL, number, [(RETURN, 0, 0, NO_SUCH_CALL)])
    for text in REFUSED.split()[1 + column :: 3]:
        if text != "-":
            yield from _when(EQUAL, int(text), [(RETURN, 0, 0, REFUSE)])
    for numbers, rest in _by_argument():
        yield from _when(EQUAL, numbers[column], rest)
    yield RETURN, 0, 0, ALLOWED


def _by_argument() -> Iterator[tuple[tuple[int, ...], list[Step]]]:
    allow, refuse = (RETURN, 0, 0, ALLOWED), (RETURN, 0, 0, REFUSE)
    yield CLONE, [_argument(0), *_when(ANY_BIT, CLONE_THREAD, [allow]), refuse]
    for name, (numbers, position) in OWN_PROCESS.items():
        own = [os.getpid(), *([0] if name in SELF_AS_ZERO else [])]
        yield numbers, [_argument(position), *_each(own, allow), refuse]
    for numbers, position, values in VALUES.values():
        yield numbers, [_argument(position), *_each(values, refuse), allow]
    for wide, position, mask, value in MASKS.values():
        masked = [_argument(position), (AND, 0, 0, mask)]
        yield wide, [*masked, *_when(EQUAL, value, [refuse]), allow]


def _argument(position: int) -> Step:
    return LOAD, 0, 0, 16 + 8 * position  # the lower half, which these processors store first


def _each(values: Iterable[int], then: Step) -> list[Step]:
    return [step for value in values for step in _when(EQUAL, value, [then])]


def _when(test: int, value: int, then: list[Step]) -> list[Step]:
    return [(test, 0, len(then), value), *then]


def _unless(test: int, value: int, answer: int) -> list[Step]:
    return [(test, 1, 0, value), (RETURN, 0, 0, answer)]
