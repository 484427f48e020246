"""Reads a zip file that is not trusted.

    with opened(Path("lesions.zip"), Limits()) as archive:
        for entry in archive.entries():
            archive.write(entry, target / "1.jpg")

What the headers say is checked before anything is written, and compared with the bytes afterwards.
"""

from __future__ import annotations

import copy
import errno
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from skin_pipeline.data import kinds
from skin_pipeline.data.kinds import MOST_BYTES
from skin_pipeline.data.sources.names import text_of
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import shown

MIB = 2**20
CHUNK = MIB
# Up to this size any ratio of compression is allowed: blank masks and CSV files compress well too.
RATIO_FREE_BYTES = MIB
# Kaggle and all zip tools write Deflate. For the other methods Python has no bound on memory, so a
# small entry could take all of it.
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
# The list of entries at the end of a zip. A hostile list may be longer than its count says.
LIST_BYTES_PER_ENTRY = 128
LIST_BYTES_SPARE = 64 * 1024
SPECIAL_FILES = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
# What `zipfile` and zlib raise for unexpected bytes: nearly anything but OSError, the disk's error.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, AssertionError, AttributeError,
    BufferError, EOFError, LookupError, RuntimeError, StopIteration, SyntaxError, TypeError,
    ValueError, Warning,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The largest archive that is read. The sizes are of the wanted files, unpacked.

    Args:
        entries: Files and folders together, wanted or not.
        total_bytes: Of all files.
        entry_bytes: Of one file. A larger one is left out, and a notice says so.
        ratio: Unpacked to packed bytes of all files together, if they unpack to over 1 MiB.
    """

    entries: int = 500_000  # ISIC 2024 has 401,059 images
    total_bytes: int = 50 * 1024 * MIB
    entry_bytes: int = MOST_BYTES
    ratio: float = 200


LIMITS = Limits()


class ZipArchive:
    """An open zip file, its path for messages, and the limits for its entries."""

    def __init__(self, bundle: zipfile.ZipFile, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._bundle = bundle

    def entries(self) -> list[zipfile.ZipInfo]:
        """Returns all entries.

        Raises:
            BadInput: There are too many, or some share bytes with others.
        """
        infos = self._bundle.infolist()
        if len(infos) > self.limits.entries:
            reason = f"has {len(infos)} entries; {self.limits.entries} are allowed"
            raise _refusal(self.path, reason)
        self._refuse_overlap(infos)
        return infos

    def _refuse_overlap(self, entries: Iterable[zipfile.ZipInfo]) -> None:
        # By entries that share bytes, a small archive could unpack to any number of files.
        infos = sorted(entries, key=lambda info: info.header_offset)
        ends = [info.header_offset for info in infos[1:]] + [self._bundle.start_dir]
        for info, end in zip(infos, ends, strict=False):
            if info.header_offset < 0 or (
                info.header_offset + LOCAL_HEADER_BYTES + info.compress_size > end
            ):
                reason = "is outside the archive or overlaps another part of it"
                raise self.refusal(info.orig_filename, reason)

    def refuse_bulk(self, wanted: list[zipfile.ZipInfo]) -> None:
        """Raises `BadInput` if the wanted entries unpack to too many bytes."""
        unpacked = sum(info.file_size for info in wanted)
        packed = sum(info.compress_size for info in wanted)
        if unpacked > self.limits.total_bytes:
            reason = f"unpacks to {unpacked} bytes; {self.limits.total_bytes} are allowed"
            raise _refusal(self.path, reason)
        if unpacked > RATIO_FREE_BYTES and unpacked > self.limits.ratio * packed:
            most = max(wanted, key=lambda info: info.file_size - info.compress_size)
            raise _refusal(
                self.path,
                f"unpacks to over {self.limits.ratio:g} times its packed size, most of all its "
                f"entry {shown(most.orig_filename)}",
            )

    def start(self, info: zipfile.ZipInfo, most: int) -> bytes:
        """Returns the first bytes of an entry; no bytes if they cannot be read.

        Raises:
            Unavailable: The disk fails.
        """
        if unreadable(info):
            return b""
        try:
            with self._open(info) as source:
                return source.read(most)
        except DAMAGE:
            return b""
        except OSError as error:
            raise _unreadable_now(self.path, error) from None

    def write(self, info: zipfile.ZipInfo, path: Path) -> None:
        """Writes an entry to a file.

        Raises:
            BadInput: The entry is damaged, or its size is not what its header says.
        """
        # At most one byte more than the header says is read: enough to notice that the header is
        # wrong, and no more than the limits allow, because they were checked on the headers.
        probe = copy.copy(info)
        probe.file_size += 1
        written = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._open(probe) as source, path.open("xb") as sink:
                while chunk := source.read(CHUNK):
                    written += sink.write(chunk)
        except DAMAGE as error:
            raise self.refusal(info.orig_filename, f"is damaged ({error})") from None
        if written != info.file_size:
            reason = f"unpacks to {written} bytes where its header says {info.file_size}"
            raise self.refusal(info.orig_filename, reason)

    def _open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        # A zip has each name twice, in the list and before the entry's bytes, and `zipfile` refuses
        # an entry whose names differ. Some tools of Windows write one of them with backslashes.
        try:
            return self._bundle.open(info)
        except zipfile.BadZipFile:
            name = self._local_name(info)
            if name.replace("\\", "/") != info.orig_filename.replace("\\", "/"):
                raise
        same = copy.copy(info)
        same.orig_filename = name
        return self._bundle.open(same)

    def _local_name(self, info: zipfile.ZipInfo) -> str:
        """Returns the name that is written before an entry's bytes."""
        file = cast("io.BufferedReader", self._bundle.fp)
        file.seek(info.header_offset)
        length = int.from_bytes(file.read(LOCAL_HEADER_BYTES)[26:28], "little")
        encoding = "utf-8" if info.flag_bits & FLAG_UTF8 else "cp437"
        return file.read(length).decode(encoding)

    def refusal(self, name: str, reason: str) -> BadInput:
        """Makes the error for an archive that is refused because of an entry.

        Args:
            name: Of the entry.
            reason: Continues "its entry …, which".
        """
        return _refusal(self.path, f"is refused because of its entry {shown(name)}, which {reason}")


