"""What Linux is asked: the filter of system calls as each processor would run it."""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skin_pipeline.sandbox import kernel

HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}
ALLOWED, REFUSED, ABSENT = "allowed", errno.EPERM, errno.ENOSYS
CLONE_FOR_THREADS = 0x3D0F00  # as glibc starts a thread
SIGCHLD = 17


def decided(machine: str, number: int, *arguments: int, processor: int | None = None) -> int | str:
    """What the filter makes of a call, by running its program."""
    column, known = kernel.PROCESSORS[machine]
    words = [number & 0xFFFF_FFFF, processor or known, 0, 0]
    for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]:
        words += struct.unpack("=2I", struct.pack("=Q", argument % 2**64))
    program, place, value = list(kernel._program(column, known)), 0, 0
    tests: dict[int, Callable[[int, int], bool]] = {
        kernel.EQUAL: lambda a, b: a == b,
        kernel.GREATER: lambda a, b: a > b,
        kernel.ANY_BIT: lambda a, b: bool(a & b),
    }
    while True:
        what, yes, no, operand = program[place]
        place += 1
        if what == kernel.RETURN:
            return ALLOWED if operand == kernel.ALLOWED else operand & 0xFFFF
        if what == kernel.LOAD:
            value = words[operand // 4]
        elif what == kernel.AND:
            value &= operand
        else:
            place += yes if tests[what](value, operand) else no


def numbers(machine: str) -> dict[str, int]:
    column = kernel.PROCESSORS[machine][0]
    words = kernel.REFUSED.split()
    named = zip(words[::3], words[1 + column :: 3], strict=True)
    return {name: int(number) for name, number in named if number != "-"}


def by_argument(machine: str) -> dict[str, int]:
    column = kernel.PROCESSORS[machine][0]
    tables = (kernel.UNKNOWN.items(), (("clone", kernel.CLONE),))
    listed = dict(pair for table in tables for pair in table)
    for table in (kernel.OWN_PROCESS, kernel.VALUES, kernel.MASKS):
        listed |= {name: rule[0] for name, rule in table.items()}
    found = {name: pair[column] for name, pair in listed.items()}
    return {name: number for name, number in found.items() if number != kernel.NONE}


@pytest.mark.parametrize("machine", kernel.PROCESSORS)
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    lines = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text(encoding="utf-8"))
    known = {name: int(number) for name, number in lines}
    own = {**numbers(machine), **by_argument(machine)}
    there = own.keys() & known.keys()
    assert len(there) > 100
    assert {name: own[name] for name in there} == {name: known[name] for name in there}
    # What these headers do not have yet, or have for some processors only.
    few = {"fchmodat2", "name_to_handle_at", "open_by_handle_at", "setrlimit"}
    assert own.keys() - known.keys() <= few


@pytest.mark.parametrize("machine", kernel.PROCESSORS)
def test_each_call_of_the_list_is_refused_and_others_are_not(machine: str) -> None:
    listed = set(numbers(machine).values()) | set(by_argument(machine).values())
    for number in range(kernel.NEWEST + 1):
        if number in numbers(machine).values():
            assert decided(machine, number) == REFUSED
        elif number not in listed:
            assert decided(machine, number) == ALLOWED


@pytest.mark.parametrize("machine", kernel.PROCESSORS)
def test_calls_of_other_processors_and_later_kernels_are_not_made(machine: str) -> None:
    other = next(p for name, (_, p) in kernel.PROCESSORS.items() if name != machine)
    for processor in (other, 0x40000003, 1):  # the second is that of 32 bits
        assert decided(machine, 1, processor=processor) == REFUSED
    for number in (kernel.NEWEST + 1, 2**30, 2**30 + 41, 2**31, -1):
        assert decided(machine, number) == ABSENT


