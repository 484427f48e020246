"""What a run of any size is expected to take on a number of workers, before there is any image.

    planned = sizing.plan(Settings(), images=100_000, workers=8, cores=4)
    planned.hours
    planned.in_words()       # a table: tasks, hours, memory, bytes and requests of each step

CPU times from `features` on are those of `costs`. The other figures were measured on one machine
with 286 and 1,144 images of 224 pixels, on S3 with two and six shards; those of `decode` and
`duplicates` with 24,000 drawn images, and those of `ingest`, which unites ranges, `validate` and
`split` with a million rows of a table. So they are rough for a million. The wall time comes from a
small simulation of Airflow: its scheduler hands out so many tasks a second, a task uses one core,
and a step waits for the one before.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import NamedTuple

from skin_pipeline.config import Settings
from skin_pipeline.data import layout as layouts
from skin_pipeline.errors import BadInput
from skin_pipeline.operations.costs import Load, Network, duration, judging, training
from skin_pipeline.operations.figures import Figure

MIB = 2**20
MOST = {"images": 100_000_000, "workers": 10_000, "cores": 1024, "gpus": 64}
MOST_TASKS = 512  # of one step: Airflow's scheduler makes a row of each at once
TASK_SECONDS = 2.5  # until the work of a task begins: a process, and what every task imports
GAP_SECONDS = 1.0  # between the end of a step and the start of the next one
STARTED_A_SECOND = 8.0  # tasks that Airflow's scheduler hands out
# Core-seconds of the steps before `features`: of the task, and of each image.
FIRST = {
    "listing": Figure(0.3, 0.0),
    "ingest": Figure(6, 0.001),
    "validate": Figure(8, 0.0035),
    "split": Figure(5, 0.000025),
}
# Of a set that is decoded in ranges: a digest of the pixels of each image is made at once.
RANGES = {
    "listing": Figure(2, 0.00012),
    "decode": Figure(4, 0.0013),
    "ingest": Figure(6, 0.00007),
    "duplicates": Figure(4, 0.0035),
    "validate": Figure(10, 0.0001),
}
# For how many cores a GPU stands where the network computes: some 570 images a second through
# ResNet50. It is assumed, as for a GPU of the size of an NVIDIA T4, and was not measured.
GPU_CORES = 40.0
DEEP = {"features", "fine_tune", "full", "logits"}  # kinds of work that pass through the network
NETWORK_BYTES = 95e6  # ResNet50, as weights or as a model file
ROW_BYTES = 1.2e3  # of an image in the table that steps after the split read
# What is kept of a view of an image: pooled features, and the maps that the last stage reads.
KEPT_BYTES = {"head": 14.4e3, "fine_tune": 115e3, "full": 0.0}


class Needs(NamedTuple):
    """What a step needs beside CPU time.

    Attributes:
        memory: Bytes of a task.
        memory_each: Bytes of a task for each of its images.
        read, written: Bytes of the store for each image, of all tasks together.
        fixed_read, fixed_written: The same for each task.
        requests: Requests to the store of a task.
        shard_requests: Requests for each shard, of all tasks together.
        copied: Bytes of local copies for each image of a task. They are mapped, so that little of
            them is in memory at a time.
    """

    memory: float
    memory_each: float = 0
    read: float = 0
    written: float = 0
    fixed_read: float = 0
    fixed_written: float = 0
    requests: int = 0
    shard_requests: int = 0
    copied: float = 0


@dataclass(frozen=True)
class Step:
    """What a step is expected to take.

    Attributes:
        name: Its name.
        tasks: How many tasks it has.
        core_seconds: The CPU time of all of them, without what Airflow itself takes.
        seconds: The wall time from the end of the step before to its own end.
        memory: The bytes of memory of one of its tasks.
        disk: The bytes of local copies that one of its tasks reads.
        read, written: The bytes that all of them read from the store, and write to it.
        requests: The requests to the store of all of them.
    """

    name: str
    tasks: int
    core_seconds: float
    seconds: float
    memory: float
    disk: float
    read: float
    written: float
    requests: int


@dataclass(frozen=True)
class Plan:
    """What a whole run is expected to take: its steps in order, and for what."""

    steps: tuple[Step, ...]
    images: int
    workers: int
    cores: int
    gpus: int = 0

    @property
    def seconds(self) -> float:
        """The wall time of the run."""
        return sum(step.seconds for step in self.steps)

    @property
    def hours(self) -> float:
        """The wall time of the run, in hours."""
        return self.seconds / 3600

    @property
    def stored(self) -> float:
        """The bytes that the store grows by."""
        return sum(step.written for step in self.steps)

    def in_words(self) -> str:
        """Returns a table for people: a line for each step, and two for all of them."""
        core_hours = sum(step.core_seconds for step in self.steps) / 3600
        rows = [
            ("step", "tasks", "core-hours", "time", "share", *SIZES, "requests"),
            *(self._row(step) for step in self.steps),
            (
                *("all", f"{sum(step.tasks for step in self.steps):,}", f"{core_hours:.3g}"),
                *(duration(self.seconds), "", "", "", "", _size(self.stored)),
                f"{sum(step.requests for step in self.steps):,}",
            ),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
        machines = f"{self.images:,} images on {self.workers} x {self.cores} cores"
        if self.gpus:
            machines += f" and {self.workers} x {self.gpus} GPUs, {GPU_IN_WORDS}"
        return "\n".join((*lines, machines))

    def _row(self, step: Step) -> tuple[str, ...]:
        return (
            *(step.name, f"{step.tasks:,}", f"{step.core_seconds / 3600:.3g}"),
            *(duration(step.seconds), f"{step.seconds / self.seconds:.0%}"),
            *(_size(getattr(step, name)) for name in SIZES),
            f"{step.requests:,}",
        )


GPU_IN_WORDS = f"each taken for {GPU_CORES:.0f} cores (assumed, not measured)"
SIZES = ("memory", "disk", "read", "written")


def _size(count: float) -> str:
    """Returns bytes in the largest unit of which there is one."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    place = min(int(math.log2(max(count, 1)) // 10), len(units) - 1)
    return f"{count / 1024**place:.3g} {units[place]}"


