"""Scores images with the models of runs: their network, their weights, and their logits.

    network = network_on(job, dataset, trunk)
    weights = [weights_of(store, run) for run in runs]
    logits = logits_of(lambda: network, source, runs, weights, wanted, views)

Other rooms score with it, and so does training on its validation images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.arrays import Arrays
from skin_pipeline.contracts import Dataset, TrainedRun, Trunk
from skin_pipeline.job import Job
from skin_pipeline.progress import Progress
from skin_pipeline.storage import Store
from skin_pipeline.training import resources, runtime
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.heads import Head
from skin_pipeline.training.inputs import Inputs, Ints, Source
from skin_pipeline.training.strategies import STRATEGIES

SCORED = 32  # images that are scored at once


# --- the network ----------------------------------------------------------------------------------


def network_on(job: Job, dataset: Dataset, trunk: Trunk) -> Network:
    """Returns the network of a trunk, in a TensorFlow limited to the threads of this task."""
    keras = runtime.keras_on(job.threads)
    resources.announce(job.deployment, len(runtime.gpus()))
    # Every store can be hashed, which a protocol cannot say.
    return _loaded(keras, trunk, dataset.image_size, job.store)  # type: ignore[arg-type]


# The command line trains one run after the other in one process; building the network anew for each
# would take as long as training a head. No run changes it: models take copies of its weights.
@lru_cache(maxsize=1)
def _loaded(keras: Any, trunk: Trunk, image_size: int, store: Store) -> Network:
    return Network.load(keras, trunk, image_size, store)


# --- weights --------------------------------------------------------------------------------------


def write_weights(target: Path | BinaryIO, weights: Arrays) -> None:
    """Writes the weights of a model, in their order."""
    np.savez(target, **{f"w{number:04}": array for number, array in enumerate(weights)})  # type: ignore[arg-type]


def read_weights(source: Path | BinaryIO) -> Arrays:
    """Returns the weights of a model, in their order.

    Raises:
        ValueError: The file was not written by `write_weights`.
    """
    return _in_order(arrays.several(source))


def weights_of(store: Store, run: TrainedRun) -> Arrays:
    """Returns the weights of a run, in their order.

    Raises:
        BadInput: They are missing, or not as the run wrote them.
    """
    return _in_order(arrays.several_of(store, run.weights))


def _in_order(named: dict[str, NDArray[Any]]) -> Arrays:
    return [named[name] for name in sorted(named)]


# --- logits ---------------------------------------------------------------------------------------


class Score(Protocol):
    """Returns logits (n,) of rows of inputs, averaged over their first `views` views."""

    def __call__(self, inputs: Inputs, rows: Ints, views: int = 1) -> NDArray[np.float32]: ...


def scorer(model: Any, jit: bool) -> Score:
    """Returns a compiled function from rows of inputs to logits.

    Args:
        model: The model. The function follows later changes of its weights.
        jit: Whether XLA compiles it.
    """
    import tensorflow as tf

    forward = tf.function(lambda read: model(read, training=False), jit_compile=jit)

    def view_of(inputs: Inputs, rows: Ints, view: int, progress: Progress) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(rows), SCORED):
            progress.reached(view * len(rows) + start)
            batch = rows[start : start + SCORED]
            # All batches have one shape, so that the function is compiled once; rows that fill up
            # the last one are scored again and dropped.
            full = np.resize(batch, SCORED)
            read = inputs.take(full, np.full_like(full, view))
            values = forward(list(read) if len(read) > 1 else read[0])
            parts.append(np.asarray(values, np.float32)[: len(batch), 0])
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def score(inputs: Inputs, rows: Ints, views: int = 1) -> NDArray[np.float32]:
        progress = Progress("images of a run scored", views * len(rows))
        each = [view_of(inputs, rows, view, progress) for view in range(views)]
        return np.asarray(np.mean(each, axis=0), np.float32)

    return score


def logits_of(
    network: Callable[[], Network],
    source: Source,
    runs: Sequence[TrainedRun],
    weights: Iterable[Arrays],
    wanted: Sequence[Ints],
    views: int,
) -> NDArray[np.float64]:
    """Returns logits (runs, n) of the images of a source, averaged over views.

    The logits of images that a run does not score are NaN.

    Args:
        network: Returns the network with its pretrained weights; heads do without.
        source: The images; its features are those of the runs' strategy.
        runs: The runs, all of one strategy.
        weights: The weights of each run.
        wanted: For each run the rows that it scores.
        views: How many squares are averaged, from the first: four, for two views of two squares.
    """
    inputs, scorer_of = _reading(network, source, runs[0].strategy)
    logits = np.full((len(runs), len(source.table)), np.nan)
    for own, line, rows in zip(weights, logits, wanted, strict=True):
        line[rows] = scorer_of(own)(inputs, rows, views)
    return logits


def _reading(
    network: Callable[[], Network], source: Source, strategy: str
) -> tuple[Inputs, Callable[[Arrays], Score]]:
    """Returns what models of a strategy read, and a function from their weights to their scores."""
    if strategy == "head":
        return source.pooled(), lambda weights: Head.of(weights).score
    # One model for all runs, which gets the weights of each in turn: it is compiled once.
    loaded = network()
    model = STRATEGIES[strategy].model(loaded, "run")
    score = scorer(model, jit=loaded.jit)

    def with_weights(weights: Arrays) -> Score:
        model.set_weights(weights)
        return score

    return source.inputs(strategy, loaded), with_weights
