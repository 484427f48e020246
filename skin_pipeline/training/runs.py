"""One training run: a head on the pooled features of its own train/validation resample."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Epoch
from skin_pipeline.errors import BadInput

log = logging.getLogger(__name__)

Array = NDArray[np.float32]
NEIGHBOURS = 5  # between which SMOTE makes new examples


@dataclass(frozen=True)
class Examples:
    """Features (n, channels) and labels (n,), 1 for malignant; `weights` (n,) in the loss, None
    for all alike."""

    features: Array
    labels: NDArray[np.int64]
    weights: Array | None = None


def balanced(views: Array, labels: NDArray[np.int64], how: str, seed: int) -> Examples:
    """Training examples of all dihedral views, balanced; validation and test are never touched.

    Args:
        views: Features (views, n, channels) of the training images.
        labels: (n,), 1 for malignant.
        how: The setting `balance`. `undersample` was done by the split. `class_weights` gives each
            class half of the loss. `oversample` repeats images of the smaller class, `smote` makes
            new ones between neighbours (Chawla et al. 2002), in each view by itself.
        seed: Of the run.

    Raises:
        BadInput: SMOTE needs at least two images of each class.
    """
    if how == "oversample":
        rows = _repeated(labels, seed)
        return Examples(np.concatenate(views[:, rows]), np.tile(labels[rows], len(views)))
    if how == "smote":
        made = [_smote(view, labels, seed) for view in views]
        return Examples(*(np.concatenate(parts) for parts in zip(*made, strict=True)))
    weights = None
    if how == "class_weights":
        counts = np.bincount(labels, minlength=2)
        weights = np.tile((len(labels) / (2 * counts))[labels], len(views)).astype(np.float32)
    return Examples(np.concatenate(views), np.tile(labels, len(views)), weights)


def _repeated(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Rows with as many of each class, all of them and repetitions: the same for every view."""
    from imblearn.over_sampling import RandomOverSampler

    rows = np.arange(len(labels))[:, None]
    drawn: NDArray[np.int64] = RandomOverSampler(random_state=seed).fit_resample(rows, labels)[0]
    return drawn[:, 0]


def _smote(view: Array, labels: NDArray[np.int64], seed: int) -> tuple[Array, NDArray[np.int64]]:
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


@dataclass(frozen=True)
class Head:
    """A trained head on raw features: kernel (channels, 1), bias (1,); logit = x @ kernel + bias.

    The standardisation of the features is folded in.
    """

    kernel: Array
    bias: Array
    best_epoch: int
    history: tuple[Epoch, ...]


def train_head(
    keras: Any, train: Examples, validation: Examples, settings: Settings, run: int, seed: int
) -> Head:
    """Train a logistic head with Keras; the epoch with the best validation AUC is kept.

    Raises:
        BadInput: the loss is not a number, so that more epochs or another try cannot help.
    """
    keras.utils.set_random_seed(seed)
    mean = train.features.mean(axis=0)
    scale = 1 / (train.features.std(axis=0) + 1e-6 + 1e-3 * np.abs(mean))
    model = _model(keras, train.features.shape[1], settings)
    watch = _watch(keras, run, settings, (validation.features - mean) * scale, validation.labels)
    stop = keras.callbacks.EarlyStopping(
        "validation_auc", patience=settings.patience, mode="max", restore_best_weights=True
    )
    model.fit(
        (train.features - mean) * scale,
        train.labels.astype(np.float32)[:, None],
        sample_weight=train.weights,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        verbose=0,
        callbacks=[watch, stop],
    )
    kernel, bias = model.get_weights()
    folded = (kernel * scale[:, None]).astype(np.float32)
    return Head(
        folded,
        (bias - mean @ folded).astype(np.float32),
        _best(watch.history),
        tuple(watch.history),
    )


def _model(keras: Any, channels: int, settings: Settings) -> Any:
    layer = keras.layers.Dense(
        1, kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(settings.l2)
    )
    model = keras.Sequential([keras.Input((channels,)), layer])
    # Compiled once for thousands of small batches: without XLA it starts sooner.
    model.compile(
        keras.optimizers.Adam(settings.learning_rate),
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def _watch(
    keras: Any, run: int, settings: Settings, features: Array, labels: NDArray[np.int64]
) -> Any:
    """A callback that scores the validation set after each epoch and logs one line."""

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.history: list[Epoch] = []
            self.started = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            kernel, bias = self.model.get_weights()
            logits = (features @ kernel + bias)[:, 0]
            if not (math.isfinite(logs["loss"]) and np.isfinite(logits).all()):
                raise BadInput(
                    f"run {run} diverged in epoch {epoch + 1}: loss {logs['loss']}. Lower "
                    f"learning_rate (received: {settings.learning_rate})"
                )
            line = _epoch(epoch + 1, logs["loss"], logits, labels)
            logs["validation_auc"] = line.validation_auc
            self.history.append(line)
            log.info(
                "epoch run=%d epoch=%d/%d loss=%.4f val_loss=%.4f val_auc=%.4f "
                "val_sensitivity=%.3f seconds=%.1f",
                run,
                line.epoch,
                settings.epochs,
                line.loss,
                line.validation_loss,
                line.validation_auc,
                line.validation_sensitivity,
                time.monotonic() - self.started,
            )

    return Watch()


def _epoch(number: int, loss: float, logits: Array, labels: NDArray[np.int64]) -> Epoch:
    # Cross-entropy from logits, without overflow: log(1 + e^x) - y x.
    cross_entropy = np.logaddexp(0, logits) - labels * logits
    return Epoch(
        epoch=number,
        loss=float(loss),
        validation_loss=float(cross_entropy.mean()),
        validation_auc=float(roc_auc_score(labels, logits)),
        validation_sensitivity=float((logits[labels == 1] >= 0).mean()),
    )


def _best(history: list[Epoch]) -> int:
    return max(history, key=lambda line: (line.validation_auc, -line.epoch)).epoch
