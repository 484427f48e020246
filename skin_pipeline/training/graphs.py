"""What computes the frozen network in a task: a compiled network, and what it takes.

    runner = runner_of(work, dataset, trunk, ["pooled"])
    forward = runner.forward()                          # a function, as `engines.forward_of` says

Another engine than TensorFlow reads the network as a graph, which is kept in the store. So it is
made once: only the first task starts TensorFlow, builds the network and reads its weights, which
together take longer than computing a hundred images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from skin_pipeline.contracts import Dataset, Graph, Trunk
from skin_pipeline.job import Work
from skin_pipeline.storage import Store
from skin_pipeline.training import engines, features, models, resources
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.features import BATCH, Forward
from skin_pipeline.versions import VERSIONS


class Runner(NamedTuple):
    """A network that is ready to be compiled.

    Attributes:
        activation_bytes: Size of the activations of one view of an image.
        memory: Bytes of memory that a task takes which computes them.
        forward: Compiles the network, or returns what it compiled before.
    """

    activation_bytes: int
    memory: float
    forward: Callable[[], Forward]


def runner_of(work: Work, dataset: Dataset, trunk: Trunk, kinds: Sequence[str]) -> Runner:
    """Returns what computes the activations of a trunk, by the trunk's engine.

    Args:
        work: The making of the result that needs them.
        dataset: The data set, whose images have the size that the network sees.
        trunk: The network, its weights and its engine.
        kinds: `pooled`, `maps`, or both.
    """
    if trunk.engine == engines.USUAL["engine"]:
        network = models.network_on(work.job, dataset, trunk)
        return Runner(
            *_needs(network, kinds), partial(_by_tensorflow, network, tuple(kinds), trunk)
        )
    key = _graph(work, dataset, trunk, kinds)
    graph = work.load(key, Graph)
    about = (work.store, graph, tuple(kinds), trunk.precision, work.threads)
    # Every store can be hashed, which a protocol cannot say.
    forward = partial(_by_openvino, *about)  # type: ignore[arg-type]
    return Runner(graph.activation_bytes, graph.memory, forward)


def _needs(network: Network, kinds: Sequence[str]) -> tuple[int, float]:
    """Returns the size of the activations of one view, and the memory that computing them takes."""
    return features.bytes_of(network, kinds, 1, 1), resources.bytes_to_run(network.whole, BATCH)


def _graph(work: Work, dataset: Dataset, trunk: Trunk, kinds: Sequence[str]) -> str:
    """Returns the key of a network's graph, which is made now unless it is in the store."""
    network_only = trunk.model_copy(update=engines.USUAL)
    inputs = {
        **{"trunk": network_only.recipe, "image_size": dataset.image_size},
        **{"kinds": list(kinds), "batch": BATCH},
    }

    def make(work: Work) -> Graph:
        network = models.network_on(work.job, dataset, network_only)
        activation_bytes, memory = _needs(network, kinds)
        file = work.put("network.pb", engines.graph_of(network, kinds))
        return Graph(file=file, activation_bytes=activation_bytes, memory=memory)

    return work.job.once("graph", VERSIONS["graph"], inputs, make, apart=True)


# One task works on several shards of a large data set, and compiling takes seconds.
@lru_cache(maxsize=1)
def _by_tensorflow(network: Network, kinds: tuple[str, ...], trunk: Trunk) -> Forward:
    return engines.forward_of(network, kinds, trunk, threads=0)


@lru_cache(maxsize=1)
def _by_openvino(
    store: Store, graph: Graph, kinds: tuple[str, ...], precision: str, threads: int
) -> Forward:
    return engines.of_graph(store.read(graph.file), kinds, precision, threads)
