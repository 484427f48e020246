"""The containers of docker-compose.yaml, as a team starts them: `make compose-test`.

A run on real images over two workers, read from outside; then a bad day; then nothing is left. The
tests are one story, told in order; each needs those before it. They need Docker, or root on Debian
to start it (`apt-get install docker.io runc iptables debootstrap`), some 20 GB of disk, and 20
minutes. What stands in for what: tests/support/stand_ins.py.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pictures import open_browser
from released import opened
from stack import Stack, stack
from stand_ins import Missing

from skin_pipeline.release import Model
from skin_pipeline.storage import open_store

pytestmark = [pytest.mark.stack, pytest.mark.timeout(2400)]

PATIENCE = 180_000  # milliseconds for a page; everything shares the cores
MANY = 60  # images of a class
STEPS = ("features", "train")  # that both workers share
WORKERS = ("worker-1", "worker-2")
SETTINGS = {
    **{"SKIN_PATHS": "/images, /weights", "SKIN_DATA": "/images", "SKIN_STRATEGY": "head"},
    **{"SKIN_WEIGHTS": "/weights/resnet50_notop.weights.h5", "SKIN_IMAGE_SIZE": "96"},
    **{"SKIN_VIEWS": "1", "SKIN_RUNS": "4", "SKIN_MIN_RUNS": "4", "SKIN_SHARD_SIZE": "20"},
    **{"SKIN_EPOCHS": "10", "SKIN_MIN_AUC_CHANGE": "-1", "SKIN_MIN_ACCURACY": "0.1"},
    **{"SKIN_MIN_SENSITIVITY": "0.1", "SKIN_MAX_GROUP_SHARE": "1"},
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # What Redis lost is queued again after 10 minutes, if nobody says otherwise.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}
ENDED = {"success", "skipped", "failed", "upstream_failed"}
BEGUN, OURS = "allowed seconds", "result "  # what a step says first and last


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Some of the real images with their table, and the real weights; where they are mounted."""
    (source,) = (shared / "data/kaggle").iterdir()
    folder = tmp_path_factory.mktemp("images")
    for label in ("benign", "malignant"):
        (folder / label).mkdir(mode=0o755)
        for image in sorted((source / label).iterdir())[:MANY]:
            shutil.copy(image, folder / label)
    kept = {image.stem for image in folder.rglob("*.jpg")}
    with (source / "b584m584.csv").open() as table, (folder / "table.csv").open("w") as some:
        rows = csv.DictReader(table)
        writer = csv.DictWriter(some, rows.fieldnames or [])
        writer.writeheader()
        writer.writerows(row for row in rows if row["image_name"] in kept)
    folder.chmod(0o755)  # for the user of the containers
    return {folder: "/images", shared / "weights": "/weights"}


@pytest.fixture(scope="module")
def running(real: dict[Path, str]) -> Iterator[Stack]:
    try:
        with stack(SETTINGS, real) as made:
            yield made
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def first(running: Stack) -> str:
    """The run of a good day."""
    running.begin()
    return running.trigger()


@pytest.fixture(scope="module")
def bad_day(running: Stack) -> str:
    """A run with other settings, which finds no result of the one before. Its model sees images of
    another size, in which the champion cannot be compared with it, so it is refused."""
    return running.trigger(seed=5, image_size=80)


def model(running: Stack) -> Model:
    """The model as a person with the reader's keys gets it through the published port."""
    store = open_store("s3://models", endpoint=running.s3, credentials=running.keys("s3_reader"))
    return opened(store, name="skin-resnet50")


def started(running: Stack, run: str, task: str) -> dict[str, Any]:
    """Wait until a worker runs an instance of a task; the instance."""
    found: list[dict[str, Any]] = []

    def runs() -> bool:
        """A task that is quicker than the look at it is as good."""
        found[:] = filter(None, [running.running(run, task)])
        found.extend(
            item
            for item in running.tasks(run)
            if not found and item["task_id"] == task and item["state"] == "success"
        )
        return bool(found)

    running.wait(runs, f"the start of {task}", 900)
    return found[0]


