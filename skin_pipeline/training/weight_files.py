"""Checks the weight files that a setting names: HDF5 files with arrays, and nothing else.

    check(Path("resnet50.weights.h5"), "Give another")     # raises BadInput

Whoever can name a file in a setting gets a copy of it in the store. So it must be a file of
weights, and not a secret of this machine. And an HDF5 file can refer to other files, whose bytes
Keras would read as weights.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line, shown, words
from skin_pipeline.training import hdf5

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_BYTES = 2 * 2**30  # of all arrays; the largest network that there is takes 0.2 GiB
MOST_PARTS = 20_000  # groups and arrays; the largest network that there is has some 1,500


def check(path: Path, ways_out: str, named: Path | None = None) -> None:
    """Raises an error unless a file contains weights. Pipes and devices are not read.

    Args:
        path: The file.
        ways_out: What a message advises to do.
        named: What a message calls the file, where `path` is a copy.

    Raises:
        BadInput: It contains something else; the message says what was found.
    """
    try:
        with _opened(path) as file:
            found = _found(file)
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    if found:
        raise BadInput(f"weights: {line(named or path)} {found}. {ways_out}")


def _opened(path: Path) -> BinaryIO:
    # Links are resolved first, and O_NOFOLLOW refuses one that is put there afterwards. Without
    # O_NONBLOCK, opening a pipe that nothing writes to would wait for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(os.path.realpath(path), flags), "rb")


def _found(file: BinaryIO) -> str:
    """Returns what is wrong with a file of weights; "" if nothing."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return "is not a file"
    # The library would also accept a file whose HDF5 part begins behind something else.
    if file.read(len(MAGIC)) != MAGIC:
        return "is not an HDF5 file"
    file.seek(0)
    return _problem(file)


def _problem(file: BinaryIO) -> str:
    """Returns what is wrong with the inside of an HDF5 file; "" if nothing."""
    import h5py

    size = 0
    try:
        with h5py.File(file, "r") as content:
            for number, part in enumerate(hdf5.parts(content.id), 1):
                if isinstance(part.item, h5py.h5d.DatasetID):
                    array = h5py.Dataset(part.item)
                    if array.external or array.is_virtual:
                        return f"takes its part {shown(part.path)} from other files"
                    size += array.nbytes
                elif not isinstance(part.item, h5py.h5g.GroupID):
                    return f"contains {_kind(part.item)} in its part {shown(part.path)}"
                # Counted before a value is read: an array can have a size without having values.
                if size > MOST_BYTES or number > MOST_PARTS:
                    return f"contains over {MOST_BYTES} bytes or {MOST_PARTS} parts"
    except Exception as error:  # h5py raises errors of many types for damaged or hostile files
        return f"is damaged ({words(error)})"
    return ""


def _kind(item: Any) -> str:
    """Returns what a message calls a part that is neither a group nor an array."""
    import h5py

    return "a link" if item is None else str(h5py.Datatype(item))
