"""One run on two Celery workers that share only S3, and a second one on a bad day: each part of the
cluster is lost once. The tests are one story, told in order; each needs those before it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import HEARTBEAT_SECONDS, WORKERS, Cluster, Component, Missing, cluster
from released import opened

from skin_pipeline.release import Model
from skin_pipeline.storage import open_store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

MODEL = "skin-resnet50-synthetic"
QUICK = {
    **{"SKIN_DATA": "demo", "SKIN_WEIGHTS": "none", "SKIN_STRATEGY": "head", "SKIN_SCHEDULE": ""},
    **{"SKIN_IMAGE_SIZE": "64", "SKIN_VIEWS": "1", "SKIN_RUNS": "4", "SKIN_MIN_RUNS": "4"},
    **{"SKIN_REGIONS": "centre", "SKIN_CORRUPTED": "0"},
    **{"SKIN_SHARD_SIZE": "100", "SKIN_EPOCHS": "10", "SKIN_THREADS": "1"},
    "SKIN_QUEUES": "gate=special",  # which one of the workers listens to
    **{"SKIN_MIN_ACCURACY": "0.5", "SKIN_MIN_SENSITIVITY": "0.5", "SKIN_MIN_AUC_CHANGE": "-1"},
}
ENDED = {"success", "skipped", "failed", "upstream_failed"}
AWAY = 15.0  # seconds without a part that everything needs


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    try:
        with cluster(QUICK) as made:
            yield made
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def bad_day(running: Cluster) -> str:
    """A run on other images, which finds no result of the one before."""
    return running.trigger(seed=5)


def model(running: Cluster) -> Model:
    """The model as a program beside the cluster sees it, which may only read."""
    store = open_store(
        f"s3://{running.s3.bucket}",
        endpoint=running.s3.endpoint,
        credentials=running.s3.reader_credentials,
    )
    return opened(store, name=MODEL)


def started(running: Cluster, run: str, task: str) -> dict[str, Any]:
    """Wait until a worker runs an instance of a task; the instance."""
    found: list[dict[str, Any]] = []

    def runs() -> bool:
        found[:] = filter(None, [running.running(run, task)])
        return bool(found)

    running.wait(runs, f"the start of {task}")
    return found[0]


def succeeded(running: Cluster, run: str, task: str) -> list[dict[str, Any]]:
    """Wait until all instances of a task have succeeded; the instances."""
    found: list[dict[str, Any]] = []

    def over() -> bool:
        found[:] = [item for item in running.tasks(run) if item["task_id"] == task]
        return all(item["state"] in ENDED for item in found)

    running.wait(over, f"the end of {task}")
    assert {item["state"] for item in found} == {"success"}, task
    return found


def lose(part: Component) -> None:
    """Kill a part of the cluster, and start it again after a while."""
    part.kill()
    time.sleep(AWAY)
    part.start()


def test_1_a_run_is_shared_by_both_workers_and_promoted_in_s3(running: Cluster) -> None:
    tasks = running.succeed(running.trigger())
    for step in ("features", "train"):
        hosts = {item["hostname"] for item in tasks if item["task_id"] == step}
        assert hosts == {f"worker-{name}" for name in WORKERS}, step
    assert {item["try_number"] for item in tasks if item["state"] == "success"} == {1}
    (gate,) = [item for item in tasks if item["task_id"] == "gate"]
    assert (gate["queue"], gate["hostname"]) == ("special", "worker-two")
    assert len(model(running).versions()) == 1
    model(running).verify_alias()


def test_2_logs_are_read_from_s3_when_the_workers_are_gone(running: Cluster) -> None:
    (run,) = (
        item["dag_run_id"] for item in running.api.get("dags/skin_training/dagRuns")["dag_runs"]
    )
    # `scored` is empty, so that no worker runs it.
    ended = [task for task in running.tasks(run) if task["state"] == "success" and task["hostname"]]
    assert len(ended) > 10
    # A worker sends the log of a task when it has done everything else for it.
    running.wait(lambda: all("result " in running.log(run, task) for task in ended), "all logs")
    for name in WORKERS:
        running.components[f"worker-{name}"].kill()
    for task in ended:
        assert "result " in running.log(run, task), task["task_id"]
    for name in WORKERS:
        running.components[f"worker-{name}"].start()


@pytest.mark.exhaustive
def test_3_a_worker_dies_in_ingest(running: Cluster, bad_day: str) -> None:
    killed = started(running, bad_day, "ingest")["hostname"]
    running.components[killed].kill()
    (found,) = succeeded(running, bad_day, "ingest")
    assert found["try_number"] == 2
    assert found["hostname"] != killed
    running.components[killed].start()


@pytest.mark.exhaustive
@pytest.mark.parametrize(("task", "part"), [("validate", "api-server"), ("split", "scheduler")])
def test_4_a_part_of_airflow_is_away_while_a_task_runs(
    task: str, part: str, running: Cluster, bad_day: str
) -> None:
    started(running, bad_day, task)
    lose(running.components[part])
    succeeded(running, bad_day, task)


@pytest.mark.exhaustive
def test_5_redis_loses_what_is_queued(running: Cluster, bad_day: str) -> None:
    started(running, bad_day, "features")
    subprocess.run([*running.redis, "FLUSHALL"], check=True, capture_output=True)
    assert len(succeeded(running, bad_day, "features")) == 6


def test_6_a_worker_dies_in_training_and_the_other_takes_its_runs(
    running: Cluster, bad_day: str
) -> None:
    victim = started(running, bad_day, "train")
    killed = victim["hostname"]
    running.components[killed].kill()
    begun = time.monotonic()
    found = succeeded(running, bad_day, "train")
    again = [item for item in found if item["try_number"] > 1]
    assert victim["map_index"] in {item["map_index"] for item in again}
    assert killed not in {item["hostname"] for item in again}
    assert time.monotonic() - begun > HEARTBEAT_SECONDS / 2  # it was noticed by its silence
    running.components[killed].start()


@pytest.mark.exhaustive
def test_7_postgresql_is_killed_and_away(running: Cluster, bad_day: str) -> None:
    started(running, bad_day, "evaluate")
    lose(running.components["postgres"])
    succeeded(running, bad_day, "evaluate")


@pytest.mark.exhaustive
def test_8_s3_is_away_in_promotion(running: Cluster, bad_day: str) -> None:
    started(running, bad_day, "promote")
    running.s3.kill()
    time.sleep(AWAY)
    running.s3.restart()
    succeeded(running, bad_day, "promote")


def test_9_after_all_that_nothing_is_lost_and_nothing_is_there_twice(
    running: Cluster, bad_day: str
) -> None:
    running.succeed(bad_day)
    found = model(running)
    assert len(found.versions()) == 2
    assert len(found.judgements()) == 2
    assert len(found.unverified.documents()) == 2
    found.verify_alias()
    for version in found.versions():
        found.verify(version)
