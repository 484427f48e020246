"""How long the steps took that led to a verdict."""

from __future__ import annotations

import documents
import hand_made
import judged_run
from judged_run import CHAMPION, EVALUATION, SPLIT, VALIDATION, put

from skin_pipeline.contracts import COST, Cost, dump
from skin_pipeline.evaluation import costs
from skin_pipeline.job import Work
from skin_pipeline.storage import Store


def put_documents(store: Store) -> None:
    """Puts what an evaluation of six runs on two shards was made from."""
    runs = tuple(f"train/{run}" for run in range(6))
    put(store, EVALUATION, documents.evaluation(split=SPLIT, runs=runs))
    put(store, VALIDATION, judged_run.validation(external={"clinic": "ingest/there"}))
    put(store, SPLIT, judged_run._split())
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
    work = Work(hand_made.job(store), "gate/1")
    seen = costs.seconds(work, EVALUATION, VALIDATION, CHAMPION, external)
    assert seen == {
        "ingest": 3.0,
        "validate": 4.0,
        "split": 8.0,
        "features": 48.0,
        "train": 320.0,
        "evaluate": 128.0,
        "champion": 256.0,
        "external": 1536.0,
    }
    assert "champion" not in costs.seconds(work, EVALUATION, VALIDATION, "", external)