CASES = [
    ("clone", (CLONE_FOR_THREADS,), ALLOWED),
    ("clone", (SIGCHLD,), REFUSED),
    ("clone", (0x4100 | SIGCHLD,), REFUSED),  # as posix_spawn starts a process
    ("clone3", (0, 88), ABSENT),
    ("openat2", (), ABSENT),
    ("kill", (os.getpid(),), ALLOWED),
    ("kill", (os.getppid(),), REFUSED),
    *(("kill", (number,), REFUSED) for number in (0, -1, 1, -os.getpid())),
    ("tgkill", (os.getpid(), 5), ALLOWED),
    ("tgkill", (os.getppid(), os.getppid()), REFUSED),
    ("prlimit64", (0,), ALLOWED),
    ("prlimit64", (os.getpid(),), ALLOWED),
    ("prlimit64", (os.getppid(),), REFUSED),
    ("sched_setaffinity", (0,), ALLOWED),
    ("sched_setscheduler", (1,), REFUSED),
    ("fcntl", (1, 3), ALLOWED),
    *(("fcntl", (1, command), REFUSED) for command in (8, 10, 15)),
    ("fcntl", (1, 2**32 + 8), REFUSED),  # of which the kernel reads the lower half
    ("ioctl", (0, 0x5401), ALLOWED),
    ("ioctl", (0, 0x5412), REFUSED),
    ("mmap", (0, 4096, 3, 0x22), ALLOWED),
    *(("mmap", (0, 4096, 3, flags), REFUSED) for flags in (0x01, 0x03, 0x21)),
    ("openat", (-100, 0, os.O_RDONLY | os.O_CLOEXEC), ALLOWED),
    ("openat", (-100, 0, os.O_WRONLY | os.O_TRUNC | os.O_CREAT), ALLOWED),
    ("openat", (-100, 0, os.O_RDONLY | os.O_TRUNC), REFUSED),
]


@pytest.mark.parametrize("machine", kernel.PROCESSORS)
@pytest.mark.parametrize(("name", "arguments", "answer"), CASES)
def test_what_an_argument_decides(
    machine: str, name: str, arguments: tuple[int, ...], answer: int | str
) -> None:
    assert decided(machine, by_argument(machine)[name], *arguments) == answer


def test_the_filter_can_be_taken_by_the_kernel() -> None:
    assert all(
        len(list(kernel._program(*processor))) < 4096 and max(step[1:3]) < 256
        for processor in kernel.PROCESSORS.values()
        for step in kernel._program(*processor)
    )


def test_other_systems_give_up_nothing_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "LINUX", False)
    assert not kernel.hide()
    assert not kernel.keep_privileges()
    assert not kernel.drop_capabilities()
    assert kernel.leave_namespaces(kernel.NAMESPACES) == []
    assert kernel.filter_system_calls() == ""
    rules = kernel.Landlock()
    rules.allow("/", kernel.READ)
    assert rules.apply() == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_a_kernel_that_has_no_landlock_or_has_it_turned_off_has_version_0(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(kernel, "_call", refuse)
    assert kernel.landlock_version() == 0


def test_a_landlock_that_fails_for_another_reason_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(kernel, "_call", fail)
    with pytest.raises(OSError, match="no memory"):
        kernel.Landlock()


@pytest.mark.parametrize(
    ("version", "kinds", "tcp", "scoped"),
    [
        (1, 13, 0, 0),
        (2, 14, 0, 0),
        (3, 15, 0, 0),
        (4, 15, 3, 0),
        (5, 16, 3, 0),
        (6, 16, 3, 3),
        (7, 16, 3, 3),
        (99, 16, 3, 3),
    ],
)
def test_a_kernel_is_asked_for_what_its_version_of_landlock_knows(
    version: int, kinds: int, tcp: int, scoped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def call(number: int, *arguments: Any) -> int:
        asked.append(arguments)
        return version

    monkeypatch.setattr(kernel, "_call", call)
    kernel.Landlock()
    assert struct.unpack("=3Q", asked[-1][0]) == (2**kinds - 1, tcp, scoped)