def plan(settings: Settings, *, images: int, workers: int, cores: int, gpus: int = 0) -> Plan:
    """Returns what a run is expected to take whose results are all new.

    Args:
        settings: Strategy, backbone, views, image size, number of runs, size of a shard.
        images: The number of images, at least 1.
        workers: The number of machines, at least 1.
        cores: The cores of each.
        gpus: The GPUs of each, on which `features`, `train` and `logits` run then, one task each.

    Raises:
        BadInput: A number is out of its range.
    """
    _check(images=images, workers=workers, cores=cores, gpus=gpus)
    layout = layouts.Layout.of(images, settings)
    shards = math.ceil(images / layout.shard_size)
    needs = _needs(settings, layout, apart=not layout.is_one(images))
    steps = []
    for name, work in _works(settings, images, layout).items():
        slots = workers * (gpus if gpus and work.deep else cores)
        work = work.on_gpus() if gpus else work
        steps.append(_step(name, work, needs[name], images, shards, slots))
    return Plan(tuple(steps), images, workers, cores, gpus)


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        least = 0 if name == "gpus" else 1
        if not least <= value <= MOST[name]:
            raise BadInput(f"{name} must be from {least} to {MOST[name]:,}. Received: {value}")


class Work(NamedTuple):
    """The work of a step: in how many tasks, and the core-seconds of all of them.

    `deep` are those of the core-seconds that a GPU takes over.
    """

    tasks: int
    core_seconds: float
    deep: float = 0.0

    @classmethod
    def of(cls, load: Load, network: Network) -> Work:
        """Returns the work on a network; a head is too small for a GPU."""
        all_of_it = network.built_in(load)
        begun = network.built_in(load._replace(units=0, computed=0))
        by_network = load.kind == "features" or network.strategy != "head"
        deep = all_of_it - begun if by_network and load.kind in DEEP else 0.0
        return cls(load.tasks, all_of_it, deep)

    def on_gpus(self) -> Work:
        """Returns the work where each task has a GPU; a second of a GPU counts as one of a core."""
        return self._replace(core_seconds=self.core_seconds - self.deep * (1 - 1 / GPU_CORES))


