"""What one run trains, and on what: its stages, from settings, split and cached features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.config import Settings
from skin_pipeline.data import manifest
from skin_pipeline.data.splitting import TRAIN, VALIDATION
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store
from skin_pipeline.training.backbone import Network, gpus
from skin_pipeline.training.inputs import Activations, Inputs, Ints, Made, PooledAndMaps, Squares
from skin_pipeline.training.runs import Examples, Stage
from skin_pipeline.training.strategies import STRATEGIES, Training

NEIGHBOURS = 5  # between which SMOTE makes new examples
CHUNK = 512  # rows that are read at once


@dataclass(frozen=True)
class Source:
    """Everything that runs read: the table's readable rows, features of all shards, and shards."""

    store: Store
    table: pd.DataFrame
    features: Sequence[str]
    shards: Sequence[str]

    @property
    def labels(self) -> Ints:
        """1 for malignant (n,)."""
        return manifest.labels(self.table)

    def rows(self, run: int, side: str) -> Ints:
        """Rows on one side of a run."""
        return np.flatnonzero(self.table[f"run_{run}"] == side)

    def pooled(self) -> Activations:
        """Features of all images and views."""
        return Activations(self.store, self.features, "pooled")

    def row_bytes(self, strategy: str) -> int:
        """Size of what a model of a strategy reads of one image."""
        kinds = {"head": ["pooled"], "fine_tune": ["pooled", "maps"]}
        if strategy == "full":
            return 4 * Squares(self.store, self.shards).row_bytes  # read as floats
        parts = (Activations(self.store, self.features, kind) for kind in kinds[strategy])
        return sum(part.row_bytes for part in parts)

    def inputs(self, strategy: str, network: Network) -> Inputs:
        """What the models of a strategy read."""
        if strategy == "head":
            return self.pooled()
        if strategy == "fine_tune":
            maps = Activations(self.store, self.features, "maps")
            return PooledAndMaps(self.pooled(), maps, network.shallow)
        return Squares(self.store, self.shards)


def stages_of(
    network: Network, source: Source, settings: Settings, run: int, seed: int
) -> list[Stage]:
    """The head first, then what the strategy trains together with it.

    Raises:
        BadInput: SMOTE needs at least two images of each class.
    """
    stages = [_head_stage(network, source, settings, run, seed)]
    if settings.strategy != "head":
        stages.append(_tuning_stage(network, source, settings, run, seed))
    return stages


def _head_stage(network: Network, source: Source, settings: Settings, run: int, seed: int) -> Stage:
    pooled, rows = source.pooled(), source.rows(run, TRAIN)
    train = balanced(pooled, rows, source.labels[rows], settings.balance, seed)
    return Stage(
        name="head",
        build=partial(_standardised, network, train, settings.l2),
        train=train,
        validation=_validation(pooled, source, run),
        epochs=settings.epochs,
        patience=settings.patience,
        batch_size=settings.batch_size,
        rate=settings.learning_rate,
        rate_setting="learning_rate",
        every_view=True,
    )


def _tuning_stage(
    network: Network, source: Source, settings: Settings, run: int, seed: int
) -> Stage:
    inputs, rows = source.inputs(settings.strategy, network), source.rows(run, TRAIN)
    train = balanced(inputs, rows, source.labels[rows], settings.balance, seed, settings.views)
    build: Callable[[], Any] = partial(
        STRATEGIES[settings.strategy].model, network, "run", Training(settings.l2, settings.jitter)
    )
    devices = gpus() if settings.strategy == "full" else ()
    return Stage(
        name=settings.strategy,
        build=build,
        train=train,
        validation=_validation(inputs, source, run),
        epochs=settings.tune_epochs,
        patience=settings.patience,
        batch_size=settings.tune_batch_size,
        rate=settings.tune_learning_rate,
        rate_setting="tune_learning_rate",
        falling=True,
        jit=_jit(network, settings.strategy, len(devices)),
        devices=devices,
    )


