"""Tries again when a server may be busy for a short time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from skin_pipeline.errors import Unavailable

log = logging.getLogger(__name__)

PAUSES = (1.0, 5.0)  # seconds before the second and the third attempt
Pause = Callable[[float], object]  # waits for so many seconds
T = TypeVar("T")


def patiently(attempt: Callable[[], T], pause: Pause) -> T:
    """Returns what `attempt` returns. Calls it up to three times while it raises `Unavailable`."""
    for seconds in PAUSES:
        try:
            return attempt()
        except Unavailable as error:
            log.warning('download_interrupted pause_seconds=%g problem="%s"', seconds, error)
        pause(seconds)
    return attempt()
