"""Extracts the images and tables of a zip file: all of them, or nothing.

    contents = extract(Path("lesions.zip"), Path("work/lesions"))

The whole archive is inspected before a byte is written. Only images and tables are unpacked, so
other entries cost nothing. The target appears with one rename, after every wanted entry was written
and its checksum was right.
"""

from __future__ import annotations

import logging
import operator
import re
import zipfile
from collections.abc import Container, Sequence
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.data import kinds
from skin_pipeline.data.disk import appearing, refuse_full, refuse_taken
from skin_pipeline.data.kinds import Use
from skin_pipeline.data.sources.contents import (
    FILES_SKIPPED,
    LINK_SKIPPED,
    Contents,
    Gathering,
    Listed,
    Listing,
    SourceFile,
)
from skin_pipeline.data.sources.names import SafePaths, leads_out, parts_of, printable, text_of
from skin_pipeline.data.sources.zip_archive import (
    LIMITS,
    Limits,
    ZipArchive,
    is_link,
    name_of,
    opened,
    special,
    unreadable,
)
from skin_pipeline.foreign import shown
from skin_pipeline.progress import reported

log = logging.getLogger(__name__)

LINK_BYTES = 4096  # the longest path of Linux
LINK = "symbolic links within an archive are not followed; pack the files that they lead to"
MAYBE_NO_TABLE = {"", ".txt"}  # suffixes of tables and of other texts


def listed(path: Path, limits: Limits = LIMITS) -> Listing:
    """Returns the images in a zip file, of which nothing is unpacked.

    Raises:
        BadInput: The archive is refused, as in `extract`.
        Unavailable: The disk fails.
    """
    with opened(path, limits) as archive:
        return _Selection(archive).listing()


def extract(
    path: Path, target: Path, limits: Limits = LIMITS, only: Container[str] | None = None
) -> Contents:
    """Extracts the images and tables of a zip file into the new folder `target`.

    Other entries are not unpacked; notices name them. Files are written under names that are safe
    on every system, without the permissions and times in the archive.

    Args:
        path: The zip file.
        target: The folder, which appears whole or not at all.
        limits: The largest archive that is read.
        only: Names of those that are wanted; None for all.

    Raises:
        BadInput: The archive is refused (the message names the entry and the reason), or the
            target is taken or cannot be written. The target is as it was.
        Unavailable: The disk is full or fails. The target is as it was.
    """
    refuse_taken(target)
    with opened(path, limits) as archive:
        selection = _Selection(archive)
        if only is not None:
            selection.wanted = [item for item in selection.wanted if item.name in only]
        _write(archive, selection.wanted, target)
    return selection.contents(target)


def surveyed(
    path: Path, target: Path, limits: Limits = LIMITS
) -> tuple[Contents, tuple[Listed, ...]]:
    """Returns what is in a zip file, of which only the tables are extracted, and the state of each
    image; raises what `extract` does."""
    refuse_taken(target)
    with opened(path, limits) as archive:
        selection = _Selection(archive)
        _write(archive, [item for item in selection.wanted if item.use == "table"], target)
    return selection.contents(target), selection.listing().images


def brought(
    path: Path, wanted: Sequence[Listed], target: Path, limits: Limits = LIMITS
) -> dict[str, Path]:
    """Extracts images that `surveyed` listed; returns their paths, by name, without those that are
    not in the archive as they were. Raises what `extract` does."""
    states = {item.name: item.state for item in wanted}
    refuse_taken(target)
    with opened(path, limits) as archive:
        selection = _Selection(archive)
        same = [item for item in selection.wanted if states.get(item.name) == item.state]
        _write(archive, same, target)
    return {item.name: target / item.path for item in same}


