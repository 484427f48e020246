"""A store in a folder of this machine or of a network disk."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from skin_pipeline.storage import beneath
from skin_pipeline.storage.beneath import NOT_THERE, Entry
from skin_pipeline.storage.digests import (
    blocks,
    check_named,
    copy_and_digest,
    digest,
    digest_named,
    exchanged,
)
from skin_pipeline.storage.drafts import claim, draft, locked
from skin_pipeline.storage.files import disk_errors, opened
from skin_pipeline.storage.keys import KeyList, checked, keys_among, missing

log = logging.getLogger(__name__)


class FolderStore:
    """A `Store` in a folder, which may be on a disk that several machines share.

    Below its root no link is followed, and only plain files are objects: see `beneath`.

    Args:
        root: The folder; it is created with the first object.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = f"file://{self.root}"

    def __repr__(self) -> str:
        return f"FolderStore({self.url!r})"

    def exists(self, key: str) -> bool:
        """Implements `Store`."""
        with self._at(key) as entry, suppress(*NOT_THERE):
            return entry is not None and bool(entry.seen())
        return False

    def read(self, key: str) -> bytes:
        """Implements `Store`."""
        found = self.tagged(key)
        if found is None:
            raise missing(self, key)
        data, tag = found
        # A tag is the SHA-256 of the content, so nothing has to be computed again.
        if digest_named(key) not in {"", tag}:
            raise exchanged(self, key, tag, digest_named(key))
        return data

    @contextmanager
    def opened(self, key: str) -> Generator[BinaryIO, None, None]:
        """Implements `Store`."""
        with self._open(key) as file:
            with self._errors():
                check_named(self, key, file)
            yield file

    def list(self, prefix: str) -> KeyList:
        """Implements `Store`."""
        prefix = prefix.rstrip("/")
        with self._errors():
            found = list(beneath.walk(self.root, checked(prefix) if prefix else ""))
        return keys_among(self, found)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Implements `Store`."""
        found = {}
        for key in self.list(prefix):
            with self._open(key) as file:
                found[key] = os.fstat(file.fileno()).st_size
        return found

    def put(self, key: str, data: bytes) -> bool:
        """Implements `Store`."""
        return self._publish(key, io.BytesIO(data))

    def put_file(self, key: str, path: Path, sha256: str = "") -> bool:
        """Implements `Store`."""
        with opened(path) as source:
            return self._publish(key, source)

    def copy(self, source: str, key: str, sha256: str) -> bool:
        """Implements `Store`. No hard link: whoever changed one file would change the other."""
        with self._open(source) as file:
            return self._publish(key, file)

    def read_into(self, key: str, sink: BinaryIO) -> str:
        """Implements `Store`."""
        with self._open(key) as file:
            return copy_and_digest(file, sink, _size(file))

    def local(self, key: str, *, fresh: bool = False) -> Path:
        """Implements `Store`. There is no copy here: it is the object's own file, always fresh."""
        with self._open(key):  # raises if it cannot be read
            return self.root / key

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        """Implements `Store`."""
        with self._at(key) as entry:
            return None if entry is None else _state(entry)

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Implements `Store`."""
        if tag is None:
            return self.put(key, data)
        with self._errors(), beneath.at(self.root, checked(key), make=True) as entry:
            if not _swapped(entry, data, tag):
                return False
        log.info("pointer_moved key=%s store=%s", key, self.url)
        return True

    def remove(self, key: str) -> None:
        """Implements `Store`."""
        with self._at(key) as entry, suppress(*NOT_THERE):
            if entry is not None:
                entry.seen()
                entry.unlink()  # but not its folder: another process may be about to write in it

    def link(self, key: str) -> str:
        """Implements `Store`."""
        return str(self.root / checked(key))

    @contextmanager
    def _at(self, key: str) -> Generator[Entry | None, None, None]:
        """Opens the folder of a key; the entry of the key in it, or None without such a folder."""
        with ExitStack() as stack:
            stack.enter_context(self._errors())
            try:
                entry = stack.enter_context(beneath.at(self.root, checked(key)))
            except NOT_THERE:
                entry = None
            yield entry

    @contextmanager
    def _open(self, key: str) -> Generator[BinaryIO, None, None]:
        """Opens an object without comparing its bytes with its key."""
        file: BinaryIO | None = None
        with self._at(key) as entry, suppress(*NOT_THERE):
            file = None if entry is None else entry.open()
        if file is None:
            raise missing(self, key)
        with file:
            yield file

    def _publish(self, key: str, source: BinaryIO) -> bool:
        with self._errors(), beneath.at(self.root, checked(key), make=True) as entry:
            if entry.is_taken():  # only saves copying the bytes: `claim` decides who is first
                return False
            with draft(entry, partial(_fill, source)) as made:
                return claim(made, entry)

    def _errors(self) -> AbstractContextManager[None]:
        return disk_errors(self.root, "SKIN_STORE")


def _fill(source: BinaryIO, sink: BinaryIO) -> None:
    for block in blocks(source, "bytes copied", _size(source)):
        sink.write(block)


def _size(source: BinaryIO) -> int:
    """Returns the bytes of a file, or 0 for bytes in memory, which are soon written."""
    return 0 if isinstance(source, io.BytesIO) else os.fstat(source.fileno()).st_size


def _state(entry: Entry) -> tuple[bytes, str] | None:
    """Returns the bytes of a pointer and their tag, or None if it does not exist."""
    try:
        with entry.open() as file:
            data = file.read()
    except NOT_THERE:
        return None
    return data, digest(data)


def _swapped(entry: Entry, data: bytes, tag: str) -> bool:
    """Moves a pointer if it still has `tag`; returns whether it moved."""
    # The lock keeps other processes from moving it between the look at its state and the rename.
    with locked(entry):
        now = _state(entry)
        if now is None or now[1] != tag:
            return False
        with draft(entry, lambda file: file.write(data)) as made:
            made.move_to(entry)
    return True
