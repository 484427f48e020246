"""What is inside an HDF5 file that another party wrote, found without following a link.

    with h5py.File(file, "r") as opened:
        for part in parts(opened.id):
            ...                        # refuse what is not allowed, before the next part

Two readers look through such files: `weight_files`, which takes pretrained weights of any origin,
and `model_file.weights`, which takes only what this pipeline writes. They share the walk, and
each decides by itself what it refuses.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from skin_pipeline.training.configuration import snake

# HDF5 allows hard links that lead back to a group above, so a walk without a bound may never end.
DEEPEST = 50  # nested groups; networks have 10


class Part(NamedTuple):
    """Something in a group of an HDF5 file.

    Attributes:
        path: Its path in the file.
        name: The last part of the path, as bytes: a file may contain names that are no text.
        depth: How many groups it is in, below the first.
        item: The object of h5py's low level, which reads nothing by itself. None for a link to
            another place or file, and for what is nested too deeply: neither is opened.
    """

    path: str
    name: bytes
    depth: int
    item: Any


def parts(group: Any, path: str = "", depth: int = 0) -> Iterator[Part]:
    """Yields everything below a group by its path, each group before its content.

    Works step by step: the content of a group is read only when the caller takes the next part. So
    a caller that refuses a group, for instance for its size, ends the walk at no cost.

    Args:
        group: Of h5py's low level (`h5py.h5g.GroupID`).
        path: Of the group.
        depth: How many groups it is in.
    """
    import h5py

    for name in list(group):
        where = f"{path}/{name.decode('utf-8', 'backslashreplace')}".lstrip("/")
        is_own = group.links.get_info(name).type == h5py.h5l.TYPE_HARD
        if not is_own or depth > DEEPEST:
            yield Part(where, name, depth, None)
            continue
        item = h5py.h5o.open(group, name)
        yield Part(where, name, depth, item)
        if isinstance(item, h5py.h5g.GroupID):
            yield from parts(item, where, depth + 1)


class Section(io.RawIOBase):
    """A section of a file's bytes as a file of its own, which h5py reads from."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        self._file.seek(self._start + self._position)
        data = self._file.read(wanted)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def layer_paths(model: Any) -> Iterator[tuple[str, Any]]:
    """Yields a model and all layers in it, by the path at which Keras writes their weights.

    Layers are named by their classes and numbered from the second of a class on; a layer that is
    used several times is written once.
    """
    yield from _layer_paths(model, "", set())


def _layer_paths(model: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(model) in seen:
        return
    seen.add(id(model))
    yield path, model
    counts: Counter[str] = Counter()
    for layer in getattr(model, "layers", ()):
        name = snake(type(layer).__name__)
        number = counts[name]
        counts[name] += 1
        inner = joined(path, "layers", f"{name}_{number}" if number else name)
        yield from _layer_paths(layer, inner, seen)


def joined(*parts: str) -> str:
    """Returns the path of these parts; empty ones are left out."""
    return "/".join(filter(None, parts))
