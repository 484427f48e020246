"""The engines that compute the frozen network: TensorFlow, or OpenVINO in single or half precision.

    forward = forward_of(network, ["pooled"], trunk, threads=2)

OpenVINO computes the same network on CPUs. With `bfloat16` it is several times as fast where the
processor has instructions for it, and each number has some three digits. It is an extra: without it
installed, TensorFlow does everything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import scratch
from skin_pipeline.training import features
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.features import Forward

log = logging.getLogger(__name__)

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
    """Returns in which precisions OpenVINO can be quick on this machine, the plain one first."""
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
        return features.forward_of(network, kinds)
    return by_openvino(features.frozen(network, kinds), kinds, trunk.precision, threads)


def by_openvino(graph: bytes, kinds: Sequence[str], precision: str, threads: int) -> Forward:
    """Returns what `forward_of` does, from a graph that `features.frozen` made."""
    import openvino

    core = openvino.Core()
    with scratch() as folder:
        # Read as a frozen graph: OpenVINO's own converter would report its use over the network.
        path = folder / "network.pb"
        path.write_bytes(graph)
        compiled = core.compile_model(
            core.read_model(path),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": NAMES[precision],
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
            },
        )

    names = features.names_of(kinds)
    outputs = {kind: compiled.output(name) for kind, name in names.items()}

    def forward(batch: Any) -> dict[str, Any]:
        found = compiled([np.ascontiguousarray(batch)])
        return {kind: found[output] for kind, output in outputs.items()}

    return forward
