"""Checks the weight files that a setting names: HDF5 files with arrays, or `.keras` files.

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
from skin_pipeline.training import hdf5, saved
from skin_pipeline.training.container import Foreign
from skin_pipeline.training.saved import HDF5, ZIP

# Of all arrays: the largest network that there is takes 0.8 GiB, and its optimizer twice as much.
MOST_BYTES = 3 * 2**30
SAVE_AGAIN = (
    ". Nothing of it was read. Load it where it was made and trusted, put its weights into the "
    "network of keras.applications, and save that with model.save('mine.keras')"
)
MOST_PARTS = 20_000  # groups and arrays; the largest network that there is has some 1,500


def check(path: Path, ways_out: str, named: Path | None = None) -> None:
    """Raises an error unless a file contains weights. Pipes and devices are not read.

    Args:
        path: The file, or a folder of TensorFlow's.
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


def is_hdf5(path: Path) -> bool:
    """Returns whether a file that was accepted is an HDF5 file, and no `.keras` file."""
    with path.open("rb") as file:
        return file.read(len(HDF5)) == HDF5


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
    start = file.read(len(HDF5))
    if not start.startswith((ZIP, HDF5)):
        return _other(start)
    try:
        return _problem(saved.parted(file)[1])
    except Foreign as error:
        what = "is a PyTorch file, which can run code" if ".pkl" in str(error) else "is a zip"
        return f"{what}, but no .keras file: it {error}{SAVE_AGAIN}"


def _other(start: bytes) -> str:
    """Returns what is wrong with a file of another format, by its first bytes."""
    if start[4:] == b"TFL3":
        return f"is a TensorFlow Lite file{SAVE_AGAIN}"
    if start.startswith(b"\x80"):
        return f"is a pickle (of PyTorch, perhaps), which can run code{SAVE_AGAIN}"
    return "is not an HDF5 file (.weights.h5, .h5) and no .keras file"


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