def succeeded(running: Stack, run: str, task: str) -> list[dict[str, Any]]:
    """Wait until all instances of a task have succeeded; the instances."""
    found: list[dict[str, Any]] = []

    def over() -> bool:
        found[:] = [item for item in running.tasks(run) if item["task_id"] == task]
        return bool(found) and all(item["state"] in ENDED for item in found)

    running.wait(over, f"the end of {task}", 900)
    assert {item["state"] for item in found} == {"success"}, task
    return found


def test_1_one_command_starts_it_all_and_says_where_it_is(running: Stack) -> None:
    said = running.make("compose-up", "--minutes 15")
    assert f"All of it is healthy: {running.api.url}" in said
    running.login()
    running.wait(running.healthy, "a healthy Airflow")
    for name, container in running.containers().items():
        if name in {"volumes", "airflow-init"}:
            assert container["State"]["ExitCode"] == 0, name
            continue
        assert container["State"]["Health"]["Status"] == "healthy", name
        assert container["Config"]["User"].split(":")[0] not in {"", "0"}, name
        assert container["HostConfig"]["ReadonlyRootfs"], name
        ports = container["NetworkSettings"]["Ports"] or {}
        for published in filter(None, ports.values()):
            assert {each["HostIp"] for each in published} == {"127.0.0.1"}, name


def test_2_the_log_of_a_running_task_is_read_though_its_worker_has_no_secret_of_the_pages(
    running: Stack, first: str
) -> None:
    seen: list[str] = []

    def reads() -> bool:
        """Read the log while the task runs, before and after which it is asked for its state."""
        task = running.running(first, "features")
        if not task:
            return False
        said = running.log(first, task)
        now = running.running(first, "features")
        seen[:] = [said] if now and BEGUN in said and now["id"] == task["id"] else []
        return bool(seen)

    running.wait(reads, "the log of a running task", 900)
    assert OURS not in seen[0]  # it had not ended
    assert re.search(r"http://worker-[12]\.logs:8793/", seen[0])
    for worker in WORKERS:
        held = running.compose("exec", worker, "ls", "/run/secrets").split()
        assert sorted(held) == ["broker_url", "result_backend", "s3_log_writer", "s3_writer"]
        mounts = running.containers()[f"{worker}-logs"]["Mounts"]
        (logs,) = [mount for mount in mounts if mount["Destination"] == "/opt/airflow/logs"]
        assert not logs["RW"]


def test_3_the_run_is_shared_by_both_workers_and_its_model_read_from_outside(
    running: Stack, first: str
) -> None:
    tasks = running.succeed(first, 1800)
    for step in STEPS:
        hosts = {item["hostname"] for item in tasks if item["task_id"] == step}
        assert hosts == {f"{worker}.logs" for worker in WORKERS}, step
        assert {item["queue"] for item in tasks if item["task_id"] == step} == {"training"}
    assert {item["queue"] for item in tasks if item["task_id"] == "gate"} == {"default"}
    found = model(running)
    assert len(found.versions()) == 1
    found.verify_alias()


def test_4_logs_are_read_when_the_workers_and_their_disks_are_gone(
    running: Stack, first: str
) -> None:
    # `scored` is empty, so that no worker runs it.
    by_workers = [item for item in running.tasks(first) if item["hostname"]]
    ended = [item for item in by_workers if item["state"] == "success"]
    # A worker sends the log of a task when it has done everything else for it.
    running.wait(lambda: all(OURS in running.log(first, task) for task in ended), "all logs")
    gone = ["volumes", *WORKERS, *(f"{worker}-logs" for worker in WORKERS)]
    running.compose("rm", "--stop", "--force", *gone)
    for worker in WORKERS:
        left = running.docker("run", "--rm", "--volume", f"{volume(worker)}:/l:ro", *FIND).split()
        assert not {log for log in left for sent in ended if log.endswith(path(sent))}
        running.docker("volume", "rm", volume(worker))
    for task in ended:
        said = running.log(first, task)
        assert OURS in said, task["task_id"]
        assert "s3://task-logs/" in said
    running.make("compose-up")


FIND = ("skin-pipeline:local", "find", "/l", "-type", "f", "-size", "+0")


def path(task: dict[str, Any]) -> str:
    """The file of a task's log, below that of its run."""
    part = f"map_index={task['map_index']}/" if task["map_index"] >= 0 else ""
    return f"/task_id={task['task_id']}/{part}attempt={task['try_number']}.log"


