"""Handles names of files that are not trusted: how to show them, and where to write the files.

A name from an archive or a bucket is never used as a path. It becomes text that any log, table or
page may show (`parts_of`), and the file is written at a path that `SafePaths` chooses.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from skin_pipeline.data import kinds

DEPTH = 8  # parts of a path; a file with more of them gets a number as its name
PART = re.compile(r"\w(?:[\w .,()+=@-]*[\w,()+=@-])?")
PART_BYTES = 150  # file systems allow 255, encrypted ones 143 and more
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
# On Windows these are devices, with any suffix.
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
RENAMED = "~"  # the folder of numbered files; no harmless name is equal to it


def text_of(raw: bytes, otherwise: str = "cp1252") -> str:
    """Returns a name from its bytes: as UTF-8, or else in the encoding of older systems."""
    for encoding in ("utf-8", otherwise):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def printable(text: str) -> str:
    """Returns text that can be shown and encoded; other characters become %XX, as in an address."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else quote(letter.encode("utf-8", "surrogatepass"))
        for letter in text
    )


def parts_of(name: str) -> tuple[str, ...]:
    """Splits a path into printable parts, at slashes and at the backslashes of Windows."""
    parts = tuple(printable(part) for part in _split(name.replace("\\", "/")))
    if ".." in parts:  # made by a backslash, which on Unix is a part of the name
        parts = tuple(printable(part).replace("\\", "%5C") for part in _split(name))
    return parts


def _split(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in {"", "."}]


def leads_out(name: str) -> str | None:
    """Returns why a path from an archive or a bucket could lead out of the folder to write into.

    The words continue a sentence that ends "…, which". None if the path stays inside.
    """
    name = name.replace("\\", "/")
    if "\0" in name:
        return "has a NUL in its name"
    if name.startswith("/"):
        return "is an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "starts with a drive letter"
    if ".." in name.split("/"):
        return "leads out of its folder with `..`"
    if not _split(name) and not name.endswith("/"):
        return "has no name"
    return None


class SafePaths:
    """Chooses paths below a folder for files with names that are not trusted.

    A file keeps its own path if the path is harmless on every file system and not taken, even where
    case and Unicode forms are ignored. Otherwise it gets a number as its name.

    Args:
        most: How many folders may be made.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._numbered = 0

    def take(self, parts: tuple[str, ...]) -> str:
        """Returns a relative path that no other file has. It keeps an ordinary suffix."""
        if len(parts) <= DEPTH and all(map(harmless, parts)) and self._takes(parts):
            return "/".join(parts)
        self._numbered += 1
        suffix = kinds.suffix_of(parts[-1])
        return f"{RENAMED}/{self._numbered}{suffix if SUFFIX.fullmatch(suffix) else ''}"

    def _takes(self, parts: tuple[str, ...]) -> bool:
        *above, path = (folded("/".join(parts[:depth])) for depth in range(1, len(parts) + 1))
        new = set(above) - self._folders
        taken = path in self._files or path in self._folders or new & self._files
        if taken or len(self._folders) + len(new) > self._most:
            return False
        self._files.add(path)
        self._folders |= new
        return True


def harmless(part: str) -> bool:
    """Returns whether a part of a path is an ordinary name on every file system."""
    fits = PART.fullmatch(part) and len(part.encode()) <= PART_BYTES
    return bool(fits) and not RESERVED.fullmatch(part)


def folded(path: str) -> str:
    """Returns the same text for all paths that some file system treats as one path."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
