"""A model file's configuration, read as data: nothing that it says is ever built or called.

    found = recipe_of(configuration.parsed(data, CONFIG))  # Recipe(backbone="ResNet50", runs=6, …)

Only what the network was made from is taken from it: which backbone, how many runs, which sizes.
From that the project's own code builds the network. Everything else in the configuration is
compared with that network's own, and the first difference refuses the file. So a class, a function
or an argument that only the file names is never looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn, cast, get_args

from skin_pipeline.foreign import shown
from skin_pipeline.model_file import looking
from skin_pipeline.model_file.building import Recipe
from skin_pipeline.training import backbone, configuration, container, networks

Foreign = container.Foreign

MOST_LAYERS = 2000  # of a network within the model
# What the settings allow, and a little more: networks of tests are small. The bounds are checked
# before anything is built, since a network's memory grows with each of these numbers.
SIZES = range(8, 513)
WHOLE_SIDES = range(8, 1025)
RUNS = range(1, 21)
VIEWS = (1, 2, 4, 8)
SCALES = (1 / 20.1, 1 / 0.0499)  # one divided by `ensemble.TEMPERATURES`, rounded outwards
CHANNELS, MOST_PIXEL = 3, 1e6  # of what pixels are multiplied by, and what is added to them
# The key under which Keras numbers an object that it writes again: a new number each time.
NUMBERED = "shared_object_id"
# A name that Keras gives to a layer itself ends with a number, which depends on what was built
# before in the same process.
STEM = re.compile(r"(.*?)(_\d+)?", re.DOTALL)
LAYERS = "layers"
# What earlier models say otherwise: their crop was called as in training (see `building`). Ours is
# built in its place, so this is no reason to refuse them.
EARLIER = {"config.config.layers[2].inbound_nodes[0].kwargs.training": True}


# --- what to build --------------------------------------------------------------------------------


def recipe_of(config: Any) -> Recipe:
    """Returns what a released model was built from, as its configuration has it.

    Raises:
        Foreign: `building.released_model` never makes a model with such a configuration; says what
            is missing.
    """
    layers = dict(_layers(config))
    image_size = _number(layers, looking.CENTRE, "height", SIZES)
    regions = 2 if looking.LESION in layers else 1
    strategy = _strategy(layers)
    name, stages = _network(config, strategy)
    return Recipe(
        backbone=name,
        strategy=strategy,
        runs=_runs(layers),
        image_size=image_size,
        whole_side=_number(layers, looking.WHOLE, "height", WHOLE_SIDES),
        views=_views(layers, regions),
        scale=_scale(layers),
        pixels=_pixels(config),
        stages=stages,
        regions=regions,
        scaled=_scaled(layers),
    )


def _layers(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the layers of a model's configuration by name; none of what does not look like one."""
    listed = _get(_get(model, "config"), LAYERS)
    if isinstance(listed, list):
        for layer in listed[:MOST_LAYERS]:
            name = _get(layer, "name") or _get(_get(layer, "config"), "name")
            if isinstance(name, str):
                yield name, layer


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


def _scaled(layers: dict[str, dict[str, Any]]) -> looking.Scaled:
    """Returns the numbers of the scaled image: other ones in models from before it was uint8."""
    name = _get(_get(_setting(layers, looking.WHOLE, "dtype"), "config"), "name")
    if name not in get_args(looking.Scaled):
        _refuse_setting(looking.WHOLE, "dtype", name, " or ".join(get_args(looking.Scaled)))
    return cast(looking.Scaled, name)


def _pixels(config: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Returns how the network's weights expect pixels, if the model says so in a layer."""
    for model in configuration.models(config):
        for name, layer in _layers(model):
            if name == backbone.PIXELS:
                return _numbers(layer, "scale"), _numbers(layer, "offset")
    return None


def _numbers(layer: dict[str, Any], key: str) -> tuple[float, ...]:
    found = _get(_get(layer, "config"), key)
    if not isinstance(found, list) or len(found) != CHANNELS:
        _refuse_setting(backbone.PIXELS, key, found, f"{CHANNELS} numbers")
    if not all(type(one) is float and abs(one) <= MOST_PIXEL for one in found):
        _refuse_setting(backbone.PIXELS, key, found, f"numbers of at most {MOST_PIXEL:g}")
    return tuple(found)


def _views(layers: dict[str, dict[str, Any]], regions: int) -> int:
    """Returns how many views of each square are scored, by the shape of the logits: (squares of an
    image in all views, images, 1)."""
    shapes = [
        _get(_get(layer, "config"), "newshape")
        for layer in layers.values()
        if _get(layer, "class_name") == "Reshape"
    ]
    for views in VIEWS:
        if shapes == [[views * regions, -1, 1]]:
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


def _network(config: Any, strategy: str) -> tuple[str, int]:
    """Returns the network that some part of the model is, and how many of its stages there are."""
    for model in configuration.models(config):
        found = networks.recognised(configuration.widths(model))
        # Only a head can do without the last stage. A part of another model may look like it.
        if found and (strategy == "head" or found[1] == networks.STAGES):
            return found
    known = ", ".join(networks.BACKBONES)
    raise Foreign(f"is no model of ours: its network is none of {known}")


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
        elif ours != theirs and EARLIER.get(where) is not theirs:
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
