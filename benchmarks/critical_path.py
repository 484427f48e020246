"""The wall time of a whole `head` run, task by task, against its forward passes alone.

Each task is a process of its own, as Airflow starts it, so that imports count; of mapped tasks, two
run at a time with a core each, as on `make up`. With `--airflow` a local Airflow runs the DAG
instead, and the time between tasks counts too.

The floor is what the frozen network alone would take for the same images and views: by the engine
of the run, with all cores, in one process. It is measured on some batches of the run's own images,
between the features and the training, and multiplied out. The ratio should be under 1.5.

On a machine that others use too, `core_ratio` says more: the same from core seconds, of which those
of mapped tasks are shared by two, and those of the forward passes by all cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measuring import apart, folder_of, parser, report

from skin_pipeline import arrays
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Dataset, Split, load
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import open_store
from skin_pipeline.training import features, graphs, pretrained, strategies, views

TOGETHER = 2  # mapped tasks at a time
MAPPED = {"features", "train"}
ALONE = {"ingest", "evaluate"}  # steps that are given all cores, as `make up` does
BESIDE = ("engine", ("validate", "split"))  # a step, and those that run meanwhile
BATCHES = 40  # that the floor is measured on
ENDED = {0, 3}  # done, or refused by the gate


class Taken(NamedTuple):
    """What a step took: wall time from its first task to its last, and core seconds of all."""

    seconds: float
    core_seconds: float


class Run:
    """One run of the workflow on an empty store, with what each of its steps took."""

    def __init__(self, store: Path, settings: dict[str, Any]) -> None:
        self.store = f"file://{store}"
        self.taken: dict[str, Taken] = {}
        self.floor, self.total = Taken(0.0, 0.0), 0.0
        self._cores: dict[str, float] = defaultdict(float)
        self._flags = [f"--{name}={value}" for name, value in settings.items()]
        self._environment = {**os.environ, "SKIN_STORE": self.store}

    def step(self, name: str, *arguments: str) -> list[str]:
        """Runs a task; returns the keys that it prints."""
        return self.mapped(name, [arguments])[0]

    def mapped(self, name: str, each: Iterable[Sequence[str]]) -> list[list[str]]:
        """Runs a task for each list of arguments; returns the keys that each prints."""
        start = time.perf_counter()
        with ThreadPoolExecutor(TOGETHER) as pool:
            found = list(pool.map(lambda arguments: self._process(name, arguments), each))
        self.taken[name] = Taken(time.perf_counter() - start, self._cores[name])
        return found

    def _process(self, name: str, arguments: Sequence[str]) -> list[str]:
        command = [sys.executable, "-m", "skin_pipeline", name, *arguments, *self._flags]
        threads = max(1, (os.cpu_count() or 1) // (1 if name in ALONE else TOGETHER))
        environment = {**self._environment, "SKIN_THREADS": str(threads)}
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True
            )
            assert process.stdout is not None
            keys = process.stdout.read().split()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            assert process.returncode in ENDED, said.read()[-2000:]
        self._cores[name] += used.ru_utime + used.ru_stime
        return keys


def of_processes(folder: Path, settings: dict[str, Any]) -> Run:
    """Runs all steps, each task in a process of its own."""
    run, start = Run(folder / "store", settings), time.perf_counter()
    dataset, weights = run.step("ingest")
    # Beside each other, as Airflow runs them: only the features need to know the engine.
    with ThreadPoolExecutor(1) as beside:
        engine = beside.submit(run.step, "engine", dataset, weights)
        (validation,) = run.step("validate", dataset)
        (split,) = run.step("split", validation)
    (weights,) = engine.result()
    shards = len(load(open_store(run.store), dataset, Dataset).shards)
    found = run.mapped("features", [(split, weights, str(shard)) for shard in range(shards)])
    (index,) = run.step("index", *(key for (key,) in found))
    meanwhile = time.perf_counter()
    run.floor = apart(floor, run.store, settings, split, weights).returned
    start += time.perf_counter() - meanwhile
    runs = range(Settings(**settings).runs)
    trained = run.mapped("train", [(split, str(number), index) for number in runs])
    (evaluation,) = run.step("evaluate", split, validation, *(key for (key,) in trained))
    (verdict,) = run.step("gate", evaluation, validation)
    run.step("promote", verdict)
    run.total = time.perf_counter() - start
    return run


def floor(store: str, settings: dict[str, Any], split: str, weights: str) -> Taken:
    """Returns what the forward passes of a run's images in all views take."""
    known, deployment = Settings(**settings), Deployment(store=store, threads=os.cpu_count() or 1)
    job = Job(known, deployment, open_store(store))
    dataset = job.load(job.load(split, Split).dataset, Dataset)
    trunk = pretrained.trunk_of(known.backbone, weights, known.stages_read)
    kinds = strategies.CACHED[known.strategy]
    forward = graphs.runner_of(Work(job, "floor"), dataset, trunk, kinds).forward()
    seen = views.views_of(views.learned_from(known))
    pixels = arrays.loaded(job.store, dataset.shards[0])
    batch_size, times, cores = features.BATCH, [], []
    for number in range(1 + BATCHES):
        rows = np.arange(number * batch_size, (number + 1) * batch_size) % len(pixels)
        batch = seen[number % len(seen)].of(pixels[rows])
        start, used = time.perf_counter(), time.process_time()
        for values in forward(batch).values():
            np.asarray(values)
        times.append(time.perf_counter() - start)
        cores.append(time.process_time() - used)
    # The first batch is compiled. The mean, since what disturbs the run disturbs this too.
    each = dataset.images * len(seen) / batch_size
    return Taken(*(statistics.mean(measured[1:]) * each for measured in (times, cores)))


