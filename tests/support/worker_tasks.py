"""What the tests of `data.workers` have done; worker processes import it by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from skin_pipeline.data.images import Inspected, Place
    from skin_pipeline.geometry import Geometry


def double(number: int) -> int:
    return 2 * number


def double_or_die(number: int) -> int:
    if number in {3, 17}:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def refuse(number: int) -> int:
    raise ValueError(f"{number} is refused")


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_at_three(number: int) -> int:
    """Be told to end, as all processes are when one of them died."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return number


class Deadly:
    """What ends the process that takes it out of its parcel, before any work begins."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return die, ()


def die_once(path: str) -> str:
    """Die at the first try, and give a name at the second."""
    if Path(path).exists():
        return Path(path).name
    Path(path).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def named(item: str, why: str) -> str:
    return f"{item}: {why}"


def compute(path: str) -> int:
    """Compute in C, where no signal reaches Python, and for ever if the path says so."""
    if path.endswith("endless"):
        _begun(path)
        power: int = 10 ** (10**8)
        return power % 7
    return 1


def loop(path: str) -> int:
    """Compute in Python, for ever if the path says so."""
    if path.endswith("endless"):
        _begun(path)
        while True:
            pass
    return 1


def _begun(path: str) -> None:
    with Path(path).open("a") as file:
        file.write("begun")


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def fill(size: int) -> bool:
    """Whether so many bytes of memory can be had."""
    try:
        return len(bytearray(size)) == size
    except MemoryError:
        return False


def linger(folder: str) -> None:
    """Say who works, and go on for longer than any test."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(3600)


def inspect_or_die(place: Place, geometry: Geometry | None, *, hashed: bool) -> Inspected:
    """What the manifest asks of an image file, but for one that brings the decoder down."""
    if place.path.name.startswith("fatal"):
        os.kill(os.getpid(), signal.SIGKILL)
    # Here, so that the processes of other tests start without it.
    from skin_pipeline.data.images import inspect

    return inspect(place.path, geometry)


def inspect_mutant(item: tuple[str, bytes]) -> tuple[str, bool]:
    """Name of a mutant, and whether it is readable; fails if it is neither that nor a problem."""
    from skin_pipeline.data.images import inspect_bytes
    from skin_pipeline.geometry import Geometry

    name, data = item
    seen = inspect_bytes(data, name, Geometry(32, 0.8))
    if seen.problem:
        sound = seen.problem.startswith(f"{name}: ") and seen.problem.isprintable()
        sound = sound and len(seen.problem) < 500 and seen.pixels is None
    else:
        sound = seen.pixels is not None and seen.pixels.shape == (32, 32, 3)
        sound = sound and min(seen.width, seen.height) >= 64 and len(seen.fingerprint) == 30
    if not sound:
        raise AssertionError(f"{name}: {seen}")
    return name, not seen.problem


def fail_killed(item: tuple[str, bytes], why: str) -> tuple[str, bool]:
    raise AssertionError(f"{item[0]}: {why}")
