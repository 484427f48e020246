"""Takes the layers of a network of keras.applications out of a file that was saved elsewhere.

    with saved.opened(path) as file:
        fill(network, file, "Xception")

The network was built by our own code. Each of its layers with arrays must be in the file once,
under its name and with its shapes. Everything else in the file (the top, a head, other networks) is
left.
If the file says how its layers are connected, that must be as in our network.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from skin_pipeline.foreign import shown
from skin_pipeline.training import configuration, hdf5, networks, pixels, wiring
from skin_pipeline.training.container import Foreign
from skin_pipeline.training.pixels import Pixels
from skin_pipeline.training.saved import File, Layer, split

log = logging.getLogger(__name__)

SHOWN = 5  # names in a message
LAYERS = "layers"
# Keras's names of the arrays of a layer differ between versions.
RENAMED = {"depthwise_kernel": "kernel"}
# Of ImageNet's pixels in 0…1; keras.applications' EfficientNet has them in a layer.
MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Own(NamedTuple):
    """A layer of our network that has arrays.

    Attributes:
        layer: The layer.
        path: At which Keras writes it, below the group with all layers.
        kind: Its class as Keras writes it.
        number: Its place among those of its class.
        arrays: The name and shape of each array, in the order in which Keras saves them.
    """

    layer: Any
    path: str
    kind: str
    number: int
    arrays: list[tuple[str, tuple[int, ...]]]

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.layer.name)

    @property
    def is_numbered(self) -> bool:
        """Whether Keras named it, by its class and a number."""
        return networks.is_name(self.name, self.kind)

    def keys_in(self, other: Layer) -> list[str] | None:
        """Returns where the arrays of a layer are in a file, in our order; None if they differ."""
        if all(name.isdigit() for name in other.shapes):
            names = sorted(other.shapes, key=int)
        else:
            names = [name if name in other.shapes else _old(name, other) for name, _ in self.arrays]
        shapes = [other.shapes.get(name) for name in names]
        if len(names) != len(other.shapes) or shapes != [shape for _, shape in self.arrays]:
            return None
        return [other.keys[name] for name in names]


def _old(name: str, other: Layer) -> str:
    """Returns by which name an older version of Keras calls an array of a layer."""
    return next((old for old, new in RENAMED.items() if new == name and old in other.shapes), name)


Found = dict[str, tuple[Own, Layer, list[str]]]  # by the paths of layers in the file


def fill(network: Any, file: File, backbone: str) -> Pixels | None:
    """Puts the arrays of a file into a network, and logs what was taken and what was left.

    Args:
        network: A model of keras.applications without its top, built by `networks.whole`.
        file: The opened file.
        backbone: The network's name.

    Returns:
        How the file scales the pixels that its network sees; None if it does not say so.

    Raises:
        Foreign: The file does not contain the network exactly once, says what it contains; or it
            does more with the pixels in front of the network than to scale them.
    """
    ours = list(_own(network))
    scope, found = _scope(ours, file, backbone)
    left = [layer for layer in file.layers if layer.path not in found]
    here = [layer for layer in left if _is_within(layer.path, scope)]
    _refuse_other_wiring(network, file, scope, found, here, backbone)
    scaling = _pixels(network, file, found, backbone)
    for own, _, keys in found.values():
        arrays = {str(place): file.read(key) for place, key in enumerate(keys)}
        own.layer.load_own_variables(arrays)
    names = ", ".join(sorted(layer.name or layer.path for layer in left))
    log.info(
        "weights_taken backbone=%s layers=%d left=%d: %s", backbone, len(ours), len(left), names
    )
    return scaling


def _own(network: Any) -> Iterator[Own]:
    counts: Counter[str] = Counter()
    for path, layer in hdf5.layer_paths(network):
        kind = configuration.snake(type(layer).__name__)
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        if store:
            arrays = [(variable.name, tuple(variable.shape)) for variable in store.values()]
            yield Own(layer, path.removeprefix(f"{LAYERS}/"), kind, counts[kind], arrays)
            counts[kind] += 1


# --- where in the file the network is -------------------------------------------------------------


def _scope(ours: list[Own], file: File, backbone: str) -> tuple[str, Found]:
    """Returns the smallest group of the file that contains the network, and its layers there."""
    fitting: dict[str, Found] = {}
    fewest: list[str] | None = None
    for scope in _scopes(file):
        if any(_is_within(inner, scope) for inner in fitting):
            continue
        theirs = [layer for layer in file.layers if _is_within(layer.path, scope)]
        found, missing = _matched(ours, theirs, scope)
        if not missing:
            fitting[scope] = found
        elif fewest is None or len(missing) < len(fewest):
            fewest = missing
    if len(fitting) > 1:
        places = ", ".join(map(shown, sorted(fitting)[:SHOWN]))
        raise Foreign(f"contains several {backbone}: {places}. Save the one to use by itself")
    if not fitting:
        raise _missing(backbone, len(ours), fewest or [own.name for own in ours], file)
    return next(iter(fitting.items()))


def _scopes(file: File) -> list[str]:
    """Returns all groups on the way to layers, the deepest first, and the file itself."""
    found = {""}
    for layer in file.layers:
        path = layer.path
        while path := path.rpartition("/")[0]:
            found.add(path)
    return sorted(found, key=lambda path: (-len(path.split("/")) * bool(path), path))


def _is_within(path: str, scope: str) -> bool:
    return not scope or path == scope or path.startswith(f"{scope}/")


def _missing(backbone: str, number: int, missing: list[str], file: File) -> Foreign:
    names = ", ".join(map(shown, missing[:SHOWN]))
    told = f"does not contain {backbone}: {len(missing)} of its {number} layers are not there with "
    told += f"the same shapes, as {names}"
    if others := [name for name in contained(file.models.values()) if name != backbone]:
        told += f". It seems to contain {' or '.join(others)}: set backbone to that"
    return Foreign(told)


def contained(models: Any) -> list[str]:
    """Returns the networks that some configurations may contain, by the names of their layers."""
    found: list[str] = []
    for model in models:
        found += networks.candidates(name for name, _ in configuration.widths(model))
    return sorted(set(found))


# --- which layer is which -------------------------------------------------------------------------


def _matched(ours: list[Own], theirs: list[Layer], scope: str) -> tuple[Found, list[str]]:
    """Returns the layers that are the same, and the names of ours that have no such layer.

    Layers with names of their own are the same by name. Those that Keras named or numbered follow
    one another in the order in which they were made, and so do theirs.
    """
    if not all(layer.name for layer in theirs):
        found = _at_same_paths(ours, theirs, scope)
        return (found, []) if len(found) == len(ours) else _in_rows(ours, theirs, _by_class)
    found, missing = _in_rows(ours, theirs, _by_name)
    numbers = {split(layer.name)[1] for layer in theirs}
    if missing and len(numbers) == 1:
        # Somebody gave all names the same number, to put two networks into one model.
        plain = [layer._replace(name=split(layer.name)[0]) for layer in theirs]
        found, missing = _in_rows(ours, plain, _by_name)
    return found, missing


def _at_same_paths(ours: list[Own], theirs: list[Layer], scope: str) -> Found:
    known = {layer.path: layer for layer in theirs}
    found: Found = {}
    for own in ours:
        layer = known.get(hdf5.joined(scope, own.path))
        if layer and (keys := own.keys_in(layer)):
            found[layer.path] = (own, layer, keys)
    return found


class _Order(NamedTuple):
    """A name that layers share, and the place of one among them."""

    shared: str
    place: int


def _by_name(layer: Own | Layer) -> _Order:
    stem, number = split(layer.name)
    if isinstance(layer, Own) and not layer.is_numbered:
        return _Order(layer.name, 0)
    return _Order(stem, number)


def _by_class(layer: Own | Layer) -> _Order:
    return _Order(layer.kind, layer.number)


def _in_rows(
    ours: list[Own], theirs: list[Layer], order: Callable[[Own | Layer], _Order]
) -> tuple[Found, list[str]]:
    """Returns what `_matched` does, by groups of layers that share a name or class."""
    groups: dict[str, list[Own]] = defaultdict(list)
    for own in sorted(ours, key=lambda own: order(own).place):
        groups[order(own).shared].append(own)
    known: dict[str, list[Layer]] = defaultdict(list)
    for layer in sorted(theirs, key=lambda layer: order(layer).place):
        known[order(layer).shared].append(layer)
    exact = {layer.name: [layer] for layer in theirs if layer.name}
    found: Found = {}
    missing: list[str] = []
    for shared, group in groups.items():
        # A name of its own is preferred to the same name with a number.
        named = exact.get(shared) if not group[0].is_numbered else None
        rows = _rows(group, named or known.get(shared, []))
        if len(rows) == 1:
            found |= rows[0]
        else:
            missing += [own.name for own in group]
    return found, missing


def _rows(ours: list[Own], layers: list[Layer]) -> list[Found]:
    """Returns each row of layers in a file that can be these layers of ours, by their shapes."""
    found = []
    for start in range(len(layers) - len(ours) + 1):
        row: Found = {}
        for own, layer in zip(ours, layers[start:], strict=False):
            if (keys := own.keys_in(layer)) is None:
                break
            row[layer.path] = (own, layer, keys)
        if len(row) == len(ours):
            found.append(row)
    return found


# --- whether it is the same network ---------------------------------------------------------------


def _refuse_other_wiring(
    network: Any, file: File, scope: str, found: Found, left: list[Layer], backbone: str
) -> None:
    """Raises `Foreign` for a network with layers in it that ours does not have, or without some."""
    if scope not in file.models:
        strays = [layer for layer in left if layer.is_convolution and not _is_behind(layer, found)]
        if strays:
            raise Foreign(
                f"has convolutions among those of {backbone} that it does not have, as "
                f"{shown(strays[0].name or strays[0].path)}"
            )
        return
    ours = wiring.within(serialised(network), {own.name for own, _, _ in found.values()})
    taken = {layer.name for layer in file.layers if layer.path in found}
    theirs = wiring.within(file.models[scope], taken)
    for more, what in ((theirs - ours, "has"), (ours - theirs, "lacks")):
        if more:
            raise Foreign(f"has another {backbone} than keras.applications: it {what} {min(more)}")


def serialised(network: Any) -> Any:
    """Returns the configuration of a network as a file would have it."""
    config = {"layers": network.get_config()["layers"]}
    text = json.dumps(config, default=_plain)
    return {"class_name": "Functional", "config": json.loads(text)}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _is_behind(layer: Layer, found: Found) -> bool:
    """Returns whether a convolution stands before or behind all of its class that were taken."""
    beside = layer.path.rpartition("/")[0]
    numbers = [
        other.number
        for _, other, _ in found.values()
        if other.kind == layer.kind and other.path.rpartition("/")[0] == beside
    ]
    return layer.number >= 0 and bool(numbers) and not min(numbers) < layer.number < max(numbers)


# --- which pixels it was trained on ---------------------------------------------------------------


def _pixels(network: Any, file: File, found: Found, backbone: str) -> Pixels | None:
    """Returns how the file scales the pixels of its network, None if it does not say so.

    Raises:
        Foreign: It does something with them that cannot be followed.
    """
    if not file.models:
        _refuse_other_scaling(file, found, backbone)
        return None
    taken = {layer.name for layer in file.layers if layer.path in found}
    front = wiring.before(file.config, taken)
    # What our network does itself: it pads images, or begins with its own scaling.
    ours = wiring.before(serialised(network), {own.name for own, _, _ in found.values()})
    told = [[word for layer in part for word in wiring.words_of(layer)] for part in (ours, front)]
    if told[1][len(front) - len(ours) :] != told[0]:
        raise Foreign(f"has a {backbone} that begins otherwise than that of keras.applications")

    def values(name: str) -> list[Any]:
        keys = next((layer.keys for layer in file.layers if layer.name == name), {})
        return [file.read(keys[one]) for one in sorted(keys.keys() - {"count", "2"})]

    return pixels.scaled_by(front[: len(front) - len(ours)], values)


def _refuse_other_scaling(file: File, found: Found, backbone: str) -> None:
    """Raises `Foreign` for weights alone of an EfficientNet with a scaling of its own.

    Its layer `normalization` is left out, since our own code scales the pixels as ImageNet's
    weights want them.
    """
    left = [layer for layer in file.layers if layer.path not in found]
    for layer in left if networks.BACKBONES[backbone].begin else ():
        keys = [key for name, key in sorted(layer.keys.items()) if layer.shapes[name] == (3,)]
        if split(layer.name or layer.kind)[0] != "normalization" or len(keys) != 2:
            continue
        means, spreads = (file.read(key) for key in keys)
        fits = [np.allclose(spreads, np.power(DEVIATIONS, one), rtol=1e-3) for one in (1, 2)]
        if not np.allclose(means, MEANS, rtol=1e-3) or not any(fits):
            raise Foreign(
                f"has an {backbone} that was trained on other pixels than ImageNet's: its layer "
                f"{shown(layer.name)} has the means {means.tolist()}. Save it as a .keras file, "
                "which says how they are scaled"
            )
