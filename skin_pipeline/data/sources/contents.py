"""Collects the contents of a source: its images and tables, and notices of everything else.

    gathering = Gathering("lesions.zip", same)
    use = gathering.use(("benign", "a.jpg"), size, head)  # "image"
    gathering.add(use, SourceFile("benign/a.jpg", path))
    gathering.contents()

Folders, archives and buckets all use `Gathering`: so the same files give the same contents and the
same notices, wherever they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from skin_pipeline.contracts import Notice
from skin_pipeline.data import kinds
from skin_pipeline.data.kinds import MARK, MOST_BYTES, Look, Use
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown

EXAMPLES = 3  # names of files in a notice
SUBJECTS = 8  # suffixes or folders in a notice
FILES_SKIPPED, LINK_SKIPPED, LEFT_OUT = "files_skipped", "link_skipped", "folder_left_out"
LINKED_TWICE = "links to files that are used under another name; each file is used once"


class SourceFile(NamedTuple):
    """A file, and its name in the source: a path with slashes, printable.

    For a file in a folder, `real` is its path with all links followed, and `linked` says whether
    `path` contains a link.
    """

    name: str
    path: Path
    real: str = ""
    linked: bool = False

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders above the file, the topmost first."""
        return tuple(self.name.split("/")[:-1])

    def below(self, depth: int) -> str:
        """Returns the name without its first `depth` folders."""
        return "/".join(self.name.split("/")[depth:])


@dataclass(frozen=True)
class Contents:
    """The images and tables of a source, sorted by name, and notices of everything else.

    Args:
        title: The source's name in messages.
    """

    title: str
    images: tuple[SourceFile, ...] = ()
    tables: tuple[SourceFile, ...] = ()
    notices: tuple[Notice, ...] = ()


class Listed(NamedTuple):
    """An image in a source, of which nothing was read yet.

    Attributes:
        name: In the source: a path with slashes, printable.
        where: What the source itself calls it, with all special characters written as `%2F`.
        state: Changes whenever the bytes may have changed.
    """

    name: str
    where: str
    state: str


@dataclass(frozen=True)
class Listing:
    """The images in a source, sorted by name, and notices of everything else."""

    images: tuple[Listed, ...] = ()
    notices: tuple[Notice, ...] = ()


class Gathering:
    """Takes in the files of a source, one by one, and decides what each is used as.

    Args:
        title: The source's name in messages.
        same: Returns whether two files of one name have the same bytes. It is called with the
            `content` of each, as `is_new` received it.
        most_bytes: The size above which a file is not used.
    """

    def __init__(
        self, title: str, same: Callable[[Any, Any], bool], most_bytes: int = MOST_BYTES
    ) -> None:
        self.title = title
        self.skipped = Skipped()
        self._most_bytes = most_bytes
        self._same = same
        self._contents: dict[str, Any] = {}
        self._used: dict[Use, list[SourceFile]] = {"image": [], "table": []}

    def use(self, parts: tuple[str, ...], size: int, head: Callable[[], bytes]) -> Use:
        """Returns what a file is used as. If it is not used, returns "" and counts it for a notice.

        Args:
            parts: Its path.
            size: In bytes.
            head: Returns its first `kinds.HEAD` bytes; called if its name does not decide.
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
        """Returns whether this is the first file of its name; counts a repeated one for a notice.

        Raises:
            BadInput: The two files differ, so it is not clear which is meant.
        """
        if name not in self._contents:
            self._contents[name] = content
            return True
        if self._same(self._contents[name], content):
            reason = "are there twice under one name with the same content, and are used once"
            self.skipped.add(FILES_SKIPPED, "repeated files", reason, name.rpartition("/")[2])
            return False
        raise BadInput(
            f"{self.title} has two different files of one name, {shown(name)}: it appears twice. "
            "Remove or rename one of them"
        )

    def add(self, use: Use, item: SourceFile) -> None:
        """Adds a file that is used."""
        self._used[use].append(item)

    def contents(self) -> Contents:
        """Returns all files that were added, and the notices."""
        images, tables = (tuple(sorted(self._used[use])) for use in ("image", "table"))
        return Contents(self.title, images, tables, self.skipped.notices())


@dataclass
class _Group:
    """Files that are not used for one reason."""

    count: int = 0
    subjects: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, subject: str, example: str, count: int) -> None:
        self.count += count
        self.subjects[subject] += count
        if example:
            self.examples = sorted({*self.examples, example})[:EXAMPLES]


class Skipped:
    """Counts the files that are not used, by reason: there are few notices even for many files."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}

    def add(
        self, kind: str, subject: str, reason: str, example: str = "", *, count: int = 1
    ) -> None:
        """Counts files that are not used.

        Args:
            kind: Of the notice.
            subject: What the notice is about, such as their suffix.
            reason: Why they are not used, and what to do if they are wanted.
            example: The name of one.
            count: How many they are.
        """
        self._groups.setdefault((kind, reason), _Group()).add(subject, example, count)

    def notices(self) -> tuple[Notice, ...]:
        """Returns one notice for each reason, in a fixed order."""
        return tuple(
            Notice(
                kind=kind,
                subject=_most_frequent(group.subjects),
                reason=_with_examples(reason, group),
                count=group.count,
            )
            for (kind, reason), group in sorted(self._groups.items())
        )


def _most_frequent(subjects: Counter[str]) -> str:
    """Joins the most frequent subjects, each cut to a length that fits into a log."""
    names = sorted(subjects, key=lambda name: (-subjects[name], name))
    more = f" and {len(names) - SUBJECTS} more" if len(names) > SUBJECTS else ""
    return (
        ", ".join(name if len(name) <= 60 else f"{name[:60]}…" for name in names[:SUBJECTS]) + more
    )


def _with_examples(reason: str, group: _Group) -> str:
    examples = ", ".join(map(shown, group.examples))
    return f"{reason} (for instance {examples})" if examples else reason


def each_file_once(
    files: Sequence[SourceFile],
) -> tuple[list[SourceFile], tuple[Notice, ...]]:
    """Keeps each file once, even if links lead to it: under its own name, if it has one there.

    Returns:
        The files that are kept, and notices of the links to them.
    """
    once, notices = each_file_once_per_label([(item, "") for item in files])
    return [item for item, _ in once], notices


def each_file_once_per_label(
    files: Sequence[tuple[SourceFile, str]],
) -> tuple[list[tuple[SourceFile, str]], tuple[Notice, ...]]:
    """Keeps each file once as `each_file_once` does, but once for each label.

    A file that links put into the folders of both classes must be kept twice: it is a contradiction
    in the data, and validation reports it.
    """
    skipped, once = Skipped(), []
    known = {(item.real, label) for item, label in files if item.real and not item.linked}
    for item, label in files:
        if item.linked and (item.real, label) in known:
            skipped.add(LINK_SKIPPED, "symbolic links", LINKED_TWICE, item.name.rpartition("/")[2])
        else:
            known.add((item.real, label))
            once.append((item, label))
    return once, skipped.notices()


def not_used(notices: Sequence[Notice]) -> str:
    """Returns the notices as the last sentence of an error; "" if there are none."""
    return f"Found, and not used: {'; '.join(map(str, notices))}" if notices else ""
