"""What each stage of looking at an image takes, in a module that workers import."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from skin_pipeline.config import Settings
from skin_pipeline.data import images
from skin_pipeline.geometry import Geometry

CENTRE, DEFAULT = Geometry(224), Geometry.of(Settings())
T = TypeVar("T")


def stages(paths: Sequence[Path]) -> dict[str, float]:
    """Returns the milliseconds of a core that each stage takes for an image, in this process."""
    taken: dict[str, float] = defaultdict(float)

    def timed(name: str, call: Callable[[], T]) -> T:
        start = time.process_time()
        made = call()
        taken[name] += 1000 * (time.process_time() - start) / len(paths)
        return made

    for path in paths:
        data = timed("read", path.read_bytes)
        timed("hash", partial(hashlib.sha256, data))
        image = timed("guard and decode", partial(images.decode, data, path.suffix)).image
        seen = timed("all but the squares", partial(images.inspect, path))
        timed("centre", partial(images.working_squares, image, CENTRE))
        packed = timed("centre and lesion", partial(images.working_squares, image, DEFAULT))
        timed("hand-over", partial(pickle.dumps, replace(seen, pixels=packed), protocol=5))
    return dict(taken)
