"""Checks before a task begins whether the machine has enough memory for it.

The system kills a process that takes more memory than there is, and its log does not say why. An
estimate that is somewhat too high is better than that.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import psutil

from skin_pipeline.config import Deployment, threads
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.training.heads import SCORED
from skin_pipeline.training.inputs import WINDOW

log = logging.getLogger(__name__)

GIB = 2**30
BASE = 0.9 * GIB  # the interpreter with TensorFlow, Keras, pandas and scikit-learn
BARE = 0.4 * GIB  # the interpreter with pandas and scikit-learn alone
COMPILING = 0.3 * GIB  # XLA, and the second copy of constants that it makes
CONTROL_GROUPS = (  # limit and use of a container's memory, in its two versions
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def memory() -> tuple[int, int]:
    """Returns the bytes of memory of this container or machine: in all, and available."""
    machine = psutil.virtual_memory()
    for limit, used in CONTROL_GROUPS:
        try:
            most, now = int(Path(limit).read_text()), int(Path(used).read_text())
        except (OSError, ValueError):  # another version, or no limit
            continue
        if most < machine.total:
            return most, min(machine.available, max(most - now, 0))
    return machine.total, machine.available


def allowed(deployment: Deployment) -> float:
    """Returns the most memory in bytes that one computing task may take."""
    return deployment.memory_gib * GIB or memory()[0]


def announce(deployment: Deployment, gpus: int) -> None:
    """Logs in one line what a computing task may use."""
    total, available = memory()
    log.info(
        "machine cores=%d threads=%d memory_gib=%.1f available_gib=%.1f allowed_gib=%s gpus=%d",
        psutil.cpu_count() or 1,
        threads(deployment),
        total / GIB,
        available / GIB,
        f"{deployment.memory_gib:g}" if deployment.memory_gib else "all",
        gpus,
    )


def check_memory(deployment: Deployment, needed: float, what: str, way_out: str) -> None:
    """Logs what a task needs; raises an error if that is not available.

    Args:
        deployment: Its `memory_gib` is the most that one task may take.
        needed: The estimate in bytes.
        what: The task, for messages.
        way_out: What the user can change.

    Raises:
        BadInput: It is more than the setting allows, or than the machine has at all.
        Unavailable: It is more than is free now, while other tasks run.
    """
    total, available = memory()
    log.info(
        'memory what="%s" needed_gib=%.1f available_gib=%.1f', what, needed / GIB, available / GIB
    )
    needs = f"{what} needs about {needed / GIB:.1f} GiB of memory"
    if deployment.memory_gib and needed > deployment.memory_gib * GIB:
        raise BadInput(f"{needs}, and SKIN_MEMORY_GIB allows {deployment.memory_gib:g}. {way_out}")
    if needed > total:
        raise BadInput(f"{needs}, and the machine has {total / GIB:.1f}. {way_out}")
    if needed > available:
        raise Unavailable(
            f"{needs}, and {available / GIB:.1f} GiB are free now. If it stays so, run fewer tasks "
            f"at once (the pool's slots), or: {way_out}"
        )


def bytes_to_run(network: Any, batch: int) -> float:
    """Returns the memory in bytes of a task that runs a model forward.

    The output of a layer is freed once the next layers have read it, so few exist at a time. The
    six largest together are at least as large.
    """
    layers = sorted(_layer_bytes(network), reverse=True)
    weights = 2 * 4 * int(network.count_params())  # as variables, and as constants of XLA
    return BASE + COMPILING + weights + batch * sum(layers[:6]) + WINDOW


def bytes_to_train_head(batch: int, row_bytes: int) -> float:
    """Returns the memory in bytes of a task that trains a head.

    Args:
        batch: Examples in a batch.
        row_bytes: Size of the features of one example.
    """
    # The weights are as large as the features of one example; see `bytes_to_train`.
    return BARE + (4 * batch + 8 * SCORED + 9) * row_bytes + 2 * WINDOW


def bytes_to_train(model: Any, batch: int, row_bytes: int) -> float:
    """Returns the memory in bytes of a task that trains a model.

    Args:
        model: The model.
        batch: Examples in a batch.
        row_bytes: Size of what the model reads of one example.
    """
    trained = sum(4 * int(weight.shape.num_elements()) for weight in _weights(model))
    # Unlike in a forward run, every layer's output is kept until its gradient is computed; that
    # gradient has the same size. What is read exists several times on its way into the model.
    activations = batch * (2 * sum(_layer_bytes(model)) + 4 * row_bytes)
    # Beside the variables themselves: trained weights exist as gradients, as Adam's two moments, as
    # the best so far and the state after the last epoch, and twice on their way to the store.
    weights = 4 * int(model.count_params()) + 7 * trained
    return BASE + COMPILING + weights + activations + 2 * WINDOW


def _weights(model: Any) -> list[Any]:
    return [variable.value for variable in model.trainable_variables]


def _layer_bytes(model: Any) -> list[float]:
    """Returns the size in bytes of each layer's output for one image, in single precision."""
    sizes = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            sizes += _layer_bytes(layer)
            continue
        size = 4.0
        for side in getattr(layer.output, "shape", (0,))[1:]:
            size *= side or 0
        sizes.append(size)
    return sizes
