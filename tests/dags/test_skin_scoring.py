"""The DAG `skin_scoring`, run by a real Airflow: from a folder and a bucket, cleared and killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pandas as pd
import psutil
import pytest
from airflow_home import put_database
from hostile_images import ATTACKS
from local_airflow import ApiError, LocalAirflow
from servers import Inbox, S3Server, webhook_inbox

from skin_pipeline import timing
from skin_pipeline.data import demo
from skin_pipeline.monitoring import score_log
from skin_pipeline.storage import FolderStore

if TYPE_CHECKING:
    from tests.conftest import Finished

pytestmark = pytest.mark.airflow

DAG = "dags/skin_scoring"
MODEL = "skin-resnet50-synthetic"
PATIENCE = 300.0  # seconds until a test that waits gives up
ENDED = {"success", "failed"}
CHUNK = 3  # images, so that a few of them are several chunks


@dataclass
class Run:
    """A run of the DAG that has ended."""

    id: str
    state: str
    tasks: dict[tuple[str, int], dict[str, Any]]

    def states(self, task: str) -> list[str]:
        return [item["state"] for (name, _), item in sorted(self.tasks.items()) if name == task]


@dataclass
class Place:
    """The Airflow of these tests, its store, and images in a folder and in a bucket."""

    airflow: LocalAirflow
    store: FolderStore
    folder: Path
    home: Path
    s3: S3Server
    alerts: Inbox

    def run(self, **conf: Any) -> Run:
        """Trigger the DAG, and wait for its end."""
        return self.ended(self.trigger(**conf))

    def trigger(self, **conf: Any) -> str:
        body = {"logical_date": None, "conf": {"model": MODEL, **conf}}
        run: str = self.airflow.api.post(f"{DAG}/dagRuns", body)["dag_run_id"]
        return run

    def ended(self, run: str) -> Run:
        path = f"{DAG}/dagRuns/{run}"
        self.wait(lambda: self.airflow.api.get(path)["state"] in ENDED)
        return Run(run, self.airflow.api.get(path)["state"], self.tasks(run))

    def tasks(self, run: str) -> dict[tuple[str, int], dict[str, Any]]:
        found = self.airflow.api.get(f"{DAG}/dagRuns/{run}/taskInstances?limit=100")
        return {(item["task_id"], item["map_index"]): item for item in found["task_instances"]}

    def wait(self, ready: Callable[[], object]) -> None:
        until = time.monotonic() + PATIENCE
        while not ready():
            self.airflow.check()
            assert time.monotonic() < until
            time.sleep(0.5)

    def log(self, run: Run | str, task: str, index: int = -1) -> str:
        """What the tries of a task have logged: events, and errors with them."""
        name = run if isinstance(run, str) else run.id
        folder = self.home / f"logs/dag_id=skin_scoring/run_id={name}/task_id={task}"
        if index >= 0:
            folder /= f"map_index={index}"
        lines = [
            line for path in sorted(folder.rglob("*.log")) for line in path.read_text().splitlines()
        ]
        told = [json.loads(line) for line in lines if line[:1] == "{"]
        return "\n".join(f"{item['event']} {item.get('error_detail', '')}" for item in told)

    def rows(self) -> pd.DataFrame:
        """All rows of the log."""
        keys = [key for item in score_log.batches(self.store, MODEL) for key in item.scores]
        return pd.concat([score_log.read(self.store, key) for key in keys], ignore_index=True)

    def add(self, name: str, data: bytes) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(data)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("drawn") / "images"
    demo.generate(folder, seed=11, per_class=6)
    return [p.read_bytes() for p in sorted(folder.rglob("*.*")) if p.suffix in {".jpg", ".png"}]


@pytest.fixture(scope="module")
def place(
    finished: Finished, tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server
) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("scoring")
    store = FolderStore(shutil.copytree(finished.root, base / "store"))
    (base / "new").mkdir()
    # A chunk is small here, as the images are few.
    dags = shutil.copytree(Path(__file__).parents[2] / "dags", base / "dags")
    with (dags / "skin_airflow.py").open("a") as shared:
        shared.write(
            "from skin_pipeline.data.sources import from_folder\n"
            "from skin_pipeline.monitoring import scoring\n"
            f"from_folder.UNSETTLED = 0.0\nscoring.CHUNK = {CHUNK}\n"
        )
    where = json.dumps({"endpoint_url": s3_server.endpoint, "region_name": "us-east-1"})
    reader = {"login": s3_server.reader_access_key, "password": s3_server.reader_secret}
    with webhook_inbox() as alerts:
        settings = {
            "SKIN_STORE": store.url,
            "SKIN_DATA_CONNECTION": "images",
            "SKIN_NOTIFY_CONNECTION": "alerts",
            "SKIN_PATHS": str(base),
            "SKIN_SCHEDULE": "",
            "SKIN_SCORING_SOURCE": str(base / "new"),
            "SKIN_RETRIES": "1",
            "AIRFLOW_CONN_IMAGES": json.dumps({"conn_type": "aws", **reader, "extra": where}),
            "AIRFLOW_CONN_ALERTS": json.dumps({"conn_type": "http", "host": alerts.url}),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
        }
        put_database(base / "airflow")
        with LocalAirflow(
            *("the tests of scoring",),
            home=base / "airflow",
            dags=dags,
            settings=settings,
            say=lambda text: None,
        ) as airflow:
            airflow.wait_for_dag("skin_scoring")
            airflow.api.patch(f"{DAG}?update_mask=is_paused", {"is_paused": False})
            yield Place(airflow, store, base / "new", base / "airflow", s3_server, alerts)


def test_the_form_can_be_sent_as_it_is_and_tells_what_it_asks(place: Place) -> None:
    dag = place.airflow.api.get(f"{DAG}/details")
    assert set(dag["params"]) == {"model", "alias", "source", "site"}
    for param in dag["params"].values():
        assert "null" in param["schema"]["type"]  # else an empty field disables the button
    assert dag["max_active_runs"] == 1
    tasks = place.airflow.api.get(f"{DAG}/tasks")["tasks"]
    for task in tasks:
        hours = task["execution_timeout"]["seconds"] / 3600 + task["execution_timeout"]["days"] * 24
        assert hours == pytest.approx(timing.LONGEST_HOURS[task["task_id"]], abs=0.1)
        assert task["doc_md"][0].isalpha()
    assert {task["task_id"] for task in tasks} == {"plan", "chunks", "score", "merge"}


def test_a_folder_is_scored_whatever_is_in_it(place: Place, images: list[bytes]) -> None:
    for number, data in enumerate(images[:7]):
        place.add(f"ward/{number}.jpg", data)
    place.add("ward/again.jpg", images[0])
    place.add("broken.jpg", b"\xff\xd8\xff\xe0 cut short")
    place.add("=1+1.jpg", ATTACKS[sorted(ATTACKS)[0]].make())
    place.add("notes.docx", b"no image")
    run = place.run()
    assert run.state == "success"
    assert run.states("score") == ["success"] * 4
    assert {run.tasks["score", n]["rendered_map_index"] for n in range(4)} == {
        "3 images",
        "1 image",
    }
    assert "result 7 images scored: " in place.log(run, "merge")
    assert "2 unreadable; 1 known already; by version" in place.log(run, "merge")
    assert ".docx" in place.log(run, "plan")
    assert "10 images to look at in 4 chunks, 0 known already" in place.log(run, "plan")
    table = place.rows()
    assert sorted(table["probability"].notna()) == [False] * 2 + [True] * 7
    assert table["digest"].is_unique
    (name,) = place.store.list(f"scoring/{MODEL}/tables")
    assert "'=1+1.jpg," in place.store.read(name).decode()


def test_the_batch_is_an_event_of_the_asset_of_the_model(place: Place) -> None:
    events = place.airflow.api.get("assets/events?limit=50")["asset_events"]
    (event,) = [item for item in events if item["name"] == f"skin-scores/{MODEL}"]
    assert event["extra"]["batch"] in place.store.list(f"scoring/{MODEL}/batches")
    assert event["source_task_id"] == "merge"


def test_a_run_with_nothing_new_is_green_and_tells_nobody(place: Place) -> None:
    before, told = place.store.list("scoring"), len(place.alerts.received)
    events = place.airflow.api.get("assets/events?limit=50")["total_entries"]
    run = place.run(source=None, alias=" ")
    assert run.state == "success"
    assert run.states("merge") == ["skipped"]
    # Without a chunk Airflow skips `merge` by itself, so it is `plan` that says it.
    assert "0 images to look at in 0 chunks, 10 known already" in place.log(run, "plan")
    new = set(place.store.list("scoring")) - set(before)
    assert {key.split("/")[2] for key in new} <= {"plans", "chunks", "ledger"}
    assert place.airflow.api.get("assets/events?limit=50")["total_entries"] == events
    assert len(place.alerts.received) == told


def test_clearing_does_nothing_twice(place: Place) -> None:
    runs = place.airflow.api.get(f"{DAG}/dagRuns?order_by=start_date&limit=1")["dag_runs"]
    run, before = runs[0]["dag_run_id"], place.store.list("scoring")
    body = {"dry_run": False, "dag_run_id": run, "only_failed": False, "task_ids": ["score"]}
    place.airflow.api.post(f"{DAG}/clearTaskInstances", {**body, "include_downstream": True})
    again = place.ended(run)
    assert again.state == "success"
    assert again.states("score") == ["success"] * 4
    assert "scored_already" in place.log(run, "score", 0)
    assert place.store.list("scoring") == before


def test_a_bucket_is_scored_once(place: Place, images: list[bytes]) -> None:
    prefix = uuid.uuid4().hex
    client = boto3.client(
        "s3",
        endpoint_url=place.s3.endpoint,
        aws_access_key_id=place.s3.access_key,
        aws_secret_access_key=place.s3.secret,
        region_name="us-east-1",
    )
    for number, data in enumerate(images[5:9]):  # two of them were in the folder
        key = f"{prefix}/a b/{number}.jpg"
        client.put_object(Bucket=place.s3.bucket, Key=key, Body=data)
    source = f"s3://{place.s3.bucket}/{prefix}/"
    run = place.run(source=source)
    assert "2 images scored: " in place.log(run, "merge")
    assert "2 known already" in place.log(run, "merge")
    again = place.run(source=source)
    assert again.states("merge") == ["skipped"]
    assert again.states("score") == ["skipped"]  # there was none: Airflow shows the step itself
    assert place.rows()["digest"].is_unique


def test_a_worker_that_is_killed_loses_nothing(place: Place, images: list[bytes]) -> None:
    for number, data in enumerate(images[9:]):
        place.add(f"late/{number}.jpg", data)
    run = place.trigger()
    victims: list[psutil.Process] = []

    def scoring() -> bool:
        """A task process that has loaded the network, or is about to."""
        task = place.tasks(run).get(("score", 0), {})
        if task.get("state") != "running" or not task.get("pid"):
            return False
        victims[:] = [psutil.Process(task["pid"])]
        return True

    place.wait(scoring)
    os.kill(victims[0].pid, signal.SIGKILL)
    ended = place.ended(run)
    assert ended.state == "success"
    assert ended.tasks["score", 0]["try_number"] == 2
    assert "3 images scored: " in place.log(run, "merge")
    assert place.rows()["digest"].is_unique


def test_two_runs_at_once_give_no_image_two_rows(place: Place, images: list[bytes]) -> None:
    for number in range(4):
        place.add(f"twice/{number}.jpg", images[number] + b"another")
    before = len(place.rows())
    first, second = place.trigger(), place.trigger()
    assert {place.ended(first).state, place.ended(second).state} == {"success"}
    table = place.rows()
    assert len(table) == before + 4
    assert table["digest"].is_unique


def test_a_run_that_cannot_score_is_told_once_and_its_end_too(place: Place) -> None:
    before = len(place.alerts.received)  # what other tests let fail was told then

    def states() -> list[str]:
        posts = (post.json for post in place.alerts.received[before:])
        return [post["state"] for post in posts if post["event"] == "scoring_failed"]

    for model, said in (("no-such-model", "Promote a version first"), (MODEL, "nothing-here")):
        failed = place.run(model=model, source=str(place.folder / "nothing-here"))
        assert failed.state == "failed"
        assert failed.tasks["plan", -1]["try_number"] == 1
        assert failed.states("merge") == ["upstream_failed"]
        assert said in place.log(failed, "plan")
    place.wait(lambda: "open" in states())
    assert states() == ["open"]  # the second time is counted
    assert place.run().state == "success"
    place.wait(lambda: states() == ["open", "over"])


def test_without_a_source_it_says_what_to_set(place: Place) -> None:
    with pytest.raises(ApiError):  # a misspelt alias is refused before the run begins
        place.trigger(alias="no alias!")
