"""What a folder, an archive or a bucket holds: files by name, and notices of what is not used.

A stranger's names are never used to write. They become text that any log, table or page may show
(`parts_of`), and files are written at places of our own choosing (`Places`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from skin_pipeline.contracts import Notice
from skin_pipeline.data import kinds
from skin_pipeline.data.kinds import MARK, Look, Use
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown

MIB = 2**20
MOST_BYTES = 256 * MIB  # of an image or a table
EXAMPLES = 3
SUBJECTS = 8
DEPTH = 8  # folders within folders in which a stranger's name is kept
PART = re.compile(r"\w(?:[\w .,()+=@-]*[\w,()+=@-])?")
PART_BYTES = 150
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
RENAMED = "~"  # a folder that `PART` never gives
FILES_SKIPPED, LINK_SKIPPED, LEFT_OUT = "files_skipped", "link_skipped", "folder_left_out"


class Named(NamedTuple):
    """A file, and the name under which its source knows it.

    In a folder, `real` is its path without links, and `linked` whether `path` leads over one.
    """

    name: str
    path: Path
    real: str = ""
    linked: bool = False


@dataclass(frozen=True)
class Contents:
    """The images and tables that were found, sorted by name, and notices of everything else."""

    title: str
    images: tuple[Named, ...] = ()
    tables: tuple[Named, ...] = ()
    notices: tuple[Notice, ...] = ()


# --- names ---------------------------------------------------------------------------------------


def text_of(raw: bytes, otherwise: str = "cp1252") -> str:
    """Returns a name from its bytes: UTF-8, or else what older systems wrote, as with tables."""
    for encoding in ("utf-8", otherwise):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def printable(text: str) -> str:
    """Returns text that can be shown and encoded: the rest of it becomes %XX, as in an address."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else quote(letter.encode("utf-8", "surrogatepass"))
        for letter in text
    )


def parts_of(name: str) -> tuple[str, ...]:
    """Splits a path into printable parts, at slashes and at the backslashes of Windows."""
    parts = tuple(printable(part) for part in _split(name.replace("\\", "/")))
    if ".." in parts:  # a folder may hold a file of such a name; only `/` leads up there
        parts = tuple(printable(part).replace("\\", "%5C") for part in _split(name))
    return parts


def _split(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in {"", "."}]


def leads_out(name: str) -> str | None:
    """Says why a path of an archive or a bucket could lead out of the folder that it is written to,
    as the end of "…, which"; None if it could not."""
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


class Places:
    """Chooses where to write files of strangers below a folder: at their own path if it is harmless
    on every file system and free, ignoring case and Unicode forms; else under a number.

    Args:
        most: folders that are made.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._numbered = 0

    def take(self, parts: tuple[str, ...]) -> str:
        """Returns a relative path that no other file was given; a usual suffix is kept."""
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
    """Tells whether every file system takes a part of a path as what it says."""
    fits = PART.fullmatch(part) and len(part.encode()) <= PART_BYTES
    return bool(fits) and not RESERVED.fullmatch(part)


def folded(path: str) -> str:
    """Returns the same for all paths that some file system takes for one."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


# --- what is used, and what is told --------------------------------------------------------------


@dataclass
class _Group:
    count: int = 0
    subjects: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, subject: str, example: str, count: int) -> None:
        self.count += count
        self.subjects[subject] += count
        if example:
            self.examples = sorted({*self.examples, example})[:EXAMPLES]


class Skipped:
    """Counts what is not used, by reason: a few notices, however many files there are."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}

    def add(
        self, kind: str, subject: str, reason: str, example: str = "", *, count: int = 1
    ) -> None:
        """Counts files: what they are told under, why they are not used, and the name of one."""
        self._groups.setdefault((kind, reason), _Group()).add(subject, example, count)

    def notices(self) -> tuple[Notice, ...]:
        """Returns one notice for each reason, in a fixed order."""
        return tuple(
            Notice(
                kind=kind,
                subject=_listed(group.subjects),
                reason=_told(reason, group),
                count=group.count,
            )
            for (kind, reason), group in sorted(self._groups.items())
        )


def _listed(subjects: Counter[str]) -> str:
    """Names the most frequent ones."""
    names = sorted(subjects, key=lambda name: (-subjects[name], name))
    more = f" and {len(names) - SUBJECTS} more" if len(names) > SUBJECTS else ""
    return (
        ", ".join(name if len(name) <= 60 else f"{name[:60]}…" for name in names[:SUBJECTS]) + more
    )


def _told(reason: str, group: _Group) -> str:
    examples = ", ".join(map(shown, group.examples))
    return f"{reason} (for instance {examples})" if examples else reason


class Gathering:
    """Takes in the files of a source, one by one, and decides what each is used as.

    Args:
        title: what messages call the source.
        same: whether two files of one name have the same content, given what `is_new` was told.
        most_bytes: of a file that is used.
    """

    def __init__(
        self, title: str, same: Callable[[Any, Any], bool], most_bytes: int = MOST_BYTES
    ) -> None:
        self.title = title
        self.skipped = Skipped()
        self._most_bytes = most_bytes
        self._same = same
        self._contents: dict[str, Any] = {}
        self._used: dict[Use, list[Named]] = {"image": [], "table": []}

    def use(self, parts: tuple[str, ...], size: int, head: Callable[[], bytes]) -> Use:
        """Returns what a file is used as; "" for one that is not used, which is then counted.

        Args:
            parts: its path.
            size: in bytes.
            head: gives its first `kinds.HEAD` bytes, if they are needed.
        """
        look = kinds.by_name(parts, size) or kinds.by_content(parts, head())
        if look.use and size > self._most_bytes:
            reason = (
                f"over {self._most_bytes} bytes each, which is more than any image or table needs"
            )
            look = Look("", kinds.shown_suffix(kinds.suffix_of(parts[-1])), reason)
        if look != MARK and not look.use:
            example = "" if look.reason == kinds.HIDDEN_FOLDER else parts[-1]
            self.skipped.add(FILES_SKIPPED, look.subject, look.reason, example)
        return look.use

    def is_new(self, name: str, content: Any) -> bool:
        """Tells whether no file of this name came before; a repeated one is counted.

        Raises:
            BadInput: one came before with another content, so that nobody knows which is meant.
        """
        if name not in self._contents:
            self._contents[name] = content
            return True
        if self._same(self._contents[name], content):
            reason = "stand there twice under one name with the same content, and are used once"
            self.skipped.add(FILES_SKIPPED, "repeated files", reason, name.rpartition("/")[2])
            return False
        raise BadInput(
            f"{self.title} has two different files of one name, {shown(name)}: it appears twice. "
            "Remove or rename one of them"
        )

    def add(self, use: Use, item: Named) -> None:
        """Takes in a file that is used."""
        self._used[use].append(item)

    def contents(self) -> Contents:
        """Returns everything that was taken in."""
        images, tables = (tuple(sorted(self._used[use])) for use in ("image", "table"))
        return Contents(self.title, images, tables, self.skipped.notices())
