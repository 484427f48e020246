"""The configuration of a network, read as data: nothing that it says is ever built or called.

    config = parsed(data, "config.json")
    for layer in layers(config):
        ...                              # {"class_name": "Conv2D", "config": {"filters": 64, …}, …}

Keras builds the class that a configuration names, with the arguments that it gives. Whoever reads a
file of another party here looks at the same text as a tree of lists, objects, texts and numbers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from skin_pipeline.training.container import Foreign

MOST_DEPTH = 64  # of nested lists and objects; ours have 30
MOST_CHARACTERS = 10_000  # of a text; ours have 60
MOST_DIGITS = 20  # of a whole number: an address in memory has 15
MOST_LAYERS = 2000  # of a network within the model
MOST_NESTED = 6  # networks within networks; ours have 4
LAYERS = "layers"


def parsed(data: bytes, name: str) -> Any:
    """Returns a member that is JSON, if Keras could have written it.

    Raises:
        Foreign: It is no JSON, has a key twice, or something larger than ours ever have.
    """
    try:
        found = json.loads(
            data.decode(),
            object_pairs_hook=_without_doubles,
            parse_constant=_no_number,
            parse_int=_whole,
        )
        _refuse_extremes(found)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Foreign(f"has a damaged {name} ({reason[:200]})") from None
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    # Readers differ in which of two they take; here and in Keras it must be the same.
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse_extremes(value: Any) -> None:
    """Raises `ValueError` for what is deep, long or infinite.

    Goes down level by level: a function that calls itself would fail on a deeply nested value.
    """
    level = [value]
    for _ in range(MOST_DEPTH):
        for item in level:
            if isinstance(item, str) and len(item) > MOST_CHARACTERS:
                raise ValueError(f"a text of {len(item)} characters")
            if isinstance(item, float) and not math.isfinite(item):
                raise ValueError("a number without end")
        level = [inner for item in level for inner in _within(item)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _within(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list):
        yield from value


# --- the tree of a network ------------------------------------------------------------------------


def get(value: Any, key: str) -> Any:
    """Returns what an object has under a key; None if it is no object or has no such key."""
    return value.get(key) if isinstance(value, dict) else None


def layers(model: Any) -> list[dict[str, Any]]:
    """Returns the layers of a model's configuration, networks among them, at most `MOST_LAYERS`.

    What does not look like a layer is left out.
    """
    listed = get(get(model, "config"), LAYERS)
    found = listed[:MOST_LAYERS] if isinstance(listed, list) else []
    return [layer for layer in found if isinstance(layer, dict) and name_of(layer)]


def name_of(layer: Any) -> str:
    """Returns the name of a layer as `plain` has it; empty if it has none."""
    name = get(layer, "name") or get(get(layer, "config"), "name")
    return plain(name) if isinstance(name, str) else ""


def plain(name: str) -> str:
    """Returns a layer's name as Keras 3 has it: in Keras 2 it may contain slashes."""
    return name.replace("/", "_")


def models(model: Any, deep: int = MOST_NESTED) -> Iterator[dict[str, Any]]:
    """Yields a model and all models within it, the outermost first."""
    if layers(model):
        yield model
    for layer in layers(model) if deep else ():
        yield from models(layer, deep - 1)


def widths(model: Any) -> list[tuple[str, int]]:
    """Returns the layers of a model and of those within it, each with how many filters it has.

    A layer that is no convolution has 0 of them.
    """
    found = []
    for inner in models(model):
        for layer in layers(inner):
            filters = get(get(layer, "config"), "filters")
            found.append((name_of(layer), filters if type(filters) is int else 0))
    return found


def snake(name: str) -> str:
    """Returns a class's name in Keras's way: of MaxPooling2D it is max_pooling2d."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