def _works(settings: Settings, images: int, layout: layouts.Layout) -> dict[str, Work]:
    network, runs = Network.of(settings), settings.runs
    shards = math.ceil(images / layout.shard_size)
    ranges = len(layout.ranges(images))
    figures = FIRST if layout.is_one(images) else {**RANGES, "split": FIRST["split"]}
    tasks = {"decode": min(ranges, MOST_TASKS), "duplicates": layout.buckets(images)}
    loads = {
        "features": Load("features", min(shards, MOST_TASKS), 0, images * settings.learned_views),
        "train": training(settings, runs, images),
        "logits": judging(settings, runs, images),
        "evaluate": Load("evaluate", 1, images),
        "gate": Load("gate", 1),
        "promote": Load("promote", 1),
    }
    works = {
        **{
            name: Work(count := tasks.get(name, 1), figure.start * count + figure.each * images)
            for name, figure in figures.items()
        },
        **{name: Work.of(load, network) for name, load in loads.items()},
    }
    works["logits"] = works["logits"]._replace(tasks=min(works["logits"].tasks, MOST_TASKS))
    if not works["logits"].tasks:  # then `evaluate` does this, too
        both = works.pop("logits").core_seconds + works["evaluate"].core_seconds
        works["evaluate"] = Work(1, both)
    return works


def _needs(settings: Settings, layout: layouts.Layout, *, apart: bool) -> dict[str, Needs]:
    packed = 3.1 * settings.packed_pixels  # bytes of an image in a shard
    # More than in a small set, whose shards may also be smaller than asked for.
    shard = packed * max(layout.shard_size - settings.shard_size, 0)
    alone = Needs(310 * MIB, 11e3, 0, packed, requests=25, shard_requests=4)
    kept = KEPT_BYTES[settings.strategy] * settings.learned_views
    runs, model = settings.runs, NETWORK_BYTES
    return {
        "listing": Needs(170 * MIB, 2.3e3, 0, 300, requests=12),
        "decode": alone._replace(memory=310 * MIB + 2 * shard, read=200, written=packed + 350),
        "ingest": Needs(310 * MIB, 1.5e3, 4.8e3, 4.7e3, requests=45) if apart else alone,
        # Thumbnails: a task needs those of some 42 buckets; each worker reads most of them once.
        "duplicates": Needs(380 * MIB, 0, 4.1e3, 1, 4.1e6, requests=60, copied=172e3),
        "validate": Needs(360 * MIB, 1.6e3, 310, 400, requests=20)
        if apart
        else Needs(360 * MIB, 13e3, 4.4e3, 400, requests=30, shard_requests=2),
        "split": Needs(360 * MIB, 0.9e3, 310, 350, requests=16),
        "features": Needs(
            1540 * MIB + shard, 0, packed, kept, model, shard_requests=19, copied=packed
        ),
        "train": Needs(
            *(1540 * MIB, ROW_BYTES, kept * runs, 0, 0, 1.6e6, 30, runs), copied=kept or packed
        ),
        "logits": Needs(1540 * MIB, ROW_BYTES, kept, 8 * runs, 0, 0, 20, 4, copied=kept or packed),
        "evaluate": Needs(2130 * MIB, 5 * ROW_BYTES, 1e3, 200, 0, model, 56),
        "gate": Needs(600 * MIB, 1e3, 300, 40, 0, 0.3e6, 65, 2),
        "promote": Needs(1200 * MIB, 0, 0, 0, model, model, 180, 8),
    }


def _step(name: str, work: Work, needs: Needs, images: int, shards: int, slots: int) -> Step:
    of_task = work.core_seconds / work.tasks
    # Each run reads all images, and each part the table of all.
    known = images if name in {"train", "logits"} else images / work.tasks
    of_its_own = images if name == "train" else images / work.tasks
    return Step(
        name=name,
        tasks=work.tasks,
        core_seconds=work.core_seconds,
        seconds=simulated([of_task] * work.tasks, slots),
        memory=needs.memory + needs.memory_each * known,
        disk=needs.copied * of_its_own,
        read=needs.read * images + needs.fixed_read * work.tasks,
        written=needs.written * images + needs.fixed_written * work.tasks,
        requests=needs.requests * work.tasks + needs.shard_requests * shards,
    )


def simulated(tasks: list[float], slots: int) -> float:
    """Returns the wall time of tasks of the given core-seconds, in the order of the list.

    The scheduler hands out `STARTED_A_SECOND` of them, each to the slot that is free first, where
    it takes `TASK_SECONDS` until its work begins.

    Args:
        tasks: The core-seconds of each task.
        slots: How many run at once, each on a core of its own.
    """
    free = [0.0] * min(slots, len(tasks))
    end = 0.0
    for number, seconds in enumerate(tasks):
        ready = GAP_SECONDS + number / STARTED_A_SECOND
        done = max(heapq.heappop(free), ready) + TASK_SECONDS + seconds
        heapq.heappush(free, done)
        end = max(end, done)
    return end
