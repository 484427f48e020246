"""Zip files from strangers: what is wanted of one is extracted whole, or nothing.

    contents = extract(Path("lesions.zip"), Path("work/lesions"))

The whole archive is inspected before a byte is written, and what its headers say is not believed
while writing. Only images and tables are unpacked, to places of our own choosing: one harmless
entry of another kind costs nothing. The target appears with one rename, when every wanted entry is
written and its checksum agreed.
"""

from __future__ import annotations

import copy
import errno
import io
import logging
import operator
import re
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast
from uuid import uuid4

from skin_pipeline.data import kinds
from skin_pipeline.data.contents import (
    FILES_SKIPPED,
    LINK_SKIPPED,
    MOST_BYTES,
    Contents,
    Gathering,
    Named,
    Places,
    leads_out,
    parts_of,
    printable,
    text_of,
)
from skin_pipeline.data.kinds import Use
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.foreign import shown

log = logging.getLogger(__name__)

MIB = 2**20
CHUNK = MIB
# Below this an entry may be as compressible as it likes: a blank mask or a CSV is no bomb.
RATIO_FREE_BYTES = MIB
# Deflate is what Kaggle and every zip tool write. Python unpacks the others without a bound on
# memory, so a small entry could take all of it.
METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflate"}
OTHER_METHODS = {
    1: "Shrink", 2: "Reduce", 3: "Reduce", 4: "Reduce", 5: "Reduce", 6: "Implode", 9: "Deflate64",
    12: "BZIP2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd",
    99: "AES encryption",
}  # fmt: skip
LOCAL_HEADER_BYTES = 30
END_BYTES = 22  # of a zip without a comment
SPLIT = "a part of a split archive"
FLAGS_ENCRYPTED = 0x1 | 0x40 | 0x2000
FLAG_UTF8 = 0x800
MADE_ON_DOS = 0
LINK_BYTES = 4096  # the longest path of Linux
LINK = "symbolic links within an archive are not followed; pack the files that they mean"
MAYBE_NO_TABLE = {"", ".txt"}  # a file of such a name may be a table, but need not
# A zip is read from the list at its end. A hostile list is mostly longer than its count says.
LIST_BYTES_PER_ENTRY = 128
LIST_BYTES_SPARE = 64 * 1024
LEFTOVER_SECONDS = 24 * 3600
SPECIAL_FILES = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
# Whatever `zipfile` and zlib make of bytes that they did not expect; an OSError is the disk's.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, AssertionError, AttributeError,
    BufferError, EOFError, LookupError, RuntimeError, StopIteration, SyntaxError, TypeError,
    ValueError, Warning,
)  # fmt: skip
PERSON_MUST_ACT = {
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
    errno.ENOTEMPTY, errno.EPERM, errno.EROFS,
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The largest archive that is read. Sizes are of what is wanted of it, unpacked.

    Args:
        entries: files and folders together, wanted or not.
        total_bytes: all files.
        entry_bytes: one file; a larger one is left out and told.
        ratio: unpacked to packed bytes of all files together, if they have over 1 MiB.
    """

    entries: int = 500_000  # ISIC 2024 has 401,059 images
    total_bytes: int = 50 * 1024 * MIB
    entry_bytes: int = MOST_BYTES
    ratio: float = 200


def extract(archive: Path, target: Path, limits: Limits = Limits()) -> Contents:
    """Extracts the images and tables of a zip file into the new folder `target`.

    Whatever else is in it is not unpacked but told in the notices. Files are written at places of
    our own choosing; permissions and times are not taken over.

    Raises:
        BadInput: the archive is refused (the message names the entry and the reason), or the
            target is taken or cannot be written. The target is as it was.
        Unavailable: the disk is full or fails. The target is as it was.
    """
    _refuse_taken(target)
    with _opened(archive, limits) as raw, _parsed(raw, archive) as bundle:
        wanted = _Wanted(bundle, archive, limits)
        size = sum(info.file_size for _, info in wanted.entries)
        with appearing(target) as part:
            part.mkdir()
            refuse_full(part, size)
            for place, info in wanted.entries:
                _write(bundle, info, part / place, archive)
    contents = wanted.contents(target)
    name = printable(archive.name)
    log.info('archive_extracted archive="%s" files=%d bytes=%d', name, len(wanted.entries), size)
    return contents


@contextmanager
def appearing(target: Path) -> Generator[Path, None, None]:
    """A name beside `target` to make a file or folder under, so that `target` appears whole.

    It is renamed to `target` when the block ends, and removed when the block raises, whatever is
    raised. What killed processes left for this target more than a day ago is removed too.

    Raises:
        BadInput: the place cannot be written to.
        Unavailable: the disk is full or fails.
    """
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        yield part
        part.replace(target)
    except OSError as error:
        raise _disk_problem(error, target) from None
    finally:
        _remove(part)


def _remove_leftovers(target: Path) -> None:
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.part")
    for path in target.parent.iterdir():
        if ours.fullmatch(path.name) and time.time() - _changed(path) > LEFTOVER_SECONDS:
            log.warning("leftover_removed path=%s", path)
            _remove(path)


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # another process has just finished with it
        return time.time()


def _remove(path: Path) -> None:
    with suppress(OSError):  # what went wrong before matters more
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _disk_problem(error: OSError, target: Path) -> PipelineError:
    if error.errno in PERSON_MUST_ACT:
        return BadInput(f"{target} cannot be written: {error.strerror}. Give a new, writable place")
    return Unavailable(f"{target} could not be written: {error.strerror}. Nothing was kept of it")


def _refuse_taken(target: Path) -> None:
    try:
        taken = target.is_symlink() or any(target.iterdir())
    except FileNotFoundError:
        taken = False
    except OSError:  # a file, or a folder that cannot be read
        taken = True
    if taken:
        raise BadInput(f"{target} is taken. Give a folder that is new or empty")


def refuse_full(folder: Path, size: int) -> None:
    """Raises `Unavailable` if less than `size` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Unavailable(
            f"not enough disk space below {folder.parent}: the data needs {size} bytes, "
            f"{free} are free. Free some, or choose another place"
        )


class _Reader(io.BufferedReader):
    """The archive's bytes, but never more than `most` in one read: zipfile reads its list of
    entries at once, and makes some thirteen times as much of it in memory."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self._path, self._most = path, most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise _refusal(self._path, f"has too many entries: listing them takes {size} bytes")
        return super().read(size)


def _opened(archive: Path, limits: Limits) -> _Reader:
    try:
        if archive.is_file():  # a pipe or a device would block for ever
            return _Reader(archive, limits.entries * LIST_BYTES_PER_ENTRY + LIST_BYTES_SPARE)
        reason = "is not a file" if archive.exists() else "does not exist"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    raise BadInput(f"{archive} {reason}. Give the path of a zip file")


def _parsed(raw: _Reader, archive: Path) -> zipfile.ZipFile:
    head = raw.peek(kinds.HEAD)[: kinds.HEAD]
    other = kinds.packed("", head)
    if other not in {"", "zip"}:
        raise _foreign(archive, f"an archive of the kind {other}")
    if _is_last_part(raw):
        raise _foreign(archive, SPLIT)
    try:
        return zipfile.ZipFile(raw)
    except DAMAGE as error:
        if what := _what(archive, head):
            raise _foreign(archive, what) from None
        raise _refusal(archive, f"is not a zip file, or a damaged one ({error})") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a position before the start of the file
            raise _refusal(archive, "is damaged (impossible position)") from None
        raise _unreadable_now(archive, error) from None


def _unreadable_now(archive: Path, error: OSError) -> Unavailable:
    return Unavailable(f"{archive} could not be read: {error.strerror}")


def _is_last_part(raw: _Reader) -> bool:
    """Tells whether a zip's list begins on another disk: the other parts are files of their own."""
    raw.seek(0, io.SEEK_END)
    raw.seek(max(0, raw.tell() - END_BYTES))
    end = raw.read(END_BYTES)
    raw.seek(0)
    return end.startswith(b"PK\x05\x06") and end[4:6] not in {b"\0\0", b"\xff\xff"}


def _what(archive: Path, head: bytes) -> str:
    """Says what a file is that is no zip, "" if it is not known."""
    suffix = kinds.suffix_of(archive.name)
    if re.fullmatch(r"\.(z?\d+)", suffix):
        return SPLIT
    if kinds.is_read(head) or suffix in kinds.SUFFIXES:
        return "a single image"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, as a download without login gives"
    if kind := kinds.other_image(suffix, head):
        return f"a file of the kind {kind}"
    return "a single table" if suffix in kinds.TABLE_SUFFIXES - {""} else ""


def _foreign(archive: Path, what: str) -> BadInput:
    return BadInput(
        f"{archive} is {what}; of archives, only zip is read. Unpack it and give the folder with "
        "the images as `data`, or pack that folder as a zip file"
    )


def _refusal(archive: Path, reason: str) -> BadInput:
    return BadInput(f"{archive} {reason}. Nothing was extracted; download it again or pack it anew")


def _entry_refusal(archive: Path, name: str, reason: str) -> BadInput:
    return _refusal(archive, f"is refused because of its entry {shown(name)}, which {reason}")


def _listed(bundle: zipfile.ZipFile, archive: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    infos = bundle.infolist()
    if len(infos) > limits.entries:
        raise _refusal(archive, f"has {len(infos)} entries; {limits.entries} are allowed")
    _refuse_overlap(bundle, archive)
    return infos


class _Wanted:
    """Chooses the entries of an archive that are images or tables, and where to write them. Raises
    `BadInput` if any entry is dangerous, or a wanted one cannot be read."""

    def __init__(self, bundle: zipfile.ZipFile, archive: Path, limits: Limits) -> None:
        self.entries: list[tuple[str, zipfile.ZipInfo]] = []
        self._bundle, self._archive = bundle, archive
        self._gathering = Gathering(str(archive), operator.eq, limits.entry_bytes)
        self._places = Places(limits.entries)
        self._files: list[tuple[Use, str, str]] = []
        for info in _listed(bundle, archive, limits):
            self._look_at(info)
        _refuse_bulk([info for _, info in self.entries], archive, limits)

    def _look_at(self, info: zipfile.ZipInfo) -> None:
        name = name_of(info)
        if reason := leads_out(name) or _special(info) or self._bad_link(info, name):
            raise _entry_refusal(self._archive, name, reason)
        parts = parts_of(name)
        if name.endswith(("/", "\\")) or not parts:
            return
        if _is_link(info):
            self._gathering.skipped.add(LINK_SKIPPED, "symbolic links", LINK, parts[-1])
            return
        use = self._gathering.use(parts, info.file_size, lambda: self._start(info, kinds.HEAD))
        if use and self._is_readable(info, parts):
            self._want(use, info, parts)

    def _want(self, use: Use, info: zipfile.ZipInfo, parts: tuple[str, ...]) -> None:
        name = "/".join(parts)
        if self._gathering.is_new(name, (info.CRC, info.file_size)):
            place = self._places.take(parts)
            self.entries.append((place, info))
            self._files.append((use, name, place))

    def _is_readable(self, info: zipfile.ZipInfo, parts: tuple[str, ...]) -> bool:
        reason = _unreadable(info)
        if reason and kinds.suffix_of(parts[-1]) in MAYBE_NO_TABLE:
            told = f"cannot be read, because each {reason}"
            self._gathering.skipped.add(FILES_SKIPPED, parts[-1], told)
            return False
        if reason:
            raise _entry_refusal(self._archive, "/".join(parts), reason)
        return True

    def _bad_link(self, info: zipfile.ZipInfo, name: str) -> str | None:
        """Says why a symbolic link is dangerous, if it is."""
        if not _is_link(info):
            return None
        if not 0 < info.file_size <= LINK_BYTES:
            return "is a symbolic link to an impossible place"
        target = text_of(self._start(info, LINK_BYTES)).replace("\\", "/")
        depth = len(parts_of(name)) - 1
        for part in target.split("/"):
            depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
            if depth < 0:
                break
        absolute = target.startswith("/") or re.match(r"[A-Za-z]:", target)
        outside = depth < 0 or absolute or not target
        return f"is a symbolic link that leads out ({shown(target)})" if outside else None

    def _start(self, info: zipfile.ZipInfo, most: int) -> bytes:
        """Reads the first bytes of an entry; none where they cannot be read."""
        if _unreadable(info):
            return b""
        try:
            with _open(self._bundle, info) as source:
                return source.read(most)
        except DAMAGE:
            return b""
        except OSError as error:
            raise _unreadable_now(self._archive, error) from None

    def contents(self, target: Path) -> Contents:
        """Returns what was extracted, by the archive's names."""
        for use, name, place in self._files:
            self._gathering.add(use, Named(name, target / place))
        return self._gathering.contents()


def name_of(info: zipfile.ZipInfo) -> str:
    """Returns an entry's name. `zipfile` takes for DOS's letters what is not marked as UTF-8; but
    macOS writes UTF-8 without the mark, and Unix tools whatever bytes a file's name has."""
    if info.flag_bits & FLAG_UTF8:
        return info.orig_filename  # `filename` ends at a NUL
    raw = info.orig_filename.encode("cp437", "replace")
    return text_of(raw, "cp437" if info.create_system == MADE_ON_DOS else "cp1252")


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _special(info: zipfile.ZipInfo) -> str | None:
    special = SPECIAL_FILES.get(stat.S_IFMT(info.external_attr >> 16))
    return f"is {special}" if special else None


def _unreadable(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & FLAGS_ENCRYPTED:
        return "is encrypted. Unpack it with its password, and give the folder as `data`"
    if info.compress_type not in METHODS:
        name = OTHER_METHODS.get(info.compress_type, "an unknown method")
        return (
            f"is packed by {name} (method {info.compress_type}), of which only "
            f"{' and '.join(METHODS.values())} are read. Unpack it and give the folder as `data`, "
            "or pack it again as a zip with the method Deflate"
        )
    return None


def _bomb(unpacked: int, packed: int, limits: Limits) -> bool:
    return unpacked > RATIO_FREE_BYTES and unpacked > limits.ratio * packed


def _refuse_overlap(bundle: zipfile.ZipFile, archive: Path) -> None:
    """Entries that share bytes are how a small archive becomes a huge tree."""
    infos = sorted(bundle.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset for info in infos[1:]] + [bundle.start_dir]
    for info, end in zip(infos, ends, strict=False):
        if info.header_offset < 0 or (
            info.header_offset + LOCAL_HEADER_BYTES + info.compress_size > end
        ):
            reason = "lies outside the archive or over another part of it"
            raise _entry_refusal(archive, info.orig_filename, reason)


def _refuse_bulk(infos: list[zipfile.ZipInfo], archive: Path, limits: Limits) -> None:
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.total_bytes:
        reason = f"unpacks to {unpacked} bytes; {limits.total_bytes} are allowed"
        raise _refusal(archive, reason)
    if _bomb(unpacked, sum(info.compress_size for info in infos), limits):
        raise _refusal(archive, f"unpacks to over {limits.ratio:g} times its packed size")


def _open(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """Opens an entry for reading. Some tools of Windows write its name with backslashes in the list
    and with slashes before the bytes, or the other way round."""
    try:
        return bundle.open(info)
    except zipfile.BadZipFile:
        name = _local_name(bundle, info)
        if name.replace("\\", "/") != info.orig_filename.replace("\\", "/"):
            raise
    same = copy.copy(info)
    same.orig_filename = name
    return bundle.open(same)


def _local_name(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Reads the name that stands before an entry's bytes."""
    file = cast("io.BufferedReader", bundle.fp)
    file.seek(info.header_offset)
    length = int.from_bytes(file.read(LOCAL_HEADER_BYTES)[26:28], "little")
    encoding = "utf-8" if info.flag_bits & FLAG_UTF8 else "cp437"
    return file.read(length).decode(encoding)


def _write(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, archive: Path) -> None:
    """Write one file. Reads at most a byte more than the header announced, so that the limits
    checked on headers hold, and a header that lies is found out."""
    probe = copy.copy(info)
    probe.file_size += 1
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _open(bundle, probe) as source, path.open("xb") as sink:
            while chunk := source.read(CHUNK):
                written += sink.write(chunk)
    except DAMAGE as error:
        reason = f"is damaged ({error})"
        raise _entry_refusal(archive, info.orig_filename, reason) from None
    if written != info.file_size:
        reason = f"unpacks to {written} bytes where its header says {info.file_size}"
        raise _entry_refusal(archive, info.orig_filename, reason)
