"""How long the steps took that led to a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import documents
import hand_made
import judged_run
from judged_run import CHAMPION, EVALUATION, SPLIT, VALIDATION, put

from skin_pipeline.contracts import (
    COST,
    RESULT,
    Contract,
    Cost,
    Evaluation,
    Features,
    Logits,
    Split,
    StepCost,
    dump,
    load,
)
from skin_pipeline.evaluation import costs
from skin_pipeline.job import Work
from skin_pipeline.storage import Store


def put_documents(store: Store, **split: Any) -> None:
    """Puts what an evaluation of six runs on two shards was made from."""
    runs = tuple(f"train/{run}" for run in range(6))
    put(store, EVALUATION, documents.evaluation(split=SPLIT, runs=runs))
    put(store, VALIDATION, judged_run.validation(external={"clinic": "ingest/there"}))
    put(store, "ingest/01", documents.dataset("ingest/01"))
    put(store, SPLIT, judged_run._split().model_copy(update=split))
    for run in range(6):
        features = tuple(f"features/{number}" for number in range(2))
        trained = judged_run.trained(run).model_copy(update={"features": features})
        put(store, f"train/{run}", trained)


def test_the_time_of_every_step_is_added_up_over_its_tasks(store: Store) -> None:
    """Of each shard's features, each run, the champion and each set elsewhere; once each."""
    put_documents(store)
    spent = {
        "ingest/01": 1.0,
        "ingest/there": 2.0,
        VALIDATION: 4.0,
        "split/01": 8.0,
        "features/0": 16.0,
        "features/1": 32.04,
        **{f"train/{run}": 64.0 for run in range(5)},  # what the sixth took was not noted
        EVALUATION: 128.0,
        CHAMPION: 256.0,
        "external/a": 512.0,
        "external/b": 1024.0,
    }
    for key, seconds in spent.items():
        cost = Cost(seconds=seconds, cores=2, finished_at="")
        store.put(f"{key}/{COST}", dump(cost))
    external = ("external/a", "external/b")
    for key in (CHAMPION, *external):
        put(store, key, judged_run.scored(store, key.split("/")[1]))
    work = Work(hand_made.job(store), "gate/1")
    taken = costs.taken(work, EVALUATION, VALIDATION, CHAMPION, external)
    assert costs.seconds(taken) == {
        "ingest": 3.0,
        "validate": 4.0,
        "split": 8.0,
        "features": 48.0,
        "train": 320.0,
        "evaluate": 128.0,
        "champion": 256.0,
        "external": 1536.0,
    }
    assert "champion" not in costs.taken(work, EVALUATION, VALIDATION, "", external)


def test_a_run_is_charged_for_what_it_made_itself(store: Store) -> None:
    """Not for what was there from another run, or from an earlier one of the same name."""
    put_documents(store)
    job = hand_made.job(store)
    measured = Cost(
        **{"seconds": 10, "cores": 1, "finished_at": "2026-06-30T01:00:00+00:00"},
        **{"core_seconds": 8.04, "bytes_read": 100, "bytes_written": 10, "peak_mib": 500},
        **{"found": 3, "computed": 2, "run": job.run_id},
    )
    changes: dict[str, dict[str, Any]] = {
        "features/0": {},
        "features/1": {"peak_mib": 700, "found": 4, "computed": 1},
        "train/0": {"run": "another"},
        "train/1": {"finished_at": "2026-06-29T23:59:59+00:00"},
        "train/2": {},
    }
    for key, changed in changes.items():
        store.put(f"{key}/{COST}", dump(measured.model_copy(update=changed)))
    taken = costs.taken(Work(job, "gate/1"), EVALUATION, VALIDATION, "", ())
    seen = costs.of_run(job, taken)
    assert seen["features"] == StepCost(
        **{"results": 2, "found": 0, "seconds": 20, "core_seconds": 16.1},
        **{"bytes_read": 200, "bytes_written": 20, "peak_mib": 700, "cached": 7, "computed": 3},
    )
    train = seen["train"]
    assert (train.results, train.found, train.seconds, train.bytes_read) == (6, 5, 10, 100)
    assert seen["ingest"] == StepCost(results=2, found=2)  # what they took was not noted


def test_in_airflow_the_clock_of_a_worker_says_nothing(store: Store) -> None:
    """A run has a name of its own there; the two times are of two machines."""
    put_documents(store)
    job = replace(hand_made.job(store), run_id="manual__1")
    late = {"finished_at": "2026-06-29T23:50:00+00:00", "run": "manual__1"}
    store.put(f"train/0/{COST}", dump(Cost(seconds=10, cores=1, **late)))
    taken = costs.taken(Work(job, "gate/1"), EVALUATION, VALIDATION, "", ())
    train = costs.of_run(job, taken)["train"]
    assert (train.results, train.found, train.seconds) == (6, 5, 10)


def test_the_ranges_of_a_large_set_and_the_parts_of_its_scores_count_too(store: Store) -> None:
    job = hand_made.job(store)

    def made(step: str, *read: str) -> str:
        def make(work: Work) -> Contract:
            for key in read:
                work.load(key, Split)
            return judged_run._split()

        return job.once(step, 1, {"from": read}, make)

    listing = made("listing")
    ranges = [made("decode", listing), made("decode", listing, listing)]
    put_documents(store, dataset=made("ingest", listing, *ranges))
    logits = ("logits/0", "logits/1")
    known = load(store, EVALUATION, Evaluation)
    store.remove(f"{EVALUATION}/{RESULT}")
    put(store, EVALUATION, known.model_copy(update={"logits": logits}))
    taken = costs.taken(Work(job, "gate/1"), EVALUATION, VALIDATION, "", ())
    counted = {step: len(found) for step, found in taken.items()}
    assert {step: counted[step] for step in ("listing", "decode", "logits")} == {
        "listing": 1,
        "decode": 2,
        "logits": 2,
    }


def test_the_parts_of_scores_elsewhere_and_their_features_count_once(store: Store) -> None:
    """Also where a champion reads the features that the runs of now read."""
    put_documents(store)
    job = hand_made.job(store)

    def part(name: str, *features: str) -> str:
        def make(work: Work) -> Logits:
            for key in features:
                work.load(key, Features)
            return Logits(split="", dataset=name, runs=(), views=1, first=0, images=0, values="")

        return job.once("logits", 1, {"of": name}, make)

    read = Features(shard="", trunk=hand_made.TRUNK, views=1, blocks={}, places={})
    for key in ("features/0", "features/there"):
        put(store, key, read)
    made = {CHAMPION: part("ingest/01", "features/0"), "external/a": part("a", "features/there")}
    for key, found in made.items():
        scored = judged_run.scored(store, key.split("/")[1])
        put(store, key, scored.model_copy(update={"logits": (found,)}))
    work = Work(job, "gate/1")
    taken = costs.taken(work, EVALUATION, VALIDATION, CHAMPION, ("external/a",))
    counted = {step: len(found) for step, found in taken.items()}
    assert (counted["features"], counted["logits"], counted["external"]) == (3, 2, 1)