def _jit(network: Network, strategy: str, devices: int) -> bool:
    """Products of matrices are quicker with XLA on maps of any size, convolutions on large ones;
    and XLA cannot sum gradients over several devices."""
    if strategy == "fine_tune":
        return network.spec.jit
    return network.jit and devices < 2


def _validation(inputs: Inputs, source: Source, run: int) -> Examples:
    rows = source.rows(run, VALIDATION)
    return Examples(inputs, rows, source.labels[rows])


def balanced(
    inputs: Any, rows: Ints, labels: Ints, how: str, seed: int, views: int = 0
) -> Examples:
    """Training examples, balanced; validation and test are never touched.

    Args:
        inputs: What they are read from; SMOTE wants `Activations`.
        rows: Of the training images (n,).
        labels: (n,), 1 for malignant.
        how: The setting `balance`. `undersample` was done by the split. `class_weights` gives each
            class half of the loss. `oversample` repeats images of the smaller class, `smote` makes
            new ones between neighbours (Chawla et al. 2002), in each view by itself.
        seed: Of the run.
        views: How many views there are; those of the activations by default.

    Raises:
        BadInput: SMOTE needs at least two images of each class.
    """
    views = views or inputs.views
    if how == "oversample":
        drawn = _repeated(labels, seed)
        return Examples(inputs, rows[drawn], labels[drawn], views)
    if how == "smote":
        made = [_smote(_view(inputs, rows, view), labels, seed) for view in range(views)]
        features, new = (np.concatenate(parts) for parts in zip(*made, strict=True))
        return Examples(Made(features), np.arange(len(new)), new)
    weights = None
    if how == "class_weights":
        counts = np.bincount(labels, minlength=2)
        weights = (len(labels) / (2 * counts))[labels].astype(np.float32)
    return Examples(inputs, rows, labels, views, weights)


def _view(inputs: Activations, rows: Ints, view: int) -> NDArray[np.float32]:
    return np.asarray(inputs.take(rows, np.full(len(rows), view))[0])


def _repeated(labels: Ints, seed: int) -> Ints:
    """Rows with as many of each class, all of them and repetitions."""
    from imblearn.over_sampling import RandomOverSampler

    rows = np.arange(len(labels))[:, None]
    drawn: Ints = RandomOverSampler(random_state=seed).fit_resample(rows, labels)[0]
    return drawn[:, 0]


def _smote(view: NDArray[np.float32], labels: Ints, seed: int) -> tuple[NDArray[np.float32], Ints]:
    from imblearn.over_sampling import SMOTE

    fewest = int(np.bincount(labels, minlength=2).min())
    if fewest < 2:
        raise BadInput(
            f"balance=smote needs two images of each class to train on. Received: {fewest} of one. "
            "Choose another balance, or add images"
        )
    resample = SMOTE(k_neighbors=min(NEIGHBOURS, fewest - 1), random_state=seed).fit_resample
    features, drawn = resample(view, labels)
    return features.astype(np.float32), drawn


def _standardised(network: Network, train: Examples, l2: float) -> Any:
    """A head that standardises by the training features' mean and spread."""
    model = STRATEGIES["head"].model(network, "run", Training(l2))
    mean, deviation = moments(train)
    # A channel that is nearly constant must not be blown up.
    spread = deviation + 1e-6 + 1e-3 * np.abs(mean)
    model.get_layer("standardise").set_weights([mean, spread**2])
    return model


def moments(examples: Examples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation (channels,) of all views, read a chunk at a time."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for view in range(examples.views):
        for start in range(0, len(examples.rows), CHUNK):
            rows = examples.rows[start : start + CHUNK]
            (part,) = examples.inputs.take(rows, np.full(len(rows), view))
            part = part.astype(np.float64)
            count, total, squares = (
                count + len(part),
                total + part.sum(0),
                squares + (part**2).sum(0),
            )
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.astype(np.float32), deviation.astype(np.float32)
