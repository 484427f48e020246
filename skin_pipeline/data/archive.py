"""Zip files from strangers: all of one is extracted, or nothing.

    extract(Path("lesions.zip"), Path("work/lesions"))

The whole archive is inspected before a byte is written, and what its headers say is not believed
while writing. The target appears with one rename, when every entry is written and its checksum
agreed.
"""

from __future__ import annotations

import copy
import errno
import io
import logging
import re
import shutil
import stat
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from skin_pipeline.errors import BadInput, PipelineError, Unavailable

log = logging.getLogger(__name__)

MIB = 2**20
CHUNK = MIB
# Below this an entry may be as compressible as it likes: a blank mask or a CSV is no bomb.
RATIO_FREE_BYTES = MIB
# Deflate is what Kaggle and every zip tool write. Python unpacks the others without a bound on
# memory, so a small entry could take all of it.
METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflate"}
LOCAL_HEADER_BYTES = 30
FLAGS_ENCRYPTED = 0x1 | 0x40 | 0x2000
PART_BYTES = 255  # what common file systems take as one name
NAME_BYTES = 1024
DEPTH = 32
# A zip is read from the list at its end. A hostile list is mostly longer than its count says.
LIST_BYTES_PER_ENTRY = 256
LIST_BYTES_SPARE = 64 * 1024
LEFTOVER_SECONDS = 24 * 3600
INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode: control, surrogate, line and paragraph separator
SPECIAL_FILES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
DAMAGE = (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error)
PERSON_MUST_ACT = {
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
    errno.ENOTEMPTY, errno.EPERM, errno.EROFS,
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The largest archive that is extracted.

    Args:
        entries: files and folders together.
        total_bytes: all files, unpacked.
        entry_bytes: one file, unpacked.
        ratio: unpacked to packed bytes, of one file over 1 MiB and of all together.
    """

    entries: int = 200_000
    total_bytes: int = 50 * 1024 * MIB
    entry_bytes: int = 256 * MIB
    ratio: float = 200


def extract(archive: Path, target: Path, limits: Limits = Limits()) -> int:
    """Extract a zip file into the new folder `target`; the number of files in it.

    What macOS adds (`__MACOSX/`, `.DS_Store`, `._*`) and empty folders are left out. Permissions
    and times are not taken over.

    Raises:
        BadInput: the archive is refused (the message names the entry and the reason), or the
            target is taken or cannot be written. The target is as it was.
        Unavailable: the disk is full or fails. The target is as it was.
    """
    _refuse_taken(target)
    with inspected(archive, limits) as (bundle, files):
        size = sum(info.file_size for info in files.values())
        with appearing(target) as part:
            part.mkdir()
            refuse_full(part, size)
            for name, info in files.items():
                _write(bundle, info, part / name, archive)
    log.info("archive_extracted archive=%s files=%d bytes=%d", archive.name, len(files), size)
    return len(files)


@contextmanager
def inspected(
    archive: Path, limits: Limits
) -> Generator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]], None, None]:
    """A zip file, opened, and its files by relative path. Every entry passed every check.

    Raises:
        BadInput: the archive is refused; the message names the entry and the reason.
        Unavailable: the disk fails.
    """
    with _opened(archive, limits) as raw, _parsed(raw, archive) as bundle:
        yield bundle, _inspected(bundle, archive, limits)


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
    try:
        return zipfile.ZipFile(raw)
    except DAMAGE as error:
        raise _refusal(archive, f"is not a zip file, or a damaged one ({error})") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # a position before the start of the file
            raise _refusal(archive, "is damaged (impossible position)") from None
        raise Unavailable(f"{archive} could not be read: {error.strerror}") from None


def _refusal(archive: Path, reason: str) -> BadInput:
    return BadInput(f"{archive} {reason}. Nothing was extracted; download it again or pack it anew")


def _entry_refusal(archive: Path, name: str, reason: str) -> BadInput:
    return _refusal(archive, f"is refused because of its entry {shown(name)}, which {reason}")


def shown(name: str) -> str:
    """A stranger's name as a message may show it: quoted, escaped, and not too long."""
    return repr(name if len(name) <= 120 else f"{name[:120]}…")


def _inspected(
    bundle: zipfile.ZipFile, archive: Path, limits: Limits
) -> dict[str, zipfile.ZipInfo]:
    infos = bundle.infolist()
    if len(infos) > limits.entries:
        raise _refusal(archive, f"has {len(infos)} entries; {limits.entries} are allowed")
    files, tree = {}, Tree(limits.entries)
    for info in infos:
        name = info.orig_filename  # `filename` ends at a NUL
        reason = tree.add(name) or _bad_kind(info) or _bad_size(info, limits)
        if reason:
            raise _entry_refusal(archive, name, reason)
        if not name.endswith("/") and not junk(name):
            files["/".join(_parts(name))] = info
    _refuse_overlap(bundle, archive)
    _refuse_bulk(infos, archive, limits)
    return files


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in {"", "."}]


