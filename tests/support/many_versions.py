"""A model with as many versions and judged runs as a test wants, on images that can be seen.

    versions = write(store, "skin", versions=3, runs=6)    # names, oldest first

All versions are judged on one data set and split, unless `apart` says otherwise. Each has the
predictions of its own, so that some images are called differently.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import documents
import hand_made
import judged_run
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from released import opened, point

from skin_pipeline import tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    LABELS,
    Evaluation,
    GateCheck,
    Judgement,
    Pointer,
    Release,
    Split,
    Verdict,
    address,
    dump,
    load,
)
from skin_pipeline.intervals import proportion
from skin_pipeline.release import MANIFEST, version_key
from skin_pipeline.storage import Store, digest

START = datetime(2026, 1, 5, 3, tzinfo=timezone.utc)
SIDE = 64  # pixels of a square
CARD = (
    "# {name}: model card\n\n> Not for patients.\n\n| | |\n|---|---|\n| Malignant images found | "
    "97 of 116 |\n\n<script>alert(1)</script> [a link](https://example.org/)\n"
)


class Images(NamedTuple):
    """Images in a store: the table of their split, and the keys of data set and split."""

    table: pd.DataFrame
    dataset: str
    validation: str
    split: str

    @property
    def is_test(self) -> NDArray[np.bool_]:
        return (self.table["run_0"] == "test").to_numpy()


def put_images(store: Store, name: str = "01", seed: int = 0, count: int = 240) -> Images:
    """Put images of two shards, their validation and their split."""
    rng = np.random.default_rng(seed)
    malignant = rng.random(count) < 0.5
    groups = [f"lesion_id:{seed}-{number // 2}" for number in range(count)]
    sides = np.array(["test", "train", "validation"])[np.arange(count) // 2 % 3]
    table = hand_made.rows(malignant, groups, {"run_0": sides, "run_1": sides}, seed)
    half = count // 2
    table = table.assign(shard=np.arange(count) // half, row=np.arange(count) % half)
    shards = tuple(f"images/{name}-{number}.npy" for number in range(2))
    for number, key in enumerate(shards):
        rows = table[table["shard"] == number]
        hand_made.put_array(
            store, key, np.stack([_square(rng, m) for m in rows["label"] == "malignant"])
        )
    images = Images(table, f"ingest/{name}", f"validate/{name}", f"split/{name}")
    classes = {"benign": int((~malignant).sum()), "malignant": int(malignant.sum())}
    key = tables.write(store, f"{images.split}/manifest.parquet", table)
    data = documents.dataset(images.dataset, table=key, shards=shards, classes=classes)
    judged_run.put(store, images.dataset, data)
    judged_run.put(
        store, images.validation, documents.validation(images.validation, images.dataset)
    )
    counts = dict(zip(*np.unique(sides, return_counts=True), strict=True))
    split = Split(
        dataset=images.dataset,
        table=key,
        runs=2,
        counts={f"run_{run}": {str(k): int(v) for k, v in counts.items()} for run in range(2)},
        stratification={},
        checks=(),
        docs=f"{images.split}/docs/index.html",
    )
    judged_run.put(store, images.split, split)
    for docs in (f"{images.validation}/docs/index.html", f"{images.split}/docs/index.html"):
        store.put(docs, b"<!doctype html><title>Docs</title><h1>Data Docs</h1>")
    for run in range(2):
        judged_run.put(store, f"train/{name}_{run}", judged_run.trained(run))
    return images


def _square(rng: np.random.Generator, malignant: bool) -> NDArray[np.uint8]:
    """A brown spot on skin; darker and less regular if it is malignant."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    turned = np.arctan2(y, x) * rng.integers(2, 6)
    edge = 0.5 + (0.18 if malignant else 0.04) * np.sin(turned)
    inside = (np.hypot(x, y) < edge)[..., None]
    skin, spot = np.array([226, 178, 150]), np.array([70, 40, 35] if malignant else [140, 90, 65])
    noise = rng.normal(0, 7, (SIDE, SIDE, 3))
    return np.clip(np.where(inside, spot, skin) + noise, 0, 255).astype(np.uint8)


def write(
    store: Store,
    model: str = "skin",
    *,
    versions: int = 3,
    runs: int | None = None,
    images: Images | None = None,
    since: int = 0,
    settings: dict[str, Any] | None = None,
) -> list[str]:
    """Write judged runs, of which the last ones of equal parts were approved and promoted.

    Args:
        store: The store.
        model: The model's name.
        versions: How many were approved.
        runs: How many were judged; by default all were approved.
        images: What they were judged on.
        since: The number of the first run, so that more can be written later.
        settings: What the settings of the last version are instead.
    """
    images = images or put_images(store)
    every = (runs or versions) // versions
    made: list[str] = []
    previous = made_before(store, model)
    for number in range(since, since + (runs or versions)):
        approved = (number + 1) % every == 0
        last = settings if approved and len(made) == versions - 1 else None
        verdict = judge(store, model, number, images, approved=approved, settings=last or {})
        if approved:
            version = _publish(store, model, verdict)
            _promote(store, model, version, previous, number)
            previous = version
            made.append(version)
        _record(store, model, number, verdict, made[-1] if approved else None)
    return made