def _refusal(path: Path, reason: str) -> BadInput:
    return BadInput(f"{path} {reason}. Nothing was extracted; download it again or pack it anew")


def _unreadable_now(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"{path} could not be read: {error.strerror}")


# --- opening -------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path, limits: Limits) -> Generator[ZipArchive, None, None]:
    """Opens a zip file.

    Raises:
        BadInput: It does not exist, is no zip file, or its list of entries is too long.
        Unavailable: The disk fails.
    """
    with _raw(path, limits) as raw, _parsed(raw, path) as bundle:
        yield ZipArchive(bundle, path, limits)


class _BoundedReader(io.BufferedReader):
    """The bytes of an archive, never more than `most` in one read.

    `zipfile` reads the whole list of entries at once, and takes some thirteen times its size of
    memory for it.
    """

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self._path, self._most = path, most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise _refusal(self._path, f"has too many entries: listing them takes {size} bytes")
        return super().read(size)


def _raw(path: Path, limits: Limits) -> _BoundedReader:
    try:
        if path.is_file():  # a pipe or a device would block for ever
            return _BoundedReader(path, limits.entries * LIST_BYTES_PER_ENTRY + LIST_BYTES_SPARE)
        reason = "is not a file" if path.exists() else "does not exist"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    raise BadInput(f"{path} {reason}. Give the path of a zip file")


def _parsed(raw: _BoundedReader, path: Path) -> zipfile.ZipFile:
    head = raw.peek(kinds.HEAD)[: kinds.HEAD]
    other = kinds.packed("", head)
    if other not in {"", "zip"}:
        raise _foreign(path, f"an archive of the kind {other}")
    if _is_last_part(raw):
        raise _foreign(path, SPLIT)
    try:
        return zipfile.ZipFile(raw)
    except DAMAGE as error:
        if kind := _no_zip(path, head):
            raise _foreign(path, kind) from None
        raise _refusal(path, f"is not a zip file, or a damaged one ({error})") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a position before the start of the file
            raise _refusal(path, "is damaged (impossible position)") from None
        raise _unreadable_now(path, error) from None


def _is_last_part(raw: _BoundedReader) -> bool:
    """Returns whether a file is the last part of a zip that was split into several files."""
    raw.seek(0, io.SEEK_END)
    raw.seek(max(0, raw.tell() - END_BYTES))
    end = raw.read(END_BYTES)
    raw.seek(0)
    return end.startswith(b"PK\x05\x06") and end[4:6] not in {b"\0\0", b"\xff\xff"}


def _no_zip(path: Path, head: bytes) -> str:
    """Returns the kind of a file that is no zip; "" if the kind is not known."""
    suffix = kinds.suffix_of(path.name)
    if re.fullmatch(r"\.(z?\d+)", suffix):
        return SPLIT
    if kinds.is_read(head) or suffix in kinds.SUFFIXES:
        return "a single image"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, as a download without login gives"
    if kind := kinds.other_image(suffix, head):
        return f"a file of the kind {kind}"
    return "a single table" if suffix in kinds.TABLE_SUFFIXES - {""} else ""


def _foreign(path: Path, kind: str) -> BadInput:
    return BadInput(
        f"{path} is {kind}; of archives, only zip is read. Unpack it and give the folder with "
        "the images as `data`, or pack that folder as a zip file"
    )


# --- entries -------------------------------------------------------------------------------------


def name_of(info: zipfile.ZipInfo) -> str:
    """Returns an entry's name.

    If the flag for UTF-8 is not set, `zipfile` reads names in the encoding of DOS. But macOS writes
    UTF-8 without the flag, and tools on Unix write the bytes that a file's name has on the disk.
    """
    if info.flag_bits & FLAG_UTF8:
        return info.orig_filename  # `filename` ends at a NUL
    raw = info.orig_filename.encode("cp437", "replace")
    return text_of(raw, "cp437" if info.create_system == MADE_ON_DOS else "cp1252")


def is_link(info: zipfile.ZipInfo) -> bool:
    """Returns whether an entry is a symbolic link."""
    return stat.S_ISLNK(info.external_attr >> 16)


def special(info: zipfile.ZipInfo) -> str | None:
    """Returns that an entry is a device or the like; None for files, folders and links."""
    kind = SPECIAL_FILES.get(stat.S_IFMT(info.external_attr >> 16))
    return f"is {kind}" if kind else None


def unreadable(info: zipfile.ZipInfo) -> str | None:
    """Returns why an entry cannot be read, and what to do; None if it can be."""
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
