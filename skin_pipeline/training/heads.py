"""A head in NumPy: standardised features, one logit, and Adam, computed as Keras computes them.

    head = Head(mean, variance, l2=1e-4)
    loss = head.learn(features, labels, rate=1e-3)
    logits = head.logits(features)

Its weights are those of the model that `strategies` makes of a head, in the same order, so that
each can take those of the other. A head is so small that it is trained before TensorFlow would have
started.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits

from skin_pipeline.arrays import Arrays
from skin_pipeline.progress import Progress
from skin_pipeline.training import runtime, strategies
from skin_pipeline.training.inputs import Inputs, Ints

Floats32 = NDArray[np.float32]
# Adam's, as Keras has them (Kingma and Ba 2015).
FIRST, SECOND = np.float32(0.9), np.float32(0.999)
SCORED = 512  # images that are scored at once


class Head:
    """A logistic head that learns by Adam.

    Args:
        mean: Mean (channels,) of the training features.
        variance: What their squared distances from it are divided by (channels,).
        l2: Factor of the sum of squared weights in the loss.
    """

    def __init__(self, mean: Floats32, variance: Floats32, l2: float = 0.0) -> None:
        self._l2 = np.float32(l2)
        self._standardise(mean, variance)
        # The kernel, and the bias behind it. Training begins with the probability 0.5 for all.
        self._theta = np.zeros(len(mean) + 1, np.float32)
        self._moments = np.zeros((2, len(mean) + 1), np.float32)
        self._steps = 0

    @classmethod
    def of(cls, weights: Arrays) -> Head:
        """Returns a head with the weights of a trained one."""
        made = cls(weights[0], weights[1])
        made.take(weights)
        return made

    def _standardise(self, mean: Floats32, variance: Floats32) -> None:
        self._mean, self._variance = np.array(mean), np.array(variance)
        # A factor and a shift, as in Keras: a released model, which is of Keras, rounds likewise.
        self._factor = 1 / np.sqrt(self._variance + np.float32(strategies.EPSILON))
        self._shift = -self._mean * self._factor

    def _standardised(self, features: Floats32) -> Floats32:
        return np.asarray(features * self._factor + self._shift, np.float32)

    # --- its weights ------------------------------------------------------------------------------

    def weights(self) -> Arrays:
        """Returns mean and variance (channels,), kernel (channels, 1) and bias (1,)."""
        kernel, bias = self._theta[:-1, None], self._theta[-1:]
        return [array.copy() for array in (self._mean, self._variance, kernel, bias)]

    def take(self, weights: Arrays) -> None:
        """Takes the weights of a trained head."""
        mean, variance, kernel, bias = weights
        self._standardise(mean, variance)
        self._theta = np.concatenate([kernel[:, 0], bias]).astype(np.float32)

    def variables(self) -> Arrays:
        """Returns all that the next step depends on: the weights, Adam's moments, and its steps."""
        return [*self.weights(), self._moments.copy(), np.array(self._steps)]

    def restore(self, variables: Arrays) -> None:
        """Goes on from the variables of an earlier step."""
        *weights, self._moments, steps = variables
        self.take(weights)
        self._steps = int(steps)

    # --- learning ---------------------------------------------------------------------------------

    def learn(
        self,
        features: Floats32,
        labels: Floats32,
        weights: Floats32 | None = None,
        *,
        rate: float,
    ) -> float:
        """Takes one step of Adam on a batch.

        Args:
            features: The features (b, channels).
            labels: 1 for malignant (b,).
            weights: Weights (b,) in the loss; None if all weigh the same.
            rate: Adam's learning rate.

        Returns:
            The loss before the step: the weighted cross-entropy and the penalty of the weights.
        """
        standard, kernel = self._standardised(features), self._theta[:-1]
        logits = standard @ kernel + self._theta[-1]
        factors = np.float32(1) if weights is None else weights
        losses = factors * cross_entropy(logits, labels)
        errors = factors * (expit(logits) - labels) / np.float32(len(labels))
        gradient = np.append(errors @ standard + 2 * self._l2 * kernel, errors.sum())
        loss = float(losses.mean() + self._l2 * (kernel @ kernel))
        self._step(gradient.astype(np.float32), rate)
        return loss

    def _step(self, gradient: Floats32, rate: float) -> None:
        self._steps += 1
        first, second = self._moments
        first += (gradient - first) * (1 - FIRST)
        second += (gradient**2 - second) * (1 - SECOND)
        unbiased = np.sqrt(1 - SECOND**self._steps) / (1 - FIRST**self._steps)
        self._theta -= (
            np.float32(rate * unbiased) * first / (np.sqrt(second) + np.float32(runtime.EPSILON))
        )

    def logits(self, features: Floats32) -> Floats32:
        """Returns the logits (n,) of features (n, channels)."""
        found = self._standardised(features) @ self._theta[:-1] + self._theta[-1]
        return np.asarray(found, np.float32)

    def score(self, inputs: Inputs, rows: Ints, views: int = 1) -> Floats32:
        """Returns logits (n,) of rows of inputs, averaged over their first `views` views."""
        progress = Progress("images of a run scored", views * len(rows))
        total = np.zeros(len(rows), np.float32)
        with one_thread(), np.errstate(invalid="ignore"):  # who asked looks for what is not finite
            for view in range(views):
                for start in range(0, len(rows), SCORED):
                    progress.reached(view * len(rows) + start)
                    part = rows[start : start + SCORED]
                    (features,) = inputs.take(part, np.full_like(part, view))
                    total[start : start + SCORED] += self.logits(features)
        return total / np.float32(views)


def cross_entropy(logits: Floats32, labels: NDArray[Any]) -> NDArray[Any]:
    """Returns the loss (n,) of each image, from its logit and its label, 0 or 1."""
    # Without overflow: log(1 + e^x) - y x.
    return np.asarray(np.logaddexp(0, logits) - labels * logits)


def one_thread() -> Any:
    """Returns a context in which products of matrices use one thread.

    They are too small to gain from more, and their sums would depend on how many there are.
    """
    return threadpool_limits(1, "blas")