def of_airflow(folder: Path, settings: dict[str, Any]) -> Run:
    """Runs the DAG on a local Airflow."""
    sys.path.append(str(Path(__file__).parents[1] / "scripts"))
    import demo
    from local_airflow import LocalAirflow

    run = Run(folder / "store", settings)
    known = {"SKIN_STORE": run.store, "SKIN_PATHS": "/", **demo.AIRFLOW}
    with LocalAirflow("make bench", home=folder / "airflow", settings=known) as airflow:
        airflow.wait_for_dag(demo.DAG)
        airflow.api.patch(f"dags/{demo.DAG}?update_mask=is_paused", {"is_paused": False})
        asked = {"logical_date": None, "conf": demo.parameters(run._flags)}
        path = f"dags/{demo.DAG}/dagRuns"
        follower = demo.Follower(airflow, airflow.api.post(path, asked)["dag_run_id"])
        for line in follower.lines():
            print(line, flush=True)
        path = f"{path}/{follower.run}"
        tasks = airflow.api.get(f"{path}/taskInstances?limit=100")["task_instances"]
        found = airflow.api.get(path)
    assert found["state"] == "success", follower.errors
    run.taken = taken_by(tasks)
    split, weights = _of_features(run)
    run.floor = apart(floor, run.store, settings, split, weights).returned
    run.total = _moment(found["end_date"]) - _moment(found["start_date"])
    return run


def taken_by(tasks: Iterable[dict[str, Any]]) -> dict[str, Taken]:
    """Returns what each step took, from its first task to its last, as Airflow recorded it."""
    begun: dict[str, list[float]] = defaultdict(list)
    ended: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        if task["state"] == "success" and task["start_date"]:
            begun[task["task_id"]].append(_moment(task["start_date"]))
            ended[task["task_id"]].append(_moment(task["end_date"]))
    names = sorted(begun, key=lambda name: min(begun[name]))
    return {name: Taken(max(ended[name]) - min(begun[name]), 0.0) for name in names}


def _of_features(run: Run) -> tuple[str, str]:
    """Returns the key of the split, and the weights behind their engine, by the finished run."""
    store = open_store(run.store)
    (weights,) = run._process("engine", run._process("ingest", ()))
    splits = [key.removesuffix("/result.json") for key in store.list("split")]
    return next(key for key in splits if store.exists(f"{key}/result.json")), weights


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def core_ratio(run: Run) -> float | None:
    """Returns the ratio from core seconds, which are not known where Airflow started the tasks."""
    used = {
        name: taken.core_seconds / (TOGETHER if name in MAPPED else 1)
        for name, taken in run.taken.items()
    }
    if not any(used.values()):
        return None
    step, others = BESIDE
    path = sum(used.values()) - min(used[step], sum(used[name] for name in others))
    return round(path / (run.floor.core_seconds / (os.cpu_count() or 1)), 3)


def rows_of(run: Run) -> list[tuple[str, str]]:
    """Returns the table for people: the floor, and what each step took."""

    def told(taken: Taken) -> str:
        cores = f"  {taken.core_seconds:6.1f} core seconds" if taken.core_seconds else ""
        return f"{taken.seconds:6.1f} s  {taken.seconds / run.total:5.1%}{cores}"

    ratio = core_ratio(run)
    return [
        ("forward passes alone", told(run.floor)),
        *((name, told(taken)) for name, taken in run.taken.items()),
        *([("in core seconds", f"{ratio:.2f} times the floor")] if ratio else []),
        ("the run", f"{run.total:6.1f} s, {run.total / run.floor.seconds:.2f} times the floor"),
    ]


def main() -> None:
    """Measures both sides and reports the ratio."""
    flags = parser(str(__doc__))
    flags.add_argument("--airflow", action="store_true", help="run the DAG on a local Airflow")
    given = flags.parse_args()
    weights = str(given.weights.resolve()) if given.weights else "imagenet"
    with folder_of(given.data) as (data, name), tempfile.TemporaryDirectory() as scratch:
        settings = {"data": str(data.resolve()), "weights": weights}
        run = (of_airflow if given.airflow else of_processes)(Path(scratch), settings)
    report(
        rows_of(run),
        name="critical_path",
        value=round(run.total / run.floor.seconds, 3),
        unit="ratio",
        against="the forward passes of the same images and views alone",
        seconds=round(run.total, 1),
        core_ratio=core_ratio(run),
        floor_seconds=round(run.floor.seconds, 1),
        floor_core_seconds=round(run.floor.core_seconds, 1),
        steps={step: round(taken.seconds, 1) for step, taken in run.taken.items()},
        core_seconds={step: round(taken.core_seconds, 1) for step, taken in run.taken.items()},
        by="airflow" if given.airflow else "processes",
        data=name,
    )


if __name__ == "__main__":
    main()
