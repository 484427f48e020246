"""Two runs on bad days of two Celery workers, each of which has what a machine has for itself: a
network of its own to S3, a small disk, a clock. The tests are one story, told in order; each needs
those before it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import boto3
import pytest
import requests
from cluster import DAG, PATIENCE, WORKERS, Cluster, Missing, cluster
from harm import Line, SmallDisk, clock, wrong_clock
from local_airflow import ApiError
from released import opened
from servers import proxy

from skin_pipeline import journal
from skin_pipeline.contracts import COST, Cost, parse
from skin_pipeline.release import Model
from skin_pipeline.storage import Store, open_store

pytestmark = [pytest.mark.cluster, pytest.mark.exhaustive, pytest.mark.timeout(1800)]

MODEL = "skin-resnet50-synthetic"
QUICK = {
    **{"SKIN_DATA": "demo", "SKIN_WEIGHTS": "none", "SKIN_STRATEGY": "head", "SKIN_SCHEDULE": ""},
    **{"SKIN_IMAGE_SIZE": "64", "SKIN_VIEWS": "1", "SKIN_RUNS": "4", "SKIN_MIN_RUNS": "4"},
    **{"SKIN_SHARD_SIZE": "100", "SKIN_EPOCHS": "10", "SKIN_THREADS": "1"},
    **{"SKIN_MIN_ACCURACY": "0.5", "SKIN_MIN_SENSITIVITY": "0.5", "SKIN_MIN_AUC_CHANGE": "-1"},
    # What is judged and released is so by the worker whose clock is wrong.
    "SKIN_QUEUES": "gate=special, promote=special",
}
ENDED = {"success", "skipped", "failed", "upstream_failed"}
WRONG = -600  # seconds by which the clock of the worker `two` is off
S3_AWAY, LINE_CUT, POSTGRES_AWAY = 30.0, 40.0, 60.0  # seconds

# Writes an object, and says what came of it.
PUT = """
import json, sys
from skin_pipeline.errors import PipelineError
from skin_pipeline.storage import open_store

url, endpoint, credentials, key = sys.argv[1:]
store = open_store(url, endpoint=endpoint, credentials=json.loads(credentials))
try:
    store.put(key, b"x")
    print("written")
except PipelineError as problem:
    print(f"{type(problem).__name__}: {problem}")
