"""Progress of long work: in the log at least every half minute, or as a bar on a terminal."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import weights_file

from skin_pipeline import progress
from skin_pipeline.data import demo
from skin_pipeline.progress import IN_A_TASK, Progress, at_terminal, reported

ROOT = Path(__file__).parents[1]


def logged(
    caplog: pytest.LogCaptureFixture,
    seconds: list[float],
    first: int = 0,
    what: str = "images decoded",
    each: int = 10,
) -> list[str]:
    """The lines of work on 100 items, one after each of these times since its begin."""
    caplog.set_level(logging.INFO)
    times = iter([0.0, *seconds])
    work = Progress(what, 10 * each, first, clock=lambda: next(times))
    for number in range(len(seconds)):
        work.reached(first + each * (number + 1))
    return lines(caplog)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged about progress; other code of the process may log too."""
    return [one.getMessage() for one in caplog.records if one.name == progress.__name__]


def test_quick_work_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, [10, 20, 29.9]) == []


def test_long_work_is_reported_once_in_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    said = 'rate="0.5 images/s" what="images decoded"'
    assert logged(caplog, [20, 40, 60, 80]) == [
        f"progress 20 % seconds_left=160 {said} done=20 of=100",
        f"progress 40 % seconds_left=120 {said} done=40 of=100",
    ]


def test_what_was_done_before_says_nothing_about_the_speed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (line,) = logged(caplog, [30], first=50)
    said = 'rate="0.3 images/s" what="images decoded"'
    assert line == f"progress 60 % seconds_left=120 {said} done=60 of=100"


def test_the_rate_of_bytes_is_told_in_megabytes(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = logged(caplog, [40], what="bytes sent", each=10**9)
    said = 'rate="25.0 MB/s" what="bytes sent" done=1000000000 of=10000000000'
    assert line == f"progress 10 % seconds_left=360 {said}"


def test_what_threads_do_is_added_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    work = Progress("bytes sent", 4000)
    threads = [
        threading.Thread(target=lambda: [work.moved(1) for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines(caplog)[-1].endswith("done=4000 of=4000")


def test_reported_items_are_the_items(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert list(reported("abc", "letters read", 3)) == ["a", "b", "c"]
    assert [line.split()[-2:] for line in lines(caplog)] == [
        ["done=1", "of=3"],
        ["done=2", "of=3"],
        ["done=3", "of=3"],
    ]


# --- bars -----------------------------------------------------------------------------------------


AT_ONCE = """
import runpy
from skin_pipeline import progress
progress.DELAY = 0.0
runpy.run_module("skin_pipeline", run_name="__main__")
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A command that decodes images, and shows a bar however quick the machine is."""
    demo.generate(tmp_path / "images", seed=1, per_class=5)
    weights_file.written(tmp_path / "any.weights.h5")
    return [
        *(sys.executable, "-c", AT_ONCE, "ingest", "--engine", "tensorflow"),
        *("--data", str(tmp_path / "images"), "--weights", str(tmp_path / "any.weights.h5")),
    ]


def surroundings(store: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SKIN_STORE": f"file://{store}", **more}


def at_a_terminal(arguments: list[str], env: dict[str, str]) -> str:
    """What a command writes to a terminal of its own, control characters and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, 160, 0, 0))  # rows, columns
    with subprocess.Popen(arguments, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        written = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # so Linux says that nobody writes to it any more
        return b""


BAR = re.compile(r"images decoded: +\d+%\|.*\| \d+/\d+ \[.* images/s\]")


def test_a_command_at_a_terminal_shows_a_bar_that_goes_with_its_work(
    command: list[str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    seen = at_a_terminal(command, surroundings(store))
    assert BAR.search(seen)
    assert not any("%|" in line for line in stays(seen))
    told = [line for line in stays(seen) if " INFO " in line]
    assert told
    assert all(re.match(r"\d{4}-\d\d-\d\d .* INFO ", line) for line in told)


def test_through_a_pipe_nothing_of_a_bar_is_written(command: list[str], tmp_path: Path) -> None:
    env = surroundings(tmp_path / "store")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    seen = done.stdout + done.stderr
    assert " INFO " in seen
    assert "%|" not in seen
    assert "\r" not in seen.replace("\r\n", "\n")


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, task: str = "") -> Generator[Terminal, None, None]:
    """A terminal for what is written and logged, where even the shortest work has a bar."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(made)])
    monkeypatch.delenv(IN_A_TASK, raising=False)
    if task:
        monkeypatch.setenv(IN_A_TASK, task)
    with at_terminal():
        yield made


def stays(text: str) -> list[str]:
    """What is seen in the end of each line that was written to a terminal."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]


def fail_within_work() -> None:
    for number in reported([0], "numbers tried", 1):
        assert 1 / number


def test_a_bar_goes_when_its_work_ends_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as seen:
        assert list(reported("abc", "letters read", 3)) == ["a", "b", "c"]
        assert "letters read" in seen.text
        assert stays(seen.text)[-1].strip() == ""
        with pytest.raises(ZeroDivisionError):
            fail_within_work()
        assert "numbers tried" in seen.text
        assert stays(seen.text)[-1].strip() == ""


def test_the_bar_of_bytes_is_in_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as seen:
        Progress("bytes sent", 4 * 10**9).close()
    assert re.search(r"sent: .*/4\.00G \[.*B/s\]", seen.text)


def test_a_task_has_no_bars_even_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, task="ingest") as seen:
        list(reported("abc", "letters read", 3))
    assert seen.text == ""


def test_a_log_line_does_not_tear_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as seen:
        for _ in reported("ab", "rows scored", 2):
            logging.getLogger("skin_pipeline.tests").warning("problem")
    assert [line for line in stays(seen.text) if "problem" in line] == ["problem"] * 2
    assert "rows scored" in seen.text


def test_what_is_printed_beside_a_bar_begins_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as seen:
        for _ in reported("ab", "rows scored", 2):
            print("image,0.5", file=progress.beside_bars(sys.stdout))
    assert [line for line in stays(seen.text) if "image" in line] == ["image,0.5"] * 2


def test_bars_are_shown_within_the_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as seen:
        with at_terminal():  # within another one, which goes on
            pass
        list(reported("abc", "letters read", 3))
    shown = len(seen.text)
    assert shown
    list(reported("abc", "letters read", 3))
    assert len(seen.text) == shown


def test_without_bars_a_stream_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert progress.beside_bars(file) is file
