"""What a folder holds. Links are followed, circles end, and nothing but files is opened."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from functools import partial
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.data import kinds
from skin_pipeline.data.contents import (
    FILES_SKIPPED,
    LINK_SKIPPED,
    Contents,
    Gathering,
    Named,
    parts_of,
    text_of,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import digest_file

LINKS = "symbolic links"
CIRCLE = "links that lead in a circle, or back to a folder above them, are not followed"
NOWHERE = "links that lead nowhere; if the images are wanted, put them where the link says"
OUTSIDE = "links that lead out of the folders that SKIN_PATHS names are not followed"
SPECIAL = "pipes, sockets and devices are no files"


def contents_of(root: Path, roots: Roots = ANYWHERE) -> Contents:
    """Finds the images and tables below a folder; everything else is told in notices.

    Args:
        root: The folder.
        roots: Folders that no link may lead out of.

    Raises:
        BadInput: the folder cannot be read, or holds different files under one name.
    """
    return _Walk(root, roots).contents()


class _Place(NamedTuple):
    """A file, folder or link: the path to it, the same without links, and its name in parts."""

    path: Path
    real: str
    parts: tuple[str, ...]
    linked: bool


class _Walk:
    """Goes through a folder: first its own files, then what links lead to, so that a file is known
    by its own name if it has one. Each link is followed once, which ends every circle."""

    def __init__(self, root: Path, roots: Roots) -> None:
        self._roots = roots
        self._root = _Place(root, os.path.realpath(root), (), linked=False)
        self._gathering = Gathering(root.name or str(root), _same)
        self._folders = deque([self._root])
        self._links: deque[_Place] = deque()
        self._followed: set[str] = set()

    def contents(self) -> Contents:
        while self._folders or self._links:
            if self._folders:
                self._enter(self._folders.popleft())
            else:
                self._follow(self._links.popleft())
        return self._gathering.contents()

    def _enter(self, folder: _Place) -> None:
        try:
            with os.scandir(folder.path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if folder is self._root:
                reason = f"cannot be read ({error.strerror}). Change its permissions"
                raise BadInput(f"the folder {folder.path} {reason}") from None
            self._skip_unreadable(f"folder {folder.parts[-1]}", folder, error)
            return
        for entry in entries:
            self._look_at(entry, folder)

    def _look_at(self, entry: os.DirEntry[str], folder: _Place) -> None:
        parts = (*folder.parts, *parts_of(_text(entry.name)))
        place = _Place(Path(entry.path), f"{folder.real}/{entry.name}", parts, folder.linked)
        if entry.is_symlink():
            self._links.append(place)
        elif entry.is_dir(follow_symlinks=False):
            self._folder(place)
        elif entry.is_file(follow_symlinks=False):
            self._file(place)
        else:
            self._skip(FILES_SKIPPED, "special files", SPECIAL, place)

    def _folder(self, place: _Place) -> None:
        look = kinds.by_name((*place.parts, "file"), 1)
        if look is None:
            self._folders.append(place)
            return
        count = sum(len(names) for _, _, names in os.walk(place.path))
        if count:  # told as the files of an archive's hidden folder would be
            self._gathering.skipped.add(FILES_SKIPPED, look.subject, look.reason, count=count)

    def _file(self, place: _Place) -> None:
        try:
            size = place.path.stat().st_size
            use = self._gathering.use(place.parts, size, partial(start, place.path))
        except OSError as error:
            self._skip_unreadable(
                kinds.shown_suffix(kinds.suffix_of(place.parts[-1])), place, error
            )
            return
        name = "/".join(place.parts)
        if use and self._gathering.is_new(name, place.path):
            self._gathering.add(use, Named(name, place.path, place.real, place.linked))

    def _follow(self, link: _Place) -> None:
        if link.real in self._followed:
            return
        self._followed.add(link.real)
        target = link._replace(real=os.path.realpath(link.path), linked=True)
        if not self._roots.hold(target.real):  # whether there is something is not told
            self._skip(LINK_SKIPPED, LINKS, OUTSIDE, link)
            return
        try:
            mode = link.path.stat().st_mode
        except OSError as error:
            reason = CIRCLE if error.errno == errno.ELOOP else NOWHERE
            self._skip(LINK_SKIPPED, LINKS, reason, link)
            return
        if stat.S_ISREG(mode):
            self._file(target)
        elif not stat.S_ISDIR(mode):
            self._skip(FILES_SKIPPED, "special files", SPECIAL, link)
        elif _leads_up(target.real, self._root.real) or _leads_up(target.real, link.real):
            self._skip(LINK_SKIPPED, LINKS, CIRCLE, link)
        else:
            self._folder(target)

    def _skip(self, kind: str, subject: str, reason: str, place: _Place) -> None:
        self._gathering.skipped.add(kind, subject, reason, place.parts[-1])

    def _skip_unreadable(self, subject: str, place: _Place, error: OSError) -> None:
        reason = f"cannot be read ({error.strerror}); change the permissions if it is wanted"
        self._skip(FILES_SKIPPED, subject, reason, place)


def _text(name: str) -> str:
    """Returns a file's name as text; it may have bytes that are none."""
    return name if name.isascii() else text_of(os.fsencode(name))


def start(path: Path) -> bytes:
    """Reads the first bytes of a file, by which its kind is known."""
    with path.open("rb") as file:
        return file.read(kinds.HEAD)


def _leads_up(folder: str, below: str) -> bool:
    return f"{below}/".startswith(f"{folder.rstrip('/')}/")


def _same(one: Path, other: Path) -> bool:
    return digest_file(one) == digest_file(other)
