"""Finds images in a folder. Links are followed, but never in a circle; only files are opened."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from skin_pipeline.data import kinds
from skin_pipeline.data.sources.contents import (
    FILES_SKIPPED,
    LINK_SKIPPED,
    Contents,
    Gathering,
    Listed,
    Listing,
    SourceFile,
    each_file_once,
)
from skin_pipeline.data.sources.names import parts_of, text_of
from skin_pipeline.errors import BadInput
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import digest_file

LINKS = "symbolic links"
CIRCLE = "links that lead in a circle, or back to a folder above them, are not followed"
NOWHERE = "links that lead nowhere; if the images are wanted, put them where the link says"
OUTSIDE = "links that lead out of the folders that SKIN_PATHS names are not followed"
# A file that was changed so many seconds ago may be changed again without a new time: file systems
# keep the time of the last tick of their clock.
UNSETTLED = 2.0
SPECIAL = "pipes, sockets and devices are no files"


def contents_of(root: Path, roots: Roots = ANYWHERE) -> Contents:
    """Finds the images and tables below a folder; notices name everything else.

    Args:
        root: The folder.
        roots: Folders that no link may lead out of.

    Raises:
        BadInput: The folder cannot be read, or contains different files of one name.
    """
    return _Walk(root, roots).contents()


def listed(root: Path, roots: Roots = ANYWHERE) -> Listing:
    """Returns the images below a folder, as `contents_of` finds them, and the state of each."""
    contents = contents_of(root, roots)
    files, repeated = each_file_once(contents.images)
    return Listing(tuple(seen(files, root)), (*contents.notices, *repeated))


def seen(files: Sequence[SourceFile], root: Path) -> Iterator[Listed]:
    """Yields the state of each file below a folder, without those that were removed meanwhile."""
    now = time.time()
    for file in files:
        try:
            state_now = file.path.stat()
        except OSError:  # removed meanwhile
            continue
        # The time of the last change of a file cannot be set, so it shows every change.
        state = "-".join(map(str, (*_outside(state_now), state_now.st_ctime_ns, state_now.st_ino)))
        if now - state_now.st_ctime < UNSETTLED:
            state += f"-{time.time_ns()}"
        where = quote(os.fsencode(file.path.relative_to(root)))
        yield Listed(file.name, where, state)


def outside(path: Path) -> tuple[str, str]:
    """Returns the size of a file and the time of its last change, as `seen` begins a state; two
    empty texts if it is gone."""
    try:
        return _outside(path.stat())
    except OSError:
        return "", ""


def _outside(found: os.stat_result) -> tuple[str, str]:
    return str(found.st_size), str(found.st_mtime_ns)


def brought(root: Path, wanted: Sequence[Listed], roots: Roots = ANYWHERE) -> dict[str, Path]:
    """Returns the path of each image that was listed, by name; without those that are gone.

    They are read where they are. What a link leads to may have changed since, so it is looked at
    again.
    """
    top = os.path.realpath(root)
    found = {item.name: root / os.fsdecode(unquote_to_bytes(item.where)) for item in wanted}
    return {name: path for name, path in found.items() if _is_there(path, top, roots)}


def _is_there(path: Path, top: str, roots: Roots) -> bool:
    real = os.path.realpath(path)
    linked = not f"{real}/".startswith(f"{top.rstrip('/')}/")
    try:
        return (roots.hold(real) if linked else True) and stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        # One that may not be read is reported as such by whoever reads it.
        return error.errno in {errno.EACCES, errno.EPERM}


class _Entry(NamedTuple):
    """A file, folder or link: its path, its path without links, and its name in parts.

    `linked` says whether its path goes through a link.
    """

    path: Path
    real: str
    parts: tuple[str, ...]
    linked: bool


class _Walk:
    """Goes through a folder: first its own files, then what its links lead to.

    In this order a file that is in the folder is found under its own name, not under a link's. Each
    link is followed once, so a circle of links ends.
    """

    def __init__(self, root: Path, roots: Roots) -> None:
        self._roots = roots
        self._root = _Entry(root, os.path.realpath(root), (), linked=False)
        self._gathering = Gathering(root.name or str(root), _same)
        self._folders = deque([self._root])
        self._links: deque[_Entry] = deque()
        self._followed: set[str] = set()

    def contents(self) -> Contents:
        """Returns what the folder contains."""
        while self._folders or self._links:
            if self._folders:
                self._enter(self._folders.popleft())
            else:
                self._follow(self._links.popleft())
        return self._gathering.contents()

    def _enter(self, folder: _Entry) -> None:
        try:
            with os.scandir(folder.path) as listing:
                found = sorted(listing, key=lambda one: one.name)
        except OSError as error:
            if folder is self._root:
                reason = f"cannot be read ({error.strerror}). Change its permissions"
                raise BadInput(f"the folder {folder.path} {reason}") from None
            self._skip_unreadable(f"folder {folder.parts[-1]}", folder, error)
            return
        for one in found:
            self._look_at(one, folder)

    def _look_at(self, found: os.DirEntry[str], folder: _Entry) -> None:
        parts = (*folder.parts, *parts_of(_text(found.name)))
        entry = _Entry(Path(found.path), f"{folder.real}/{found.name}", parts, folder.linked)
        if found.is_symlink():
            self._links.append(entry)
        elif found.is_dir(follow_symlinks=False):
            self._folder(entry)
        elif found.is_file(follow_symlinks=False):
            self._file(entry)
        else:
            # Never opened: opening a pipe waits until another process writes into it.
            self._skip(FILES_SKIPPED, "special files", SPECIAL, entry)

    def _folder(self, entry: _Entry) -> None:
        look = kinds.by_name((*entry.parts, "file"), 1)
        if look is None:
            self._folders.append(entry)
            return
        count = sum(len(names) for _, _, names in os.walk(entry.path))
        if count:  # as in an archive, where each file of a hidden folder is counted
            self._gathering.skipped.add(FILES_SKIPPED, look.subject, look.reason, count=count)

    def _file(self, entry: _Entry) -> None:
        try:
            size = entry.path.stat().st_size
            use = self._gathering.use(entry.parts, size, partial(start, entry.path))
        except OSError as error:
            self._skip_unreadable(
                kinds.shown_suffix(kinds.suffix_of(entry.parts[-1])), entry, error
            )
            return
        name = "/".join(entry.parts)
        if use and self._gathering.is_new(name, entry.path):
            self._gathering.add(use, SourceFile(name, entry.path, entry.real, entry.linked))

    def _follow(self, link: _Entry) -> None:
        if link.real in self._followed:
            return
        self._followed.add(link.real)
        target = link._replace(real=os.path.realpath(link.path), linked=True)
        # Before anything else: the answer must not show whether a target outside exists.
        if not self._roots.hold(target.real):
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

    def _skip(self, kind: str, subject: str, reason: str, entry: _Entry) -> None:
        self._gathering.skipped.add(kind, subject, reason, entry.parts[-1])

    def _skip_unreadable(self, subject: str, entry: _Entry, error: OSError) -> None:
        reason = f"cannot be read ({error.strerror}); change the permissions if it is wanted"
        self._skip(FILES_SKIPPED, subject, reason, entry)


def _text(name: str) -> str:
    """Returns a file's name as text, even if its bytes are not valid text."""
    return name if name.isascii() else text_of(os.fsencode(name))


def start(path: Path) -> bytes:
    """Returns the first bytes of a file, which `kinds` recognises it by."""
    with path.open("rb") as file:
        return file.read(kinds.HEAD)


def _leads_up(folder: str, below: str) -> bool:
    """Returns whether `folder` is the folder `below` or one above it."""
    return f"{below}/".startswith(f"{folder.rstrip('/')}/")


def _same(one: Path, other: Path) -> bool:
    return digest_file(one) == digest_file(other)
