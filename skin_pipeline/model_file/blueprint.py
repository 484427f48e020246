"""A model file's configuration, read as data: nothing that it says is ever built or called.

    found = recipe_of(parsed(data, "config.json"))  # Recipe(backbone="ResNet50", runs=6, …)

It is only asked how often and how large: from that the project's own code builds the network, and
what it says besides is compared with that network's own configuration.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from skin_pipeline.foreign import shown
from skin_pipeline.model_file.building import Recipe
from skin_pipeline.model_file.container import Foreign
from skin_pipeline.training.backbone import BACKBONES, TRAINED, is_name

MOST_DEPTH = 64  # of lists and objects in one another; ours have 30
MOST_CHARACTERS = 10_000  # of a text; ours have 60
MOST_DIGITS = 20  # of a whole number: an address in memory has 15
MOST_LAYERS = 2000  # of a network within the model
MOST_NESTED = 6  # networks in one another; ours have 4
# What the settings allow, and a little more: networks of tests are small.
SIZES = range(8, 513)
WHOLE_SIDES = range(8, 1025)
RUNS = range(1, 21)
VIEWS = (1, 2, 4, 8)
SCALES = (1 / 20.1, 1 / 0.0499)  # of `ensemble.TEMPERATURES`
NUMBERED = (
    "shared_object_id"  # which Keras writes beside what it wrote before: a number that is new
)
# Of a layer that Keras had to name itself, and a number that depends on what was built before.
STEM = re.compile(r"(.*?)(_\d+)?", re.DOTALL)
LAYERS = "layers"
T = TypeVar("T")


def parsed(data: bytes, name: str) -> Any:
    """A member that is JSON, if it is such as Keras writes.

    Raises:
        Foreign: it is no JSON, has a key twice, or something larger than ours ever have.
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
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse_extremes(value: Any) -> None:
    """Raises `ValueError` for what is deep, long or infinite. Not by calling itself: it may be."""
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
    """What a released model was built from, as its configuration has it.

    Raises:
        Foreign: it is not that of a model that `training.released` ever made; says what is missing.
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
    """The layers of a model's configuration by name; none of what does not look like one."""
    listed = _get(_get(model, "config"), LAYERS)
    if isinstance(listed, list):
        for layer in listed[:MOST_LAYERS]:
            name = _get(layer, "name") or _get(_get(layer, "config"), "name")
            if isinstance(name, str):
                yield name, layer


def _ends(model: Any, deep: int) -> Iterator[str]:
    """The names of layers at which a model or one within it ends."""
    ends = _get(_get(model, "config"), "output_layers")
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
    """How often an image stands in the batch: its logits are reshaped to (views, images, 1)."""
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
    """What the runs trained, by the networks that stand in the first of them."""
    within = dict(_layers(layers["run_0"]) if "run_0" in layers else ())
    if TRAINED in within:
        return "full"
    return "fine_tune" if "last_stage" in within else "head"


def _backbone(ends: set[str]) -> str:
    """The network that ends with its third stage in some part of the model."""
    fitting = [
        backbone
        for backbone, spec in BACKBONES.items()
        if any(is_name(end, spec.stages[2]) for end in ends)
    ]
    if len(fitting) != 1:
        known = ", ".join(BACKBONES)
        raise Foreign(f"is no model of ours: its network is none of {known}")
    return fitting[0]


# --- whether it was built so ----------------------------------------------------------------------


def difference(ours: Any, theirs: Any, *, same_version: bool) -> str | None:
    """The first thing in which a configuration is not that of the model that we built.

    Args:
        ours: Configuration of our model, as JSON data.
        theirs: The file's.
        same_version: Whether both were written by one version of Keras. If not, only what both say
            is compared: each version writes a little more or less.
    """
    return next(_Comparison(same_version).differences(ours, theirs, "config", _Names()), None)


class _Names:
    """Names that differ by a number only, of the layers of one network: each means one of ours."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}
        self._theirs: dict[str, str] = {}

    def agree(self, ours: str, theirs: str) -> bool:
        """Whether a name of theirs can mean ours, and did so before."""
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
    def __init__(self, same_version: bool) -> None:
        self._same_version = same_version

    def differences(self, ours: Any, theirs: Any, where: str, names: _Names) -> Iterator[str]:
        """What in theirs is not as in ours; `where` is the path to it."""
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
        inner = _Names() if LAYERS in ours else names
        for key in (key for key in ours if key in theirs):
            # The name of a network is one of those around it.
            scope = names if key == "name" else inner
            yield from self.differences(ours[key], theirs[key], f"{where}.{key}", scope)

    def _in_lists(
        self, ours: list[Any], theirs: list[Any], where: str, names: _Names
    ) -> Iterator[str]:
        if len(ours) != len(theirs):
            yield f"{where} has {len(theirs)} items instead of {len(ours)}"
        for place, (our, their) in enumerate(zip(ours, theirs, strict=False)):
            yield from self.differences(our, their, f"{where}[{place}]", names)


def _other_keys(ours: dict[str, Any], theirs: dict[str, Any], where: str) -> Iterator[str]:
    if more := theirs.keys() - ours.keys() - {NUMBERED}:
        yield f"{where} says {shown(min(more))}, of which ours says nothing"
    if less := ours.keys() - theirs.keys():
        yield f"{where} does not say {shown(min(less))}"


def _told(where: str, ours: Any, theirs: Any) -> str:
    return f"{where} is {shown(str(theirs))} instead of {shown(str(ours))}"
