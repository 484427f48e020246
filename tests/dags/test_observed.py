"""What a real run in Airflow tells others: metrics by OTLP, lineage in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from airflow_home import put_database
from demo import Follower
from local_airflow import LocalAirflow
from telemetry import MetricsReceiver, metrics_receiver

from skin_pipeline.contracts import Dataset, Evaluation, Validation, Verdict, load
from skin_pipeline.storage import Store, open_store

pytestmark = pytest.mark.airflow

MODEL = "skin-resnet50-synthetic"
LOGIN = "planted-login-51c9"
QUICK = {
    **{"data": "demo", "weights": "none", "strategy": "head", "image_size": 64, "views": 1},
    **{"shard_size": 600, "runs": 2, "min_runs": 2, "epochs": 10, "target_sensitivity": 0.95},
    **{"min_accuracy": 0.5, "min_sensitivity": 0.5},
}


@dataclass
class Observed:
    """A run that was promoted, and all that it told."""

    verdict: Verdict
    version: str
    store: Store
    received: MetricsReceiver
    events: list[dict[str, Any]]
    logs: str

    def sent(self, name: str, **labels: str) -> list[float]:
        """The figures of a metric with these labels, in the order in which they came."""
        return [
            point.value
            for point in self.received.points
            if point.name == f"airflow.{name}" and labels.items() <= point.labels.items()
        ]

    def outputs(self, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The outputs of a name, each with its event."""
        return [
            (output, event)
            for event in self.events
            for output in event["outputs"]
            if output["name"] == f"{MODEL}/{name}"
        ]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    lineage = folder / "lineage.jsonl"
    with metrics_receiver() as received:
        settings = {
            "SKIN_STORE": f"file://{folder}/store",
            "SKIN_SCHEDULE": "",
            "AIRFLOW_CONN_KAGGLE": f"generic://user:{LOGIN}@127.0.0.1",
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{received.url}/v1/metrics",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({
                "type": "file",
                "log_file_path": str(lineage),
                "append": True,
            }),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        }
        put_database(folder / "airflow")
        with LocalAirflow(
            "the tests", home=folder / "airflow", settings=settings, say=lambda text: None
        ) as airflow:
            airflow.wait_for_dag("skin_training")
            airflow.api.patch("dags/skin_training?update_mask=is_paused", {"is_paused": False})
            body = {"logical_date": None, "conf": QUICK}
            run = airflow.api.post("dags/skin_training/dagRuns", body)
            follower = Follower(airflow, run["dag_run_id"])
            for _ in follower.lines():
                pass
            gate, version = follower.value("gate"), follower.value("promote")
            assert gate
            assert version
        # Airflow has ended, and so has sent everything.
        events = [json.loads(line) for line in lineage.read_text().splitlines()]
        logs = "".join(path.read_text() for path in (folder / "airflow/logs").rglob("*.log"))
        store = open_store(f"file://{folder}/store")
        verdict = load(store, gate, Verdict)
        yield Observed(verdict, version.rpartition("/")[2], store, received, events, logs)


def test_what_the_run_takes_is_told_before_it_trains(observed: Observed) -> None:
    assert "expected: " in observed.logs
    assert "600 images (600 new to this network), 2 runs of head" in observed.logs


def test_the_results_of_each_step_are_counted(observed: Observed) -> None:
    for step, made in {"ingest": 1, "features": 2, "train": 2, "gate": 1}.items():
        assert sum(observed.sent("skin.results", step=step, origin="made")) == made
    assert not sum(observed.sent("skin.results", origin="found"))


def test_the_metrics_say_what_the_documents_say(observed: Observed) -> None:
    figures = load(observed.store, observed.verdict.evaluation, Evaluation).ensemble
    assert sum(observed.sent("skin.verdicts", model=MODEL, verdict="approved")) == 1
    for name in ("sensitivity", "auc"):
        for end in ("value", "low", "high"):
            value = observed.sent("skin.judged.figure", model=MODEL, figure=name, end=end)[-1]
            assert value == pytest.approx(getattr(getattr(figures, name), end))
    costs = observed.verdict.costs
    for step in ("ingest", "features", "train", "evaluate"):
        spent = sum(observed.sent("skin.step.core_milliseconds", step=step))
        assert spent == pytest.approx(1000 * costs[step].core_seconds, abs=200)
        written = sum(observed.sent("skin.store.written_bytes", step=step))
        assert written == costs[step].bytes_written > 0
    squares = 2 + 2  # and two corrupted copies
    assert sum(observed.sent("skin.activations", origin="computed")) == 600 * squares
    assert sum(observed.sent("skin.versions.promoted", model=MODEL)) == 1


def test_the_time_that_tasks_wait_for_a_slot_comes_from_airflow_itself(observed: Observed) -> None:
    assert observed.sent("task.scheduled_duration", dag_id="skin_training", task_id="train")
    assert sum(observed.sent("skin.step.wall_milliseconds", step="train")) > 0


def test_the_lineage_leads_from_the_version_to_the_data_and_its_checks(observed: Observed) -> None:
    ((version, event),) = observed.outputs("model")
    assert version["facets"]["version"]["datasetVersion"] == observed.version
    assert event["job"]["name"] == "skin_training.promote"
    upstream = {item["name"].removeprefix(f"{MODEL}/"): item for item in event["inputs"]}
    assert upstream.keys() == {"ingest", "evaluate", "gate"}
    evaluation = load(observed.store, observed.verdict.evaluation, Evaluation)
    dataset = load(observed.store, evaluation.dataset, Dataset)
    images = upstream["ingest"]
    assert images["facets"]["version"]["datasetVersion"] == evaluation.dataset.split("/")[1]
    tags = {tag["key"]: tag["value"] for tag in images["facets"]["tags"]["tags"]}
    assert tags["content_digest"] == dataset.content_digest
    assert asserted(images) == asserted_by(
        load(observed.store, observed.verdict.validation, Validation)
    )
    assert all(asserted(upstream["evaluate"]).values())


def test_each_result_names_what_it_was_made_from(observed: Observed) -> None:
    made_from = {
        output["name"].removeprefix(f"{MODEL}/"): {
            item["name"].removeprefix(f"{MODEL}/") for item in event["inputs"]
        }
        for event in observed.events
        for output in event["outputs"]
    }
    assert made_from["ingest"] == {"demo"}
    assert made_from["validate"] == {"ingest"}
    assert "ingest" in made_from["split"]
    assert {"split", "ingest"} <= made_from["train/1"]
    assert {"train/0", "train/1", "split"} <= made_from["evaluate"]
    assert "evaluate" in made_from["gate"]


def test_no_login_is_told(observed: Observed) -> None:
    assert LOGIN not in json.dumps(observed.events)
    assert LOGIN not in repr(observed.received.points)
    assert os.environ.get("HOME", "/root") not in {
        item["namespace"] for event in observed.events for item in event["inputs"]
    }


def asserted(dataset: dict[str, Any]) -> dict[str, bool]:
    """What was asserted of an input, and whether it was so."""
    found = dataset["inputFacets"]["dataQualityAssertions"]["assertions"]
    return {item["assertion"]: item["success"] for item in found}


def asserted_by(validation: Validation) -> dict[str, bool]:
    shortcuts = {f"shortcut: {item.name}": item.passed for item in validation.shortcuts}
    return {**{check.name: check.passed for check in validation.checks}, **shortcuts}
