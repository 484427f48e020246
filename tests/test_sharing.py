"""What the processes of a test run share is made once, and no server is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest
import sharing
from children import in_children

PATIENCE = 300.0  # seconds until a test that waits gives up
SERVER = """
import os
from contextlib import contextmanager

@contextmanager
def serve():
    yield os.getpid()

@contextmanager
def broken():
    raise OSError("no port is free")
    yield
"""
USER = """
import sys, sharing
with sharing.server("a_server", "serve") as found:
    print(found, flush=True)
    sys.stdin.read()
"""
User = Callable[[], subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that these tests alone share, and a server in it."""
    (tmp_path / "a_server.py").write_text(SERVER)
    monkeypatch.setenv(sharing.FOLDER, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(sharing.__file__).parent}")
    return tmp_path


@pytest.fixture
def user() -> Iterator[User]:
    """Starts processes that use the server until they are killed."""
    with ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            command = [sys.executable, "-c", USER]
            process = stack.enter_context(
                subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            return process

        yield start


def said(process: subprocess.Popen[str]) -> int:
    """The number of the server's process, as one of its users was told."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_what_many_processes_ask_for_is_made_once(folder: Path) -> None:
    log = folder / "log"

    def make(place: Path) -> str:
        with log.open("a") as file:
            print("made", file=file)
        while len(list(folder.glob("asks-*"))) < 5:  # until the others ask as well
            time.sleep(0.01)
        (place / "file").write_text("made")
        return "given"

    def ask(number: int) -> None:
        (folder / f"asks-{number}").touch()
        place, given = sharing.made_once("thing", make)
        assert ((place / "file").read_text(), given) == ("made", "given")

    in_children([partial(ask, number) for number in range(5)])
    assert log.read_text() == "made\n"


def test_what_broke_off_is_made_anew(folder: Path) -> None:
    def break_off(place: Path) -> None:
        (place / "half").touch()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        sharing.made_once("thing", break_off)
    place, _ = sharing.made_once("thing", lambda place: (place / "whole").touch())
    assert [path.name for path in place.iterdir()] == ["whole"]


def test_a_server_stays_while_anybody_uses_it_also_when_another_was_killed(user: User) -> None:
    first, second = user(), user()
    number = said(first)
    assert said(second) == number
    server = psutil.Process(number)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    assert said(user()) == number  # the second has kept it
    assert server.is_running()


def test_no_server_is_left_when_its_users_are_gone(user: User, folder: Path) -> None:
    process = user()
    server = psutil.Process(said(process))
    process.send_signal(signal.SIGKILL)
    server.wait(PATIENCE)
    other = user()
    assert said(other) != server.pid  # another one, since the first has ended
    other.send_signal(signal.SIGKILL)
    sharing.end()
    assert not folder.exists()


def test_a_server_that_does_not_start_is_told_with_its_reason() -> None:
    before = time.monotonic()
    with pytest.raises(RuntimeError, match="no port is free"), sharing.server("a_server", "broken"):
        pass
    assert time.monotonic() - before < sharing.START_SECONDS  # it did not wait for the dead
