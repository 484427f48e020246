"""What a stage of a run trains: a head in NumPy, or a model of Keras.

learner = learner_of(stage, keras, seed)
loss = learner.learn(Order(stage, seed, number, epoch))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from skin_pipeline.arrays import Arrays
from skin_pipeline.progress import reported
from skin_pipeline.training.ahead import read_ahead
from skin_pipeline.training.batches import Order, batch_of
from skin_pipeline.training.heads import Head, one_thread
from skin_pipeline.training.models import Score, scorer
from skin_pipeline.training.runtime import seeded, spread_over
from skin_pipeline.training.stages import Stage

READERS = 4  # threads that read batches for GPUs, which learn faster than one thread corrupts


class Learner(Protocol):
    """A model in training.

    Attributes:
        score: Scores with its current weights.
    """

    score: Score

    def weights(self) -> Arrays:
        """Returns its weights."""

    def take(self, weights: Arrays) -> None:
        """Takes other weights."""

    def head(self) -> Arrays:
        """Returns the weights of its head: mean, variance, kernel, bias."""

    def take_head(self, head: Arrays) -> None:
        """Takes the weights of the head of an earlier stage."""

    def variables(self) -> Arrays:
        """Returns all that the next epoch depends on."""

    def restore(self, variables: Arrays) -> None:
        """Goes on from the variables of an earlier epoch."""

    def learn(self, order: Order) -> float:
        """Learns from the batches of an epoch; returns their mean loss."""


def learner_of(stage: Stage, keras: Callable[[], Any], seed: int) -> Learner:
    """Returns what a stage trains, ready to be trained.

    Args:
        stage: The stage.
        keras: Returns Keras; it is not started for a head.
        seed: Seed of the run.
    """
    if stage.name == "head":
        return HeadLearner(stage)
    return KerasLearner(stage, keras(), seed)


class HeadLearner:
    """A head in NumPy.

    Args:
        stage: The stage, which builds a `Head`.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._head: Head = stage.build()
        self.score: Score = self._head.score

    def weights(self) -> Arrays:
        """Returns its weights."""
        return self._head.weights()

    head = weights

    def take(self, weights: Arrays) -> None:
        """Takes other weights."""
        self._head.take(weights)

    take_head = take

    def variables(self) -> Arrays:
        """Returns all that the next epoch depends on."""
        return self._head.variables()

    def restore(self, variables: Arrays) -> None:
        """Goes on from the variables of an earlier epoch."""
        self._head.restore(variables)

    def learn(self, order: Order) -> float:
        """Learns from the batches of an epoch; returns their mean loss."""
        stage = self._stage
        with one_thread(), np.errstate(invalid="ignore"):  # the run is refused after the epoch
            return _mean_loss(self._learned, stage, order, _batches(stage, order))

    def _learned(self, features: Any, labels: Any, *weights: Any) -> float:
        return self._head.learn(features, labels[:, 0], *weights, rate=self._stage.rate)


class KerasLearner:
    """A model of Keras.

    Args:
        stage: The stage, which builds the model.
        keras: Keras.
        seed: Seed of the run.
    """

    def __init__(self, stage: Stage, keras: Any, seed: int) -> None:
        self._keras, self._stage = keras, stage
        # Seeded anew for each stage: a run that goes on in its second stage draws the same numbers.
        with seeded(keras, seed), spread_over(keras, stage.devices):
            self._model = stage.build()
            self._model.compile(
                keras.optimizers.Adam(self._rate()),
                keras.losses.BinaryCrossentropy(from_logits=True),
                # XLA cannot compile the layers that vary the section of an image.
                jit_compile=stage.jit and all(one.supports_jit for one in self._model.layers),
            )
            # Keras would make Adam's moments at the first step only, too late to restore them.
            self._model.optimizer.build(self._model.trainable_variables)
        self.score = scorer(self._model, stage.jit)

    def _rate(self) -> Any:
        stage = self._stage
        if not stage.falling:
            return stage.rate
        # The number of batches depends on neither the seed nor the numbers, so any will do.
        steps = stage.epochs * len(Order(stage, 0, 0, 0))
        return self._keras.optimizers.schedules.CosineDecay(stage.rate, steps)

    def weights(self) -> Arrays:
        """Returns its weights."""
        found: Arrays = self._model.get_weights()
        return found

    def take(self, weights: Arrays) -> None:
        """Takes other weights."""
        self._model.set_weights(weights)

    def head(self) -> Arrays:
        """Returns the weights of its head: mean, variance, kernel, bias."""
        parts = (self._model.get_layer(name) for name in ("standardise", "logit"))
        return [array for part in parts for array in part.get_weights()]

    def take_head(self, head: Arrays) -> None:
        """Takes the weights of the head of an earlier stage."""
        self._model.get_layer("standardise").set_weights(head[:2])
        self._model.get_layer("logit").set_weights(head[2:])

    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._model.optimizer.variables]

    def variables(self) -> Arrays:
        """Returns all that the next epoch depends on."""
        return [variable.numpy() for variable in self._variables()]

    def restore(self, variables: Arrays) -> None:
        """Goes on from the variables of an earlier epoch."""
        for variable, array in zip(self._variables(), variables, strict=True):
            variable.assign(array)

    def learn(self, order: Order) -> float:
        """Learns from the batches of an epoch; returns their mean loss."""
        stage = self._stage
        if stage.devices:  # Keras spreads a data set over them, but not a single batch
            fitted = self._model.fit(self._batches(order), verbose=0, shuffle=False)
            return float(fitted.history["loss"][-1])
        # A data set built on a Python generator took three times as long for small steps.
        return _mean_loss(self._learned, stage, order, read_ahead(_batches(stage, order)))

    def _learned(self, *batch: Any) -> float:
        return float(self._model.train_on_batch(*batch))

    def _batches(self, order: Order) -> Any:
        """Returns the batches of one epoch as a Keras data set."""
        stage = self._stage

        class Batches(self._keras.utils.PyDataset):  # type: ignore[misc, name-defined]
            def __len__(self) -> int:
                return len(order)

            def __getitem__(self, number: int) -> tuple[Any, ...]:
                return batch_of(stage.train, *order[number])

        return Batches(workers=READERS, max_queue_size=2 * READERS)


def _batches(stage: Stage, order: Order) -> Iterator[Any]:
    """Yields the batches of an epoch."""
    return (batch_of(stage.train, *order[number]) for number in range(len(order)))


def _mean_loss(
    learn: Callable[..., float], stage: Stage, order: Order, batches: Iterator[Any]
) -> float:
    """Learns from the batches of an epoch; returns the mean of their losses."""
    what = f"batches of an epoch of {stage.name}"
    return float(np.mean([learn(*batch) for batch in reported(batches, what, len(order))]))
