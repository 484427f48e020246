"""What starts training, and what its end starts: as Airflow reads it, and in a real Airflow."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import score_rows
from airflow_home import put_database
from local_airflow import DAGS, LocalAirflow
from released import opened

from skin_pipeline.config import Deployment
from skin_pipeline.contracts import ReturnedLabels
from skin_pipeline.data import returned
from skin_pipeline.operations import actions
from skin_pipeline.provenance import layout
from skin_pipeline.storage import FolderStore

MODEL = "skin-resnet50-synthetic"
# The champion's training is not repeated here: the store has the results of its steps already.
FOLDERS = ("images", layout.ACTIVATIONS, *layout.STEPS[: layout.STEPS.index("evaluate") + 1])
OTHERS = """
from airflow.sdk import Asset, dag, task


CHAMPION = Asset("skin-model/MODEL/champion", uri="skin://model/MODEL/champion")


@dag(schedule=[CHAMPION])
def of_another_team():
    @task
    def fetch(triggering_asset_events=None):
        return [event.extra for event in triggering_asset_events[CHAMPION]]

    fetch()


of_another_team()
""".replace("MODEL", MODEL)
PATIENCE = 900.0  # seconds until a test that waits gives up


def deployment(schedule: str = "", retrain_on: str = "") -> Deployment:
    return Deployment(schedule=schedule, retrain_on=retrain_on)


class TestSchedule:
    """What Airflow is given as the schedule of `skin_training`."""

    def test_without_a_schedule_and_without_assets_nothing_starts_it(self) -> None:
        from skin_assets import schedule_of

        assert schedule_of(deployment()) is None
        assert schedule_of(deployment("@weekly")) == "@weekly"

    def test_any_of_several_assets_starts_it(self) -> None:
        from skin_assets import schedule_of

        found = schedule_of(deployment(retrain_on="labels, Data"))
        assert [item.name for item in found.objects] == [
            "skin-data/skin-resnet50",
            "skin-labels/skin-resnet50",
        ]
        assert type(found).__name__ == "AssetAny"
        (one,) = schedule_of(deployment(retrain_on="drift"))
        assert (one.name, one.uri) == (
            "skin-drift/skin-resnet50",
            "skin://drift/skin-resnet50",
        )

    def test_a_schedule_and_assets_start_it_alike(self) -> None:
        from skin_assets import schedule_of

        both = schedule_of(deployment("0 3 * * *", "drift"))
        assert both.timetable.expression == "0 3 * * *"
        assert both.asset_condition.name == "skin-drift/skin-resnet50"

    def test_what_is_not_known_is_said_and_the_rest_holds(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        from skin_assets import problem_of, schedule_of

        wrong = deployment(retrain_on="labls, drift")
        with caplog.at_level(logging.ERROR):
            said = problem_of(wrong)
        assert "SKIN_RETRAIN_ON names 'labls'" in said
        assert "data, drift, labels" in said
        assert [item.name for item in schedule_of(wrong)] == ["skin-drift/skin-resnet50"]
        assert problem_of(deployment(retrain_on="drift")) == ""


class Place:
    """A real Airflow with our DAGs and one of another team, and its store."""

    def __init__(self, airflow: LocalAirflow, store: FolderStore) -> None:
        self.airflow, self.store = airflow, store

    def runs(self, dag: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]]
        found = self.airflow.api.get(f"dags/{dag}/dagRuns?limit=100&order_by=run_after")["dag_runs"]
        return found

    def wait(self, ready: Callable[[], Any]) -> Any:
        """What `ready` returns, as soon as it is something; never two runs of training at once."""
        until = time.monotonic() + PATIENCE
        while not (found := ready()):
            assert time.monotonic() < until
            states = [run["state"] for run in self.runs("skin_training")]
            assert states.count("running") <= 1, states
            assert "failed" not in states
            time.sleep(0.5)
        return found

    def ended(self, dag: str, count: int) -> list[dict[str, Any]]:
        """The runs of a DAG, once so many of them were a success."""
        return self.wait(
            lambda: (
                runs
                if len(runs := [r for r in self.runs(dag) if r["state"] == "success"]) >= count
                else None
            )
        )

    def asset(self, name: str) -> dict[str, Any]:
        found = self.airflow.api.get(f"assets?name_pattern={name}")["assets"]
        (only,) = [item for item in found if item["name"] == name]
        return only

    def announce(self, name: str) -> None:
        """Does what docs/operating.md tells others to do when there is new data."""
        body = {"asset_id": self.asset(name)["id"], "extra": {"from": "the clinic"}}
        self.airflow.api.post("assets/events", body)

    def events(self, name: str) -> list[dict[str, Any]]:
        path = f"assets/events?asset_id={self.asset(name)['id']}"
        found: list[dict[str, Any]] = self.airflow.api.get(path)["asset_events"]
        return found


@pytest.fixture(scope="module")
def place(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("assets")
    for name in FOLDERS:
        if (finished.root / name).is_dir():
            shutil.copytree(finished.root / name, folder / "store" / name)
    # Of a run that was started by an asset, all settings are the installation's.
    knobs = finished.job.settings.model_dump(exclude_defaults=True)
    dags = folder / "dags"
    shutil.copytree(DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
    (dags / "of_another_team.py").write_text(OTHERS)
    (folder / "labels").mkdir()
    settings = {
        **{f"SKIN_{name.upper()}": str(value) for name, value in knobs.items()},
        "SKIN_STORE": f"file://{folder}/store",
        "SKIN_CACHE": str(folder / "cache"),
        "SKIN_PATHS": str(folder),
        "SKIN_SCHEDULE": "",
        "SKIN_RETRAIN_ON": "data, labels",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "SKIN_LABELS_SOURCE": str(folder / "labels"),
        "SKIN_LABELS_SCHEDULE": "",
    }
    put_database(folder / "airflow")
    with LocalAirflow(
        "the tests", home=folder / "airflow", dags=dags, settings=settings, say=lambda text: None
    ) as airflow:
        for dag in ("skin_training", "skin_labels", "of_another_team"):
            airflow.wait_for_dag(dag)
            airflow.api.patch(f"dags/{dag}?update_mask=is_paused", {"is_paused": False})
        yield Place(airflow, FolderStore(folder / "store"))


@pytest.mark.airflow
@pytest.mark.timeout(1000)
def test_announced_data_starts_training_whose_promotion_starts_the_dag_of_others(
    place: Place,
) -> None:
    for _ in range(4):  # a storm of events
        place.announce(f"skin-data/{MODEL}")
    first = place.ended("skin_training", 1)[0]
    assert first["run_type"] == "asset_triggered"
    champion = opened(place.store, name=MODEL).champion
    assert champion is not None
    assert first["note"] == f"Promoted models/{MODEL}/versions/{champion.version}."

    (event,) = place.events(f"skin-model/{MODEL}/champion")
    release = opened(place.store, name=MODEL).release(champion.version)
    assert event["extra"]["version"] == champion.version
    assert event["extra"]["digest"] == release.files["model.keras"]
    (run,) = place.ended("of_another_team", 1)
    path = f"dags/of_another_team/dagRuns/{run['dag_run_id']}/taskInstances/fetch"
    value = place.airflow.api.get(f"{path}/xcomEntries/return_value")["value"]
    assert [extra["version"] for extra in value] == [champion.version]


@pytest.mark.airflow
@pytest.mark.timeout(1000)
def test_labels_that_come_back_start_training_and_unchanged_data_announces_nothing(
    place: Place,
) -> None:
    # Of the storm of events before, runs may still follow; what counts is what is new from here.
    before = {run["dag_run_id"] for run in place.ended("skin_training", 1)}
    score_rows.write(place.store, MODEL, {"a.jpg": 0.9, "b.jpg": 0.1})
    folder = Path(place.store.url.removeprefix("file://")).parent / "labels"
    (folder / "march.csv").write_text("image;diagnosis\na.jpg;MELANOMA\nb.jpg;nevus\nc.jpg;nevus\n")
    # The form as it is: nothing entered.
    place.airflow.api.post("dags/skin_labels/dagRuns", {"logical_date": None, "conf": {}})
    (read,) = place.ended("skin_labels", 1)
    assert read["note"].startswith(f"2 labels came back for {MODEL} from 1 file")
    assert sorted(row.label for row in returned.current(place.store, MODEL).values()) == [
        "benign",
        "malignant",
    ]
    (event,) = place.events(f"skin-labels/{MODEL}")
    assert event["extra"] == {"model": MODEL, "new": 2, "changed": 0, "pending": 1}
    recorded = next(actions.latest(place.store))
    assert recorded.intent.kind == "labels"
    assert recorded.outcome is not None
    assert recorded.outcome.done

    ended = place.ended("skin_training", len(before) + 1)
    again = next(run for run in ended if run["dag_run_id"] not in before)
    assert again["run_type"] == "asset_triggered"
    assert again["note"].startswith("Nothing changed: ")
    assert len(place.events(f"skin-model/{MODEL}/champion")) == 1
    assert isinstance(returned.documents(place.store, MODEL)[0], ReturnedLabels)
    assert json.dumps(event["extra"])