def _bad_name(name: str, parts: list[str]) -> str | None:
    if any(unicodedata.category(letter) in INVISIBLE for letter in name):
        return "has control characters in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/"):
        return "is an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "starts with a drive letter"
    if ".." in parts:
        return "leads out of its folder with `..`"
    if not parts and not name.endswith("/"):
        return "has no name"
    return _long_name(name, parts)


def _long_name(name: str, parts: list[str]) -> str | None:
    longest = max((len(part.encode()) for part in parts), default=0)
    if len(name.encode()) > NAME_BYTES or longest > PART_BYTES:
        return f"has too long a name; {PART_BYTES} bytes a part, {NAME_BYTES} in all are allowed"
    if len(parts) > DEPTH:
        return f"lies {len(parts)} folders deep; {DEPTH} are allowed"
    return None


def _bad_kind(info: zipfile.ZipInfo) -> str | None:
    special = SPECIAL_FILES.get(stat.S_IFMT(info.external_attr >> 16))
    if special:
        return f"is {special}"
    if info.flag_bits & FLAGS_ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in METHODS:
        allowed = " and ".join(METHODS.values())
        return f"is packed by a method ({info.compress_type}) other than {allowed}"
    if info.orig_filename.endswith("/") and info.file_size:
        return "is a folder with content of its own"
    return None


def _bad_size(info: zipfile.ZipInfo, limits: Limits) -> str | None:
    if info.file_size > limits.entry_bytes:
        return f"unpacks to {info.file_size} bytes; {limits.entry_bytes} are allowed"
    if _bomb(info.file_size, info.compress_size, limits):
        return f"unpacks to over {limits.ratio:g} times its packed size"
    return None


def _bomb(unpacked: int, packed: int, limits: Limits) -> bool:
    return unpacked > RATIO_FREE_BYTES and unpacked > limits.ratio * packed


def junk(name: str) -> bool:
    """Whether macOS added this file."""
    parts = _parts(name)
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


class Tree:
    """The names in an archive or a bucket, as the paths that they would be on a file system that
    ignores case and Unicode forms.

    Args:
        most: files and folders together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: set[str] = set()
        self._nodes: dict[str, tuple[str, bool]] = {}

    def add(self, name: str) -> str | None:
        """Take in a name (a folder's ends with a slash). Returns why it is not safe to write, or
        does not fit to those before it, as the end of "…, which"; None if it is fine."""
        parts = _parts(name)
        if reason := _bad_name(name, parts):
            return reason
        if name in self._names:
            return "appears twice"
        self._names.add(name)
        is_file = not name.endswith("/")
        for depth in range(len(parts), 0, -1):
            path = "/".join(parts[:depth])
            node = (path, is_file and depth == len(parts))
            known = self._nodes.setdefault(_folded(path), node)
            if known is not node:  # then the folders above are known, too
                return _clash(known, node)
            if len(self._nodes) > self._most:
                return f"is one too many; {self._most} files and folders are allowed"
        return None


def _folded(path: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _clash(known: tuple[str, bool], node: tuple[str, bool]) -> str | None:
    if known[0] != node[0]:
        return f"differs from {shown(known[0])} only in case or Unicode form"
    if known[1] and node[1]:
        return "appears twice"
    return "is a file and a folder at once" if known[1] or node[1] else None


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


def _write(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, archive: Path) -> None:
    """Write one file. Reads at most a byte more than the header announced, so that the limits
    checked on headers hold, and a header that lies is found out."""
    probe = copy.copy(info)
    probe.file_size += 1
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with bundle.open(probe) as source, path.open("xb") as sink:
            while chunk := source.read(CHUNK):
                written += sink.write(chunk)
    except DAMAGE as error:
        reason = f"is damaged ({error})"
        raise _entry_refusal(archive, info.orig_filename, reason) from None
    if written != info.file_size:
        reason = f"unpacks to {written} bytes where its header says {info.file_size}"
        raise _entry_refusal(archive, info.orig_filename, reason)