def volume(worker: str) -> str:
    return f"skin-stack-test_{worker}-logs"


def test_5_the_pages_show_it(
    running: Stack, first: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path(os.environ.get("SKIN_STACK_PICTURES", tmp_path_factory.mktemp("pictures")))
    url = running.api.url
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{url}/")
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill(running.secret("admin_password"))
        page.locator("input[type=submit], button[type=submit]").first.click()
        page.get_by_text("skin_training").first.wait_for()
        page.goto(f"{url}/dags/skin_training/runs/{first}")
        page.get_by_text("promote").first.wait_for()
        page.screenshot(path=folder / "run.png")
        page.goto(f"{url}/plugin/models")
        inner = page.frame_locator("iframe").get_by_text("skin-resnet50").first
        inner.wait_for()
        page.screenshot(path=folder / "models.png")
    assert all((folder / name).stat().st_size > 10_000 for name in ("run.png", "models.png"))


def test_6_nobody_but_the_pages_reaches_the_logs_and_no_worker_the_database(
    running: Stack,
) -> None:
    tried = (
        "import socket, sys\n"
        "for place in sys.argv[1:]:\n"
        "    try:\n"
        "        socket.create_connection((place.split(':')[0], int(place.split(':')[1])), 3)\n"
        "        print(place)\n"
        "    except OSError: pass\n"
    )
    places = ["worker-2.logs:8793", "postgres:5432", "redis:6379", "api-server:8080", "s3:8333"]

    def reached(service: str) -> set[str]:
        said = running.compose("exec", service, "python", "-c", tried, *places)
        return {place.split(":")[0] for place in said.split()}

    assert reached("worker-1") == {"redis", "api-server", "s3"}
    assert reached("api-server") == {"worker-2.logs", "postgres", "api-server", "s3"}
    assert reached("worker-1-logs") == {"worker-2.logs", "api-server"}
    without = requests.get(f"{running.s3}/task-logs", timeout=10)
    assert without.status_code == 403


def test_7_redis_loses_what_is_queued(running: Stack, bad_day: str) -> None:
    started(running, bad_day, "features")
    password = running.secret("redis.conf").splitlines()[0].removeprefix("requirepass ")
    asked = ["exec", "--env", f"REDISCLI_AUTH={password}", "redis", "redis-cli", "FLUSHALL"]
    assert "OK" in running.compose(*asked)
    succeeded(running, bad_day, "features")


def test_8_a_worker_dies_in_training_and_what_it_said_can_still_be_read(
    running: Stack, bad_day: str
) -> None:
    victim = started(running, bad_day, "train")
    killed = victim["hostname"].removesuffix(".logs")
    running.wait(lambda: BEGUN in running.log(bad_day, victim), "its first words")
    running.compose("kill", killed)
    found = succeeded(running, bad_day, "train")
    again = [item for item in found if item["map_index"] == victim["map_index"]]
    assert [item["hostname"] for item in again] != [victim["hostname"]]
    assert [item["try_number"] for item in again] == [2]
    assert BEGUN in running.log(bad_day, victim)  # its first try, which it never sent
    running.compose("start", killed)


def test_9_postgresql_restarts(running: Stack, bad_day: str) -> None:
    started(running, bad_day, "evaluate")
    running.compose("restart", "postgres")
    succeeded(running, bad_day, "evaluate")
    running.succeed(bad_day, 1800)


def test_10_after_all_that_nothing_is_lost_and_nothing_is_there_twice(running: Stack) -> None:
    found = model(running)
    assert (len(found.versions()), len(found.judgements())) == (1, 2)
    found.verify_alias()
    for version in found.versions():
        found.verify(version)
    running.wait(running.healthy, "a healthy Airflow")


def test_11_down_keeps_the_data_unless_it_is_told_to_remove_it(running: Stack) -> None:
    running.make("compose-down")
    assert {each.partition(" ")[0] for each in running.left()} == {"volume"}
    with pytest.raises(AssertionError, match="nothing was stopped or removed"):
        running.make("compose-down", "--volumes")  # nobody is there to answer
    running.make("compose-down", "--volumes --yes")
    assert running.left() == []
