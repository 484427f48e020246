"""The layers in a file that Keras saved elsewhere: their names, and where their arrays are.

    with saved.opened(path) as file:
        for layer in file.layers:
            ...                        # Layer(path="layers/conv2d", name="block1_conv1", …)

Three formats are read. A `.keras` file is a zip with a configuration, which names the layers, and
an HDF5 file in which they are numbered by class. A `.weights.h5` is such an HDF5 file alone; newer
versions of Keras write the names of the layers into it. A `.h5` of older versions has a group for
each layer, by name, and may have the configuration beside them.

The configuration is only read as data. Nothing that it says is built or called.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.foreign import shown
from skin_pipeline.training import configuration, container, hdf5
from skin_pipeline.training.container import CONFIG, METADATA, WEIGHTS, Foreign

ZIP, HDF5 = b"PK", b"\x89HDF\r\n\x1a\n"  # the first bytes of a file
MOST_TEXT = 8 * 2**20  # bytes of a configuration; that of the deepest network has one
OWN = re.compile(r"(?:(.*)/)?vars/\d+")  # the path of an array of a numbered layer
NUMBERED = re.compile(r"(.*?)(?:_(\d+))?", re.DOTALL)
# Groups of a file with arrays that belong to no layer, and those of random numbers in a layer.
BESIDE = re.compile(r"(?:^|/)(?:optimizer|optimizer_weights|seed_generator)(?:/|$)")
ROOT = "model_weights"  # of the layers in a `.h5` of a whole model


class Layer(NamedTuple):
    """A layer with arrays.

    Attributes:
        path: Of its group in the HDF5 file.
        name: Its name; empty if the file does not tell.
        kind: Its class as Keras writes it (`conv2d`); empty if the file does not tell.
        number: Its place among those of its class; -1 if the file does not tell.
        shapes: The shape of each array, by the array's name: `0`, `1`, …, or `kernel`, `bias`, ….
        keys: The path of each array, by the same names.
    """

    path: str
    name: str
    kind: str
    number: int
    shapes: dict[str, tuple[int, ...]]
    keys: dict[str, str]

    @property
    def is_convolution(self) -> bool:
        """Whether it has a kernel over rows, columns and channels."""
        return any(len(shape) == 4 for shape in self.shapes.values())


class File(NamedTuple):
    """An opened file.

    Attributes:
        layers: All layers with arrays.
        config: Its configuration; None if it has none.
        models: The configuration of each network in it, by the path of the group with its layers.
        content: The opened HDF5 file.
    """

    layers: list[Layer]
    config: Any
    models: dict[str, Any]
    content: Any

    def read(self, key: str) -> NDArray[np.float32]:
        """Returns an array. Raises `Foreign` if it does not hold finite floats."""
        array = self.content[key]
        if array.dtype.kind != "f":
            raise Foreign(f"has values of the type {array.dtype} in {shown(key)} instead of floats")
        values = np.asarray(array[()], np.float32)
        if not np.isfinite(values).all():
            raise Foreign(f"has values that are no numbers (NaN) or infinite in {shown(key)}")
        return values


@contextmanager
def opened(path: Path) -> Generator[File, None, None]:
    """Yields what is in a file that `weight_files.check` accepted.

    Raises:
        Foreign: The file is damaged; says why.
    """
    import h5py

    with path.open("rb") as file:
        config, section = parted(file)
        with h5py.File(section, "r") as content:
            config = config or _config_beside(content)
            arrays = {
                part.path: h5py.Dataset(part.item)
                for part in hdf5.parts(content.id)
                if isinstance(part.item, h5py.h5d.DatasetID) and not BESIDE.search(part.path)
            }
            if any(OWN.fullmatch(key) for key in arrays):
                yield _numbered(content, arrays, config)
            else:
                yield _named(content, arrays, config)


def parted(file: BinaryIO) -> tuple[Any, BinaryIO]:
    """Returns the configuration of a file, None if it has none, and the HDF5 file with the arrays.

    Raises:
        Foreign: It is a zip, and none that Keras writes.
    """
    file.seek(0)
    start = file.read(len(HDF5))
    file.seek(0)
    if not start.startswith(ZIP):
        return None, file
    members = container.members(file)
    container.refuse_large(members, dict.fromkeys((CONFIG, METADATA), MOST_TEXT))
    config = configuration.parsed(container.contents(file, members[CONFIG]), CONFIG)
    container.verify(file, members[WEIGHTS])
    weights = members[WEIGHTS]
    return config, hdf5.Section(file, weights.start, weights.size)  # type: ignore[return-value]


def _config_beside(content: Any) -> Any:
    """Returns the configuration that a `.h5` of a whole model has in an attribute, or None."""
    said = content.attrs.get("model_config")
    data = said.encode() if isinstance(said, str) else said
    if not isinstance(data, bytes):
        return None
    if len(data) > MOST_TEXT:
        raise Foreign(f"has {len(data)} bytes of model_config; {MOST_TEXT} are allowed")
    return configuration.parsed(data, "model_config")


# --- layers that are numbered by class ------------------------------------------------------------


def _numbered(content: Any, arrays: dict[str, Any], config: Any) -> File:
    grouped: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, array in arrays.items():
        if found := OWN.fullmatch(key):
            grouped[found[1] or ""][key] = array
    models: dict[str, Any] = {}
    names = dict(_names(config, "", _children(grouped), models))
    layers = []
    for path, own in grouped.items():
        kind, number = split(path.rpartition("/")[2])
        said = content[f"{path}/vars"].attrs.get("name", "")
        name = names.get(path) or (said if isinstance(said, str) else "")
        layers.append(_layer(path, name, kind, max(number, 0), own))
    return File(layers, config, models, content)


def _children(paths: Any) -> dict[str, set[str]]:
    """Returns the names of the groups in each group on the way to a layer."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        while path:
            above, _, name = path.rpartition("/")
            found[above].add(name)
            path = above
    return found


