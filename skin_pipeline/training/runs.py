"""One training run: its stages, epoch by epoch, each kept in the store so that a retry goes on.

A stage's epoch depends on nothing but the seed, the number of the epoch and the state after the one
before it. So a run that was killed and goes on ends with the weights of one that was not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from skin_pipeline.contracts import Epoch
from skin_pipeline.errors import BadInput
from skin_pipeline.training.backbone import spread_over
from skin_pipeline.training.checkpoints import Arrays, Checkpoints, State
from skin_pipeline.training.inputs import Inputs, Ints

log = logging.getLogger(__name__)

SCORED = 32  # images that are scored at once
# Ten times the loss of a coin: no run comes back from there.
DIVERGED = 10 * math.log(2)
HALF = 0.5  # the threshold of the figures in the logs; the real one is set on all runs together


@dataclass(frozen=True)
class Examples:
    """Which rows of `inputs` a stage reads: `labels` (n,) 1 for malignant, `weights` (n,) in the
    loss (None for all alike), and how many views there are of each."""

    inputs: Inputs
    rows: Ints
    labels: Ints
    views: int = 1
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Stage:
    """A part of a run: what is trained on what, and for how long.

    `build` makes the model. With `every_view` an epoch goes through all views of each image, else
    through one at random. `rate` is Adam's learning rate, which falls to 0 along a cosine if
    `falling`; `rate_setting` is what a person would change. `devices` are GPUs to spread over.
    """

    name: str
    build: Callable[[], Any]
    train: Examples
    validation: Examples
    epochs: int
    patience: int
    batch_size: int
    rate: float
    rate_setting: str
    every_view: bool = False
    falling: bool = False
    jit: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """A finished run: its weights, logits of its validation images, and its history."""

    weights: Arrays
    held_out: NDArray[np.float32]
    history: tuple[Epoch, ...]
    best: Epoch


def train_run(
    keras: Any, stages: Sequence[Stage], run: int, seed: int, checkpoints: Checkpoints
) -> Trained:
    """Train the stages of a run in turn; the epoch with the best validation AUC is kept.

    Args:
        keras: The Keras module.
        stages: Each model but the first takes its head from the one before it.
        run: Number of the run, for messages.
        seed: Of the run.
        checkpoints: Where an earlier try may have left its state.

    Raises:
        BadInput: the run diverges, or gives every image the same score.
    """
    state = checkpoints.latest() or State()
    if state.history:
        last = state.history[-1]
        log.info("resumed run=%d stage=%s epoch=%d", run, last.stage, last.epoch)
    model = None
    for number in range(state.stage, len(stages)):
        stage, before = stages[number], model
        model = _built(keras, stage, seed)
        if before is not None:
            _copy_head(before, model)
            state = State(number, state.history, model.get_weights())
        score = scorer(model, stage.jit)
        _train_stage(keras, model, stage, state, (run, seed), checkpoints, score)
        model.set_weights(state.best)
    best = state.best_epoch
    assert best is not None
    held_out = score(stage.validation.inputs, stage.validation.rows)
    return Trained(state.best, held_out, tuple(state.history), best)


def _built(keras: Any, stage: Stage, seed: int) -> Any:
    """The stage's model, ready to be trained."""
    keras.utils.set_random_seed(seed)
    with spread_over(keras, stage.devices):
        model = stage.build()
        model.compile(
            keras.optimizers.Adam(_rate(keras, stage)),
            keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=stage.jit,
        )
        model.optimizer.build(model.trainable_variables)
    return model


def _rate(keras: Any, stage: Stage) -> Any:
    if not stage.falling:
        return stage.rate
    steps = stage.epochs * len(_Order(stage, 0, 0, 0))
    return keras.optimizers.schedules.CosineDecay(stage.rate, steps)


def _copy_head(before: Any, model: Any) -> None:
    for name in ("standardise", "logit"):
        model.get_layer(name).set_weights(before.get_layer(name).get_weights())


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _train_stage(
    keras: Any,
    model: Any,
    stage: Stage,
    state: State,
    run_and_seed: tuple[int, int],
    checkpoints: Checkpoints,
    score: Score,
) -> None:
    """Train one stage to its end, from where `state` is; `state` goes along."""
    run, seed = run_and_seed
    for variable, array in zip(_variables(model), state.variables, strict=bool(state.variables)):
        variable.assign(array)
    while not is_over(state, stage):
        epoch = len(state.epochs_of(stage.name)) + 1
        order = _Order(stage, seed, state.stage, epoch)
        started = time.monotonic()
        loss = _trained_once(keras, model, stage, order)
        seconds = time.monotonic() - started
        logits = score(stage.validation.inputs, stage.validation.rows)
        _refuse_useless(loss, logits, stage, run, epoch)
        rate = len(order) * order.batch / seconds
        line = _line(stage.name, epoch, loss, logits, stage.validation.labels, rate, seconds)
        state.history.append(line)
        state.variables = [variable.numpy() for variable in _variables(model)]
        if state.best_epoch is line:
            state.best = model.get_weights()
        checkpoints.save(state)
        _log_epoch(run, stage, line, time.monotonic() - started)


def is_over(state: State, stage: Stage) -> bool:
    """Whether a stage has had all its epochs, or too many without getting better."""
    lines = state.epochs_of(stage.name)
    if len(lines) >= stage.epochs:
        return True
    best = state.best_epoch
    last_best = best.epoch if best is not None and best.stage == stage.name else 0
    return len(lines) - last_best >= stage.patience


