"""What a model does that has taken over its process, to the machine and to the one who asked."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path

MIB = 2**20
ENOUGH = 600  # MiB, or thousands of files: more than may be written


def _said(text: bytes) -> None:
    """To every open file: one of them is the answer's."""
    for number in range(1, 32):
        try:
            os.write(number, text)
        except OSError:
            continue
    os._exit(0)


def answers_with_numbers_out_of_range() -> None:
    _said(b'{"probabilities": [2.0, -1.0]}\n')


def answers_with_what_is_no_number() -> None:
    _said(b'{"probabilities": [true, "1"]}\n')


def answers_with_no_number() -> None:
    _said(b'{"probabilities": [NaN, 0.5]}\n')


def answers_with_too_few() -> None:
    _said(b'{"probabilities": [0.5]}\n')


def answers_with_more_than_is_asked() -> None:
    _said(b'{"probabilities": [0.5, 0.5], "released": true}\n')


def answers_with_nested_lists() -> None:
    _said(b"[" * 200_000 + b"\n")


def answers_with_a_code_for_terminals() -> None:
    _said(json.dumps({"refused": "\x1b[2Jcleared\nINFO all is well"}).encode() + b"\n")


def says_without_end() -> None:
    part = b"x" * MIB
    for number in itertools.cycle(range(1, 32)):
        try:
            os.write(number, part)
        except OSError:
            continue


def writes_a_huge_file() -> None:
    with Path("huge").open("wb") as file:
        for _ in range(ENOUGH):
            file.write(b"x" * MIB)


def writes_many_files() -> None:
    part = b"x" * MIB
    Path("deep").mkdir()
    for number in range(ENOUGH):
        Path("deep", str(number)).write_bytes(part)
    time.sleep(3600)


def writes_files_and_removes_them() -> None:
    kept = []
    for number in range(ENOUGH // 20):
        kept.append(os.open(f"removed-{number}", os.O_WRONLY | os.O_CREAT))
        Path(f"removed-{number}").unlink()
        for _ in range(20):
            os.write(kept[-1], b"x" * MIB)
    time.sleep(3600)


def writes_empty_files() -> None:
    for number in range(1000 * ENOUGH):
        Path(f"empty-{number}").touch()
    time.sleep(3600)


def hides_files_from_the_one_who_watches() -> None:
    Path("closed").mkdir(0o300)
    for number in range(ENOUGH):
        Path("closed", str(number)).write_bytes(b"x" * MIB)
    time.sleep(3600)


def answers_and_stays() -> None:
    for number in range(32):
        try:
            os.close(number)
        except OSError:
            continue
    time.sleep(3600)


def brings_itself_down() -> None:
    print("\x1b[2Jcleared", file=sys.stderr, flush=True)
    os.abort()
