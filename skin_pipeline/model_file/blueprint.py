"""A model file's configuration, read as data: nothing that it says is ever built or called.

    found = recipe_of(parsed(data, "config.json"))  # Recipe(backbone="ResNet50", runs=6, …)

Only what the network was made from is taken from it: which backbone, how many runs, which sizes.
From that the project's own code builds the network. Everything else in the configuration is
compared with that network's own, and the first difference refuses the file. So a class, a function
or an argument that only the file names is never looked up.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from skin_pipeline.foreign import shown
from skin_pipeline.model_file.building import Recipe
from skin_pipeline.model_file.container import Foreign
from skin_pipeline.training import backbone

MOST_DEPTH = 64  # of nested lists and objects; ours have 30
MOST_CHARACTERS = 10_000  # of a text; ours have 60
MOST_DIGITS = 20  # of a whole number: an address in memory has 15
MOST_LAYERS = 2000  # of a network within the model
MOST_NESTED = 6  # networks within networks; ours have 4
# What the settings allow, and a little more: networks of tests are small. The bounds are checked
# before anything is built, since a network's memory grows with each of these numbers.
SIZES = range(8, 513)
WHOLE_SIDES = range(8, 1025)
RUNS = range(1, 21)
VIEWS = (1, 2, 4, 8)
SCALES = (1 / 20.1, 1 / 0.0499)  # one divided by `ensemble.TEMPERATURES`, rounded outwards
# The key under which Keras numbers an object that it writes again: a new number each time.
NUMBERED = "shared_object_id"
# A name that Keras gives to a layer itself ends with a number, which depends on what was built
# before in the same process.
STEM = re.compile(r"(.*?)(_\d+)?", re.DOTALL)
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


# --- what to build --------------------------------------------------------------------------------


def recipe_of(config: Any) -> Recipe:
    """Returns what a released model was built from, as its configuration has it.

    Raises:
        Foreign: `building.released_model` never makes a model with such a configuration; says what
            is missing.
    """
    layers = dict(_layers(config))
    image_size = _number(layers, "field_of_view", "height", SIZES)
    return Recipe(
        backbone=_backbone(set(_ends(config, MOST_NESTED))),
        strategy=_strategy(layers),
        runs=_runs(layers),
        image_size=image_size,
        whole_side=_number(layers, "centre_square", "height", WHOLE_SIDES),
        views=_views(layers),
        scale=_scale(layers),
    )


def _layers(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the layers of a model's configuration by name; none of what does not look like one."""
    listed = _get(_get(model, "config"), LAYERS)
    if isinstance(listed, list):
        for layer in listed[:MOST_LAYERS]:
            name = _get(layer, "name") or _get(_get(layer, "config"), "name")
            if isinstance(name, str):
                yield name, layer


def _ends(model: Any, deep: int) -> Iterator[str]:
    """Yields the names of the layers at which a model, or one within it, ends."""
    ends = _get(_get(model, "config"), "output_layers")
    # Keras writes one output as ["name", 0, 0], and several as a list of such lists.
    for end in ends if isinstance(ends, list) else ():
        yield from (name for name in [end, *_within(end)] if isinstance(name, str))
    if deep:
        for _, layer in _layers(model):
            yield from _ends(layer, deep - 1)


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _setting(layers: dict[str, dict[str, Any]], name: str, key: str) -> Any:
    if name not in layers:
        raise Foreign(f"is no model of ours: its configuration has no layer {name}")
    return _get(_get(layers[name], "config"), key)


def _refuse_setting(name: str, key: str, found: Any, allowed: object) -> NoReturn:
    raise Foreign(
        f"is no model of ours: its layer {name} has {shown(str(found))} for {key}; {allowed} is "
        "allowed"
    )


def _number(layers: dict[str, dict[str, Any]], name: str, key: str, allowed: range) -> int:
    found = _setting(layers, name, key)
    if type(found) is not int or found not in allowed:
        _refuse_setting(name, key, found, f"{allowed.start} to {allowed.stop - 1}")
    return found


def _scale(layers: dict[str, dict[str, Any]]) -> float:
    found, (least, most) = _setting(layers, "calibrated", "scale"), SCALES
    if type(found) is not float or not least <= found <= most:
        _refuse_setting("calibrated", "scale", found, f"{least:.3f} to {most:.3f}")
    return found


def _views(layers: dict[str, dict[str, Any]]) -> int:
    """Returns how many views of an image are scored: logits are reshaped to (views, images, 1)."""
    shapes = [
        _get(_get(layer, "config"), "newshape")
        for layer in layers.values()
        if _get(layer, "class_name") == "Reshape"
    ]
    for views in VIEWS:
        if shapes == [[views, -1, 1]]:
            return views
    raise Foreign("is no model of ours: its views cannot be told from its configuration")


