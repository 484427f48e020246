"""A reference, and rows of the log that are like it or not, without images or a network."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from skin_pipeline.contracts import Batch
from skin_pipeline.evaluation.space import nowhere
from skin_pipeline.monitoring import reference, score_log
from skin_pipeline.monitoring.measures import NAMES
from skin_pipeline.monitoring.reference import Reference
from skin_pipeline.storage import Store

MODEL, VERSION, DIMENSIONS = "skin", "4f1a", 3
THRESHOLD = 0.5
FIRST = pd.Timestamp("2026-10-01T08:00:00+00:00")


def looks(random: np.random.Generator, count: int) -> tuple[Any, Any, Any, Any]:
    """Measures, probabilities, labels and embeddings of images."""
    malignant = random.random(count) < 0.4
    logit = 1.6 * np.where(malignant, 1, -1) + random.normal(size=count)
    measures = 0.5 + 0.1 * random.normal(size=(count, len(NAMES)))
    return measures, 1 / (1 + np.exp(-logit)), malignant, random.normal(size=(count, DIMENSIONS))


def reference_of(seed: int = 0, count: int = 500) -> Reference:
    measures, probability, malignant, embedding = looks(np.random.default_rng(seed), count)
    return Reference(
        measures.astype(np.float32),
        probability.astype(np.float32),
        malignant.astype(np.uint8),
        np.arange(count),
        embedding.astype(np.float32),
        np.zeros(count, np.uint8),
        nowhere(),
        THRESHOLD,
    )


def rows(day: int, count: int = 20, seed: int = 1, **moved: float) -> pd.DataFrame:
    """Rows of one day; `moved` is by how much measures are larger than in the reference.

    A share of `unreadable` images has no probability.
    """
    unreadable = moved.pop("unreadable", 0.0)
    random = np.random.default_rng([seed, day])
    measures, probability, _, embedding = looks(random, count)
    table = pd.DataFrame(measures, columns=list(NAMES)).assign(
        image=[f"day-{day}-{number}.jpg" for number in range(count)],
        digest=[hashlib.sha256(f"{seed} {day} {n}".encode()).hexdigest() for n in range(count)],
        scored_at=FIRST + pd.Timedelta(days=day) + pd.to_timedelta(np.arange(count), unit="s"),
        model=MODEL,
        version=VERSION,
        alias="champion",
        batch=f"run {day}",
        probability=probability,
        threshold=THRESHOLD,
        label=np.where(probability >= THRESHOLD, "malignant", "benign"),
        abstained=False,
        problem="",
        embedding=list(embedding.astype(np.float32)),
    )
    for name, by in moved.items():
        table[name] += by
    broken = np.arange(count) < round(unreadable * count)
    table.loc[broken, ["probability", *NAMES]] = np.nan
    table.loc[broken, "problem"], table.loc[broken, "label"] = "cut off", ""
    table["embedding"] = [
        None if bad else e for bad, e in zip(broken, table["embedding"], strict=True)
    ]
    return table


def days(first: int, last: int, **about: Any) -> pd.DataFrame:
    return pd.concat([rows(day, **about) for day in range(first, last)], ignore_index=True)


def put_day(store: Store, table: pd.DataFrame, version: str = VERSION, **site: Any) -> str:
    """Puts the batch of a day into the log; returns the key of its rows.

    `site` and `profile` are those that its images were scored with.
    """
    key = score_log.keep(store, MODEL, table.assign(version=version))
    unreadable = int(table["probability"].isna().sum())
    at = table["scored_at"].min().isoformat()
    about: dict[str, Any] = {"model": MODEL, "alias": "champion"}
    about |= {"version": version, "source": "/new", **site}
    counts = {"images": len(table) - unreadable, "unreadable": unreadable, "known": 0}
    run = str(table["batch"].iloc[0])
    score_log.record(
        store, Batch(**about, **counts, run=run, scores=(key,), began_at=at, ended_at=at)
    )
    return key


def put_reference(store: Store, version: str = VERSION, seed: int = 0) -> None:
    reference.write(store, reference.key_of(MODEL, version), reference_of(seed))
