"""Weight files that a setting names: HDF5 with arrays in it, or refused.

check(Path("resnet50.weights.h5"), "Give another")     # raises BadInput

Whoever names a file gets a copy of it in the store, so it must be what it is taken for. And such a
file can name others: Keras would read their bytes as weights.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line, shown, words

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_BYTES = 2 * 2**30  # of all arrays; the largest network that there is takes 0.2 GiB
MOST_PARTS = 20_000  # groups and arrays; the largest network that there is has some 1,500


def check(path: Path, ways_out: str, named: Path | None = None) -> None:
    """Refuse what is no file with weights. A pipe or a device is not read from.

    Args:
        path: The file.
        ways_out: What to do about a refusal.
        named: What a message calls it, where it is a copy.

    Raises:
        BadInput: what was found instead.
    """
    try:
        with _opened(path) as file:
            found = _found(file)
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    if found:
        raise BadInput(f"weights: {line(named or path)} {found}. {ways_out}")


def _opened(path: Path) -> BinaryIO:
    # Without links by now, and a pipe that nobody writes to must not be waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(os.path.realpath(path), flags), "rb")


def _found(file: BinaryIO) -> str:
    """What is wrong with a file of weights; "" if nothing."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return "is not a file"
    if file.read(len(MAGIC)) != MAGIC:
        return "is not an HDF5 file"
    file.seek(0)
    return _problem(file)


def _problem(file: BinaryIO) -> str:
    """What is wrong with the inside of an HDF5 file; "" if nothing."""
    import h5py

    size = 0
    try:
        with h5py.File(file, "r") as content:
            for number, (name, item) in enumerate(_parts(h5py, content), 1):
                if not isinstance(item, h5py.Dataset):
                    return f"holds {item} in its part {shown(name)}"
                if item.external or item.is_virtual:
                    return f"takes its part {shown(name)} from other files"
                size += item.nbytes
                if size > MOST_BYTES or number > MOST_PARTS:
                    return f"holds over {MOST_BYTES} bytes or {MOST_PARTS} parts"
    except Exception as error:  # whatever the library meets in a file that lies
        return f"is damaged ({words(error)})"
    return ""


def _parts(h5py: Any, group: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The arrays below a group by name, and for anything else what it is. No link is followed."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or depth > 50:  # a hard link can lead in a circle
            yield name, "a link"
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _parts(h5py, item, depth + 1)
        else:
            yield name, item
