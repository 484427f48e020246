"""Describes a run and its stages: what is trained on what, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.config import Settings
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.inputs import Inputs, Ints, Source


@dataclass(frozen=True)
class Run:
    """One of several runs on the same images, each with its own seed and training images.

    Attributes:
        load: Returns the network with its pretrained weights. A head does without: it reads the
            features.
        source: What the runs read.
        settings: The settings of the workflow run.
        number: Number of the run, from 0.
        seed: Seed of everything that is drawn at random in the run.
    """

    load: Callable[[], Network]
    source: Source
    settings: Settings
    number: int
    seed: int

    @cached_property
    def network(self) -> Network:
        """The network with its pretrained weights, loaded when it is first asked for."""
        return self.load()

    def rows(self, side: str) -> Ints:
        """Returns the rows of the images on one side of the run."""
        return self.source.rows(self.number, side)


@dataclass(frozen=True)
class Examples:
    """Images that a stage reads, with their labels.

    Attributes:
        inputs: What is read of them.
        rows: Their rows (n,) in the inputs.
        labels: 1 for malignant (n,).
        views: How many views there are of each.
        weights: Their weights (n,) in the loss; None if all weigh the same.
    """

    inputs: Inputs
    rows: Ints
    labels: Ints
    views: int = 1
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Stage:
    """A part of a run: one model, trained for some epochs.

    Attributes:
        name: `head`, or the strategy.
        build: Makes the model: a `Head`, or a model of Keras.
        train: What it is trained on.
        validation: What each epoch is judged on.
        epochs: The largest number of epochs.
        patience: The stage ends after so many epochs without a better one.
        batch_size: Examples in a batch.
        rate: Adam's learning rate.
        rate_setting: The setting of the rate, for messages.
        every_view: Whether an epoch has all views of each image, or one view at random.
        falling: Whether the rate falls to 0 along a cosine.
        jit: Whether XLA compiles the model.
        devices: The GPUs that the model is spread over.
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
