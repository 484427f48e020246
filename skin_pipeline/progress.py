"""Progress of long work, in lines of the log: how far it is, and how long it will still take.

    for batch in reported(batches, "scored", len(batches)):
        …
    # progress 40 % seconds_left=95 what="scored" done=48 of=120

Nothing is logged of work that takes less than half a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

EVERY = 30.0  # seconds between two lines, at most
T = TypeVar("T")


class Progress:
    """Knows how far some work is, and logs it from time to time.

    Args:
        what: What is counted, such as `images decoded`.
        total: How many there are.
        first: How many of them were done before this work began.
        clock: Gives the time in seconds.
    """

    def __init__(
        self, what: str, total: int, first: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.what, self.total, self.first = what, total, first
        self._clock = clock
        self._began = self._logged = clock()

    def reached(self, done: int) -> None:
        """Logs that `done` are done, if the last line is long enough ago."""
        now = self._clock()
        if now - self._logged < EVERY or done <= self.first:
            return
        self._logged = now
        each = (now - self._began) / (done - self.first)
        log.info(
            'progress %.0f %% seconds_left=%.0f what="%s" done=%d of=%d',
            100 * done / max(self.total, done),
            each * max(0, self.total - done),
            self.what,
            done,
            self.total,
        )


def reported(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yields the items, and logs how many of them are done; see `Progress`.

    Args:
        items: The items. One counts as done when the next is asked for.
        what: What is done with each.
        total: How many there are.
    """
    progress = Progress(what, total)
    for done, item in enumerate(items, 1):
        yield item
        progress.reached(done)
