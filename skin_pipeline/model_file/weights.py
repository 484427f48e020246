"""Reads the HDF5 file within a model file: checks all of its arrays before it reads a value.

    weights = inspected(file, start=194000, size=94957032)
    fill(model, weights)

HDF5 can do much that no weights need: values that are not there and appear when they are read, data
that are compressed, scattered, in other files, or of types that run code. So an array must be as
Keras writes it: floats in one piece, complete, in bytes that no other array has. Then the library
only reports where they are in the file, and this module reads them.
"""

from __future__ import annotations

import math
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.foreign import shown, words
from skin_pipeline.training import container, hdf5

Foreign = container.Foreign

MOST_OBJECTS = 100_000  # 20 runs of ResNet50 have some 20,000, of InceptionResNetV2 50,000
MOST_DEPTH = 20  # nested groups; ours have 10
MOST_NAME = 200  # bytes of an object's name
FLOAT = np.dtype("<f4")
OWN = "vars"  # the group with a layer's own arrays
NAMED = b"name"  # an attribute that Keras writes to that group; it is not used here


class Array(NamedTuple):
    """Where the values of an array are in the model file."""

    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * FLOAT.itemsize


class Weights(NamedTuple):
    """The arrays of a weights file by their paths, and the paths of its groups."""

    file: BinaryIO
    arrays: dict[str, Array]
    groups: set[str]

    @property
    def bytes(self) -> int:
        """Size of all arrays together, in bytes."""
        return sum(array.size for array in self.arrays.values())


def inspected(file: BinaryIO, start: int, size: int) -> Weights:
    """Returns the arrays of the weights file that takes `size` bytes of a file from `start` on.

    Raises:
        Foreign: Keras would not write such a weights file of a released model; says why.
    """
    import h5py

    try:
        with h5py.File(hdf5.Section(file, start, size), "r") as opened:
            inspection = _Inspection(size)
            inspection.look_into(opened.id)
    # The library raises these for damage, and RuntimeError where it gives up.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = words(error)
        raise Foreign(f"has damaged weights ({reason})") from None
    inspection.refuse_overlap()
    arrays = {path: array._replace(start=start + array.start) for path, array in inspection.arrays}
    return Weights(file, arrays, inspection.groups)


class _Inspection:
    """Looks at everything in a weights file once, and follows no link out of it."""

    def __init__(self, size: int) -> None:
        self.arrays: list[tuple[str, Array]] = []
        self.groups: set[str] = set()
        self._size = size
        self._seen: set[int] = set()

    def look_into(self, root: Any) -> None:
        """Finds all groups and arrays; raises `Foreign` for the first that Keras does not write."""
        self._look_at_group(root, "", 0)
        for part in hdf5.parts(root):
            self._look_at(part)

    def _look_at(self, part: hdf5.Part) -> None:
        import h5py

        if part.item is None or len(part.name) > MOST_NAME:
            raise _odd(part.path, "a link to something elsewhere")
        # A second link to an object would give an array two paths, or lead round in a circle.
        address = h5py.h5o.get_info(part.item).addr
        if address in self._seen:
            raise _odd(part.path, "the same object as another")
        self._seen.add(address)
        if isinstance(part.item, h5py.h5g.GroupID):
            self.groups.add(part.path)
            self._look_at_group(part.item, part.path, part.depth + 1)
        elif isinstance(part.item, h5py.h5d.DatasetID):
            self.arrays.append((part.path, self._array(part.item, part.path)))
        else:
            raise _odd(part.path, "neither a group nor an array")

    def _look_at_group(self, group: Any, path: str, depth: int) -> None:
        """Raises `Foreign` for a group that is too large or too deep, before it is listed."""
        self._refuse_odd_attributes(group, path)
        if len(group) + len(self._seen) > MOST_OBJECTS or depth > MOST_DEPTH:
            raise Foreign("has weights of too many objects, or too deep in one another")

    def _array(self, item: Any, path: str) -> Array:
        """Returns where the values of an array are, if they are complete and in one piece."""
        import h5py

        made, space = item.get_create_plist(), item.get_space()
        if not item.get_type().equal(h5py.h5t.IEEE_F32LE):
            raise _odd(path, "of another type than 32 bit floats")
        if made.get_layout() != h5py.h5d.CONTIGUOUS:
            raise _odd(path, "not stored in one piece")
        if made.get_nfilters() or made.get_external_count():
            raise _odd(path, "packed, or stored in another file")
        if made.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
            raise _odd(path, "filled with a value of its own")
        if h5py.h5a.get_num_attrs(item):
            raise _odd(path, "an array with attributes")
        if space.get_simple_extent_type() not in {h5py.h5s.SIMPLE, h5py.h5s.SCALAR}:
            raise _odd(path, "without a shape")
        shape = tuple(map(int, space.get_simple_extent_dims()))
        if space.get_simple_extent_dims(maxdims=True) != shape:
            raise _odd(path, "able to grow")
        start = item.get_offset()
        array = Array(-1 if start is None else int(start), shape)
        # An array that was never written has a shape and a size, but no bytes in the file: HDF5
        # would fill memory with values that are not there.
        is_there = start is not None and item.get_storage_size() == array.size > 0
        if not is_there or not 0 <= array.start <= self._size - array.size:
            raise _odd(path, "not complete")
        return array

    @staticmethod
    def _refuse_odd_attributes(group: Any, path: str) -> None:
        """Raises `Foreign` for attributes that Keras does not write. They are not read."""
        import h5py

        count = h5py.h5a.get_num_attrs(group)
        if not count:
            return
        name = h5py.h5a.open(group, index=0).name if count == 1 else b""
        if name != NAMED or path.rpartition("/")[2] != OWN:
            raise _odd(path, "a group with attributes")

    def refuse_overlap(self) -> None:
        """Raises `Foreign` if two arrays have bytes in common."""
        end = 0
        for path, array in sorted(self.arrays, key=lambda item: item[1].start):
            if array.start < end:
                raise _odd(path, "stored over another array")
            end = array.start + array.size


