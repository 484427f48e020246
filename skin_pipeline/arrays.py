"""Reads NumPy arrays from files that other people could have replaced: `.npy` and `.npz`.

What a file says about its arrays is compared with its size before any memory is taken, so that a
small file cannot ask for a large array. Nothing is ever unpickled, which could run any code, or
decompressed: the store's own arrays need neither.

    shard = mapped(store, "images/4f1a….npy")         # on the disk: little of it is in memory
    state = several_of(store, "train/4f1a/checkpoints/1.npz")
"""

from __future__ import annotations

import errno
import io
import math
import struct
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store

Arrays = list[NDArray[Any]]

VERSION = (1, 0)  # of the format, as np.save writes it for arrays without named fields
HEADER_BYTES = 1000  # NumPy parses the header as a Python expression; ours has 118 bytes
DAMAGE = (  # what zipfile raises for bytes that it did not expect
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
)
MOST_ARRAYS = 10_000  # in an .npz; the largest network has some 500 variables


class Broken(ValueError):
    """A file contains no array, or not one that the store writes."""


class _Header(NamedTuple):
    """What an `.npy` file says about its array."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def mapped(store: Store, key: str) -> NDArray[Any]:
    """Returns an `.npy` array of the store as a read-only map, of which little is in memory.

    If the key names the bytes, they are verified now. Afterwards only the owner of the file can
    change them, by writing into it; replacing the file has no effect on the map.

    Raises:
        BadInput: there is no such array, or its bytes are not those that the key names.
    """
    with reported(store, key), store.opened(key) as file:
        header = _header_of(file, _size(file))
        if 0 in header.shape:  # no system maps a file of no bytes
            return np.empty(header.shape, header.dtype)
        order: Literal["C", "F"] = "F" if header.fortran else "C"
        try:
            return np.memmap(file, header.dtype, "r", file.tell(), header.shape, order)
        except ValueError as error:  # the file became shorter meanwhile
            raise Broken(str(error)) from None


def begin(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Writes the head of an `.npy` file; its values follow, written plainly.

    An array that is larger than the memory is not written into a map of its file: a disk that is
    full then would end the process by a signal.
    """
    about = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, about)


def loaded(store: Store, key: str) -> NDArray[Any]:
    """Returns an `.npy` array of the store in memory, read-only; raises what `mapped` does."""
    with reported(store, key):
        return _parsed(store.read(key))


def several(source: Path | BinaryIO) -> dict[str, NDArray[Any]]:
    """Returns the arrays of an `.npz` file by their names, in the file's order.

    Raises:
        Broken: it is no such file, or not one as `np.savez` writes it.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(source) as bundle:
            members = bundle.infolist()
            _check_members(members, bundle.fp)
            return {item.filename.removesuffix(".npy"): _member(bundle, item) for item in members}
    except Broken:
        raise
    except DAMAGE as error:
        raise Broken(f"it is no .npz file, or a damaged one ({str(error)[:200]})") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a position before the start of the file
            raise
        raise Broken("it is a damaged .npz file (impossible position)") from None


def several_of(store: Store, key: str) -> dict[str, NDArray[Any]]:
    """Works like `several`, for a file in the store.

    Raises:
        BadInput: there is no such file, or it is not one that the store writes.
    """
    with reported(store, key), store.opened(key) as file:
        return several(file)


@contextmanager
def reported(store: Store, key: str) -> Generator[None, None, None]:
    """Turns `Broken`, raised in the block, into an error that names the object and what to do."""
    try:
        yield
    except Broken as problem:
        raise BadInput(
            f"{key} in the store {store.url} is not what a step wrote there: {problem}. Find out "
            "who changed it, and put it back from a backup, or use another store"
        ) from None


def _check_members(members: list[zipfile.ZipInfo], file: Any) -> None:
    """Raises `Broken` for members that would take more memory than the file has bytes."""
    names = {item.filename for item in members}
    if len(names) < len(members) or len(members) > MOST_ARRAYS:
        raise Broken(f"it has {len(members)} arrays with {len(names)} names")
    if any(item.compress_type != zipfile.ZIP_STORED for item in members):
        raise Broken("it is compressed")
    total = sum(item.file_size for item in members)
    if total > (size := _size(file)):
        raise Broken(f"its arrays would have {total} bytes, and it has {size}")


def _member(bundle: zipfile.ZipFile, item: zipfile.ZipInfo) -> NDArray[Any]:
    return np.array(_parsed(bundle.read(item)))  # a copy: unlike the bytes, it can be changed


def _parsed(data: bytes) -> NDArray[Any]:
    """Returns the array in the bytes of an `.npy` file, without a copy and thus read-only."""
    file = io.BytesIO(data)
    header = _header_of(file, len(data))
    flat = np.frombuffer(data, header.dtype, math.prod(header.shape), file.tell())
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _header_of(file: BinaryIO, size: int) -> _Header:
    """Returns what a file says about its array, and leaves its position at the array's start."""
    try:
        version = npy.read_magic(file)
        if version != VERSION:
            raise Broken(f"it has the version {version} of the format")
        header = _Header(*npy.read_array_header_1_0(file, max_header_size=HEADER_BYTES))
    except (Broken, OSError):
        raise
    # Three parsers of Python work on a header, and a hostile header can make each raise anything.
    except Exception as error:
        raise Broken(f"it is no .npy file, or a damaged one ({str(error)[:200]})") from None
    _check_size(header, size - file.tell())
    return header


def _check_size(header: _Header, left: int) -> None:
    """Raises `Broken` unless the array takes exactly the bytes that are left in the file."""
    if header.dtype.hasobject:
        raise Broken("it has Python objects, which could run any code")
    count = math.prod(header.shape)
    said = count * header.dtype.itemsize
    # Elements of no bytes would allow any number of them.
    if said != left or min(header.shape, default=0) < 0 or (count and not said):
        claim = f"it claims an array {header.shape} of {header.dtype}"
        raise Broken(f"{claim}, and has {left} bytes for it")


def _size(file: Any) -> int:
    """Returns the size of a file; its position stays."""
    here = file.tell()
    size = int(file.seek(0, io.SEEK_END))
    file.seek(here)
    return size
