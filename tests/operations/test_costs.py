"""What a workflow run is expected to take."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import documents
import judged_run
import pandas as pd
import pytest
import released
from judged_run import DATASET, EVALUATION, SPLIT, VALIDATION, put
from small_verdict import figures

from skin_pipeline import journal
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import COST, Cost, Judgement, Verdict, dump, load
from skin_pipeline.job import Job
from skin_pipeline.operations import costs
from skin_pipeline.operations.costs import Estimate, duration, estimate
from skin_pipeline.storage import Store

SETTINGS = Settings(
    strategy="fine_tune",
    regions="centre",
    views=8,
    test_views=0,
    corrupted=0,
    tune_epochs=10,
    model_name=released.MODEL,
)
IMAGES, RUNS, SHARDS = 1300, 6, 2
GATE = "gate/00000000000000000001"


@pytest.fixture
def job(store: Store) -> Job:
    """A run up to its split, in a store in which nothing was ever trained."""
    put_data(store, DATASET, SPLIT)
    return Job(SETTINGS, Deployment(threads=1), store)


def put_data(store: Store, dataset: str, split: str, digests: range = range(IMAGES)) -> None:
    classes = {"benign": len(digests) // 2, "malignant": len(digests) - len(digests) // 2}
    shards = tuple(f"images/{number}.npy" for number in range(SHARDS))
    known = {"classes": classes, "unreadable": 0, "shards": shards}
    put(store, dataset, documents.dataset(dataset, table=f"{dataset}/table.csv", **known))
    table = pd.DataFrame({"sha256": [f"{number:064}" for number in digests], "readable": True})
    store.put(f"{dataset}/table.csv", table.to_csv(index=False).encode())
    put(store, split, judged_run._split().model_copy(update={"dataset": dataset}))


def put_past(store: Store, settings: Settings = SETTINGS, slower: float = 1.0) -> None:
    """An earlier run on the same split, that took so many times what the built-in figures say."""
    network = costs.Network.of(settings)
    features = tuple(f"features/{number}" for number in range(SHARDS))
    took = {key: costs.Load("features", 1, 0, 8 * IMAGES // SHARDS) for key in features}
    kind = "train" if settings.strategy == "head" else settings.strategy
    for run in range(RUNS):
        trained = judged_run.trained(run).model_copy(update={"features": features})
        put(store, f"train/{run}", trained)
        took[f"train/{run}"] = costs.Load(kind, 1, IMAGES * 10)
    runs = tuple(f"train/{run}" for run in range(RUNS))
    known = {"dataset": DATASET, "split": SPLIT, "runs": runs, "logits": ("logits/0",)}
    put(store, EVALUATION, documents.evaluation(**known))
    put(store, VALIDATION, judged_run.validation())
    took["logits/0"] = costs.Load("logits", 1, IMAGES * RUNS)
    took[EVALUATION] = costs.Load("evaluate", 1, IMAGES)
    took[GATE] = costs.Load("gate", 1)
    for key, work in took.items():
        spent = slower * network.built_in(work)
        cost = Cost(
            **{"seconds": spent / 2, "cores": 2, "finished_at": "", "core_seconds": spent},
            **{"work": work.kind * (work.kind != "gate"), "units": work.units},
            computed=work.computed,
        )
        store.put(f"{key}/{COST}", dump(cost))
    put_verdict(store, settings)


def put_verdict(store: Store, settings: Settings, key: str = GATE) -> None:
    about = {"evaluation": EVALUATION, "validation": VALIDATION, "report": f"{key}/report.html"}
    put(store, key, documents.verdict(settings=settings.model_dump(), **about))
    found = figures(0.8)
    judgement = Judgement(
        **{"model": released.MODEL, "run": "r", "judged_at": "2026-06-01", "approved": False},
        **{"version": None, "reasons": (), "report": f"{key}/report.html"},
        **{"accuracy": found.accuracy, "sensitivity": found.sensitivity, "auc": found.auc},
    )
    released.opened(store).record(judgement, key.split("/")[1])


def of(found: Estimate, step: str) -> costs.Expected:
    (expected,) = (item for item in found.steps if item.step == step)
    return expected


def test_without_history_the_built_in_figures_are_scaled_by_what_there_is_to_do(job: Job) -> None:
    found = estimate(job, SPLIT, cores=2)
    features, train = of(found, "features"), of(found, "train")
    assert features.core_seconds == pytest.approx(2 * 6 + 0.07 * 8 * IMAGES)
    assert train.core_seconds == pytest.approx(RUNS * 20 + 0.025 * RUNS * IMAGES * 10)
    assert train.seconds == pytest.approx(train.core_seconds / 2)  # two of them at once
    assert of(found, "gate").seconds == of(found, "gate").core_seconds  # a single task
    assert not any(step.measured for step in found.steps)
    assert found.known == 0
    assert found.core_hours == pytest.approx(sum(s.core_seconds for s in found.steps) / 3600)
    assert "as no earlier run used this network" in found.in_words()
    assert "1,300 images (1,300 new to this network), 6 runs of fine_tune" in found.in_words()


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ({"image_size": 112}, 1 / 4),
        ({"backbone": "EfficientNetV2B0"}, 0.2),
        ({"views": 4}, 0.5),
        ({"corrupted": 4}, 1.5),
        ({"regions": "centre_and_lesion"}, 2.0),
    ],
)
def test_a_smaller_network_and_fewer_views_take_less_and_more_of_them_more(
    job: Job, change: dict[str, Any], factor: float
) -> None:
    smaller = replace(job, settings=SETTINGS.model_copy(update=change))
    usual, less = (of(estimate(j, SPLIT), "features").core_seconds for j in (job, smaller))
    assert less - 12 == pytest.approx(factor * (usual - 12))


def test_earlier_runs_correct_the_figures(job: Job) -> None:
    """More epochs of a slower machine, on features that are there."""
    put_past(job.store, slower=3)
    longer = replace(job, settings=SETTINGS.model_copy(update={"tune_epochs": 20}))
    found = estimate(longer, SPLIT, cores=2)
    train = of(found, "train")
    assert train.measured
    assert train.core_seconds == pytest.approx(3 * (RUNS * 20 + 0.025 * RUNS * IMAGES * 20))
    # A task kept two cores busy, and two of them run at once.
    assert train.seconds == pytest.approx(train.core_seconds / 2 / 2)
    assert of(found, "features").tasks == 0
    assert of(found, "features").core_seconds == 0
    assert found.known == 1
    words = found.in_words()
    assert "(0 new to this network)" in words
    assert words.endswith("measured on 1 earlier run, built-in figures for promote")


def test_what_was_trained_already_takes_nothing(job: Job) -> None:
    put_past(job.store)
    found = estimate(job, SPLIT)
    assert of(found, "train").tasks == of(found, "train").core_seconds == 0
    assert of(found, "evaluate").core_seconds > 0  # another threshold may be asked for


@pytest.mark.parametrize(
    "change",
    [
        {"tune_epochs": 11},
        {"seed": 5},
        {"views": 4},
        {"corrupted": 1},
        {"regions": "centre_and_lesion"},
    ],
)
def test_other_settings_train_anew(job: Job, change: dict[str, Any]) -> None:
    put_past(job.store)
    other = replace(job, settings=SETTINGS.model_copy(update=change))
    assert of(estimate(other, SPLIT), "train").tasks == RUNS


def test_only_new_images_are_computed(job: Job) -> None:
    put_past(job.store)
    put_data(job.store, "ingest/02", "split/02", range(100, IMAGES + 140))
    found = estimate(job, "split/02")
    assert found.new == 140
    assert of(found, "features").core_seconds == pytest.approx(6 + 0.07 * 8 * 140)
    assert of(found, "train").tasks == RUNS  # the split is another one


@pytest.mark.parametrize("change", [{"backbone": "ResNet50V2"}, {"strategy": "head"}])
def test_runs_of_another_network_say_nothing(job: Job, change: dict[str, Any]) -> None:
    put_past(job.store, SETTINGS.model_copy(update=change))
    assert estimate(job, SPLIT).known == 0


def test_other_models_of_the_store_say_something(job: Job) -> None:
    put_past(job.store, slower=2)
    other = replace(job, settings=SETTINGS.model_copy(update={"model_name": "another"}))
    assert estimate(other, SPLIT).known == 1


def test_costs_of_earlier_versions_and_damaged_ones_say_nothing(job: Job) -> None:
    put_past(job.store, slower=2)
    old = Cost(seconds=9, cores=1, finished_at="")
    for run in range(RUNS):
        job.store.remove(f"train/{run}/{COST}")
        job.store.put(f"train/{run}/{COST}", dump(old) if run else b"{}")
    other = replace(job, settings=SETTINGS.model_copy(update={"seed": 5}))
    found = estimate(other, SPLIT)
    assert not of(found, "train").measured
    assert of(found, "evaluate").measured


def test_sets_of_another_origin_are_scored_too(job: Job) -> None:
    put_data(job.store, "ingest/there", "split/there", range(200))
    put(job.store, "validate/02", judged_run.validation(external={"clinic": "ingest/there"}))
    journal.note(job.store, job.run_id, validation="validate/02")
    external = of(estimate(job, SPLIT), "external")
    # So much work is worth two tasks, each of which starts TensorFlow.
    assert external.tasks == 2
    assert external.core_seconds == pytest.approx(2 * 6 + 0.025 * 200 * RUNS * 8 + 0.07 * 200 * 8)


def test_a_set_of_another_origin_is_expected_to_take_what_the_parts_of_another_took(
    job: Job,
) -> None:
    """What united the parts did none of the work, and starts no TensorFlow."""
    put_data(job.store, "ingest/there", "split/there", range(200))
    put(job.store, "validate/02", judged_run.validation(external={"clinic": "ingest/there"}))
    journal.note(job.store, job.run_id, validation="validate/02")
    before = of(estimate(job, SPLIT), "external")
    put_past(job.store)
    scored = judged_run.scored(job.store, "elsewhere").model_copy(update={"logits": ("logits/9",)})
    put(job.store, "external/9", scored)
    verdict = load(job.store, GATE, Verdict)
    job.store.remove(f"{GATE}/result.json")
    put(job.store, GATE, verdict.model_copy(update={"external": ("external/9",)}))
    known = {"seconds": 1, "cores": 1, "finished_at": "", "work": "external"}
    for key, units, spent in (("logits/9", 1000, 3 * (6 + 0.025 * 1000)), ("external/9", 0, 0.01)):
        cost = Cost(**known, units=units, core_seconds=spent)
        job.store.put(f"{key}/{COST}", dump(cost))
    external = of(estimate(job, SPLIT), "external")
    assert external.measured
    assert external.core_seconds == pytest.approx(3 * before.core_seconds, rel=0.01)


def test_an_estimate_that_cannot_be_made_ends_no_run(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    costs.announce(job, SPLIT)
    assert 'words="expected: ' in caplog.text
    costs.announce(job, "split/nowhere")
    assert "cost_unknown" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(42, "42 core-seconds"), (720, "12 core-minutes"), (12_600, "3.5 core-hours")],
)
def test_a_duration_is_said_in_words(seconds: float, words: str) -> None:
    assert duration(seconds, "core-") == words
