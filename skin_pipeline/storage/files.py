"""Files of this machine: opened with clear errors, copied for this process alone."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from skin_pipeline.errors import BadInput, PipelineError, Unavailable, UnavailableHere
from skin_pipeline.storage.beneath import kind
from skin_pipeline.storage.digests import copy_and_digest, exchanged
from skin_pipeline.storage.keys import Store

# Errors of a disk that may be gone at the next attempt, so that the step is retried. Most of the
# passing ones come from network disks.
FULL = {errno.ENOSPC, errno.EDQUOT}
CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ENOLCK,
    errno.EMFILE,
    errno.ENFILE,
}


def is_full(error: OSError) -> bool:
    """Returns whether an error says that a disk has no room left."""
    # NumPy gives no number when it could write only a part of an array.
    return error.errno in FULL or bool(CUT_SHORT.fullmatch(str(error)))


@contextmanager
def scratch() -> Generator[Path, None, None]:
    """Makes a temporary folder, which is removed after the block, whatever happens in it.

    Raises:
        UnavailableHere: its disk is full, as NumPy and others say in their own ways.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="skin-") as folder:
            yield Path(folder)
    except OSError as error:
        if not is_full(error):
            raise  # it may be about anything that the block uses
        raise _disk_problem(error, Path(tempfile.gettempdir()), "TMPDIR") from error


def copied(store: Store, key: str, target: Path, expected: str = "") -> str:
    """Copies an object into a file that only this user can reach; returns the SHA-256 of its bytes.

    Code checks the copy and then uses the copy: replacing the object in the store in between has
    no effect.

    Args:
        store: The store that contains the object.
        key: The object's key.
        target: The file; it must not exist yet.
        expected: The SHA-256 that the object must have; empty for any.

    Raises:
        BadInput: there is no such object, or its SHA-256 is another one than expected; then there
            is no copy either.
        Unavailable: the store or the disk failed.
    """
    with store.opened(key) as source, disk_errors(target.parent, "TMPDIR"):
        found = _copied_to(target, source)
    return _as_expected(store, key, target, found, expected)


def read_back(store: Store, key: str, target: Path, expected: str = "") -> str:
    """Works like `copied`, for the bytes that the store has now, whatever local copy there is."""
    with disk_errors(target.parent, "TMPDIR"), _new(target) as copy:
        found = store.read_into(key, copy)
    return _as_expected(store, key, target, found, expected)


def _as_expected(store: Store, key: str, target: Path, found: str, expected: str) -> str:
    if expected and found != expected:
        target.unlink()
        raise exchanged(store, key, found, expected)
    return found


def copied_file(path: Path, target: Path) -> str:
    """Works like `copied`, for a file of this machine that other users may replace; a pipe or a
    device is refused.

    Raises:
        BadInput: the file cannot be read.
        Unavailable: the disk of the copy failed.
    """
    with _opened_plain(path) as source, disk_errors(target.parent, "TMPDIR"):
        return _copied_to(target, source)


def _copied_to(target: Path, source: BinaryIO) -> str:
    with _new(target) as copy:
        return copy_and_digest(source, copy, os.fstat(source.fileno()).st_size)


def _new(target: Path) -> BinaryIO:
    return open(target, "xb", opener=partial(os.open, mode=0o600))


@contextmanager
def opened(path: Path) -> Generator[BinaryIO, None, None]:
    """Opens a file for reading; raises `BadInput` if it cannot be read."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        if is_full(error):
            raise  # of what the block writes
        raise _unreadable(path, error) from error


@contextmanager
def _opened_plain(path: Path) -> Generator[BinaryIO, None, None]:
    """Works like `opened`, but refuses a pipe, which could block, and a device."""

    def opener(name: str, how: int) -> int:
        # Without O_NONBLOCK, opening a pipe that has no writer would never return.
        handle = os.open(name, how | os.O_NONBLOCK)
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            return handle
        os.close(handle)
        raise BadInput(f"{path} is {kind(mode)}, and no file. Name a file")

    try:
        with open(path, "rb", opener=opener) as file:
            yield file
    except OSError as error:
        if is_full(error):
            raise  # of what the block writes
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"the file {path} cannot be read: {error.strerror}")


@contextmanager
def disk_errors(folder: Path, setting: str) -> Generator[None, None, None]:
    """Turns an OSError of the block into an error that says what to do.

    Args:
        folder: The folder that the block uses.
        setting: The setting that names the folder.

    Raises:
        BadInput: the folder cannot be used as it is.
        Unavailable: the disk is full, or does not answer at the moment.
    """
    try:
        yield
    except OSError as error:
        raise _disk_problem(error, folder, setting) from error


def _disk_problem(error: OSError, folder: Path, setting: str) -> PipelineError:
    reason = error.strerror or str(error) or type(error).__name__
    if is_full(error):
        # The store is the same for all machines; other folders are this one's.
        kind = Unavailable if setting == "SKIN_STORE" else UnavailableHere
        return kind(
            f"no space left for {folder} ({reason}): free some, or name another folder in "
            f"{setting}. Nothing half-written was kept"
        )
    if error.errno in PASSING:
        return Unavailable(f"the folder {folder} does not answer: {reason}")
    return BadInput(
        f"the folder {folder} cannot be used: {reason}. Name a folder that this user may create "
        f"and write in {setting}"
    )
