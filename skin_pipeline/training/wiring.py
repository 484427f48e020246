"""What computes within a network, as its configuration has it: to compare one network with another.

    within(config, {"block1_conv1", "block14_sepconv2"})
    # Counter({"Conv2D(kernel_size=[3, 3], …)": 6, "Add()": 12, …})

Weights mean something only in the network that they were trained in. With other strides, another
activation or a layer in between, they would still fit and give other features.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from skin_pipeline.training import configuration

# What of a layer changes its results, and is written alike by all versions of Keras.
SETTINGS = (
    *("strides", "padding", "dilation_rate", "kernel_size", "pool_size", "filters", "units"),
    *("activation", "epsilon", "use_bias", "center", "scale", "data_format"),
)
# Layers that change nothing once the training is over.
INERT = {"InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"}
OLD = {"swish": "silu", "hard_swish": "hard_silu"}  # names of activations, and newer ones
# Operations that are no layers: the classes of Keras 3 for functions that Keras 2 names.
OPERATIONS = {"__operators__.add": "Add", "math.multiply": "Multiply"}
MOST_PATH = 6  # nested lists and objects on the way to the name of a layer that is read


def within(model: Any, names: set[str]) -> Counter[str]:
    """Returns each layer on a way from one of these layers to another, in words, and how many.

    Args:
        model: The configuration of a network.
        names: Names of some of its layers, or of layers in networks within it.
    """
    graph = _Graph.of(model, names)
    if inner := graph.inner:
        return within(inner, names)
    between = _reached(graph.marked, graph.read) & _reached(graph.marked, graph.readers)
    return Counter(words for name in between for words in words_of(graph.layers[name]))


def before(model: Any, names: set[str]) -> list[Any]:
    """Returns the layers between the image and the first of these layers, in their order.

    Args:
        model: The configuration of a network, or of one that contains it.
        names: Names of layers, as in `within`.
    """
    graph = _Graph.of(model, names)
    ahead = _reached(graph.marked, graph.read) - _reached(graph.marked, graph.readers)
    inside = before(graph.inner, names) if graph.inner else []
    order = sorted(ahead, key=lambda name: len(_reached({name}, graph.read)))
    return [*(one for name in order for one in _plain(graph.layers[name])), *inside]


class _Graph(NamedTuple):
    """The layers of a network by name, which of them are or hold the wanted ones, and which layers
    each reads and is read by."""

    layers: dict[str, Any]
    marked: set[str]
    read: dict[str, set[str]]
    readers: dict[str, set[str]]

    @classmethod
    def of(cls, model: Any, names: set[str]) -> _Graph:
        layers = {configuration.name_of(layer): layer for layer in configuration.layers(model)}
        marked = {name for name, layer in layers.items() if _holds(layer, names)}
        read = _read(model, layers)
        readers: dict[str, set[str]] = defaultdict(set)
        for name, others in read.items():
            for other in others:
                readers[other].add(name)
        return cls(layers, marked, read, readers)

    @property
    def inner(self) -> Any:
        """The network within that holds all that is wanted; None if there is none."""
        one = self.layers[min(self.marked)] if len(self.marked) == 1 else None
        return one if configuration.layers(one) else None


def _plain(layer: Any) -> Iterator[Any]:
    """Yields a layer that computes something; of a network within, its layers."""
    if inner := configuration.layers(layer):
        for one in inner:
            yield from _plain(one)
    elif configuration.get(layer, "class_name") not in INERT:
        yield layer


def _holds(layer: Any, names: set[str]) -> bool:
    """Returns whether a layer, or one within it, has one of these names."""
    if configuration.name_of(layer) in names:
        return True
    return any(
        configuration.name_of(inner) in names
        for model in configuration.models(layer)
        for inner in configuration.layers(model)
    )


def _read(model: Any, layers: dict[str, Any]) -> dict[str, set[str]]:
    """Returns the names of the layers that each layer reads."""
    if configuration.get(model, "class_name") == "Sequential":
        names = list(layers)
        return {name: {before} for before, name in pairwise(names)}
    return {
        name: {other for other in _texts(layer.get("inbound_nodes"), MOST_PATH) if other in layers}
        for name, layer in layers.items()
    }


def _texts(value: Any, deep: int) -> Iterator[str]:
    """Yields the names in `["name", 0, 0]`, by which Keras says what a layer reads.

    Keras 2 has the other arguments of an operation behind them: `["name", 0, 0, {"y": [...]}]`.
    """
    if isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str):
        yield configuration.plain(value[0])
        value = value[3:]
    if deep and isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner, deep - 1)


def _reached(names: set[str], edges: dict[str, set[str]]) -> set[str]:
    """Returns these names and all that are reached from them."""
    found, waiting = set(names), list(names)
    while waiting:
        new = edges.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def words_of(layer: Any) -> Iterator[str]:
    """Yields a layer in words; of a network within, its layers."""
    for one in _plain(layer):
        yield _words(one)


def _words(layer: Any) -> str:
    name, config = str(layer.get("class_name")), layer.get("config")
    function = configuration.get(config, "function")
    if name == "TFOpLambda" and isinstance(function, str):
        name = OPERATIONS.get(function, name)
    known = (
        {key: config[key] for key in SETTINGS if key in config} if isinstance(config, dict) else {}
    )
    if isinstance(activation := known.get("activation"), str):
        known["activation"] = OLD.get(activation, activation)
    told = ", ".join(f"{key}={json.dumps(value)}" for key, value in known.items())
    return f"{name}({told})"
