"""The DAG run by a real Airflow: scheduler, tasks, connections, alerts."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import signal
import time
import uuid
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import weights_file
from airflow_home import put_database
from demo import Follower
from kaggle_server import KaggleServer
from leaks import files, leaks, objects, rows
from local_airflow import ApiError, LocalAirflow
from released import opened
from servers import HOST, Inbox, S3Server, free_ports, webhook_inbox

from skin_pipeline.config import Settings, form_schema, read_settings
from skin_pipeline.contracts import Dataset, Scored, Verdict, load
from skin_pipeline.data import demo as generator
from skin_pipeline.seeds import run_seed
from skin_pipeline.storage import Store, open_store

pytestmark = pytest.mark.airflow

KEY = "planted-secret-7f3a"
TOKEN = "planted/token+93d7"
WRONG = "planted/wr0ng+5c1e"
QUICK = {
    "data": "demo",
    "weights": "none",
    "strategy": "head",
    "image_size": 64,
    # One square of an image, where tests/dags/test_observed.py has the four of the defaults.
    **{"views": 1, "regions": "centre", "corrupted": 0},
    "shard_size": 160,  # four shards, which is more than MOST_MAPPED
    "runs": 2,
    "min_runs": 2,
    "epochs": 10,
    "target_sensitivity": 0.95,
    "min_accuracy": 0.5,
    "min_sensitivity": 0.5,
}
MOST_MAPPED = 3  # tasks of a step that this Airflow allows
ALL = {
    *("listing", "ingest", "engine", "validate", "split", "shards", "features", "runs"),
    *("train", "parts", "logits", "scored", "evaluate", "champion", "external"),
    *("gate", "promote", "reject"),
}
PATIENCE = 300.0  # seconds until a test that waits gives up


@dataclass
class Place:
    """The Airflow of these tests, all that it talks to, its folder, and a weight file."""

    airflow: LocalAirflow
    kaggle: KaggleServer
    alerts: Inbox
    s3: S3Server
    store: Store
    folder: Path
    weights: Path

    def run(self, **changes: Any) -> Follower:
        """Trigger the DAG, follow it to its end."""
        follower = self.trigger(**changes)
        for _ in follower.lines():
            pass
        return follower

    def trigger(self, **changes: Any) -> Follower:
        """Trigger the DAG."""
        run = self.airflow.api.post(
            "dags/skin_training/dagRuns", {"logical_date": None, "conf": {**QUICK, **changes}}
        )
        return Follower(self.airflow, run["dag_run_id"])

    @contextmanager
    def changed(self, connection: str, **changes: str) -> Generator[None, None, None]:
        """While the block runs, a connection in Airflow's database has other fields."""
        usual = connections(self.s3, self.alerts)[connection]
        path = f"connections/{connection}"
        self.airflow.api.patch(path, {**usual, **changes})
        try:
            yield
        finally:
            self.airflow.api.patch(path, usual)

    @contextmanager
    def slots(self, number: int) -> Generator[None, None, None]:
        """While the block runs, so many tasks that compute run at once."""
        path = "pools/training"
        usual = self.airflow.api.get(path)["slots"]
        pool = {"pool": "training", "include_deferred": False}  # Airflow wants all of it
        self.airflow.api.patch(f"{path}?update_mask=slots", {**pool, "slots": number})
        try:
            yield
        finally:
            self.airflow.api.patch(f"{path}?update_mask=slots", {**pool, "slots": usual})

    @property
    def secrets(self) -> dict[str, str]:
        """What Airflow was given to keep to itself."""
        s3 = {"store": self.s3.secret, "images": self.s3.reader_secret}
        return {**s3, "kaggle": KEY, "alerts": TOKEN, "wrong": WRONG}

    @property
    def written(self) -> dict[str, Iterator[bytes]]:
        """Everything that came of the runs."""
        home = self.folder / "airflow"
        return {
            "logs": files(home / "logs"),
            "database": rows(home / "airflow.db"),
            "store": objects(self.store),
            "alerts": (post.body for post in self.alerts.received),
        }

    def first_try(self, task: str, **changes: Any) -> tuple[str | None, str]:
        """The state of a task after its first try in a new run, and what it logged."""
        follower = self.trigger(**changes)
        path = f"dags/skin_training/dagRuns/{follower.run}"
        tried = f"{path}/taskInstances/{task}"
        self.wait(lambda: self.state(tried) in {"up_for_retry", "failed"})
        state = self.state(tried)
        self.airflow.api.patch(f"{path}?update_mask=state", {"state": "failed"})
        return state, self.logs(follower, task)

    def state(self, path: str) -> str | None:
        """The state of a task instance; None before it exists."""
        try:
            return self.airflow.api.get(path)["state"]
        except ApiError:
            return None

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until something is so."""
        until = time.monotonic() + PATIENCE
        while not ready():
            assert time.monotonic() < until
            time.sleep(0.4)

    def logs(self, follower: Follower, task: str = "*") -> str:
        """Everything that the tasks of a run logged."""
        folder = self.folder / "airflow/logs/dag_id=skin_training" / f"run_id={follower.run}"
        return "".join(p.read_text() for p in sorted(folder.glob(f"task_id={task}/**/*.log")))


def kaggle_zip(folder: Path) -> bytes:
    """A zip laid out like the Kaggle archive, of too few images to train on."""
    generator.generate(folder, seed=0, per_class=12)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, f"Melanoma-b584m584/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


def connections(s3: S3Server, alerts: Inbox) -> dict[str, dict[str, str]]:
    """The connections in Airflow's database: to the store, to images, and for alerts."""
    where = json.dumps({"endpoint_url": s3.endpoint, "region_name": "us-east-1"})
    store = {"login": s3.access_key, "password": s3.secret, "extra": where}
    images = {"login": s3.reader_access_key, "password": s3.reader_secret, "extra": where}
    made = {
        "objects": {"conn_type": "aws", **store},
        "images": {"conn_type": "aws", **images},
        "alerts": {"conn_type": "http", "host": alerts.url, "password": TOKEN},
    }
    return {name: {"connection_id": name, **fields} for name, fields in made.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("runs")
    weights = folder / "any.weights.h5"
    weights_file.written(weights)
    datasets = {"owner/skin": kaggle_zip(folder / "images")}
    where = f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"
    reached: dict[str, Any] = {"endpoint": s3_server.endpoint, "credentials": s3_server.credentials}
    store = open_store(where, cache=folder / "own-cache", **reached)
    with KaggleServer(datasets, username="user", key=KEY) as kaggle, webhook_inbox() as alerts:
        connection = {"conn_type": "generic", "login": "user", "password": KEY, "host": kaggle.url}
        settings = {
            "SKIN_STORE": where,
            "SKIN_STORE_CONNECTION": "objects",
            "SKIN_DATA_CONNECTION": "images",
            "SKIN_NOTIFY_CONNECTION": "alerts",
            "SKIN_CACHE": str(folder / "cache"),
            "SKIN_PATHS": "/",
            "SKIN_SCHEDULE": "",
            "SKIN_PART_SECONDS": "0.003",  # so that even these images are scored in parts
            "AIRFLOW__CORE__MAX_MAP_LENGTH": str(MOST_MAPPED),
            "AIRFLOW_CONN_KAGGLE": json.dumps(connection),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # the DAGs stay as they are
        }
        put_database(folder / "airflow")
        with LocalAirflow(
            "the tests", home=folder / "airflow", settings=settings, say=lambda text: None
        ) as airflow:
            for kept in connections(s3_server, alerts).values():
                airflow.api.post("connections", kept)
            airflow.wait_for_dag("skin_training")
            airflow.api.patch("dags/skin_training?update_mask=is_paused", {"is_paused": False})
            yield Place(airflow, kaggle, alerts, s3_server, store, folder, weights)


@pytest.fixture(scope="module")
def promoted(place: Place) -> Follower:
    """A run that went through."""
    return place.run()


def states(follower: Follower) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (task, _), state in follower.states.items():
        if not state:  # what a mapped task was before Airflow knew how many it is
            continue
        found.setdefault(task, set()).add(state)
    return found


def verdict_of(store: Store, follower: Follower) -> Verdict:
    """The verdict of a run's gate."""
    key = follower.value("gate")
    assert key
    return load(store, key, Verdict)


def told(place: Place, follower: Follower) -> list[str]:
    """The events of the alerts about a run, without warnings about its data."""
    return [post["event"] for post in posts(place, follower) if post["event"] != "data_warning"]


def posts(place: Place, follower: Follower) -> list[dict[str, Any]]:
    """The alerts about a run; what is over is no alert."""
    every = (post.json for post in place.alerts.received)
    return [post for post in every if post["run_id"] == follower.run and post["state"] != "over"]


def results(place: Place) -> set[Any]:
    """All keys of the store, but for what is kept of each run, and of what people were told."""
    keys = place.store.list("")
    others = ("runs/", "incidents/", "observations/")
    return {key for key in keys if "/judged/" not in key and not key.startswith(others)}


def test_every_step_runs_and_the_model_is_promoted(place: Place, promoted: Follower) -> None:
    # The set is one range and one bucket, and there is no external set.
    small = ("decode", "duplicates", "external_logits")
    skipped = {task: {"skipped"} for task in (*small, "reject")}
    assert states(promoted) == {**{task: {"success"} for task in ALL}, **skipped}
    champion = opened(place.store, name="skin-resnet50-synthetic").champion
    assert promoted.value("promote").endswith(champion.version)
    assert champion.by == promoted.run


def test_the_history_names_the_run(place: Place, promoted: Follower) -> None:
    (judged,) = opened(place.store, name="skin-resnet50-synthetic").judgements()
    assert (judged.run, judged.approved) == (promoted.run, True)


def test_tasks_pass_short_keys_and_no_data(place: Place, promoted: Follower) -> None:
    for task in ("validate", "gate", "promote"):
        key = promoted.value(task)
        assert key
        assert len(key) < 100
    assert promoted.value("shards") == "[[0], [1], [2, 3]]"  # no more lists than allowed
    assert promoted.value("parts") == "[[[0]], [[1]], [[2], [3]]]"
    runs = ast.literal_eval(str(promoted.value("runs")))
    assert [run["run"] for run in runs] == [0, 1]
    assert len({run["features"] for run in runs}) == 1  # one key, however many shards there are


def test_mapped_tasks_are_called_by_their_images_or_by_run_and_seed(
    place: Place, promoted: Follower
) -> None:
    path = f"dags/skin_training/dagRuns/{promoted.run}/taskInstances?limit=100"
    found = place.airflow.api.get(path)["task_instances"]
    names = {(item["task_id"], item["map_index"]): item["rendered_map_index"] for item in found}
    assert names["features", 0].startswith("images 1 to ")
    assert names["logits", 2].startswith("images 301 to ")
    assert names["train", 1] == f"run 1, seed {run_seed(0, 1)}"


def test_the_logs_are_events_without_noise(place: Place, promoted: Follower) -> None:
    events = [json.loads(line) for line in place.logs(promoted).splitlines()]
    assert not [event for event in events if event["level"] in {"error", "critical"}]
    said = [event["event"] for event in events]
    assert sum(text.startswith("epoch run=0 ") for text in said) <= 10
    assert any(text.startswith("check name=") for text in said)
    assert any(text.startswith("gate check=") for text in said)


def test_the_promotion_is_told(place: Place, promoted: Follower) -> None:
    place.wait(lambda: told(place, promoted) == ["promoted"])
    assert "alert_sent event=promoted connection=alerts" in place.logs(promoted, "promote")


def test_a_run_on_unchanged_data_finds_every_result_and_says_that_nothing_changed(
    place: Place, promoted: Follower
) -> None:
    """With a form that somebody emptied, where what is empty is what the first run had anyway."""
    before, model = results(place), "skin-resnet50-synthetic"
    champion, judged = (
        opened(place.store, name=model).champion,
        opened(place.store, name=model).judgements(),
    )
    usual = Settings()
    as_usual = {
        name
        for name in form_schema().keys() - QUICK.keys()
        if getattr(read_settings({name: None}), name) == getattr(usual, name)
    }
    assert len(as_usual) > 30
    again = place.run(**dict.fromkeys(as_usual))
    assert states(again) == states(promoted)
    logs = place.logs(again)
    assert "cached key=train/" in logs
    assert again.value("gate") == promoted.value("gate")
    # There was no champion the first time, so now it is scored; it is not judged again.
    assert set(re.findall(r"started key=(\w+)/", logs)) == {"champion"}
    assert {key.split("/")[0] for key in set(results(place)) - set(before)} == {"champion"}
    assert opened(place.store, name=model).champion == champion
    assert opened(place.store, name=model).judgements() == judged
    assert f"nothing_changed model={model}" in logs
    path = f"dags/skin_training/dagRuns/{again.run}"
    place.wait(lambda: "Nothing changed: " in (place.airflow.api.get(path)["note"] or ""))
    assert told(place, again) == []  # it is the promotion of before, which people know


def test_more_runs_than_airflow_makes_tasks_of_a_step_are_refused_before_the_work(
    place: Place,
) -> None:
    failed = place.run(runs=MOST_MAPPED + 1)
    assert states(failed)["listing"] == {"failed"}
    assert "runs=4, but this Airflow makes at most 3 tasks" in failed.errors["listing", -1]
    assert "started key=" not in place.logs(failed)


def test_a_setting_that_there_is_none_of_is_named_with_the_nearest(place: Place) -> None:
    failed = place.run(image_siz=64)
    assert "image_siz is no setting; the nearest is image_size" in failed.errors["listing", -1]


def test_a_refusal_is_a_green_run_with_reasons(place: Place, promoted: Follower) -> None:
    champion = opened(place.store, name="skin-resnet50-synthetic").champion
    refused = place.run(min_accuracy=1.0)
    assert states(refused)["promote"] == {"skipped"}
    assert states(refused)["reject"] == {"success"}
    verdict = verdict_of(place.store, refused)
    assert verdict.reasons[0].startswith("accuracy: ")
    assert opened(place.store, name="skin-resnet50-synthetic").champion == champion
    place.wait(lambda: told(place, refused) == ["refused"])
    assert "Failed: accuracy: " in posts(place, refused)[-1]["text"]


def test_a_run_that_fails_leaves_the_others_to_be_judged_and_the_gate_counts_them(
    place: Place, promoted: Follower
) -> None:
    # By chance of the images these few runs may be a little worse than the champion.
    follower = place.trigger(runs=3, min_runs=3, epochs=11, min_auc_change=None)
    tasks = f"dags/skin_training/dagRuns/{follower.run}/taskInstances"
    place.wait(lambda: place.state(f"{tasks}/ingest") == "success")  # which takes more slots
    with place.slots(1):  # the last has to wait for its turn, and fails before it comes
        path = f"{tasks}/train/2"
        place.wait(lambda: place.state(path) == "scheduled")
        place.airflow.api.patch(path, {"new_state": "failed"})
    for _ in follower.lines():
        pass
    assert states(follower)["train"] == {"success", "failed"}
    assert states(follower)["reject"] == {"success"}
    verdict = verdict_of(place.store, follower)
    assert verdict.reasons == ("successful runs: 2, required at least 3",)


def test_bad_input_fails_at_once_and_says_what_to_do(place: Place) -> None:
    failed = place.run(data="/no/such/folder", weights=str(place.weights))
    assert states(failed)["listing"] == {"failed"}
    assert states(failed)["promote"] == {"upstream_failed"}
    message = failed.errors["listing", -1]
    assert "there is nothing at /no/such/folder" in message
    assert "kaggle://OWNER/NAME" in message
    assert "attempt=2" not in place.logs(failed)
    place.wait(lambda: set(told(place, failed)) == {"task_failed", "run_failed"})


@pytest.fixture(scope="module")
def ranges(place: Place) -> Follower:
    """A run on images of two ranges in a bucket; the process that decodes the first one is killed
    at its first try."""
    generator.generate(place.folder / "many", seed=3, per_class=170)
    bucket = open_store(
        f"s3://{place.s3.bucket}/many",
        endpoint=place.s3.endpoint,
        credentials=place.s3.credentials,
        cache=place.folder / "own-cache",
    )
    for path in (place.folder / "many").rglob("*.*"):
        bucket.put_file(path.relative_to(place.folder / "many").as_posix(), path)
    follower = place.trigger(
        data=f"s3://{place.s3.bucket}/many", weights=str(place.weights), shard_size=16
    )
    tasks = f"dags/skin_training/dagRuns/{follower.run}/taskInstances"

    def decodes() -> bool:
        assert place.state(f"{tasks}/listing") not in {"failed", "up_for_retry"}, place.logs(
            follower
        )
        return "started key=decode/" in place.logs(follower, "decode/map_index=0")

    place.wait(decodes)
    os.kill(place.airflow.api.get(f"{tasks}/decode/0")["pid"], signal.SIGKILL)
    for _ in follower.lines():
        pass
    return follower


def test_the_images_of_a_large_set_are_decoded_by_several_tasks_and_united(
    place: Place, ranges: Follower
) -> None:
    """In a bucket, of which each task fetches its images only."""
    found = {task: state for task, state in ranges.states.items() if task[0] == "decode" and state}
    assert found == {("decode", 0): "success", ("decode", 1): "success"}
    assert states(ranges)["ingest"] == {"success"}
    merged = place.logs(ranges, "ingest")
    assert merged.count("cached key=decode/") == 2
    assert "started key=decode/" not in merged
    dataset = next(
        load(place.store, key.removesuffix("/result.json"), Dataset)
        for key in place.store.list("ingest/")
        if key.endswith("/result.json")
        and "many" in load(place.store, key.removesuffix("/result.json"), Dataset).source
    )
    assert dataset.classes == {"benign": 170, "malignant": 170}
    assert dataset.shard_images == (16,) * 20 + (16, 4)
    assert sum(map(len, json.loads(str(ranges.value("shards"))))) == 22


def test_its_near_duplicates_are_searched_by_several_tasks(place: Place, ranges: Follower) -> None:
    states = {task: state for task, state in ranges.states.items() if task[0] == "duplicates"}
    searched = {("duplicates", 0): "success", ("duplicates", 1): "success"}
    assert {task: state for task, state in states.items() if state} == searched
    validated = place.logs(ranges, "validate")
    assert validated.count("cached key=duplicates/") == 2
    assert "started key=duplicates/" not in validated
    assert "pairs of near-duplicates in 1 bucket" in place.logs(ranges, "duplicates/map_index=1")


def test_a_range_whose_process_was_killed_is_made_again(place: Place, ranges: Follower) -> None:
    path = f"dags/skin_training/dagRuns/{ranges.run}/taskInstances/decode"
    tries = [place.airflow.api.get(f"{path}/{number}")["try_number"] for number in range(2)]
    assert tries == [2, 1]
    again = place.logs(ranges, "decode/map_index=0")
    assert again.count("started key=decode/") == 2
    assert again.count("finished key=decode/") == 1


@pytest.fixture(scope="module")
def elsewhere(place: Place, promoted: Follower) -> Follower:
    """The run that went through, and the same model on an external set of two shards."""
    generator.generate(place.folder / "clinic", seed=8, per_class=90)
    return place.run(external=f"clinic={place.folder / 'clinic'}")


def test_an_external_set_is_scored_by_several_tasks_and_united(
    place: Place, elsewhere: Follower
) -> None:
    found = {task: state for task, state in elsewhere.states.items() if state}
    mapped = {number for task, number in found if task == "external_logits"}
    assert (mapped, states(elsewhere)["external_logits"]) == ({0, 1}, {"success"})
    path = f"dags/skin_training/dagRuns/{elsewhere.run}/taskInstances/external_logits"
    names = [place.airflow.api.get(f"{path}/{number}")["rendered_map_index"] for number in mapped]
    assert names == ["images 1 to 128 of clinic", "images 129 to 180 of clinic"]
    made, united = place.logs(elsewhere, "external_logits"), place.logs(elsewhere, "external")
    assert (made.count("started key=logits/"), united.count("cached key=logits/")) == (2, 2)
    assert set(re.findall(r"started key=(\w+)/", united)) == {"external"}
    (key,) = verdict_of(place.store, elsewhere).external
    assert load(place.store, key, Scored).images == 180


@pytest.fixture(scope="module")
def from_kaggle(place: Place) -> Follower:
    """A run on images of Kaggle's, which are too few, so that it ends after validation."""
    return place.run(data="kaggle://owner/skin", weights=str(place.weights))


def test_images_come_from_kaggle_with_the_connection_of_airflow(from_kaggle: Follower) -> None:
    assert states(from_kaggle)["ingest"] == {"success"}
    message = from_kaggle.errors["validate", -1]
    assert "readable benign images: 12, required at least 50" in message


@pytest.mark.parametrize(
    ("data", "key", "message"),
    [("owner/unknown", KEY, "owner/unknown"), ("owner/skin", "changed", "credentials")],
)
def test_what_kaggle_refuses_fails_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, data: str, key: str, message: str
) -> None:
    monkeypatch.setattr(place.kaggle, "key", key)
    failed = place.run(data=f"kaggle://{data}", weights=str(place.weights))
    assert states(failed)["listing"] == {"failed"}
    assert message in failed.errors["listing", -1]