def _runs(layers: dict[str, dict[str, Any]]) -> int:
    numbers = {name for name in layers if name.startswith("run_")}
    if len(numbers) not in RUNS or numbers != {f"run_{i}" for i in range(len(numbers))}:
        most = RUNS.stop - 1
        raise Foreign(f"is no model of ours: it has not 1 to {most} networks run_0, run_1, …")
    return len(numbers)


def _strategy(layers: dict[str, dict[str, Any]]) -> str:
    """Returns what the runs trained, by the networks that the first of them contains."""
    within = dict(_layers(layers["run_0"]) if "run_0" in layers else ())
    if backbone.TRAINED in within:
        return "full"
    return "fine_tune" if "last_stage" in within else "head"


def _backbone(ends: set[str]) -> str:
    """Returns the network of which some part of the model ends with the third stage."""
    fitting = [
        name
        for name, spec in backbone.BACKBONES.items()
        if any(backbone.is_name(end, spec.stages[2]) for end in ends)
    ]
    if len(fitting) != 1:
        known = ", ".join(backbone.BACKBONES)
        raise Foreign(f"is no model of ours: its network is none of {known}")
    return fitting[0]


# --- whether it was built so ----------------------------------------------------------------------


def difference(ours: Any, theirs: Any, *, same_version: bool) -> str | None:
    """Returns the first difference of a file's configuration from that of our model, or None.

    Args:
        ours: Configuration of our model, as JSON data.
        theirs: That of the file.
        same_version: Whether one version of Keras wrote both. If not, only keys that both have are
            compared: each version writes a few more or fewer.
    """
    return next(_Comparison(same_version).differences(ours, theirs, "config", _Names()), None)


class _Names:
    """The names of a network's layers, which may differ from ours only in the numbers of Keras.

    Each of theirs must mean the same one of ours everywhere, and no two of them the same one:
    otherwise two layers could be exchanged for each other.
    """

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}
        self._theirs: dict[str, str] = {}

    def agree(self, ours: str, theirs: str) -> bool:
        """Returns whether a name of theirs can mean ours, and meant no other before."""
        if _stem(ours) != _stem(theirs):
            return False
        return (
            self._theirs.setdefault(ours, theirs) == theirs
            and self._ours.setdefault(theirs, ours) == ours
        )


def _stem(name: str) -> str:
    found = STEM.fullmatch(name)
    return found[1] if found else name


class _Comparison:
    """Compares two configurations, of the same version of Keras or not."""

    def __init__(self, same_version: bool) -> None:
        self._same_version = same_version

    def differences(self, ours: Any, theirs: Any, where: str, names: _Names) -> Iterator[str]:
        """Yields, in words, each difference of theirs from ours; `where` is the path to both."""
        if type(ours) is not type(theirs):  # 1, 1.0 and true are equal in Python
            yield _told(where, ours, theirs)
        elif isinstance(ours, dict):
            yield from self._in_objects(ours, theirs, where, names)
        elif isinstance(ours, list):
            yield from self._in_lists(ours, theirs, where, names)
        elif isinstance(ours, str):
            if not names.agree(ours, theirs):
                yield _told(where, ours, theirs)
        elif ours != theirs:
            yield _told(where, ours, theirs)

    def _in_objects(
        self, ours: dict[str, Any], theirs: dict[str, Any], where: str, names: _Names
    ) -> Iterator[str]:
        if self._same_version:
            yield from _other_keys(ours, theirs, where)
        if type(theirs.get(NUMBERED, 0)) is not int:
            yield _told(f"{where}.{NUMBERED}", "a number", theirs[NUMBERED])
        # An object with layers is a network: the names of its layers mean something in it only, but
        # its own name is one of the network around it.
        inner = _Names() if LAYERS in ours else names
        for key in (key for key in ours if key in theirs):
            scope = names if key == "name" else inner
            yield from self.differences(ours[key], theirs[key], f"{where}.{key}", scope)

    def _in_lists(
        self, ours: list[Any], theirs: list[Any], where: str, names: _Names
    ) -> Iterator[str]:
        if len(ours) != len(theirs):
            yield f"{where} has {len(theirs)} items instead of {len(ours)}"
        for index, (our, their) in enumerate(zip(ours, theirs, strict=False)):
            yield from self.differences(our, their, f"{where}[{index}]", names)


def _other_keys(ours: dict[str, Any], theirs: dict[str, Any], where: str) -> Iterator[str]:
    if more := theirs.keys() - ours.keys() - {NUMBERED}:
        yield f"{where} says {shown(min(more))}, of which ours says nothing"
    if less := ours.keys() - theirs.keys():
        yield f"{where} does not say {shown(min(less))}"


def _told(where: str, ours: Any, theirs: Any) -> str:
    return f"{where} is {shown(str(theirs))} instead of {shown(str(ours))}"
