"""The contract of every store, and which keys are valid in all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from skin_pipeline.errors import BadInput

log = logging.getLogger(__name__)

KeyList = list[str]  # inside a store's class, `list` is the method

PART_BYTES = 200  # file systems allow 255 bytes in a name, and the store adds a few of its own
KEY_BYTES = 900  # S3 allows 1024, including the store's prefix


class Store(Protocol):
    """Keys are relative POSIX paths such as `split/4f1a…/result.json`.

    No part of a key starts with a dot, and no key is also the folder of another key. Every method
    raises `BadInput` for an invalid key or a store that a person must repair, and `Unavailable`
    where the same call may work later. All of them are safe to call from several processes at
    once, and to repeat.

    A key whose last part begins with a SHA-256, such as `images/<sha256>.npy`, names its bytes:
    `read` and `opened` raise `BadInput` if the bytes do not match.
    """

    url: str

    def exists(self, key: str) -> bool:
        """Returns whether there is an object under `key`."""

    def read(self, key: str) -> bytes:
        """Returns the bytes under `key`. Raises `BadInput` if there are none."""

    def opened(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Opens the bytes under `key` as a file. Replacing the object afterwards does not change
        what the open file contains. Raises `BadInput` if there is no such object."""

    def list(self, prefix: str) -> KeyList:
        """Returns all keys below the folder `prefix` (empty: all keys), sorted."""

    def sizes(self, prefix: str) -> dict[str, int]:
        """Returns how many bytes each object below the folder `prefix` has, by key; reads none."""

    def put(self, key: str, data: bytes) -> bool:
        """Writes `data` unless the key is taken; returns whether it was written."""

    def put_file(self, key: str, path: Path, sha256: str = "") -> bool:
        """Works like `put`, from a local file (of at most 5 TiB, for S3), which need not fit into
        memory. Who knows the file's `sha256` gives it, so that it is not computed again. Raises
        `BadInput` if the file cannot be read."""

    def copy(self, source: str, key: str, sha256: str) -> bool:
        """Copies an object within the store unless the key is taken, if the store can do that by
        itself; returns whether this call did it.

        The bytes do not pass through this process, so nothing is compared: `sha256`, which they
        should have, is only noted with the copy. Who calls this compares what `read_into` gives
        back, and removes the copy if it is another one.
        """

    def read_into(self, key: str, sink: BinaryIO) -> str:
        """Writes the bytes that the store has now under `key` to an open file; returns their
        SHA-256, for comparison. Raises `BadInput` if there is no such object."""

    def local(self, key: str, *, fresh: bool = False) -> Path:
        """Returns a local file with the bytes under `key`, which must never be written to. Not for
        pointers: the file may be an old copy. Raises `BadInput` if there is no such object.

        The result is only a name: whoever may write to the store can replace the file before it is
        opened. Where that matters, use `opened`, `read` or `copied`, whose bytes stay the same.

        Open the file at once: a copy of an object in S3 may be removed a minute later. A file that
        is open by then stays readable. With `fresh`, the bytes are those that the store has now,
        even if there is a copy.
        """

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        """Returns the bytes of a pointer and a tag of this state, or None if it does not exist."""

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Moves a pointer if it still has `tag` (None: does not exist yet); returns whether it
        moved.

        A tag names content: `data` must contain something that no earlier state had, such as a
        time. Otherwise a pointer that moved away and back looks as if it had never moved.
        """

    def remove(self, key: str) -> None:
        """Removes a temporary object, such as a checkpoint; does nothing if it does not exist.
        Never for a result."""

    def link(self, key: str) -> str:
        """Returns where a person finds the object: a path or an `s3://` URL."""


def checked(key: str) -> str:
    """Returns `key`; raises `BadInput` unless it means the same object in every store."""
    if not is_key(key):
        raise BadInput(
            "a key is a relative path such as split/4f1a/result.json: no empty part, none that "
            "starts with a dot, no backslash or control character, "
            f"at most {PART_BYTES} bytes a part and {KEY_BYTES} in all. "
            f"Received: {key[:KEY_BYTES]!r}"
        )
    return key


def is_key(key: str) -> bool:
    """Returns whether a key is valid in every store."""
    parts = key.split("/")
    return (
        all(parts)
        and not is_hidden(key)
        and key.isprintable()
        and "\\" not in key
        # A name that is no valid Unicode must be refused here, and not raise an error.
        and (_is_short(key) or len(key.encode(errors="replace")) <= KEY_BYTES)
        and (
            _is_short(key)
            or all(len(part.encode(errors="replace")) <= PART_BYTES for part in parts)
        )
    )


def is_hidden(key: str) -> bool:
    """Returns whether a part starts with a dot: drafts, lock files and `..` do, keys never do."""
    return key.startswith(".") or "/." in key


def _is_short(key: str) -> bool:
    """Returns whether no limit can be exceeded: listings have thousands of such keys."""
    return len(key) <= PART_BYTES and key.isascii()


def keys_among(store: Store, found: Iterable[tuple[str, str]]) -> KeyList:
    """Returns the keys, sorted, among the names in a listing.

    Hidden names are left out silently: stores make them. Any other name that is no key was not
    written by a store, so it is logged.

    Args:
        store: The store that was listed.
        found: Names, and what each one is, such as `a file`.
    """
    keys = []
    for key, what in found:
        if what == "a file" and is_key(key):
            keys.append(key)
        elif not is_hidden(key):
            log.warning("foreign_in_the_store name=%r what=%r store=%s", key, what, store.url)
    return sorted(keys)


def missing(store: Store, key: str) -> BadInput:
    """Returns the error for an object that does not exist."""
    return BadInput(
        f"there is no {key} in the store {store.url}: run the step that makes it first, or check "
        "SKIN_STORE"
    )