class _Order:
    """Which rows and views the batches of one epoch hold."""

    def __init__(self, stage: Stage, seed: int, number: int, epoch: int) -> None:
        random = np.random.default_rng([seed, number, epoch])
        count, views = len(stage.train.rows), stage.train.views
        if stage.every_view:
            drawn = random.permutation(count * views)
            self.examples, self.views = drawn % count, drawn // count
        else:
            self.examples = random.permutation(count)
            self.views = random.integers(views, size=count)
        self.batch = min(stage.batch_size, len(self.examples))

    def __len__(self) -> int:
        # All batches are of one size, so that the step is compiled once: those that are left over
        # are others in each epoch.
        return len(self.examples) // self.batch

    def __getitem__(self, number: int) -> tuple[Ints, Ints]:
        part = slice(number * self.batch, (number + 1) * self.batch)
        return self.examples[part], self.views[part]


def _trained_once(keras: Any, model: Any, stage: Stage, order: _Order) -> float:
    """Train on every batch of an epoch; the mean loss."""
    if stage.devices:  # Keras spreads a data set over them, but no single batch
        fitted = model.fit(_batches(keras, stage, order), verbose=0, shuffle=False)
        return float(fitted.history["loss"][-1])
    # A data set built on a Python generator took three times as long for the small steps of a head.
    batches = (_batch(stage.train, *order[number]) for number in range(len(order)))
    return float(np.mean([model.train_on_batch(*batch) for batch in batches]))


def _batch(train: Examples, examples: Ints, views: Ints) -> tuple[Any, ...]:
    """Inputs, labels (b, 1), and weights (b,) if there are any."""
    read = train.inputs.take(train.rows[examples], views)
    labels = train.labels[examples].astype(np.float32)[:, None]
    batch = (read if len(read) > 1 else read[0], labels)
    return batch if train.weights is None else (*batch, train.weights[examples])


def _batches(keras: Any, stage: Stage, order: _Order) -> Any:
    """The batches of one epoch, as a Keras data set."""

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(order)

        def __getitem__(self, number: int) -> tuple[Any, ...]:
            return _batch(stage.train, *order[number])

    return Batches()


class Score(Protocol):
    """Logits (n,) of rows of inputs, averaged over some of their views, from the first."""

    def __call__(self, inputs: Inputs, rows: Ints, views: int = 1) -> NDArray[np.float32]: ...


def scorer(model: Any, jit: bool) -> Score:
    """A compiled function from rows of inputs to logits."""
    import tensorflow as tf

    forward = tf.function(lambda read: model(read, training=False), jit_compile=jit)

    def view_of(inputs: Inputs, rows: Ints, view: int) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(rows), SCORED):
            batch = rows[start : start + SCORED]
            full = np.resize(batch, SCORED)  # one shape for every batch
            read = inputs.take(full, np.full_like(full, view))
            values = forward(list(read) if len(read) > 1 else read[0])
            parts.append(np.asarray(values, np.float32)[: len(batch), 0])
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def score(inputs: Inputs, rows: Ints, views: int = 1) -> NDArray[np.float32]:
        each = [view_of(inputs, rows, view) for view in range(views)]
        return np.asarray(np.mean(each, axis=0), np.float32)

    return score


def _refuse_useless(
    loss: float, logits: NDArray[np.float32], stage: Stage, run: int, epoch: int
) -> None:
    """Raises BadInput for a run that another try or more epochs cannot help."""
    labels = stage.validation.labels
    finite = math.isfinite(loss) and bool(np.isfinite(logits).all())
    validation_loss = _cross_entropy(logits, labels) if finite else math.nan
    if not finite or validation_loss > DIVERGED:
        raise BadInput(
            f"run {run} diverged in epoch {epoch} of {stage.name}: loss {loss:.4g}, validation "
            f"loss {validation_loss:.4g}. Lower {stage.rate_setting} (received: {stage.rate:g}), "
            "or look for broken values in the weights"
        )
    if np.ptp(logits) == 0:
        raise BadInput(
            f"run {run} gives all {len(logits)} validation images the same score after epoch "
            f"{epoch} of {stage.name}: it has learned nothing that tells images apart. Check the "
            f"weights, and {stage.rate_setting} (received: {stage.rate:g})"
        )


def _cross_entropy(logits: NDArray[np.float32], labels: Ints) -> float:
    # From logits, without overflow: log(1 + e^x) - y x.
    return float((np.logaddexp(0, logits) - labels * logits).mean())


def _line(
    stage: str,
    epoch: int,
    loss: float,
    logits: NDArray[np.float32],
    labels: Ints,
    rate: float,
    seconds: float,
) -> Epoch:
    called = logits >= math.log(HALF / (1 - HALF))
    return Epoch(
        stage=stage,
        epoch=epoch,
        loss=loss,
        validation_loss=_cross_entropy(logits, labels),
        validation_auc=float(roc_auc_score(labels, logits)),
        validation_sensitivity=float(called[labels == 1].mean()),
        validation_specificity=float(1 - called[labels == 0].mean()),
        images_per_second=round(rate, 2),
        seconds=round(seconds, 2),
    )


def _log_epoch(run: int, stage: Stage, line: Epoch, seconds: float) -> None:
    log.info(
        "epoch run=%d stage=%s epoch=%d/%d loss=%.4f val_loss=%.4f val_auc=%.4f "
        "val_sensitivity=%.3f val_specificity=%.3f threshold=%.1f images_per_second=%.1f "
        "seconds=%.1f seconds_left=%.0f",
        run,
        stage.name,
        line.epoch,
        stage.epochs,
        line.loss,
        line.validation_loss,
        line.validation_auc,
        line.validation_sensitivity,
        line.validation_specificity,
        HALF,
        line.images_per_second,
        line.seconds,
        (stage.epochs - line.epoch) * seconds,
    )
