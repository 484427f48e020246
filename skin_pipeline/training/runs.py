"""Trains one run, epoch by epoch; its state is kept in the store so that a retry continues it.

    trained = train_run(run, stages_of(run), Checkpoints(store, key))

An epoch depends only on the seed, the numbers of its stage and itself, and the state after the
epoch before it. So a run that was killed, and continues in another process, ends with the same
weights as one that was not, bit for bit.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.arrays import Arrays
from skin_pipeline.contracts import Epoch
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import auc
from skin_pipeline.training.batches import Order
from skin_pipeline.training.checkpoints import Checkpoints, State
from skin_pipeline.training.heads import cross_entropy
from skin_pipeline.training.inputs import Ints
from skin_pipeline.training.learners import Learner, learner_of
from skin_pipeline.training.stages import Run, Stage

log = logging.getLogger(__name__)

# Ten times the loss of guessing at random: no run recovers from it.
DIVERGED = 10 * math.log(2)
HALF = 0.5  # the threshold of the figures in the logs; the real one is set on all runs together


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        weights: The weights of its best epoch.
        held_out: Logits of its validation images with these weights.
        history: All epochs, of all stages.
        best: The best epoch.
    """

    weights: Arrays
    held_out: NDArray[np.float32]
    history: tuple[Epoch, ...]
    best: Epoch


@dataclass(frozen=True)
class _Training:
    """A stage in training.

    Attributes:
        run: The run of the stage.
        stage: The stage.
        number: Number of the stage, from 0.
        learner: What is trained.
    """

    run: Run
    stage: Stage
    number: int
    learner: Learner

    def validated(self) -> NDArray[np.float32]:
        """Returns the logits of the validation images."""
        return self.learner.score(self.stage.validation.inputs, self.stage.validation.rows)


def train_run(run: Run, stages: Sequence[Stage], checkpoints: Checkpoints) -> Trained:
    """Trains the stages of a run in turn; the epoch with the best validation AUC is kept.

    Args:
        run: The run.
        stages: Its stages. Each model but the first takes its head from the one before it.
        checkpoints: Where an earlier try may have left its state.

    Raises:
        BadInput: The run diverges, or gives every image the same score.
    """
    state = checkpoints.latest() or State()
    _log_resumed(run, state)
    before = None
    # If an earlier try was killed between two stages, its state is the last one of the first of
    # them. That stage then ends at once, and its best head is copied as it would have been.
    for number in range(state.stage, len(stages)):
        training = _begun(run, stages[number], number)
        if before is not None:
            training.learner.take_head(before.learner.head())
            # If no epoch of this stage is better, the best epoch stays one of the stage before. Its
            # weights belong to another model, so the first weights of this model, which has the
            # same head, are kept instead.
            state = State(number, state.history, training.learner.weights())
        _train(training, state, checkpoints)
        training.learner.take(state.best)
        before = training
    best = state.best_epoch
    assert best is not None
    return Trained(state.best, training.validated(), tuple(state.history), best)


def _log_resumed(run: Run, state: State) -> None:
    if state.history:
        last = state.history[-1]
        log.info("resumed run=%d stage=%s epoch=%d", run.number, last.stage, last.epoch)


def _begun(run: Run, stage: Stage, number: int) -> _Training:
    learner = learner_of(stage, lambda: run.network.keras, run.seed)
    return _Training(run, stage, number, learner)


def _train(training: _Training, state: State, checkpoints: Checkpoints) -> None:
    """Trains a stage from `state` to its end, and updates `state` after each epoch."""
    learner, stage = training.learner, training.stage
    if state.variables:  # there are none at the start of a stage
        learner.restore(state.variables)
    while not is_over(state, stage):
        started = time.monotonic()
        line = _trained_epoch(training, len(state.epochs_of(stage.name)) + 1)
        state.history.append(line)
        state.variables = learner.variables()
        if state.best_epoch is line:
            state.best = learner.weights()
        checkpoints.save(state)
        _log_epoch(training, line, time.monotonic() - started)


def is_over(state: State, stage: Stage) -> bool:
    """Returns whether a stage has had all its epochs, or too many without a better one."""
    lines = state.epochs_of(stage.name)
    if len(lines) >= stage.epochs:
        return True
    best = state.best_epoch
    last_best = best.epoch if best is not None and best.stage == stage.name else 0
    return len(lines) - last_best >= stage.patience


def _trained_epoch(training: _Training, epoch: int) -> Epoch:
    """Trains one epoch, and returns its figures.

    Raises:
        BadInput: The run diverges, or gives every image the same score.
    """
    stage = training.stage
    order = Order(stage, training.run.seed, training.number, epoch)
    started = time.monotonic()
    loss = training.learner.learn(order)
    seconds = time.monotonic() - started
    logits = training.validated()
    _refuse_useless(training, epoch, loss, logits)
    return _line(stage, epoch, loss, logits, len(order) * order.batch, seconds)


def _refuse_useless(
    training: _Training, epoch: int, loss: float, logits: NDArray[np.float32]
) -> None:
    """Raises `BadInput` for a run that neither another try nor more epochs can help."""
    run, stage = training.run.number, training.stage
    finite = math.isfinite(loss) and bool(np.isfinite(logits).all())
    validation_loss = _mean_loss(logits, stage.validation.labels) if finite else math.nan
    if not finite or validation_loss > DIVERGED:
        raise BadInput(
            f"run {run} diverged in epoch {epoch} of {stage.name}: loss {loss:.4g}, validation "
            f"loss {validation_loss:.4g}. Lower {stage.rate_setting} (received: {stage.rate:g}), "
            "or look for broken values in the weights"
        )
    if np.ptp(logits) == 0:
        raise BadInput(
            f"run {run} gives all {len(logits)} validation images the same score after epoch "
            f"{epoch} of {stage.name}: it has learned nothing that distinguishes images. Check the "
            f"weights, and {stage.rate_setting} (received: {stage.rate:g})"
        )


def _mean_loss(logits: NDArray[np.float32], labels: Ints) -> float:
    return float(cross_entropy(logits, labels).mean())


def _line(
    stage: Stage,
    epoch: int,
    loss: float,
    logits: NDArray[np.float32],
    images: int,
    seconds: float,
) -> Epoch:
    """Returns the figures of an epoch: its loss, and those of the validation images' logits."""
    labels = stage.validation.labels
    predicted = logits >= math.log(HALF / (1 - HALF))
    return Epoch(
        stage=stage.name,
        epoch=epoch,
        loss=loss,
        validation_loss=_mean_loss(logits, labels),
        validation_auc=auc(logits.astype(np.float64), labels),
        validation_sensitivity=float(predicted[labels == 1].mean()),
        validation_specificity=float(1 - predicted[labels == 0].mean()),
        images_per_second=round(images / seconds, 2),
        seconds=round(seconds, 2),
    )


def _log_epoch(training: _Training, line: Epoch, seconds: float) -> None:
    epochs = training.stage.epochs
    log.info(
        "epoch run=%d stage=%s epoch=%d/%d loss=%.4f val_loss=%.4f val_auc=%.4f "
        "val_sensitivity=%.3f val_specificity=%.3f threshold=%.1f images_per_second=%.1f "
        "seconds=%.1f seconds_left=%.0f",
        training.run.number,
        line.stage,
        line.epoch,
        epochs,
        line.loss,
        line.validation_loss,
        line.validation_auc,
        line.validation_sensitivity,
        line.validation_specificity,
        HALF,
        line.images_per_second,
        line.seconds,
        (epochs - line.epoch) * seconds,
    )
