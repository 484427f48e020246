"""The engines that compute the frozen network: TensorFlow or OpenVINO, in single or half precision.

    forward = forward_of(network, ["pooled"], trunk, threads=2)

OpenVINO computes the same network on CPUs. With `bfloat16` it is several times as fast where the
processor has instructions for it, and each number has some three digits. It is an extra: without it
installed, TensorFlow does everything. On GPUs TensorFlow is quick, and in half precision quicker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import scratch
from skin_pipeline.training import features
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.features import Forward

log = logging.getLogger(__name__)

Run = Callable[[NDArray[np.uint8]], list[NDArray[Any]]]

USUAL = {"engine": "tensorflow", "precision": "float32"}
NAMES = {"float32": "f32", "bfloat16": "bf16"}  # as OpenVINO calls them
WAY_OUT = (
    "Install it on every worker (`pip install -r requirements-openvino.txt`), or set "
    "engine=tensorflow"
)


def installed() -> str:
    """Returns the version of OpenVINO that is installed here; empty if there is none."""
    return version("openvino") if find_spec("openvino") else ""


def precisions() -> list[str]:
    """Returns in which precisions OpenVINO can be quick here, the plain one first.

    There is none where it is not installed.
    """
    if not installed():
        return []
    import openvino

    found = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["float32", *(["bfloat16"] if "BF16" in found else [])]


def need(trunk: Trunk) -> None:
    """Raises an error if the engine of a run's network is not installed here.

    Raises:
        BadInput: It is not. Another engine would give other features under the same key.
    """
    if trunk.engine != USUAL["engine"] and not installed():
        raise BadInput(
            f"this run computes its network with {trunk.engine}, which is not here. {WAY_OUT}"
        )


def here(trunk: Trunk) -> Trunk:
    """Returns the trunk of an earlier model as this machine can compute it.

    Without its engine that is TensorFlow's, in single precision: the features agree, and have
    their own key.
    """
    if trunk.engine == USUAL["engine"] or installed():
        return trunk
    log.warning("engine_missing engine=%s instead=%s", trunk.engine, USUAL["engine"])
    return trunk.model_copy(update=USUAL)


def forward_of(network: Network, kinds: Sequence[str], trunk: Trunk, threads: int) -> Forward:
    """Returns a function from squares (BATCH, size, size, 3) of uint8 to activations.

    Args:
        network: The network with its pretrained weights.
        kinds: What it returns; see `features.forward_of`.
        trunk: The trunk, which says by which engine and in what precision.
        threads: How many threads OpenVINO may use.
    """
    if trunk.engine == USUAL["engine"]:
        halved = trunk.precision != USUAL["precision"]
        return features.forward_of(network.in_half_precision() if halved else network, kinds)
    return of_graph(graph_of(network, kinds), kinds, trunk.precision, threads)


def graph_of(network: Network, kinds: Sequence[str]) -> bytes:
    """Returns what OpenVINO reads of a network, with its weights; see `features.forward_of`."""
    plain, side = features.plain_of(network, kinds), network.image_size
    shape = (features.BATCH, side, side, 3)
    return frozen(lambda batch: [plain(batch)[kind] for kind in kinds], shape)


def of_graph(graph: bytes, kinds: Sequence[str], precision: str, threads: int) -> Forward:
    """Returns what `forward_of` does, from a graph that `graph_of` made for the same kinds."""
    compiled = by_openvino(graph, precision, threads)
    return lambda batch: dict(zip(kinds, compiled(batch), strict=True))


def frozen(plain: Callable[[Any], Sequence[Any]], shape: Sequence[int | None]) -> bytes:
    """Returns a function of TensorFlow as a graph with its weights.

    Args:
        plain: From an array of uint8 of this shape to several arrays.
        shape: The shape; None for a side of any length.
    """
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    traced = tf.function(plain).get_concrete_function(tf.TensorSpec(shape, tf.uint8))
    made = convert_to_constants.convert_variables_to_constants_v2(traced)
    found: bytes = made.graph.as_graph_def().SerializeToString()
    return found


def by_openvino(graph: bytes, precision: str, threads: int) -> Run:
    """Returns what a function computes of which `frozen` made a graph, computed by OpenVINO.

    Args:
        graph: The graph.
        precision: A name of `NAMES`.
        threads: How many threads OpenVINO may use.
    """
    import openvino

    core = openvino.Core()
    with scratch() as folder:
        # Read as a frozen graph: OpenVINO's own converter would report its use over the network.
        path = folder / "network.pb"
        path.write_bytes(graph)
        settings = {
            "INFERENCE_PRECISION_HINT": NAMES[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Else the threads of each process are bound to the first cores, which two tasks share.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(core.read_model(path), "CPU", settings)
    # TensorFlow names what a function returns by its place.
    names = ["Identity", *(f"Identity_{place}" for place in range(1, len(compiled.outputs)))]
    outputs = [compiled.output(f"{name}:0") for name in names]

    def run(batch: NDArray[np.uint8]) -> list[NDArray[Any]]:
        found = compiled([np.ascontiguousarray(batch)])
        return [np.asarray(found[output]) for output in outputs]

    return run
