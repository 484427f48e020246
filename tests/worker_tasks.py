"""What the tests of `data.workers` have done; worker processes import it by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from skin_pipeline.data.images import Inspected, inspect
from skin_pipeline.data.sources import Found


def double(number: int) -> int:
    return 2 * number


def double_or_die(number: int) -> int:
    if number in {3, 17}:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def refuse(number: int) -> int:
    raise ValueError(f"{number} is refused")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dead(number: int) -> int:
    return -number


def linger(folder: str) -> None:
    """Say who works, and go on for longer than any test."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(3600)


def inspect_or_die(item: Found, size: int | None, field_of_view: float) -> Inspected:
    """What the manifest asks of an image file, but for one that brings the decoder down."""
    if item.path.name.startswith("fatal"):
        os.kill(os.getpid(), signal.SIGKILL)
    return inspect(item.path, size, field_of_view)


def inspect_batch_or_die(
    batch: tuple[Found, ...], size: int | None, field_of_view: float
) -> list[Inspected]:
    return [inspect_or_die(item, size, field_of_view) for item in batch]
