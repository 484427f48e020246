"""The batches of an epoch: which images and views each has, and what is read of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skin_pipeline.training.inputs import Ints
from skin_pipeline.training.stages import Examples, Stage


class Order:
    """Which images and views are in the batches of one epoch.

    Args:
        stage: The stage.
        seed: Seed of the run.
        number: Number of the stage, from 0.
        epoch: Number of the epoch, from 1.
    """

    def __init__(self, stage: Stage, seed: int, number: int, epoch: int) -> None:
        # Drawn from these numbers alone, whatever was drawn before: a run that was stopped and goes
        # on in another process draws what it would have drawn.
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
        # All batches have one size, so that the step is compiled once. The images that are left
        # over differ from epoch to epoch.
        return len(self.examples) // self.batch

    def __getitem__(self, number: int) -> tuple[Ints, Ints]:
        part = slice(number * self.batch, (number + 1) * self.batch)
        return self.examples[part], self.views[part]


def batch_of(train: Examples, examples: Ints, views: Ints) -> tuple[Any, ...]:
    """Returns inputs, labels (b, 1), and weights (b,) if there are any."""
    read = train.inputs.take(train.rows[examples], views)
    labels = train.labels[examples].astype(np.float32)[:, None]
    batch = (read if len(read) > 1 else read[0], labels)
    return batch if train.weights is None else (*batch, train.weights[examples])