def _names(
    model: Any, path: str, children: dict[str, set[str]], models: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yields the path and the name of each layer of a model and of those within it.

    Args:
        model: The configuration of the model.
        path: Of its group.
        children: The names of the groups in each group.
        models: Gets the configuration of each model, by the path of the group with its layers.
    """
    by_class: dict[str, list[Any]] = defaultdict(list)
    for layer in configuration.layers(model):
        by_class[configuration.snake(str(layer.get("class_name")))].append(layer)
    # Versions of Keras keep the layers under different names.
    for inside in children.get(path, ()):
        scope = f"{path}/{inside}".lstrip("/")
        groups = [(*split(name), f"{scope}/{name}") for name in children.get(scope, ())]
        if by_class and inside in LISTS:
            models[scope] = model
        for kind, number, group in groups:
            if 0 <= (place := max(number, 0)) < len(by_class.get(kind, ())):
                layer = by_class[kind][place]
                yield group, configuration.name_of(layer)
                yield from _names(layer, group, children, models)


LISTS = {"layers", "_layer_checkpoint_dependencies", "_self_tracked_trackables"}


# --- layers that are named ------------------------------------------------------------------------


def _named(content: Any, arrays: dict[str, Any], config: Any) -> File:
    grouped: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, array in arrays.items():
        grouped[key.rpartition("/")[0]][key] = array
    models: dict[str, Any] = {}
    known = {name for name, _ in configuration.widths(config)}
    layers = [
        _layer(path, _name_at(path, known), "", -1, own) for path, own in grouped.items() if path
    ]
    for model in configuration.models(config):
        inner = "" if model is config else configuration.name_of(model)
        models["/".join(filter(None, (ROOT, inner)))] = model
    return File(layers, config, models, content)


def _name_at(path: str, known: set[str]) -> str:
    """Returns the name of the layer at a path; names of Keras 2 may have slashes themselves.

    The longest name is taken that the configuration has. Without one, the path of a layer that is
    in no other network is its name twice.
    """
    parts = path.split("/")
    for place in range(len(parts)):
        name, size = parts[place:], len(parts) - place
        if "_".join(name) in known or (not known and parts[place - size : place] == name):
            return "_".join(name)
    return parts[-1]


def _layer(path: str, name: str, kind: str, number: int, own: dict[str, Any]) -> Layer:
    keys = {key.rpartition("/")[2].partition(":")[0]: key for key in own}
    shapes = {short: tuple(own[key].shape) for short, key in keys.items()}
    return Layer(path, name, kind, number, shapes, keys)


def split(name: str) -> tuple[str, int]:
    """Returns a name without the number of Keras's at its end, and the number, -1 without one."""
    found = NUMBERED.fullmatch(name)
    assert found
    return found[1], int(found[2]) if found[2] else -1
