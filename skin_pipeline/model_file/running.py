"""Runs a loaded model on packed images, by the engine that is quick on this machine.

    probabilities = running.of(loading.load(path, threads), threads).forward(squares)

Only the checked `.keras` file is trusted. What OpenVINO computes is made of the loaded model anew
in each process, which takes less time than TensorFlow needs to compile it, and compared with Keras.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.errors import BadInput
from skin_pipeline.model_file import looking
from skin_pipeline.training import backbone, engines, runtime

log = logging.getLogger(__name__)

BATCH = 16  # images that the network is given at a time
WORTH_FROM = 160  # pixels of a square's side; smaller ones are computed before they are converted
HALF = "bfloat16"
TRIED = 4  # of the first images, which Keras computes too
# The largest difference of a probability from Keras's. In half precision it was at most .01 on
# images from several clinics; a network that was converted wrongly is far outside.
TOLERANCE = 0.03

Squares = NDArray[np.uint8]
Run = Callable[[Squares], Sequence[Any]]


class Running(NamedTuple):
    """A model that runs on packed images (n, regions * size, size, 3).

    Attributes:
        forward: Returns the probabilities (n, 1).
        seeing: Returns them and, from the same pass, what the trunk makes of the images (n or more,
            d): the views follow each other, the first one is the images as they are. None if the
            model has no trunk that all its runs share.
    """

    forward: Callable[[Squares], Any]
    seeing: Callable[[Squares], tuple[Any, Any]] | None


def of(model: Any, threads: int, engine: str = "auto") -> Running:
    """Returns a model as it runs on this machine.

    Args:
        model: What `loading.load` returned.
        threads: How many threads the engine may use.
        engine: `tensorflow`; `openvino`, in half precision where the processor has instructions for
            it; or `auto`: OpenVINO if it is installed, there are such instructions and no GPU, and
            the squares are not small.

    Raises:
        BadInput: OpenVINO is asked for and not installed.
    """
    precision = _precision(engine, looking.geometry_of(model).size)
    features = _features(model)
    network = _network(model, features)
    run = _by_tensorflow(model, network)
    if precision:
        log.info("scoring_engine engine=openvino precision=%s", precision)
        run = _Tried(network, run, looking.seen(model).shape, precision, threads)
    return Running(lambda squares: run(squares)[0], _both(run) if features else None)


def _precision(engine: str, size: int) -> str:
    """Returns the precision in which OpenVINO runs a model on squares of this side here; empty if
    TensorFlow runs it."""
    if engine == "tensorflow" or (engine == "auto" and size < WORTH_FROM):
        return ""
    here = engines.precisions()
    if engine == "auto":
        return HALF if HALF in here and not runtime.gpus() else ""
    if not here:
        raise BadInput(
            "SKIN_SCORING_ENGINE=openvino: OpenVINO is not installed here. Install it (`pip "
            "install -r requirements-openvino.txt`), or set SKIN_SCORING_ENGINE=tensorflow"
        )
    return here[-1]


def _both(run: Run) -> Callable[[Squares], tuple[Any, Any]]:
    def seeing(squares: Squares) -> tuple[Any, Any]:
        probabilities, features = run(squares)
        return probabilities, features

    return seeing


def _features(model: Any) -> list[Any]:
    """Returns the pooled features of the trunk; nothing if the runs of a model share none."""
    import keras

    stem = next((layer for layer in model.layers if layer.name == "stem"), None)
    if stem is None:
        return []
    # What the stem gives in this model, and not what it gave when it was made on its own.
    made = keras.Operation.output.fget(stem)
    pooled = made[0] if isinstance(made, list | tuple) else made
    # A `full` model has no shared trunk.
    return [pooled] if len(pooled.shape) == len(("image", "feature")) else []


def _network(model: Any, features: list[Any]) -> Run:
    """Returns the part of a model that comes after the cropping and scaling of the image."""
    import keras
    import tensorflow as tf

    network = keras.Model(looking.seen(model), [model.output, *features])

    def forward(squares: Any) -> list[Any]:
        # Keras gives the only output of a model without a list.
        found = network(tf.cast(squares, tf.float32), training=False)
        flat: list[Any] = keras.tree.flatten(found)
        return flat

    return forward


def _by_tensorflow(model: Any, network: Run) -> Run:
    """Returns a network as quick as TensorFlow makes it."""
    import tensorflow as tf

    plain: Run = tf.function(network, reduce_retracing=True)
    if not backbone.quick_with_xla(model, looking.geometry_of(model).size):
        return plain
    # XLA compiles for each shape anew, which only pays for full batches.
    compiled: Run = tf.function(network, jit_compile=True)
    return lambda squares: (compiled if len(squares) == BATCH else plain)(squares)


class _Tried:
    """Runs a network by OpenVINO if that agrees with Keras on the first images; else as usual."""

    def __init__(
        self, network: Run, usual: Run, shape: Sequence[int | None], precision: str, threads: int
    ) -> None:
        self._network, self._usual = network, usual
        graph = engines.frozen(network, shape)
        self._compiled = engines.by_openvino(graph, precision, threads)
        self._chosen: Run | None = None

    def __call__(self, squares: Squares) -> Sequence[Any]:
        if self._chosen is None:
            self._chosen = self._compiled if self._agrees(squares[:TRIED]) else self._usual
        return self._chosen(squares)

    def _agrees(self, squares: Squares) -> bool:
        ours, theirs = (np.asarray(run(squares)[0]) for run in (self._compiled, self._network))
        apart = float(np.abs(ours - theirs).max())
        agrees = apart <= TOLERANCE  # NaN is never within it
        if agrees:
            log.info("scoring_engine_agrees images=%d apart=%.4f", len(squares), apart)
        else:
            log.warning("scoring_engine_differs apart=%.4f instead=tensorflow", apart)
        return agrees
