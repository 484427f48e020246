"""Models whose logits are known by hand, on images that are hard to tell apart; no TensorFlow.

What the steps would leave in a store, so small that a test can say what each figure must be. The
inputs are such that a mistake shows: classes overlap, a patient has several images, runs have sides
of their own and one of them failed, views disagree, and logits are far from calibrated.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, NamedTuple

import documents
import judged_run
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from skin_pipeline import tables
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import FeatureIndex, Features, Logits, Split, Trunk, load
from skin_pipeline.data import manifest
from skin_pipeline.data.images import STATISTICS
from skin_pipeline.evaluation import logits
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import Store
from skin_pipeline.training import inputs, models

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RUNS = (0, 2, 3)  # run 1 failed
SCALE = 4.0  # by which logits are too sure
TRUNK = Trunk(backbone="ResNet50", source="imagenet", digest="w")
SIDE = 8  # pixels of a square
STARTED = datetime(2026, 6, 30, tzinfo=timezone.utc)


class Drawn(NamedTuple):
    """Images as the rows of a split, and what models say of them: (models, views, n)."""

    table: pd.DataFrame
    logits: Floats

    @property
    def labels(self) -> Ints:
        return manifest.labels(self.table)

    @property
    def groups(self) -> NDArray[np.object_]:
        return self.table["group"].to_numpy(object)

    def mean(self) -> Floats:
        """Logits (models, n) over all views."""
        return np.asarray(self.logits.mean(axis=1))

    def on(self, run: int, side: str) -> NDArray[np.bool_]:
        return (self.table[f"run_{run}"] == side).to_numpy()

    @property
    def is_test(self) -> NDArray[np.bool_]:
        return self.on(RUNS[0], "test")


def drawn(seed: int = 0, patients: int = 160, models: int = len(RUNS), views: int = 2) -> Drawn:
    """Patients with one to four images, of which a fifth are tested on."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    count = len(codes)
    malignant = (rng.random(patients) < 0.5)[codes] ^ (rng.random(count) < 0.15)

    def noise(size: float, *shape: int) -> Floats:
        return size * rng.normal(size=(*shape, count))

    of_patient = 0.6 * rng.normal(size=patients)[codes]
    lesion = 0.8 * np.where(malignant, 1, -1) + of_patient + noise(0.5)
    logits = SCALE * (lesion + noise(0.5, models, 1) + noise(0.8, models, views))
    parts = rng.random((1 + len(RUNS), patients))[:, codes]
    sides = {
        f"run_{run}": np.select([parts[0] < 0.3, part < 0.3], ["test", "validation"], "train")
        for run, part in zip(RUNS, parts[1:], strict=True)
    }
    return Drawn(rows(malignant, [f"patient_id:{code}" for code in codes], sides, seed), logits)


def rows(
    malignant: NDArray[np.bool_], groups: list[str], sides: dict[str, Any], seed: int = 0
) -> pd.DataFrame:
    """A manifest with all columns; files are named and known by number and seed."""
    count, rng = len(malignant), np.random.default_rng(seed)
    texts = dict.fromkeys(manifest.TEXTS, "")
    return pd.DataFrame({
        **texts,
        "key": [f"image-{seed}-{number}.jpg" for number in range(count)],
        "sha256": [f"file-{seed}-{number}" for number in range(count)],
        "label": np.where(malignant, "malignant", "benign"),
        "group": groups,
        "anchor": groups,
        "sex": rng.choice(["female", "male"], count),
        "width": rng.choice([400, 600], count),
        "height": 300,
        "bytes": rng.integers(1_000, 9_000, count),
        "readable": True,
        **{name: rng.random(count) for name in STATISTICS},
        **sides,
    })


# --- in a store ----------------------------------------------------------------------------------


def job(store: Store, **settings: Any) -> Job:
    """A job on whose settings the figures depend."""
    knobs = {
        "regions": "centre",
        "views": 2,
        "test_views": 0,
        "prevalences": "0.03, 0.2",
        "seed": 5,
        **settings,
    }
    deployment = Deployment(store=store.url, threads=1)
    return Job(Settings(**knobs), deployment, store, started=STARTED)


def put_images(store: Store, name: str, images: Drawn, **known: Any) -> list[str]:
    """Put images in two shards as `ingest/NAME` and `split/NAME`; the keys of their features, in
    which each model has a channel."""
    halves = np.array_split(np.arange(len(images.table)), 2)
    shards = tuple(f"images/{name}-{number}.npy" for number in range(2))
    for key, half in zip(shards, halves, strict=True):
        squares = np.broadcast_to(half[:, None, None, None] % 256, (len(half), SIDE, SIDE, 3))
        put_array(store, key, squares.astype(np.uint8))
    shard = np.repeat([0, 1], [len(half) for half in halves])
    row = np.concatenate([np.arange(len(half)) for half in halves])
    packed = images.table.assign(shard=shard, row=row)
    table = tables.write(store, f"split/{name}/manifest.parquet", packed)
    dataset = documents.dataset(f"ingest/{name}", table=table, shards=shards, **known)
    judged_run.put(store, f"ingest/{name}", dataset)
    split = Split(
        dataset=f"ingest/{name}",
        table=table,
        runs=4,
        counts={},
        stratification={},
        checks=(),
        docs="",
    )
    judged_run.put(store, f"split/{name}", split)
    return [
        _put_features(store, key, images.logits[..., half])
        for key, half in zip(shards, halves, strict=True)
    ]


