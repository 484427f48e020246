"""Copies of S3's objects on this machine's disk, which processes share, up to a size."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import beneath
from skin_pipeline.storage.drafts import draft, locked
from skin_pipeline.storage.files import disk_errors, is_full
from skin_pipeline.storage.keys import is_hidden

log = logging.getLogger(__name__)

CACHE_BYTES = 20 << 30
# Between `local` and the opening of the file that it named, no other process may remove the copy.
# A copy that is open or mapped by then stays readable after its name is gone.
JUST_USED_SECONDS = 60
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class _Copy(NamedTuple):
    used: float  # first, so that copies sort by it
    bytes: int
    path: Path


class LocalCache:
    """Copies of objects on this machine's disk, each fetched by one process at a time.

    A copy is named `ADDRESS/NAME`, where two objects never have the same address. The time of its
    last use is that of its last change, so that the disk keeps it for all processes.

    Args:
        folder: The folder of the copies; processes may share it.
        bound: Largest size in bytes of all copies. A copy that was just used stays, even beyond it.
    """

    def __init__(self, folder: Path, bound: int) -> None:
        self.folder = folder
        self.bound = bound

    def get(self, copy: str, fill: Callable[[BinaryIO], object], *, fresh: bool = False) -> Path:
        """Returns the file of a copy, written by `fill` unless it exists, or always if `fresh`.

        People may remove the folder at any time, to get room: then it is made again.
        """
        with disk_errors(self.folder, "SKIN_CACHE"):
            try:
                return self._get(copy, fill, fresh=fresh)
            except FileNotFoundError:  # it was removed between two of our steps
                return self._get(copy, fill, fresh=fresh)

    def _get(self, copy: str, fill: Callable[[BinaryIO], object], *, fresh: bool) -> Path:
        target = self._target(copy)
        _make_private(self.folder)
        if not fresh and self._use(target):
            return target
        with self._alone(copy):
            if not fresh and self._use(target):  # another process was faster
                return target
            try:
                self._fetch(target, fill)
            except OSError as error:  # the disk may be smaller than the bound
                if not is_full(error) or not self._make_room():
                    raise
                self._fetch(target, fill)
        self._shrink(target)
        return target

    def drop(self, copy: str) -> None:
        """Removes a copy if it exists. Waits for a download of it that has begun."""
        _make_private(self.folder)
        with disk_errors(self.folder, "SKIN_CACHE"), self._alone(copy), self._gate():
            _unlink(self._target(copy))

    def _target(self, copy: str) -> Path:
        return self.folder / "copies" / copy

    def _alone(self, copy: str) -> AbstractContextManager[None]:
        """Keeps other processes from this copy. Copies share 256 lock files by the start of their
        address, so that lock files do not pile up."""
        return self._lock(copy[:2])

    def _gate(self) -> AbstractContextManager[None]:
        """Keeps other processes from marking, moving or removing any copy. Held for an instant,
        never during a transfer."""
        return self._lock("gate")

    @contextmanager
    def _lock(self, name: str) -> Generator[None, None, None]:
        with beneath.at(self.folder, f"locks/{name}", make=True) as entry, locked(entry):
            yield

    def _use(self, target: Path) -> bool:
        """Marks a copy as just used; returns whether it exists."""
        with self._gate():
            try:
                os.utime(target)
            except FileNotFoundError:
                return False
        return True

    def _fetch(self, target: Path, fill: Callable[[BinaryIO], object]) -> None:
        # Drafts have a folder of their own: removing a copy removes its folder if that is empty,
        # which must not happen to the folder of a download between two of its steps.
        drafts = beneath.at(self.folder, f"drafts/{target.name}", make=True)
        with drafts as entry, draft(entry, fill) as made, self._gate():
            made.touch()  # a large file takes long to reach the disk: the last write may be old
            copy = target.relative_to(self.folder).as_posix()
            with beneath.at(self.folder, copy, make=True) as name:
                made.move_to(name)

    def _shrink(self, fetched: Path) -> None:
        """Removes the copies that were not used for longest, until the rest is within the bound."""
        copies = self._copies()
        excess = sum(copy.bytes for copy in copies) - self.bound
        for copy in copies:
            if excess <= 0:
                return
            if copy.path != fetched and self._evict(copy):
                excess -= copy.bytes

    def _make_room(self) -> int:
        """Removes all copies that were not just used; returns their bytes."""
        with suppress(FileNotFoundError):  # there is no copy yet
            return sum(copy.bytes for copy in self._copies() if self._evict(copy))
        return 0

    def _copies(self) -> list[_Copy]:
        """Returns all copies, those not used for longest first."""
        found = []
        for folder in (self.folder / "copies").iterdir():
            with suppress(FileNotFoundError):  # another process has just evicted it
                for path in folder.iterdir():
                    if not is_hidden(path.name):  # what a network disk keeps of an open file
                        seen = path.stat()
                        found.append(_Copy(seen.st_mtime, seen.st_size, path))
        return sorted(found)

    def _evict(self, copy: _Copy) -> bool:
        """Removes a copy unless it was just used; returns whether it is gone."""
        with self._gate():
            try:
                used = copy.path.stat().st_mtime  # it may have been used since it was listed
            except FileNotFoundError:
                return True
            if time.time() - used < JUST_USED_SECONDS:
                return False
            _unlink(copy.path)
        name = copy.path.relative_to(self.folder / "copies")
        log.info("cache_evicted copy=%s bytes=%d", name, copy.bytes)
        return True


def _unlink(path: Path) -> None:
    """Removes a file, if it exists, and its folder, if that is empty then."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def own_cache() -> Path:
    """Makes this user's cache folder in the system's temporary directory; returns it.

    No other user of the machine can put a model into it.
    """
    folder = Path(tempfile.gettempdir()) / f"skin-pipeline-{os.getuid()}"
    _make_private(folder)
    # In the temporary directory, any user can make a link of this name first. Only a folder that
    # an operator chose may be a link.
    if folder.is_symlink():
        raise _of_another_user(folder)
    return folder


def _make_private(folder: Path) -> None:
    """Makes a folder that no other user can reach, or takes their rights away from an existing one.
    Copies that they could have replaced by then are removed.

    Raises:
        BadInput: it belongs to another user.
    """
    with disk_errors(folder, "SKIN_CACHE"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.stat()
        if seen.st_uid != os.getuid():
            raise _of_another_user(folder)
        if seen.st_mode & OF_OTHERS:
            folder.chmod(0o700)
        if seen.st_mode & WRITABLE_BY_OTHERS:
            shutil.rmtree(folder / "copies", ignore_errors=True)
            log.warning("cache_was_open_to_others folder=%s: its copies are thrown away", folder)


def _of_another_user(folder: Path) -> BadInput:
    return BadInput(
        f"{folder} belongs to another user, who could exchange what is copied into it: name a "
        "folder of yours in SKIN_CACHE, or one that does not exist yet"
    )
