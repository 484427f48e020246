"""The keeper ends whatever it started, whatever happens to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keeper
from processes import MARKER, PATIENCE, family, living, until


def keep(marker: str, log: Path, script: str) -> subprocess.Popen[bytes]:
    """A keeper with one command, a shell script."""
    process = subprocess.Popen(
        [sys.executable, keeper.__file__, "1.0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, MARKER: marker},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(["one", str(log), "sh", "-c", script]).encode() + b"\n")
    process.stdin.flush()
    return process


# A child in a session of its own that ignores SIGTERM, and whose parent is gone.
ESCAPED = "(setsid sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' &) ; sleep 6000"


def test_closing_its_input_ends_the_whole_family_even_escaped_orphans(tmp_path: Path) -> None:
    marker = str(tmp_path)
    process = keep(marker, tmp_path / "log", ESCAPED)
    until(lambda: len(family(marker)) >= 4)
    process.communicate(timeout=PATIENCE)
    assert not living(family(marker))


def test_a_command_that_ends_takes_the_others_along_and_is_named(tmp_path: Path) -> None:
    marker = str(tmp_path)
    process = keep(marker, tmp_path / "log", "echo last words; exit 3")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.wait(PATIENCE) == 0
    assert process.stdout.read() == b"one ended with status 3\n"
    assert (tmp_path / "log").read_text() == "last words\n"
    assert not living(family(marker))