def _put_features(store: Store, shard: str, logits: Floats) -> str:
    """Features of a shard from what the models say of it: (models, views, n)."""
    models, views, count = logits.shape
    key = f"features/{shard.removeprefix('images/').removesuffix('.npy')}"
    put_array(store, f"{key}/block.npy", logits.reshape(models, -1).T.astype(np.float32))
    places = np.stack([np.zeros(views * count, np.int64), np.arange(views * count)], axis=-1)
    put_array(store, f"{key}/places.npy", places.reshape(views, count, 2))
    document = Features(
        shard=shard,
        trunk=TRUNK,
        views=views,
        blocks={"pooled": (f"{key}/block.npy",)},
        places={"pooled": f"{key}/places.npy"},
    )
    judged_run.put(store, key, document)
    return key


def put_array(store: Store, key: str, array: NDArray[Any]) -> None:
    file = io.BytesIO()
    np.save(file, array)
    store.put(key, file.getvalue())


def put_index(store: Store, name: str, features: list[str]) -> str:
    """Put the index of the features of all shards as `index/NAME`."""
    found = [load(store, key, Features) for key in features]
    blocks, places = inputs.joined(store, found, "pooled")
    put_array(store, f"index/{name}/pooled.npy", places)
    index = FeatureIndex(
        features=tuple(features),
        trunk=found[0].trunk,
        views=found[0].views,
        blocks={"pooled": blocks},
        places={"pooled": f"index/{name}/pooled.npy"},
    )
    judged_run.put(store, f"index/{name}", index)
    return f"index/{name}"


def put_runs(store: Store, name: str, features: list[str], channels: dict[int, int]) -> list[str]:
    """Put a head for each number in `channels`, whose logit is this channel of the features; their
    keys are not in the order of the numbers."""
    keys, index = [], put_index(store, name, features) if features else "index/none"
    width = _width(store, features[0]) if features else 5
    for run, channel in channels.items():
        key = f"train/{name}-{9 - run}"
        store.put(f"{key}/weights.npz", _weights_file(channel, width))
        about = {
            "split": f"split/{name}",
            "strategy": "head",
            "features": index,
            "weights": f"{key}/weights.npz",
        }
        judged_run.put(store, key, judged_run.trained(run).model_copy(update=about))
        keys.append(key)
    return sorted(keys)


def _width(store: Store, features: str) -> int:
    """How many channels features have."""
    block = np.load(io.BytesIO(store.read(f"{features}/block.npy")))
    return int(block.shape[1])


def _weights_file(channel: int, width: int) -> bytes:
    kernel = np.zeros((width, 1), np.float32)
    kernel[channel] = 1
    mean, variance = np.zeros(width, np.float32), np.ones(width, np.float32)
    file = io.BytesIO()
    models.write_weights(file, [mean, variance, kernel, np.zeros(1, np.float32)])
    return file.getvalue()


def put_logits(
    job: Job,
    images: str,
    runs: tuple[str, ...],
    features: list[str],
    views: int,
    score: Callable[..., Logits] = logits.of_shards,
) -> list[str]:
    """Put what runs say of the images of each shard, as the step `logits` does; the parts' keys.

    `images` are a split's, or an external set's if `score` is `logits.of_external`.
    """
    keys, named = [], (runs[0] if score is logits.of_shards else images).split("/")[1]
    for shard, key in enumerate(features):
        keys.append(f"logits/{named}-{shard}")
        made = score(Work(job, keys[-1]), images, runs, [shard], [key], views)
        judged_run.put(job.store, keys[-1], made)
    return keys


# --- models without TensorFlow -------------------------------------------------------------------


class Strategy:
    """Of models that take weights, and that a stand-in for `models.scorer` scores with."""

    def model(self, network: Any, name: str) -> Any:
        return SimpleNamespace(set_weights=lambda weights: None)


class Network(NamedTuple):
    """What was asked of the network that features come from."""

    image_size: int
    trunk: Trunk
    jit: bool = False
    channels: int = 0
    shallow: int = 0


def score_linearly(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    """Score by heads on the features in the store; the networks that are asked for."""
    asked: list[Network] = []

    def network_on(job: Job, dataset: Any, trunk: Trunk) -> Network:
        asked.append(Network(dataset.image_size, trunk))
        return asked[-1]

    monkeypatch.setattr(models, "network_on", network_on)
    return asked
