"""The images of a data set: the class, key and path of each, and the digest of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from skin_pipeline.contracts import Notice
from skin_pipeline.errors import Unavailable
from skin_pipeline.foreign import shown
from skin_pipeline.progress import reported
from skin_pipeline.storage import digest_file

UNREADABLE = "unreadable"  # instead of the digest of a file without permission to read it


@dataclass(frozen=True)
class Found:
    """An image file: its class, its key (its path below the common folder), and its path."""

    label: str
    key: str
    path: Path


@dataclass(frozen=True)
class Images:
    """The images of a data set, sorted by key, the tables beside them, and notices.

    The notices name what was found and is not used.
    """

    files: tuple[Found, ...]
    tables: tuple[Path, ...]
    notices: tuple[Notice, ...] = ()

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each image file at the time of the first call.

        Raises:
            Unavailable: A file was removed or cannot be read now.
        """
        files = reported(self.files, "files compared", len(self.files))
        return tuple(_digest(item.path) for item in files)

    @property
    def labels(self) -> dict[str, str]:
        """The class of each image, by its digest."""
        classes = (item.label for item in self.files)
        return dict(zip(self.digests, classes, strict=True))

    @property
    def digest(self) -> str:
        """The identity of the content: the same for the same files, wherever they are.

        Never change how it is computed: keys of results in existing stores are made from it.

        Raises:
            Unavailable: A file was removed or cannot be read now.
        """
        named = zip(self.files, self.digests, strict=True)
        rows = [f"{item.key}\0{found}" for item, found in named]
        rows += self.table_digests
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    @staticmethod
    def digest_of(item: Found) -> str:
        """Returns the SHA-256 of an image file as it is now, as `digests` has it."""
        return _digest(item.path)

    @property
    def table_digests(self) -> list[str]:
        """The part of the identity of the content that comes from the tables."""
        return sorted(f"table\0{_digest(path)}" for path in self.tables)

    def check_unchanged(self, inspected: Iterable[tuple[str, str]]) -> None:
        """Compares the files as they were decoded with `digests`, which make the result's key.

        Without this check, the result of files that change during the work would be stored under
        the key of the files before.

        Args:
            inspected: Key and SHA-256 of each image as it was decoded; "" if it was not.

        Raises:
            Unavailable: An image had other bytes when it was decoded.
        """
        before = {(item.key, one) for item, one in zip(self.files, self.digests, strict=True)}
        paths = {item.key: item.path for item in self.files}
        for key, found in inspected:
            if found and (key, found) not in before:
                raise exchanged(paths[key])


def _digest(path: Path) -> str:
    try:
        return digest_file(path)
    except PermissionError:
        return UNREADABLE  # such an image is quarantined later, so it must not stop the work here
    except OSError as error:
        raise changed(path, str(error.strerror)) from None


def changed(path: Path, problem: str) -> Unavailable:
    """Makes the error for a file that was there and cannot be read any more."""
    return Unavailable(
        f"{shown(path)} was found, but cannot be read any more ({problem}). Try again "
        "when nobody changes the data"
    )


def exchanged(path: Path) -> Unavailable:
    """Makes the error for a file whose bytes have changed since it was found."""
    return Unavailable(
        f"{shown(str(path))} has other bytes than when it was found. Try again when nobody changes "
        "the data"
    )