"""

Found = list[dict[str, Any]]
Record = Callable[[str, object], None]


class Day:
    """The cluster, and what each worker has for itself."""

    def __init__(self, made: Cluster, stack: ExitStack) -> None:
        self.cluster = made
        self.lines: dict[str, Line] = {}
        self.disks: dict[str, SmallDisk] = {}
        for name in (f"worker-{name}" for name in WORKERS):
            worker = made.components[name]
            front = stack.enter_context(proxy(made.s3.endpoint))
            self.lines[name] = Line(front, worker)
            self.disks[name] = SmallDisk(worker, made.folder / name / "disk")


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    days: list[Day] = []
    try:
        with (
            ExitStack() as stack,
            cluster(QUICK, lambda made: days.append(Day(made, stack))),
        ):
            yield days[0]
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def running(day: Day) -> Cluster:
    return day.cluster


@pytest.fixture(scope="module")
def first(running: Cluster) -> str:
    """The run on the first bad day."""
    return running.trigger(seed=5)


@pytest.fixture(scope="module")
def second(running: Cluster, first: str) -> str:
    """A run on other images, which finds no result of the first; one worker's clock is wrong.

    Not in the first run: Airflow counts the time until the next try from when the worker says that
    the last one ended, so that on a slow clock all tries are over before S3 is back.
    """
    worker = running.components["worker-two"]
    worker.kill()
    wrong_clock(worker, WRONG, running.folder)
    worker.start()
    return running.trigger(seed=6)


def store_of(running: Cluster) -> Store:
    """The store as a program beside the cluster sees it, which may only read."""
    return open_store(
        f"s3://{running.s3.bucket}",
        endpoint=running.s3.endpoint,
        credentials=running.s3.reader_credentials,
    )


def model(running: Cluster) -> Model:
    return opened(store_of(running), name=MODEL)


def on(running: Cluster, run: str, task: str, host: str = "") -> dict[str, Any]:
    """Wait until a worker, or the one that is named, runs an instance of a task; the instance."""
    found: Found = []

    def runs() -> bool:
        found[:] = [
            item
            for item in running.tasks(run)
            if item["task_id"] == task
            and item["state"] == "running"
            and (item["hostname"] == host if host else item["hostname"])
        ]
        return bool(found)

    running.wait(runs, f"the start of {task} {host}")
    return found[0]


def of_step(running: Cluster, run: str, task: str) -> Found:
    return [item for item in running.tasks(run) if item["task_id"] == task]


def succeeded(running: Cluster, run: str, task: str) -> Found:
    """Wait until all instances of a task have succeeded; the instances."""
    found: Found = []

    def over() -> bool:
        found[:] = of_step(running, run, task)
        return all(item["state"] in ENDED for item in found)

    running.wait(over, f"the end of {task}", 2 * PATIENCE)
    assert {item["state"] for item in found} == {"success"}, told(running, run, task)
    return found


def last(running: Cluster, seconds: float) -> None:
    """Let time pass; what ends by itself meanwhile is started again."""
    end = time.monotonic() + seconds
    running.wait(lambda: time.monotonic() >= end, "the time", seconds + 60)


def told(running: Cluster, run: str, task: str) -> str:
    """What all tries of a task said: in S3, or on the disk of a worker that could not send it."""
    logs = running.folder.glob(f"worker-*/airflow/logs/*/run_id={run}/task_id={task}/**/*.log")
    kept = [path.read_text(errors="replace") for path in sorted(logs)]
    tries = [each for item in of_step(running, run, task) for each in running.tries(run, item)]
    return "\n".join([*kept, *(running.log(run, each) for each in tries)])


def errors_in(said: str) -> list[str]:
    """The messages of errors in logs, each once."""
    return sorted(set(re.findall(r'"exc_value":\s*"([^"]+)"', said)))


def failed_tries(running: Cluster, run: str, found: Found) -> Found:
    """The tries before the last one of each instance, with the worker that had them."""
    return [each for item in found for each in running.tries(run, item)[:-1]]


def noted(record: Record, fault: str, begun: float, tries: Found) -> None:
    """Say how long it took from a fault to the end of its step, and how many tries it cost."""
    took = round(time.monotonic() - begun)
    record(fault, f"{took} s")
    print(f"{fault}: {took} s from the fault to the end of the step, {len(tries)} tries lost")


def check(running: Cluster, runs: int) -> None:
    """Whether after so many runs nothing is lost and nothing is there twice."""
    found = model(running)
    assert len(found.versions()) == runs
    assert len(found.judgements()) == runs
    moves = [document.move for document in found.unverified.documents()]
    assert [move.number for move in moves] == [*range(runs, 0, -1)]
    assert len({move.version for move in moves}) == runs
    found.verify_alias()
    for version in found.versions():
        found.verify(version)


def written_at(running: Cluster, key: str) -> datetime:
    """When an object was written, by the clock of S3."""
    client = boto3.client("s3", endpoint_url=running.s3.endpoint, **running.s3.credentials)
    when: datetime = client.head_object(Bucket=running.s3.bucket, Key=key)["LastModified"]
    return when


def test_1_postgresql_is_stopped_for_a_minute(
    running: Cluster, first: str, record_property: Record
) -> None:
    on(running, first, "ingest")
    begun = time.monotonic()
    running.components["postgres"].stop()
    with pytest.raises((ApiError, requests.RequestException)):
        running.state(first)
    last(running, POSTGRES_AWAY - (time.monotonic() - begun))
    running.components["postgres"].start()
    found = succeeded(running, first, "ingest")
    noted(record_property, "PostgreSQL away", begun, failed_tries(running, first, found))


def test_2_s3_is_away_while_features_are_computed(
    running: Cluster, first: str, record_property: Record
) -> None:
    on(running, first, "features")
    begun = time.monotonic()
    running.s3.kill()
    last(running, S3_AWAY)
    running.s3.restart()
    found = succeeded(running, first, "features")
    assert len(found) == 6
    lost = failed_tries(running, first, found)
    said = told(running, first, "features")
    assert lost, said
    assert any("now: no answer (" in error for error in errors_in(said)), said
    noted(record_property, "S3 away in features", begun, lost)


def test_3_a_worker_alone_has_no_network_to_s3(
    day: Day, running: Cluster, first: str, record_property: Record
) -> None:
    alone = on(running, first, "train")["hostname"]
    line = day.lines[alone]
    begun = time.monotonic()
    line.cut()
    running.wait(lambda: line.lost, "a request that is lost")
    last(running, LINE_CUT)
    line.mend()
    found = succeeded(running, first, "train")
    lost = failed_tries(running, first, found)
    assert {each["hostname"] for each in lost} == {alone}, told(running, first, "train")
    noted(record_property, "a worker's line to S3 cut", begun, lost)


def test_4_packets_of_a_worker_to_s3_are_lost(
    day: Day, running: Cluster, first: str, record_property: Record
) -> None:
    alone = on(running, first, "evaluate")["hostname"]
    line = day.lines[alone]
    begun = time.monotonic()
    line.silence()
    running.wait(lambda: line.lost, "a piece that is held")
    last(running, LINE_CUT)
    line.mend()
    found = succeeded(running, first, "evaluate")
    noted(record_property, "a worker's packets lost", begun, failed_tries(running, first, found))


def test_5_the_first_bad_day_ends_well(running: Cluster, first: str) -> None:
    running.succeed(first, 2 * PATIENCE)
    check(running, 1)


def test_6_the_disk_of_a_worker_is_full(
    day: Day, running: Cluster, second: str, record_property: Record
) -> None:
    on(running, second, "split")
    disk = day.disks["worker-one"]
    disk.lose_copies()  # so that it needs some, and has no old ones that could make room
    disk.fill()
    begun = time.monotonic()
    found = succeeded(running, second, "features")
    said = told(running, second, "features")
    assert re.search(r"given_back times=1 most=\d+ reason=.{1,3}no space left for ", said), said
    # All that the full disk stopped was done elsewhere, and cost no try.
    assert {item["hostname"] for item in found} == {"worker-two"}
    disk.free()
    noted(record_property, "a worker's disk full", begun, failed_tries(running, second, found))


def test_7_the_other_worker_goes_on_from_a_checkpoint_of_a_wrong_clock(
    day: Day, running: Cluster, second: str, record_property: Record
) -> None:
    line, worker = day.lines["worker-two"], running.components["worker-two"]
    line.silence_at(b"/checkpoints/000003.npz")
    lost = line.lost
    running.wait(lambda: line.lost > lost, "two epochs on the worker with the wrong clock")
    begun = time.monotonic()
    worker.kill()
    line.mend()
    found = succeeded(running, second, "train")
    worker.start()
    again = [item for item in found if item["try_number"] > 1]
    assert {item["hostname"] for item in again} == {"worker-one"}
    assert "resumed run=" in told(running, second, "train")
    lost_tries = failed_tries(running, second, found)
    noted(record_property, "a worker with a wrong clock killed", begun, lost_tries)


def test_8_the_copies_of_a_worker_are_removed_while_it_evaluates(
    day: Day, running: Cluster, second: str, record_property: Record
) -> None:
    disk = day.disks[on(running, second, "evaluate")["hostname"]]
    begun = time.monotonic()
    assert disk.lose_copies()
    found = succeeded(running, second, "evaluate")
    assert disk.copies(), "nothing was fetched again"
    noted(record_property, "a cold cache", begun, failed_tries(running, second, found))


def test_9_the_second_bad_day_ends_well_and_the_wrong_clock_is_in_no_order(
    running: Cluster, first: str, second: str
) -> None:
    tasks = running.succeed(second, 2 * PATIENCE)
    hosts = {item["task_id"]: item["hostname"] for item in tasks}
    assert hosts["gate"] == hosts["promote"] == "worker-two"
    check(running, 2)
    store = store_of(running)
    noted_keys = journal.of_run(store, second)
    assert noted_keys
    cost = f"{noted_keys.verdict}/{COST}"
    said = datetime.fromisoformat(parse(store.read(cost), Cost, cost).finished_at)
    assert abs((said - written_at(running, cost)).total_seconds() - WRONG) < 60
    (move, _) = [document.move for document in model(running).unverified.documents()]
    key = f"models/{MODEL}/champion.json"
    off = datetime.fromisoformat(move.moved_at) - written_at(running, key)
    assert abs(off.total_seconds() - WRONG) < 60
    # What puts the history in order are numbers, and the time at which Airflow began the run.
    starts = [running.api.get(f"dags/{DAG}/dagRuns/{run}")["run_after"] for run in (second, first)]
    judged = [judgement.judged_at for judgement in model(running).judgements()]
    assert judged == [start[:19] + "Z" for start in starts]


@pytest.mark.parametrize("minutes", [-10, 10, -20, 20])
def test_s3_takes_a_clock_that_is_ten_minutes_off_and_no_twenty(
    running: Cluster, minutes: int
) -> None:
    script = [sys.executable, "-c", PUT, f"s3://{running.s3.bucket}", running.s3.endpoint]
    done = subprocess.run(
        [*script, json.dumps(running.s3.credentials), f"clocks/{minutes}"],
        env={**os.environ, **clock(60 * minutes, running.folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    if abs(minutes) == 10:
        assert done.stdout == "written\n"
    else:
        assert done.stdout.startswith("UnavailableHere: cannot write clocks/")
        assert "Set the clock (RequestTimeTooSkewed)" in done.stdout
