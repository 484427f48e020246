"""The workflow's steps, timed one by one; and the original recipe's training step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from skin_pipeline import sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Evaluation, load
from skin_pipeline.job import Job
from skin_pipeline.storage import open_store

T = TypeVar("T")

# The notebook that this project comes from: six runs of 40 epochs of 93 steps on 8 images.
RUNS, EPOCHS, STEPS, BATCH, SIZE = 6, 40, 93, 8, 224


@dataclass
class Workflow:
    """One run of the workflow on a store, with the seconds of each step."""

    job: Job
    seconds: dict[str, float] = field(default_factory=dict)
    evaluation: str = ""

    @classmethod
    def on(cls, folder: Path, data: Path, weights: Path | None, **knobs: Any) -> Workflow:
        """Prepares a workflow on images in `data` and a store below `folder`."""
        source = str(weights) if weights else "imagenet"
        settings = Settings(data=str(data), weights=source, **knobs)
        deployment = Deployment(store=f"file://{folder}/store")
        return cls(Job(settings, deployment, open_store(deployment.store)))

    def with_strategy(self, strategy: str) -> Workflow:
        """Returns the same workflow with another strategy."""
        settings = self.job.settings.model_copy(update={"strategy": strategy})
        return Workflow(replace(self.job, settings=settings))

    def train(self) -> list[str]:
        """Makes the trained runs from the images; returns their keys."""
        job = self.job
        dataset, weights, external = self._timed("ingest", lambda: steps.ingest(job))
        weights = self._timed("engine", lambda: steps.engine(job, dataset, weights))
        self.validation = self._timed("validate", lambda: steps.validate(job, dataset, external))
        self.split = self._timed("split", lambda: steps.split(job, self.validation))
        shards = sharding.numbers(job, dataset)
        features = self._timed(
            "features", lambda: [steps.features(job, self.split, weights, i) for i in shards]
        )
        index, runs = steps.index(job, features), range(job.settings.runs)
        return self._timed(
            "train", lambda: [steps.train(job, self.split, index, run) for run in runs]
        )

    def judge(self, trained: list[str]) -> Evaluation:
        """Evaluates the runs on the test set."""
        key = self._timed(
            "evaluate", lambda: steps.evaluate(self.job, self.split, trained, self.validation)
        )
        self.evaluation = key
        return load(self.job.store, key, Evaluation)

    @property
    def total(self) -> float:
        """Seconds of all steps so far."""
        return sum(self.seconds.values())

    def _timed(self, name: str, call: Callable[[], T]) -> T:
        start = time.perf_counter()
        made = call()
        self.seconds[name] = time.perf_counter() - start
        return made


def original_step_seconds(weights: Path | None, steps_measured: int = 12) -> float:
    """Returns the median seconds of the original's training step: all of ResNet50 with Adam, batch
    normalisation that learns, and pixels scaled by 1/255."""
    import keras

    network = keras.applications.ResNet50(
        include_top=False, weights=weights, input_shape=(SIZE, SIZE, 3), pooling="avg"
    )
    network.trainable = True
    model = keras.Sequential([network, keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (BATCH, SIZE, SIZE, 3)).astype(np.float32) / 255
    labels = np.arange(BATCH, dtype=np.float32)[:, None] % 2
    model.train_on_batch(images, labels)
    times = []
    for _ in range(steps_measured):
        start = time.perf_counter()
        model.train_on_batch(images, labels)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def original_seconds(step: float) -> float:
    """Returns the seconds of the original's six runs, from those of a step."""
    return RUNS * EPOCHS * STEPS * step
