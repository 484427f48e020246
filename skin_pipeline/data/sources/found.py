"""The images of a data set: the class, key and path of each, and what identifies their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from skin_pipeline.contracts import Notice
from skin_pipeline.errors import Unavailable
from skin_pipeline.foreign import shown
from skin_pipeline.storage import digest_file

UNREADABLE = "unreadable"  # in place of the digest of a file that may not be read


@dataclass(frozen=True)
class Found:
    """An image file: its class, and as key its path below the folder of the class folders."""

    label: str
    key: str
    path: Path


@dataclass(frozen=True)
class Images:
    """The images of a data set sorted by key, the tables beside them, and notices of what was found
    and is not used."""

    files: tuple[Found, ...]
    tables: tuple[Path, ...]
    notices: tuple[Notice, ...] = ()

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each image file at the time of the first call.

        Raises:
            Unavailable: A file was removed or cannot be read now.
        """
        return tuple(_digest(item.path) for item in self.files)

    @property
    def digest(self) -> str:
        """The identity of the content: the same for the same files, wherever they are.

        Keys of results in every store are made from it, so it must never be computed in another
        way.

        Raises:
            Unavailable: A file was removed or cannot be read now.
        """
        named = zip(self.files, self.digests, strict=True)
        rows = [f"{item.key}\0{found}" for item, found in named]
        rows += sorted(f"table\0{_digest(path)}" for path in self.tables)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def check_unchanged(self, inspected: Iterable[tuple[str, str]]) -> None:
        """Compares `digests`, from which a result's key is made, with the bytes that were read.

        Without it, files that change during the work would be stored under the key of other files.

        Args:
            inspected: Key and SHA-256 of each image as it was decoded; "" if it was not.

        Raises:
            Unavailable: An image has other bytes by now.
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
    """Makes the error for a file that has other bytes than when it was looked at first."""
    return Unavailable(
        f"{shown(str(path))} has other bytes than when it was found. Try again when nobody changes "
        "the data"
    )
