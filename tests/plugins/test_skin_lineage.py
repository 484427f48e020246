"""Lineage as OpenLineage events: the data sets, their versions, and what was asserted of them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import documents
import judged_run
import pytest
import skin_lineage
from judged_run import put
from openlineage.client.serde import Serde

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Batch, Check, GateCheck, dump
from skin_pipeline.foreign import STARS
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import Store, digest

MODEL = "skin-resnet50"
SECRET = "planted-password-8d"
FAILED = Check(name="few images", severity="critical", observed="3", bound="50", passed=False)
BOUND = GateCheck(name="accuracy", value="0.7", bound="at least 0.75", passed=False)


class Events(list[dict[str, Any]]):
    """What was emitted, as it would be sent."""

    def emit(self, inputs: list[Any], outputs: list[Any]) -> None:
        datasets = {"inputs": inputs, "outputs": outputs}
        self.append({
            side: [json.loads(Serde.to_json(d)) for d in of] for side, of in datasets.items()
        })


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Events]:
    kept = Events()
    monkeypatch.setattr(skin_lineage, "is_on", lambda: True)
    monkeypatch.setattr(skin_lineage, "_emit", kept.emit)
    yield kept
    assert "unobserved" not in caplog.text


@pytest.fixture
def job(store: Store) -> Job:
    return Job(Settings(), Deployment(), store, observe=skin_lineage.result)


def ingested(job: Job, source: str = "s3://images/skin") -> str:
    def make(work: Work) -> Any:
        return documents.dataset(work.key, source=source)

    return job.once("ingest", 1, {"source": source}, make)


def validated(job: Job, dataset: str) -> str:
    def make(work: Work) -> Any:
        work.store.read(f"{dataset}/result.json")
        return documents.validation(work.key, dataset, checks=(FAILED,))

    return job.once("validate", 1, {"dataset": dataset}, make)


def judged(job: Job, dataset: str, validation: str) -> str:
    evaluation = job.once(
        "evaluate", 1, {}, lambda work: documents.evaluation(dataset=dataset, split="split/1")
    )

    def make(work: Work) -> Any:
        work.store.read(f"{evaluation}/result.json")
        about = {"evaluation": evaluation, "validation": validation}
        return documents.verdict(**about, checks=(BOUND,), approved=False)

    return job.once("gate", 1, {}, make)


def version(dataset: dict[str, Any]) -> str:
    return str(dataset["facets"]["version"]["datasetVersion"])


def assertions(dataset: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = dataset["inputFacets"]["dataQualityAssertions"]["assertions"]
    return {item["assertion"]: item for item in found}


def test_the_images_become_a_data_set(events: Events, job: Job) -> None:
    key = ingested(job)
    ((images,), (made,)) = events[0]["inputs"], events[0]["outputs"]
    assert (images["namespace"], images["name"]) == ("s3://images", "skin")
    assert version(images) == "53b1c0ffee"
    assert (made["namespace"], made["name"]) == (job.store.url.rstrip("/"), f"{MODEL}/ingest")
    assert version(made) == key.split("/")[1]
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 1144
    assert made["facets"]["symlinks"]["identifiers"][0]["name"] == key
    tags = {tag["key"]: tag["value"] for tag in made["facets"]["tags"]["tags"]}
    result = digest(job.store.read(f"{key}/result.json"))
    assert tags == {"sha256": result, "content_digest": "53b1c0ffee"}


def test_the_checks_of_the_data_are_assertions_on_it(events: Events, job: Job) -> None:
    dataset = ingested(job)
    validated(job, dataset)
    ((seen,), (made,)) = events[1]["inputs"], events[1]["outputs"]
    assert (seen["name"], version(seen)) == (f"{MODEL}/ingest", dataset.split("/")[1])
    assert made["name"] == f"{MODEL}/validate"
    found = assertions(seen)
    few = found["few images"]
    assert (few["success"], few["severity"]) == (False, "error")
    assert (few["expected"], few["actual"]) == ("50", "3")
    border = found["shortcut: border ring colour"]
    assert (border["success"], border["severity"]) == (False, "warn")
    assert found["shortcut: file size"]["success"] is True


def test_the_checks_of_the_gate_are_assertions_on_the_evaluation(events: Events, job: Job) -> None:
    dataset = ingested(job)
    judged(job, dataset, validated(job, dataset))
    (evaluation,) = events[-1]["inputs"]
    assert evaluation["name"] == f"{MODEL}/evaluate"
    assert assertions(evaluation)["accuracy"]["actual"] == "0.7"


def test_a_version_names_the_data_and_all_that_was_asserted(events: Events, job: Job) -> None:
    dataset = ingested(job)
    verdict = judged(job, dataset, validated(job, dataset))
    key = f"models/{MODEL}/versions/4f1a"
    job.store.put(f"{key}/manifest.json", b"{}")
    skin_lineage.promoted(job, key, verdict)
    (made,) = events[-1]["outputs"]
    assert (made["name"], version(made)) == (f"{MODEL}/model", "4f1a")
    assert made["facets"]["tags"]["tags"][0]["value"] == digest(b"{}")
    upstream = {item["name"]: item for item in events[-1]["inputs"]}
    assert version(upstream[f"{MODEL}/ingest"]) == dataset.split("/")[1]
    assert "few images" in assertions(upstream[f"{MODEL}/ingest"])
    assert "accuracy" in assertions(upstream[f"{MODEL}/evaluate"])
    assert f"{MODEL}/gate" in upstream


def test_runs_and_external_sets_have_names_of_their_own(events: Events, job: Job) -> None:
    job.once("train", 1, {}, lambda work: judged_run.trained(3))
    job.once("external", 1, {}, lambda work: judged_run.scored(job.store, "clinic-b", 1))
    names = [event["outputs"][0]["name"] for event in events]
    assert names == [f"{MODEL}/train/3", f"{MODEL}/external/clinic-b"]


def test_a_batch_of_scores_names_its_images_and_the_version(events: Events, job: Job) -> None:
    batch = Batch(
        **{"model": MODEL, "alias": "champion", "version": "4f1a", "source": "/in", "run": "r 1"},
        **{"scores": ("scores/1.parquet",), "images": 9, "unreadable": 2, "known": 1},
        **{"began_at": "", "ended_at": ""},
    )
    job.store.put("batches/1.json", dump(batch))
    skin_lineage.scored(job.store, "batches/1.json")
    images, model = events[0]["inputs"]
    assert (images["namespace"], images["name"]) == ("file", "/in")
    assert (model["name"], version(model)) == (f"{MODEL}/model", "4f1a")
    (scores,) = events[0]["outputs"]
    assert (scores["name"], version(scores)) == (f"{MODEL}/scores", "r 1")
    assert scores["outputFacets"]["outputStatistics"]["rowCount"] == 11
    job.store.put("batches/2.json", dump(batch.model_copy(update={"scores": ()})))
    skin_lineage.scored(job.store, "batches/2.json")
    assert len(events) == 1  # nothing new was scored


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("demo", ("synthetic", "demo")),
        ("/data/skin", ("file", "/data/skin")),
        ("kaggle://Owner/Skin", ("kaggle://Owner", "Skin")),
        ("s3://bucket/a/b", ("s3://bucket", "a/b")),
        ("s3://bucket", ("s3://bucket", "/")),
        (f"https://user:{SECRET}@host:9000/a", ("https://host:9000", "a")),
    ],
)
def test_a_place_has_no_login(source: str, place: tuple[str, str]) -> None:
    assert skin_lineage._place(source) == place


def test_no_login_of_a_source_or_a_store_is_told(events: Events, job: Job) -> None:
    ingested(job, f"https://user:{SECRET}@host/images")
    job.store.inner.url = f"s3://key:{SECRET}@bucket/prefix"  # type: ignore[attr-defined]
    told = json.dumps(events) + skin_lineage._namespace(job.store)
    assert SECRET not in told
    assert STARS not in told


def test_features_and_unknown_results_are_not_told(events: Events, job: Job) -> None:
    skin_lineage.result(job, "features/1", None)
    assert not events


def test_a_result_without_a_proof_is_told_without_its_inputs(events: Events, job: Job) -> None:
    put(job.store, "gate/1", documents.verdict())
    skin_lineage.result(job, "gate/1", None)
    assert events[0]["inputs"] == []
    assert version(events[0]["outputs"][0]) == "1"


def test_without_the_provider_nothing_is_sent_and_nothing_fails(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(name: str) -> None:
        assert name == skin_lineage.PROVIDER
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    monkeypatch.setattr(skin_lineage, "find_spec", missing)
    assert not skin_lineage.is_on()
    ingested(job)
    assert "unobserved" not in caplog.text


def test_an_event_that_cannot_be_sent_fails_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def down(*_: Any) -> None:
        raise OSError("nobody listens")

    monkeypatch.setattr(skin_lineage, "is_on", lambda: True)
    monkeypatch.setattr(skin_lineage, "_emit", down)
    ingested(job)
    assert 'unobserved what=result error="nobody listens"' in caplog.text