def _odd(path: str, what: str) -> Foreign:
    return Foreign(f"has weights that Keras does not write: {shown(path)} is {what}")


def fill(model: Any, weights: Weights) -> None:
    """Puts the arrays into a model, if they are exactly those that the model has.

    Keras's own loading would leave the random weights of a layer whose own are missing, and would
    ignore those that no layer has.

    Raises:
        Foreign: An array is missing, superfluous or of another shape; the message names the first.
    """
    layers = dict(hdf5.layer_paths(model))
    groups = {hdf5.joined(path, OWN) for path in layers}
    wanted = {path: _own_arrays(layer) for path, layer in layers.items()}
    shapes = {
        hdf5.joined(path, OWN, name): shape
        for path, own in wanted.items()
        for name, shape in own.items()
    }
    _refuse_other_arrays(shapes, weights.arrays)
    if more := weights.groups - _with_parents(groups):
        raise Foreign(f"has more weights than its network: {shown(min(more))}")
    for path, own in wanted.items():
        if own:
            arrays = {name: _read(weights, hdf5.joined(path, OWN, name)) for name in own}
            layers[path].load_own_variables(arrays)


def _refuse_other_arrays(shapes: dict[str, tuple[int, ...]], arrays: dict[str, Array]) -> None:
    if missing := shapes.keys() - arrays.keys():
        raise Foreign(f"lacks weights of its network: {len(missing)}, as {shown(min(missing))}")
    if more := arrays.keys() - shapes.keys():
        raise Foreign(f"has more weights than its network: {len(more)}, as {shown(min(more))}")
    for path, shape in shapes.items():
        if arrays[path].shape != shape:
            raise Foreign(
                f"has weights of another shape: {shown(path)} is {arrays[path].shape} instead of "
                f"{shape}"
            )


def _own_arrays(layer: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the arrays that a layer saves, by their names."""
    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    return {name: tuple(variable.shape) for name, variable in store.items()}


def _with_parents(paths: set[str]) -> set[str]:
    found = set(paths)
    for path in paths:
        while path := path.rpartition("/")[0]:
            found.add(path)
    return found


def _read(weights: Weights, path: str) -> NDArray[np.float32]:
    array = weights.arrays[path]
    weights.file.seek(array.start)
    data = weights.file.read(array.size)
    return np.frombuffer(data, FLOAT).reshape(array.shape)