def made_before(store: Store, model: str) -> str | None:
    found = store.tagged(f"models/{model}/champion.json")
    return Pointer.model_validate_json(found[0]).version if found else None


def at(number: int) -> str:
    return (START + timedelta(hours=6 * number)).isoformat()


def judge(
    store: Store,
    model: str,
    number: int,
    images: Images,
    *,
    approved: bool,
    settings: dict[str, Any],
) -> str:
    """Write predictions, evaluation and verdict of a run; the verdict's key."""
    name = address({"model": model, "number": number})
    rng = np.random.default_rng(number)
    malignant = (images.table["label"] == "malignant").to_numpy()
    logits = 1.4 * np.where(malignant, 1, -1) + rng.normal(0, 1.2, len(malignant))
    probability = np.where(images.is_test, 1 / (1 + np.exp(-logits)), np.nan)
    scores = images.table[["key", "label", "group"]].assign(
        test=images.is_test, held_out_probability=np.nan, probability=probability
    )
    tests = images.table[images.is_test]
    calls = scores.loc[images.is_test, "probability"] >= 0.4
    right = int((calls.to_numpy() == malignant[images.is_test]).sum())
    accuracy = proportion(right, len(tests))
    seen = documents.figures(images=len(tests), threshold=0.4, accuracy=accuracy)
    runs = tuple(f"train/{images.split.split('/')[1]}_{run}" for run in range(2))
    evaluation = documents.evaluation(
        dataset=images.dataset,
        split=images.split,
        threshold=0.4,
        runs=runs,
        ensemble=seen,
        per_run={0: seen, 1: seen},
        predictions=tables.write(store, f"evaluate/{name}/predictions.csv", scores),
        model=f"evaluate/{name}/model.keras",
    )
    judged_run.put(store, f"evaluate/{name}", evaluation)
    reasons = () if approved else ("accuracy: 0.743 [0.693, 0.793], required at least 0.750",)
    check = GateCheck(name="accuracy", value="0.8", bound="at least 0.75", passed=approved)
    verdict = documents.verdict(
        evaluation=f"evaluate/{name}",
        validation=images.validation,
        released_as=model,
        approved=approved,
        checks=(check,),
        reasons=reasons,
        settings={**Settings().model_dump(), **settings},
        versions={"python": "3.11.7", "keras": "3.15.1"},
        judged_at=at(number),
        report=f"gate/{name}/report.html",
        card=f"gate/{name}/card.md",
        card_data=f"gate/{name}/card.json",
    )
    store.put(verdict.report, b"<!doctype html><title>R</title><h1>Report</h1>")
    judged_run.put(store, f"gate/{name}", verdict)
    return f"gate/{name}"


def _publish(store: Store, model: str, verdict: str) -> str:
    """Write the files of a version and its manifest; its name."""
    version = verdict.removeprefix("gate/")
    key = version_key(model, version)
    files = {
        "model.keras": b"not a model " * 100,
        "report.html": b"<!doctype html><title>R</title><h1>Report</h1>",
        "card.md": CARD.format(name=model).encode(),
        **dict.fromkeys(("card.json", "metrics.json", "verdict.json"), b"{}"),
        "predictions.csv": b"key,probability",
    }
    for name, content in files.items():
        store.put(f"{key}/{name}", content)
    release = Release(
        model=model,
        version=version,
        verdict=verdict,
        synthetic=False,
        content_digest="53b1c0ffee",
        labels=LABELS,
        threshold=0.4,
        files={name: digest(content) for name, content in files.items()},
        published_at="2026-01-05T03:00:00+00:00",
    )
    store.put(f"{key}/{MANIFEST}", dump(release))
    return version


def _promote(store: Store, model: str, version: str, previous: str | None, number: int) -> None:
    pointer = Pointer(
        model=model,
        version=version,
        previous=previous,
        moved_at=at(number),
        by=f"scheduled__{number}",
        reason="passed the gate",
    )
    assert point(store, pointer, previous)


def _record(store: Store, model: str, number: int, verdict: str, version: str | None) -> None:
    found = load(store, verdict, Verdict)
    seen = load(store, found.evaluation, Evaluation).ensemble
    judgement = Judgement(
        model=model,
        run=f"scheduled__{number}",
        judged_at=at(number),
        approved=version is not None,
        version=version,
        reasons=found.reasons,
        accuracy=seen.accuracy,
        sensitivity=seen.sensitivity,
        auc=seen.auc,
        report=found.report,
        docs=f"{found.validation}/docs/index.html",
    )
    opened(store, name=model).record(judgement, verdict)