def test_what_does_not_answer_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.kaggle, "mode", "down")
    state, _ = place.first_try("listing", data="kaggle://owner/skin", weights=str(place.weights))
    assert state == "up_for_retry"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"views": 3}, "views"), ({"runs": 0}, "runs"), ({"image_size": "large"}, "image_size")],
)
def test_the_form_refuses_what_is_out_of_bounds(place: Place, changes: Any, message: str) -> None:
    with pytest.raises(ApiError, match=message) as error:
        place.trigger(**changes)
    assert error.value.status == 400


# --- secrets --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wrong_secrets(place: Place) -> dict[str, Follower]:
    """A run with a wrong secret for the store, and one with a wrong secret for images."""
    with place.changed("objects", password=WRONG):
        store = place.run()
    with place.changed("images", password=WRONG):
        images = place.run(data=f"s3://{place.s3.bucket}/none", weights=str(place.weights))
    return {"STORE": store, "DATA": images}


@pytest.fixture(scope="module")
def without_images(place: Place) -> Follower:
    """A run with the right secret for images, where there are none."""
    return place.run(data=f"s3://{place.s3.bucket}/none", weights=str(place.weights))


@pytest.fixture(scope="module")
def gone(place: Place) -> tuple[str | None, str]:
    """The first try of a run whose store does not answer."""
    where = {"endpoint_url": f"http://{HOST}:{free_ports(1)[0]}", "region_name": "us-east-1"}
    with place.changed("objects", extra=json.dumps(where)):
        return place.first_try("ingest")


