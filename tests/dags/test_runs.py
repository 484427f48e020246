"""The DAG run by a real Airflow: scheduler, tasks, connections, alerts."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from demo import Follower
from kaggle_server import KaggleServer
from local_airflow import ApiError, LocalAirflow

from skin_pipeline.contracts import Verdict, load
from skin_pipeline.data import demo as generator
from skin_pipeline.release import registry
from skin_pipeline.storage import FolderStore

pytestmark = pytest.mark.airflow

KEY = "planted-secret-7f3a"
QUICK = {
    "data": "demo",
    "weights": "none",
    "strategy": "head",
    "image_size": 64,
    "views": 1,
    "runs": 2,
    "min_runs": 2,
    "epochs": 10,
    "target_sensitivity": 0.95,
    "min_accuracy": 0.5,
    "min_sensitivity": 0.5,
}
ALL = {
    *("ingest", "validate", "split", "features", "train", "evaluate", "champion", "external"),
    *("gate", "promote", "reject"),
}
PATIENCE = 120.0  # seconds until a test that waits gives up


@dataclass
class Place:
    """The Airflow of these tests, the Kaggle it asks, its store, its folder, and a weight file."""

    airflow: LocalAirflow
    kaggle: KaggleServer
    store: FolderStore
    folder: Path
    weights: Path

    def run(self, **changes) -> Follower:
        """Trigger the DAG, follow it to its end."""
        follower = self.trigger(**changes)
        for _ in follower.lines():
            pass
        return follower

    def trigger(self, **changes) -> Follower:
        """Trigger the DAG."""
        run = self.airflow.api.post(
            "dags/skin_training/dagRuns", {"logical_date": None, "conf": {**QUICK, **changes}}
        )
        return Follower(self.airflow, run["dag_run_id"])

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
            time.sleep(0.1)

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


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("runs")
    weights = folder / "any.weights.h5"
    weights.write_bytes(b"pinned, and not loaded before training")
    datasets = {"owner/skin": kaggle_zip(folder / "images")}
    with KaggleServer(datasets, username="user", key=KEY) as kaggle:
        connection = {"conn_type": "generic", "login": "user", "password": KEY, "host": kaggle.url}
        settings = {
            "SKIN_STORE": f"file://{folder}/store",
            "SKIN_SCHEDULE": "",
            "AIRFLOW_CONN_KAGGLE": json.dumps(connection),
        }
        with LocalAirflow(
            "the tests", home=folder / "airflow", settings=settings, say=lambda text: None
        ) as airflow:
            airflow.wait_for_dag("skin_training")
            airflow.api.patch("dags/skin_training?update_mask=is_paused", {"is_paused": False})
            yield Place(airflow, kaggle, FolderStore(folder / "store"), folder, weights)


@pytest.fixture(scope="module")
def promoted(place) -> Follower:
    """A run that went through."""
    return place.run()


def states(follower: Follower) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (task, _), state in follower.states.items():
        if not state:  # what a mapped task was before Airflow knew how many it is
            continue
        found.setdefault(task, set()).add(state)
    return found


def results(place):
    """All keys of the store, but for what is kept of each run: its journal and its verdict."""
    keys = place.store.list("")
    return {key for key in keys if "/judged/" not in key and not key.startswith("runs/")}


def test_every_step_runs_and_the_model_is_promoted(place, promoted):
    assert states(promoted) == {**{task: {"success"} for task in ALL}, "reject": {"skipped"}}
    champion = registry.champion(place.store, "skin-resnet50-synthetic")
    assert promoted.value("promote").endswith(champion.version)
    assert champion.by == promoted.run


def test_the_history_names_the_run(place, promoted):
    (judged,) = registry.judgements(place.store, "skin-resnet50-synthetic")
    assert (judged.run, judged.approved) == (promoted.run, True)


def test_tasks_pass_short_keys_and_no_data(place, promoted):
    for task in ("validate", "gate", "promote"):
        assert len(promoted.value(task)) < 100
    assert promoted.value("ingest") == "[0, 1, 2]"


def test_the_logs_are_events_without_noise(place, promoted):
    events = [json.loads(line) for line in place.logs(promoted).splitlines()]
    assert not [event for event in events if event["level"] in {"error", "critical"}]
    said = [event["event"] for event in events]
    assert sum(text.startswith("epoch run=0 ") for text in said) <= 10
    assert any(text.startswith("check name=") for text in said)
    assert any(text.startswith("gate check=") for text in said)


def test_the_promotion_is_told(place, promoted):
    assert "alert event=promoted" in place.logs(promoted, "promote")


def test_a_run_on_unchanged_data_finds_every_result_and_the_champion_stays(place, promoted):
    before = results(place)
    champion = registry.champion(place.store, "skin-resnet50-synthetic")
    again = place.run()
    assert states(again) == states(promoted)
    logs = place.logs(again)
    assert "cached key=train/" in logs
    # There was no champion the first time, so it is judged again, now against one: itself.
    assert set(re.findall(r"started key=(\w+)/", logs)) == {"champion", "gate"}
    new = {key.split("/")[0] for key in set(results(place)) - set(before)}
    assert new == {"champion", "gate"}
    assert registry.champion(place.store, "skin-resnet50-synthetic") == champion


def test_a_refusal_is_a_green_run_with_reasons(place, promoted):
    champion = registry.champion(place.store, "skin-resnet50-synthetic")
    refused = place.run(min_accuracy=1.0)
    assert states(refused)["promote"] == {"skipped"}
    assert states(refused)["reject"] == {"success"}
    verdict = load(place.store, refused.value("gate"), Verdict)
    assert verdict.reasons[0].startswith("accuracy: ")
    assert registry.champion(place.store, "skin-resnet50-synthetic") == champion
    said = place.logs(refused, "reject")
    assert "alert event=refused" in said
    assert "accuracy" in said


def test_a_run_that_fails_leaves_the_others_to_be_judged_and_the_gate_counts_them(place, promoted):
    follower = place.trigger(runs=3, min_runs=3, epochs=11)
    path = f"dags/skin_training/dagRuns/{follower.run}/taskInstances/train/1"
    place.wait(lambda: place.state(path) == "running")
    place.airflow.api.patch(path, {"new_state": "failed"})
    for _ in follower.lines():
        pass
    assert states(follower)["train"] == {"success", "failed"}
    assert states(follower)["reject"] == {"success"}
    verdict = load(place.store, follower.value("gate"), Verdict)
    assert verdict.reasons == ("successful runs: 2, asked for at least 3",)


def test_bad_input_fails_at_once_and_says_what_to_do(place):
    failed = place.run(data="/no/such/folder", weights=str(place.weights))
    assert states(failed)["ingest"] == {"failed"}
    assert states(failed)["promote"] == {"upstream_failed"}
    message = failed.errors["ingest", -1]
    assert "nothing stands at /no/such/folder" in message
    assert "kaggle://OWNER/NAME" in message
    assert "attempt=2" not in place.logs(failed)
    assert "alert event=task_failed" in place.logs(failed, "ingest")


def test_images_come_from_kaggle_with_the_connection_of_airflow(place):
    # The images are too few, so that the run ends after validation.
    followed = place.run(data="kaggle://owner/skin", weights=str(place.weights))
    assert states(followed)["ingest"] == {"success"}
    assert "readable benign images: 12, asked for at least 50" in followed.errors["validate", -1]
    assert KEY not in place.logs(followed)


@pytest.mark.parametrize(
    ("data", "key", "message"),
    [("owner/unknown", KEY, "owner/unknown"), ("owner/skin", "changed", "credentials")],
)
def test_what_kaggle_refuses_fails_at_once(place, monkeypatch, data, key, message):
    monkeypatch.setattr(place.kaggle, "key", key)
    failed = place.run(data=f"kaggle://{data}", weights=str(place.weights))
    assert states(failed)["ingest"] == {"failed"}
    assert message in failed.errors["ingest", -1]
    assert KEY not in place.logs(failed)


def test_what_does_not_answer_is_tried_again(place, monkeypatch):
    monkeypatch.setattr(place.kaggle, "mode", "down")
    follower = place.trigger(data="kaggle://owner/skin", weights=str(place.weights))
    path = f"dags/skin_training/dagRuns/{follower.run}"
    ingest = f"{path}/taskInstances/ingest"
    place.wait(lambda: place.state(ingest) in {"up_for_retry", "failed"})
    assert place.state(ingest) == "up_for_retry"
    place.airflow.api.patch(f"{path}?update_mask=state", {"state": "failed"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"views": 3}, "views"), ({"runs": 0}, "runs"), ({"image_size": "large"}, "image_size")],
)
def test_the_form_refuses_what_is_out_of_bounds(place, changes, message):
    with pytest.raises(ApiError, match=message) as error:
        place.trigger(**changes)
    assert error.value.status == 400
