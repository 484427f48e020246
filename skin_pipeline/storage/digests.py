"""SHA-256 of bytes, files and objects, and the keys that contain one."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from skin_pipeline.errors import BadInput
from skin_pipeline.progress import Progress
from skin_pipeline.storage.keys import Store

CHUNK = 1 << 20  # bytes in memory at a time, however large the file
TOLD_FROM = 64 << 20  # bytes of a file whose progress is told
NAMED = re.compile(r"([0-9a-f]{64})(?:\.[^/]*)?")  # the last part of a key that names its bytes


def digest(data: bytes) -> str:
    """Returns the SHA-256 of `data` in hex: 64 characters."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes in hex. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return _digest_rest(file, os.fstat(file.fileno()).st_size)


def digest_of(data: bytes | BinaryIO) -> str:
    """Returns the SHA-256, in hex, of bytes or of an open file, which is rewound afterwards."""
    if isinstance(data, bytes):
        return digest(data)
    found = _digest_rest(data)
    data.seek(0)
    return found


def _digest_rest(file: BinaryIO, total: int = 0) -> str:
    seen = hashlib.sha256()
    for block in blocks(file, "bytes compared", total):
        seen.update(block)
    return seen.hexdigest()


def copy_and_digest(source: Any, sink: BinaryIO, total: int = 0) -> str:
    """Copies all bytes of `source` to `sink`; returns their SHA-256 in hex.

    Args:
        source: Any file, or the body of an answer.
        sink: A file.
        total: How many bytes there are, if that is known, to tell how far it is.
    """
    seen = hashlib.sha256()
    for block in blocks(source, "bytes copied", total):
        seen.update(block)
        sink.write(block)
    return seen.hexdigest()


def blocks(source: Any, what: str, total: int) -> Iterator[bytes]:
    """Yields the rest of a file, some bytes at a time; of a large one it is told how far it is."""
    progress = Progress(what, total) if total >= TOLD_FROM else None
    while block := source.read(CHUNK):
        yield block
        if progress:
            progress.moved(len(block))
    if progress:
        progress.close()


def digest_named(key: str) -> str:
    """Returns the SHA-256 that the last part of a key begins with; empty if there is none."""
    found = NAMED.fullmatch(key.rpartition("/")[2])
    return found[1] if found else ""


def check_named(store: Store, key: str, data: bytes | BinaryIO) -> None:
    """Raises `BadInput` if the key names other bytes than these."""
    named = digest_named(key)
    if named and (found := digest_of(data)) != named:
        raise exchanged(store, key, found, named)


def exchanged(store: Store, key: str, found: str, expected: str) -> BadInput:
    """Returns the error for an object with another SHA-256 than expected."""
    return BadInput(
        f"{key} in the store {store.url} is not what it was: its SHA-256 is {found}, expected was "
        f"{expected}. Nothing of it was used; find out who changed it, and put it back from a "
        "backup, or use another store"
    )