@pytest.mark.parametrize("name", ["STORE", "DATA"])
def test_a_wrong_secret_fails_at_once_and_names_the_setting(
    wrong_secrets: dict[str, Follower], name: str
) -> None:
    failed, task = wrong_secrets[name], {"STORE": "ingest", "DATA": "listing"}[name]
    assert states(failed)[task] == {"failed"}
    message = failed.errors[task, -1]
    assert "the credentials are wrong or have expired" in message
    assert f"SKIN_{name}_CONNECTION" in message


def test_images_in_s3_are_looked_for_with_a_connection_of_their_own(
    without_images: Follower, place: Place
) -> None:
    assert f"s3://{place.s3.bucket}/none" in without_images.errors["listing", -1]


def test_a_store_that_does_not_answer_is_tried_again(gone: tuple[str | None, str]) -> None:
    state, said = gone
    assert state == "up_for_retry"
    assert "no answer (EndpointConnectionError)" in said


@pytest.mark.usefixtures("promoted", "from_kaggle", "wrong_secrets", "gone")
def test_a_planted_secret_appears_nowhere(place: Place, without_images: Follower) -> None:
    """The model's name, which is no secret, shows that the search would find one."""
    place.wait(lambda: "run_failed" in told(place, without_images))
    sought = {**place.secrets, "the name": "skin-resnet50-synthetic"}
    assert leaks(sought, place.written) == {f"the name in {where}" for where in place.written}


@pytest.mark.usefixtures("promoted", "from_kaggle", "wrong_secrets", "without_images", "gone")
def test_nothing_that_a_task_logs_has_to_be_masked(place: Place) -> None:
    logged = files(place.folder / "airflow/logs/dag_id=skin_training")
    assert leaks({"a mask": "***", "a start": "started key="}, {"logs": logged}) == {
        "a start in logs"
    }