def _write(archive: ZipArchive, wanted: Sequence[_Wanted], target: Path) -> None:
    """Extracts some entries into the new folder `target`."""
    size = sum(item.info.file_size for item in wanted)
    with appearing(target) as part:
        part.mkdir()
        refuse_full(part, size)
        for item in reported(wanted, "files extracted", len(wanted)):
            archive.write(item.info, part / item.path)
    name = printable(archive.path.name)
    log.info('archive_extracted archive="%s" files=%d bytes=%d', name, len(wanted), size)


class _Wanted(NamedTuple):
    """An entry to extract: what it is used as, its name, and its path below the target."""

    info: zipfile.ZipInfo
    use: Use
    name: str
    path: str

    @property
    def state(self) -> str:
        """What changes whenever the bytes may have changed."""
        return f"{self.info.file_size}-{self.info.CRC:08x}"


class _Selection:
    """Chooses the entries of an archive that are images or tables, and where to write them.

    Raises:
        BadInput: An entry is dangerous, even if it is not wanted; or a wanted one cannot be read.
    """

    def __init__(self, archive: ZipArchive) -> None:
        self.wanted: list[_Wanted] = []
        self._archive = archive
        self._gathering = Gathering(str(archive.path), operator.eq, archive.limits.entry_bytes)
        self._paths = SafePaths(archive.limits.entries)
        for info in archive.entries():
            self._look_at(info)
        archive.refuse_bulk([item.info for item in self.wanted])

    def _look_at(self, info: zipfile.ZipInfo) -> None:
        name = name_of(info)
        if reason := leads_out(name) or special(info) or self._bad_link(info, name):
            raise self._archive.refusal(name, reason)
        parts = parts_of(name)
        if name.endswith(("/", "\\")) or not parts:
            return
        if is_link(info):
            self._gathering.skipped.add(LINK_SKIPPED, "symbolic links", LINK, parts[-1])
            return
        use = self._gathering.use(
            parts, info.file_size, lambda: self._archive.start(info, kinds.HEAD)
        )
        if use and self._is_readable(info, parts):
            self._want(use, info, parts)

    def _want(self, use: Use, info: zipfile.ZipInfo, parts: tuple[str, ...]) -> None:
        name = "/".join(parts)
        if self._gathering.is_new(name, (info.CRC, info.file_size)):
            self.wanted.append(_Wanted(info, use, name, self._paths.take(parts)))

    def _is_readable(self, info: zipfile.ZipInfo, parts: tuple[str, ...]) -> bool:
        reason = unreadable(info)
        if reason and kinds.suffix_of(parts[-1]) in MAYBE_NO_TABLE:
            # It is probably a readme, which is no reason to refuse the images.
            skipped = f"cannot be read, because each {reason}"
            self._gathering.skipped.add(FILES_SKIPPED, parts[-1], skipped)
            return False
        if reason:
            raise self._archive.refusal("/".join(parts), reason)
        return True

    def _bad_link(self, info: zipfile.ZipInfo, name: str) -> str | None:
        """Returns why a symbolic link is dangerous; None if it is harmless or no link."""
        if not is_link(info):
            return None
        if not 0 < info.file_size <= LINK_BYTES:
            return "is a symbolic link to an impossible place"
        target = text_of(self._archive.start(info, LINK_BYTES)).replace("\\", "/")
        depth = len(parts_of(name)) - 1
        for part in target.split("/"):
            depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
            if depth < 0:
                break
        absolute = target.startswith("/") or re.match(r"[A-Za-z]:", target)
        outside = depth < 0 or absolute or not target
        return f"is a symbolic link that leads out ({shown(target)})" if outside else None

    def listing(self) -> Listing:
        """Returns the images, without extracting anything."""
        images = sorted(
            Listed(item.name, "", item.state) for item in self.wanted if item.use == "image"
        )
        return Listing(tuple(images), self._gathering.skipped.notices())

    def contents(self, target: Path) -> Contents:
        """Returns what was extracted, under its names in the archive."""
        for item in self.wanted:
            self._gathering.add(item.use, SourceFile(item.name, target / item.path))
        return self._gathering.contents()
