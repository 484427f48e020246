"""Plans one run: which stages it has, from its settings, its split and the cached features."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.data import splitting
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.balance import balanced
from skin_pipeline.training.heads import Head
from skin_pipeline.training.inputs import Inputs, Ints
from skin_pipeline.training.runtime import gpus
from skin_pipeline.training.stages import Examples, Run, Stage
from skin_pipeline.training.strategies import STRATEGIES, Training

CHUNK = 512  # rows that are read at once


def stages_of(run: Run) -> list[Stage]:
    """Returns the stages of a run: the head first, then what the strategy trains together with it.

    The head comes first because a head with random weights would send gradients through the
    network that spoil what it has learned before.

    Raises:
        BadInput: SMOTE is required, and a class has fewer than two images.
    """
    stages = [_head_stage(run)]
    if run.settings.strategy != "head":
        stages.append(_tuning_stage(run))
    return stages


def _head_stage(run: Run) -> Stage:
    settings, pooled, rows = run.settings, run.source.pooled(), run.rows(splitting.TRAIN)
    train = _balanced(run, pooled, rows)
    return Stage(
        name="head",
        build=partial(_standardised, train, settings.l2),
        train=train,
        validation=_validation(run, pooled),
        epochs=settings.epochs,
        patience=settings.patience,
        batch_size=settings.batch_size,
        rate=settings.learning_rate,
        rate_setting="learning_rate",
        every_view=True,
    )


def _balanced(run: Run, inputs: Any, rows: Ints, views: int = 0) -> Examples:
    how, sources = run.settings.balance, run.source.sources
    own = None if sources is None else sources[rows]
    return balanced(inputs, rows, run.source.labels[rows], how, run.seed, views, own)


def _tuning_stage(run: Run) -> Stage:
    settings, strategy = run.settings, run.settings.strategy
    inputs, rows = run.source.inputs(strategy, run.network), run.rows(splitting.TRAIN)
    train = _balanced(run, inputs, rows, settings.learned_views)
    build: Callable[[], Any] = partial(
        STRATEGIES[strategy].model, run.network, "run", Training(settings.l2, settings.jitter)
    )
    # `fine_tune` trains one block on features in memory: too little work to divide among devices.
    devices = gpus() if strategy == "full" else ()
    return Stage(
        name=strategy,
        build=build,
        train=train,
        validation=_validation(run, inputs),
        epochs=settings.tune_epochs,
        patience=settings.patience,
        batch_size=settings.tune_batch_size,
        rate=settings.tune_learning_rate,
        rate_setting="tune_learning_rate",
        falling=True,
        jit=_jit(run.network, strategy, len(devices)),
        devices=devices,
    )


def _jit(network: Network, strategy: str, devices: int) -> bool:
    """Returns whether XLA compiles the model of a tuning stage.

    The products of matrices that `fine_tune` trains are quicker with XLA on maps of any size, the
    convolutions of `full` on large ones only. And XLA cannot sum gradients over several devices.
    """
    if strategy == "fine_tune":
        return network.spec.jit
    return network.jit and devices < 2


def _validation(run: Run, inputs: Inputs) -> Examples:
    rows = run.rows(splitting.VALIDATION)
    return Examples(inputs, rows, run.source.labels[rows])


def _standardised(train: Examples, l2: float) -> Head:
    """Returns a head that standardises by the mean and spread of the training features."""
    mean, deviation = moments(train)
    # Divided by its spread alone, a channel that is nearly constant would become mostly noise.
    spread = deviation + 1e-6 + 1e-3 * np.abs(mean)
    return Head(mean, (spread**2).astype(np.float32), l2)


def moments(examples: Examples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns mean and standard deviation (channels,) of all views, read a chunk at a time."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for view in range(examples.views):
        for start in range(0, len(examples.rows), CHUNK):
            rows = examples.rows[start : start + CHUNK]
            (part,) = examples.inputs.take(rows, np.full(len(rows), view))
            # In double precision: the difference of two large sums would lose a small spread.
            part = part.astype(np.float64)
            count, total, squares = (
                count + len(part),
                total + part.sum(0),
                squares + (part**2).sum(0),
            )
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.astype(np.float32), deviation.astype(np.float32)
