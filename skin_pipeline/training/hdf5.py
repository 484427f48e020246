"""What is inside an HDF5 file that another party wrote, found without following a link.

    with h5py.File(file, "r") as opened:
        for part in parts(opened.id):
            ...                        # refuse what is not allowed, before the next part

Two readers look through such files: `weight_files`, which takes pretrained weights of any origin,
and `model_file.weights`, which takes only what this pipeline writes. They share the walk, and
each decides by itself what it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

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
