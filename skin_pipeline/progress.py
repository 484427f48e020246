"""Progress of long work: how far it is, how fast, and how long it will still take.

    for batch in reported(batches, "batches scored", len(batches)):
        …
    # progress 40 % seconds_left=95 rate="0.8 batches/s" what="batches scored" done=48 of=120

It is told in lines of the log, and nothing is logged of work that takes less than half a minute.
Commands that a person runs at a terminal show a bar instead; see `at_terminal`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

log = logging.getLogger(__name__)

EVERY = 30.0  # seconds between two lines, at most
DELAY = 0.5  # seconds that work must take before it has a bar: shorter ones would flicker
MB = 1_000_000
IN_A_TASK = "AIRFLOW_CTX_TASK_ID"  # Airflow sets it for what its tasks start
T = TypeVar("T")

_bars = False  # whether bars are shown; see `at_terminal`


class Progress:
    """Knows how far some work is, and tells it from time to time.

    Args:
        what: What is counted, such as `images decoded`. Its first word is the unit of the rate;
            that of `bytes` is MB.
        total: How many there are.
        first: How many of them were done before this work began.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, what: str, total: int, first: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.what, self.total, self.first = what, total, first
        self._clock, self._done, self._lock = clock, first, threading.Lock()
        self._began = self._logged = clock()
        self._bar = _bar(what, total, first) if _bars else None

    def reached(self, done: int) -> None:
        """Tells that `done` are done: in the bar, or in a line if the last is long enough ago."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            return
        now = self._clock()
        if now - self._logged < EVERY or done <= self.first:
            return
        self._logged = now
        rate = (done - self.first) / max(now - self._began, 1e-9)
        log.info(
            'progress %.0f %% seconds_left=%.0f rate="%s" what="%s" done=%d of=%d',
            100 * done / max(self.total, done),
            max(0, self.total - done) / rate,
            self._in_words(rate),
            self.what,
            done,
            self.total,
        )

    def moved(self, by: int) -> None:
        """Tells that `by` more are done; threads may call it at the same time."""
        with self._lock:
            self._done += by
            self.reached(self._done)

    def close(self) -> None:
        """Removes the bar, if there is one, however far the work is."""
        if self._bar is not None:
            self._bar.close()

    def _in_words(self, rate: float) -> str:
        unit = self.what.partition(" ")[0]
        return f"{rate / MB:.1f} MB/s" if unit == "bytes" else f"{rate:.1f} {unit}/s"


def reported(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yields the items, and tells how many of them are done; see `Progress`.

    Args:
        items: The items. One counts as done when the next is asked for.
        what: What is done with each.
        total: How many there are.
    """
    progress = Progress(what, total)
    try:
        for done, item in enumerate(items, 1):
            yield item
            progress.reached(done)
    finally:
        progress.close()


# --- bars -----------------------------------------------------------------------------------------


@contextmanager
def at_terminal() -> Generator[None, None, None]:
    """Shows bars instead of lines during the block, if standard error is a terminal.

    Log lines appear above the bars. In a task of Airflow there are none.
    """
    global _bars
    if _bars or IN_A_TASK in os.environ or not sys.stderr.isatty():
        yield
        return
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    tqdm.monitor_interval = 0  # its thread would be in the way of processes that are forked
    _bars = True
    try:
        with logging_redirect_tqdm():
            yield
    finally:
        _bars = False


def beside_bars(stream: TextIO) -> TextIO:
    """Returns a stream for text on a terminal that shows bars; the stream itself if none does."""
    return _Beside(stream) if _bars and stream.isatty() else stream  # type: ignore[return-value]


class _Beside:
    """Writes whole lines where the bars are, after removing them, and draws them again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""

    def write(self, text: str) -> int:
        from tqdm import tqdm

        lines, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            tqdm.write(lines, file=self._stream)
        return len(text)


def _bar(what: str, total: int, first: int) -> Any:
    from tqdm import tqdm

    unit, _, done = what.partition(" ")
    scaled = unit == "bytes"
    return tqdm(
        desc=done if scaled else what,
        total=total,
        initial=first,
        unit="B" if scaled else f" {unit}",
        unit_scale=scaled,
        delay=DELAY,
        leave=False,
        dynamic_ncols=True,
    )
