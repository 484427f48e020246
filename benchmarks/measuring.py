"""What the benchmarks share: their flags, the machine's name, and how a result is printed."""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from PIL import Image


def parser(description: str) -> argparse.ArgumentParser:
    """Flags that `make bench` gives: `--data` and `--weights`, both optional."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--data", type=Path, help="folder with images; by default generated lesions")
    made.add_argument("--weights", type=Path, help="ResNet50 weights, where a benchmark uses them")
    return made


@contextmanager
def folder_of(data: Path | None) -> Generator[tuple[Path, str], None, None]:
    """Yields the folder to measure on, and what it is; generated lesions if none is given."""
    if data:
        yield data, str(data.name)
        return
    from skin_pipeline.data import demo

    with tempfile.TemporaryDirectory(prefix="skin-bench-") as folder:
        demo.generate(Path(folder, "images"), seed=0)
        yield Path(folder, "images"), "generated lesions"


def bare_decoding(paths: list[Path]) -> int:
    """Decodes files with PIL, and nothing else; returns how many."""
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB")
    return len(paths)


def machine() -> str:
    """Describes the machine, as far as it explains a figure."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")


def seconds(call: Callable[[], Any]) -> float:
    """Returns how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(*calls: Callable[[], Any], rounds: int = 3) -> list[float]:
    """Returns the median seconds of each call, measured in turn after a warm-up of each."""
    for call in calls:
        call()
    times = [[seconds(call) for call in calls] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


class PeakMemory:
    """Peak of the proportional memory of a process (this one) and its children, in MiB.

        with PeakMemory() as peak:
            …
        print(peak.mib)

    Proportional: a page that several processes share counts once. `largest` is the peak of the
    largest of them alone.
    """

    mib, largest = 0.0, 0.0

    def __init__(self, process: psutil.Process | None = None) -> None:
        self._process = process or psutil.Process()

    def __enter__(self) -> PeakMemory:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            sizes = [_memory(process) / 2**20 for process in self._family()]
            self.mib, self.largest = max(self.mib, sum(sizes)), max(self.largest, *sizes, 0.0)
            if self._stop.wait(0.2):
                return

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:  # it has ended
            return []


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return 0


class Apart(NamedTuple):
    """What a call took in a process of its own, and what it returned.

    `seconds` passed; `core_seconds` were used by the process and its children; memory as in
    `PeakMemory`, in MiB.
    """

    seconds: float
    core_seconds: float
    mib: float
    largest: float
    returned: Any


def apart(call: Callable[..., Any], *arguments: Any) -> Apart:
    """Measures a call in a new process, in which nothing of other measurements is left."""
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe()
    process = context.Process(target=_answer, args=(ours, call, arguments))
    process.start()
    with PeakMemory(psutil.Process(process.pid)) as peak:
        ours.close()
        took, used, returned = theirs.recv()
        process.join()
    return Apart(took, used, peak.mib, peak.largest, returned)


def _answer(pipe: Any, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    returned = call(*arguments)
    took, used = time.perf_counter() - start, os.times()
    cores = used.user + used.system + used.children_user + used.children_system
    pipe.send((took, cores, returned))


def report(rows: list[tuple[str, str]], **result: Any) -> None:
    """Prints a table for people and, as the last line, one JSON object for machines."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    print(json.dumps({**result, "machine": machine()}))
