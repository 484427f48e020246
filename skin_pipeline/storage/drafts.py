"""How a file appears in a folder: written under a hidden name, put on the disk, then named.

A reader sees the whole file or none, also after a power cut; a rename or a hard link is one step
of the file system. The hard link decides which process names a file first: it fails if the name is
taken. On a file system without hard links, a lock decides.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from skin_pipeline.storage.beneath import NOT_THERE, Entry, names_of

NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
ABANDONED_SECONDS = 24 * 3600  # no write takes so long: the process that began it was killed


@contextmanager
def draft(target: Entry, fill: Callable[[BinaryIO], object]) -> Generator[Entry, None, None]:
    """Makes a file under a hidden name beside `target`, written by `fill` and safe on the disk.

    The block moves or links it to its name; whatever is left of it afterwards is removed.
    """
    _sweep(target)
    made = target.beside(f".{uuid.uuid4().hex}.part")
    try:
        with made.create() as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        yield made
        _sync(target.folder)
    finally:
        with suppress(FileNotFoundError):
            made.unlink()


def _sweep(target: Entry) -> None:
    """Removes drafts of killed processes; another process may be doing the same."""
    for name in names_of(target.folder):
        if name.startswith(".") and name.endswith(".part"):
            with suppress(*NOT_THERE):  # a folder of this name is no draft
                old = target.beside(name)
                if time.time() - old.written() > ABANDONED_SECONDS:
                    old.unlink()


def _sync(folder: int) -> None:
    """Puts a folder's new names on the disk, so that they outlive a power cut."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a network disk that does this by itself
            raise


def claim(made: Entry, target: Entry) -> bool:
    """Gives a draft the name `target` unless the name is taken; returns whether it has it now.

    A rename would not do: it silently replaces the file of another process.
    """
    try:
        made.link_to(target.name)
    except FileExistsError:
        # A network disk may answer a repeated request with "exists" though the name is our own.
        return target.is_taken() and made.is_same(target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return _claim_locked(made, target)
    return True


def _claim_locked(made: Entry, target: Entry) -> bool:
    """Claims a name on a file system without hard links, where every writer takes this way."""
    with locked(target):
        if target.is_taken():
            return False
        made.move_to(target)
    return True


@contextmanager
def locked(target: Entry) -> Generator[None, None, None]:
    """Waits until no other process holds `target`, and holds it during the block. The kernel frees
    the lock of a killed process."""
    with target.beside(f".{target.name}.lock").open_lock() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing is not enough: a process forked meanwhile holds the same lock.
            fcntl.flock(lock, fcntl.LOCK_UN)
