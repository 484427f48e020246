"""Safe extraction: hostile archives made byte by byte, benign ones at random, and fuzz."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from skin_pipeline.data import archive
from skin_pipeline.data.archive import Limits, appearing, extract
from skin_pipeline.errors import BadInput, Unavailable

MIB = 2**20
MADE_ON_UNIX = 3 << 8 | 20
JANUARY_1980 = 0x21
UTF8 = 0x800


@dataclass(frozen=True)
class Entry:
    """A zip entry in which everything can lie. None: the truth."""

    name: bytes | str
    data: bytes = b"pixels"
    method: int = zipfile.ZIP_DEFLATED
    mode: int = stat.S_IFREG | 0o644
    flags: int = 0
    crc: int | None = None
    size: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    local_name: bytes | None = None
    magic: bytes = b"PK\x03\x04"
    offset: int | None = None

    @property
    def raw_name(self) -> bytes:
        return self.name.encode() if isinstance(self.name, str) else self.name

    @property
    def payload(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return self.data if self.method == zipfile.ZIP_STORED else deflated(self.data)

    def header(self, name: bytes) -> bytes:
        """What the local header and the entry of the list have in common."""
        flags = self.flags | (UTF8 if isinstance(self.name, str) else 0)
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        size = len(self.data) if self.size is None else self.size
        packed = len(self.payload) if self.packed_size is None else self.packed_size
        numbers = (20, flags, self.method, 0, JANUARY_1980, crc, packed, size, len(name), 0)
        return struct.pack("<5H3I2H", *numbers)

    def local(self) -> bytes:
        name = self.raw_name if self.local_name is None else self.local_name
        return self.magic + self.header(name) + name + self.payload

    def central(self, offset: int) -> bytes:
        place = offset if self.offset is None else self.offset
        head = b"PK\x01\x02" + struct.pack("<H", MADE_ON_UNIX) + self.header(self.raw_name)
        return head + struct.pack("<3H2I", 0, 0, 0, self.mode << 16, place) + self.raw_name


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zipped(*entries: Entry) -> bytes:
    body, listing = b"", b""
    for entry in entries:
        listing += entry.central(len(body))
        body += entry.local()
    count, size = len(entries), len(listing)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, size, len(body), 0)
    return body + listing + end


def holding(mode: int) -> bytes:
    return zipped(Entry("a.jpg", mode=mode | 0o644))


def written_by_python(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as bundle:
        bundle.writestr("a.jpg", b"pixels" * 100)
    return buffer.getvalue()


GOOD = zipped(Entry("benign/1.jpg", b"one" * 50), Entry("malignant/2.jpg", b"two" * 50))
ZEROS = bytes(2 * MIB)
DEEP = "/".join(["d"] * 32)


def named(*names: bytes | str) -> bytes:
    return zipped(*(Entry(name) for name in names))


# archive, words of the reason
HOSTILE: dict[str, tuple[bytes, str]] = {
    "parent": (named("../a.jpg"), "'../a.jpg', which leads out"),
    "parent inside": (named("a/../../b.jpg"), "leads out"),
    "parent that stays inside": (named("a/../b.jpg"), "leads out"),
    "parent at the end": (named("a/.."), "leads out"),
    "parent in macOS junk": (named("__MACOSX/../../a.jpg"), "leads out"),
    "good entries before a bad one": (named("a.jpg", "b.jpg", "../c.jpg"), "'../c.jpg'"),
    "absolute": (named("/etc/cron.d/x"), "absolute"),
    "root": (named("/"), "absolute"),
    "network share": (named("//server/share/x"), "absolute"),
    "drive": (named("C:/x.jpg"), "drive letter"),
    "drive, relative": (named("c:x.jpg"), "drive letter"),
    "backslash": (named("a\\b.jpg"), "backslash"),
    "backslash parent": (named("..\\b.jpg"), "backslash"),
    "no name": (named(""), "no name"),
    "NUL": (named("a.jpg\0.exe"), "control"),
    "line feed": (named("a\nERROR b.jpg"), "control"),
    "escape": (named("\x1b[2Ja.jpg"), "control"),
    "line separator": (named("a\u2028b.jpg"), "control"),
    "delete, in the old encoding": (named(b"a\x7f.jpg"), "control"),
    "name longer than a file system takes": (named("x" * 256), "too long"),
    "letters of many bytes": (named("\u00e9" * 128), "too long"),
    "path too long": (named("/".join(["x" * 200] * 6)), "too long"),
    "too deep": (named(f"{DEEP}/x.jpg"), "33 folders deep"),
    "name that is no UTF-8": (zipped(Entry(b"\xff.jpg", flags=UTF8)), "damaged"),
    "symbolic link": (holding(stat.S_IFLNK), "symbolic link"),
    "character device": (holding(stat.S_IFCHR), "character device"),
    "block device": (holding(stat.S_IFBLK), "block device"),
    "pipe": (holding(stat.S_IFIFO), "pipe"),
    "socket": (holding(stat.S_IFSOCK), "socket"),
    "duplicate": (named("a.jpg", "a.jpg"), "appears twice"),
    "duplicate folder": (zipped(Entry("d/", b""), Entry("d/", b"")), "twice"),
    "duplicate by another spelling": (named("a/b.jpg", "./a//b.jpg"), "appears twice"),
    "case": (named("a.jpg", "A.JPG"), "only in case"),
    "case of folders": (named("Benign/1.jpg", "benign/2.jpg"), "only in case"),
    "case beyond ASCII": (named("stra\u00dfe.jpg", "STRASSE.jpg"), "only in case"),
    "Unicode form": (named("\u00e9.jpg", "e\u0301.jpg"), "Unicode form"),
    "file, then folder": (named("a", "a/b.jpg"), "a file and a folder"),
    "folder, then file": (named("a/b.jpg", "a"), "a file and a folder"),
    "empty folder, then file": (zipped(Entry("a/", b""), Entry("a")), "a file and a folder"),
    "folder with content": (named("a/"), "content of its own"),
    "encrypted": (zipped(Entry("a.jpg", flags=0x1)), "encrypted"),
    "strongly encrypted": (zipped(Entry("a.jpg", flags=0x41)), "encrypted"),
    "hidden headers": (zipped(Entry("a.jpg", flags=0x2000)), "encrypted"),
    "patch": (zipped(Entry("a.jpg", flags=0x20)), "damaged"),
    "bzip2": (written_by_python(zipfile.ZIP_BZIP2), "method (12)"),
    "lzma": (written_by_python(zipfile.ZIP_LZMA), "method (14)"),
    "unknown method": (zipped(Entry("a.jpg", method=99)), "method (99)"),
    "bomb": (zipped(Entry("a.bmp", ZEROS)), "200 times"),
    "bomb of small entries": (zipped(*(Entry(f"{i}", ZEROS[:MIB]) for i in range(4))), "200 times"),
    "nothing packed": (zipped(Entry("a", b"", size=2 * MIB)), "200 times"),
    "longer than its header says": (zipped(Entry("a.jpg", b"x" * 999, size=9)), "damaged"),
    "longer, checksum of the start": (
        zipped(Entry("a", b"x" * 999, size=9, crc=zlib.crc32(b"x" * 9))),
        "damaged",
    ),
    "longer by one, checksum fits": (
        zipped(Entry("a", b"x" * 10, size=9, crc=zlib.crc32(b"x" * 10))),
        "unpacks to 10 bytes where its header says 9",
    ),
    "shorter than its header says": (zipped(Entry("a.jpg", b"x", size=9)), "to 1 bytes where"),
    "stored, longer": (zipped(Entry("a", b"x" * 99, method=0, size=9)), "damaged"),
    "checksum": (zipped(Entry("a.jpg", crc=7)), "damaged"),
    "garbage instead of deflate": (zipped(Entry("a.jpg", packed=b"\xff" * 30)), "damaged"),
    "deflate cut off": (zipped(Entry("a", b"abc" * 99, packed=deflated(b"abc" * 99)[:4])), "damag"),
    "other name in the local header": (zipped(Entry("a.jpg", local_name=b"b.jpg")), "damaged"),
    "no local header": (zipped(Entry("a.jpg", magic=b"none")), "damaged"),
    "shared bytes": (zipped(Entry("a.jpg"), Entry("a2jpg", offset=0)), "lies outside"),
    "reaches into the list": (zipped(Entry("a.jpg", packed_size=999)), "lies outside"),
    "begins after the end": (zipped(Entry("a.jpg", offset=10**6)), "lies outside"),
    "empty file": (b"", "not a zip"),
    "text": (b"benign,malignant\n" * 99, "not a zip"),
    "only the start": (GOOD[:60], "not a zip"),
    "last byte missing": (GOOD[:-1], "not a zip"),
    "bytes missing before the list": (GOOD[50:], "lies outside"),
    "list broken": (GOOD.replace(b"PK\x01\x02", b"PK\x01\x03"), "damaged"),
    "list longer than the file": (GOOD[:-10] + b"\xff\xff\xff\x7f" + GOOD[-6:], "damaged"),
    "newer zip version": (
        GOOD.replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff"),
        "dam",
    ),
}

SMALL = Limits(entries=3, total_bytes=2000, entry_bytes=1000, ratio=5)
# archive, words of the reason; under the limits SMALL
OVER: dict[str, tuple[bytes, str]] = {
    "entries": (named("a", "b", "c", "d"), "4 entries; 3 are allowed"),
    "folders count": (named("a/b/c/d"), "one too many; 3"),
    "entry size": (zipped(Entry("a", os.urandom(1001))), "1001 bytes; 1000"),
    "total size": (zipped(*(Entry(name, os.urandom(700)) for name in "abc")), "2100 bytes; 2000"),
    "list of entries": (named(*(f"{i:0200}" for i in range(400))), "too many entries"),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for targets; whatever a test does, no temporary may be left in it."""
    place = tmp_path / "place"
    place.mkdir()
    yield place
    assert not list(place.rglob(".*.part"))


def saved(data: bytes, folder: Path) -> Path:
    path = folder / "archive.zip"
    path.write_bytes(data)
    return path


def holds(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(data: bytes, tmp_path: Path, place: Path, limits: Limits) -> str:
    """The reason, once an archive was refused for a new target and for an empty one."""
    path, (empty, new) = saved(data, tmp_path), (place / "empty", place / "new")
    empty.mkdir()
    for target in (empty, new):
        with pytest.raises(BadInput) as caught:
            extract(path, target, limits)
    assert [path.name for path in place.iterdir()] == ["empty"]
    assert list(empty.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_whole_with_its_reason(
    case: str, tmp_path: Path, place: Path
) -> None:
    data, reason = HOSTILE[case]

    message = refused(data, tmp_path, place, Limits())

    assert reason in message
    assert message.startswith(str(tmp_path / "archive.zip"))
    assert message.isprintable()


@pytest.mark.parametrize("case", OVER)
def test_an_archive_over_a_limit_is_refused_whole(case: str, tmp_path: Path, place: Path) -> None:
    data, reason = OVER[case]

    assert reason in refused(data, tmp_path, place, SMALL)


def test_an_archive_at_the_limits_is_extracted(tmp_path: Path, place: Path) -> None:
    data = zipped(Entry("a/b", os.urandom(1000)), Entry("c", os.urandom(1000)))

    assert extract(saved(data, tmp_path), place / "t", SMALL) == 2


def test_a_small_file_may_be_as_compressible_as_it_likes(tmp_path: Path, place: Path) -> None:
    assert extract(saved(zipped(Entry("mask.bmp", ZEROS[:MIB])), tmp_path), place / "t") == 1


def test_files_come_out_as_they_went_in(tmp_path: Path, place: Path) -> None:
    count = extract(saved(GOOD, tmp_path), place / "deeper" / "t")

    assert count == 2
    assert holds(place / "deeper" / "t") == {
        "benign/1.jpg": b"one" * 50,
        "malignant/2.jpg": b"two" * 50,
    }


def test_permissions_of_the_archive_are_not_taken_over(tmp_path: Path, place: Path) -> None:
    data = zipped(Entry("run", mode=stat.S_IFREG | 0o6777))
    extract(saved(data, tmp_path), place / "t")

    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((place / "t" / "run").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((place / "t").stat().st_mode) == 0o777 & ~umask


def test_what_macos_adds_is_left_out(tmp_path: Path, place: Path) -> None:
    names = ["a/1.jpg", "__MACOSX/a/._1.jpg", "a/.DS_Store", "a/._1.jpg", "b/__MACOSX/x"]

    assert extract(saved(named(*names), tmp_path), place / "t") == 1
    assert list(holds(place / "t")) == ["a/1.jpg"]


def test_dots_and_double_slashes_in_paths_are_taken_as_what_they_mean(
    tmp_path: Path, place: Path
) -> None:
    data = zipped(Entry("./", b""), Entry("./a//1.jpg"), Entry("b/", b""))

    assert extract(saved(data, tmp_path), place / "t") == 1
    assert list(holds(place / "t")) == ["a/1.jpg"]


def test_an_archive_behind_other_bytes_is_extracted(tmp_path: Path, place: Path) -> None:
    assert extract(saved(b"#!/bin/sh\n" + GOOD, tmp_path), place / "t") == 2


def test_a_large_archive_format_is_read(tmp_path: Path, place: Path) -> None:
    bundle = zipfile.ZipFile(tmp_path / "big.zip", "w")
    with bundle, bundle.open("a.bin", "w", force_zip64=True) as sink:
        sink.write(b"x" * 10)

    assert extract(tmp_path / "big.zip", place / "t") == 1


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_an_archive_that_is_no_file_is_bad_input(kind: str, tmp_path: Path, place: Path) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(BadInput, match=r"does not exist|is not a file"):
        extract(path, place / "t")


@pytest.mark.parametrize("kind", ["filled folder", "file", "link to a folder", "dangling link"])
def test_a_target_that_is_taken_stays_as_it_is(kind: str, tmp_path: Path, place: Path) -> None:
    target = place / "t"
    if kind == "filled folder":
        target.mkdir()
        (target / "mine.jpg").write_bytes(b"mine")
    elif kind == "file":
        target.write_bytes(b"mine")
    else:
        target.symlink_to(tmp_path if kind == "link to a folder" else "nowhere")
    before = sorted(place.rglob("*")), holds(place)

    with pytest.raises(BadInput, match="is taken"):
        extract(saved(GOOD, tmp_path), target)
    assert (sorted(place.rglob("*")), holds(place)) == before


def test_what_appears_is_moved_and_not_copied(place: Path) -> None:
    with appearing(place / "t") as part:
        part.mkdir()
        inode = part.stat().st_ino

    assert (place / "t").stat().st_ino == inode


def test_a_target_that_is_taken_meanwhile_stays_as_it_is(place: Path) -> None:
    def two_at_once() -> None:
        with appearing(place / "t") as part:
            part.mkdir()
            (place / "t").mkdir()
            (place / "t" / "theirs.jpg").write_bytes(b"theirs")

    with pytest.raises(BadInput, match="cannot be written"):
        two_at_once()
    assert holds(place) == {"t/theirs.jpg": b"theirs"}


def test_a_target_below_a_file_is_bad_input(tmp_path: Path, place: Path) -> None:
    (place / "file").touch()

    with pytest.raises(BadInput, match="is taken"):
        extract(saved(GOOD, tmp_path), place / "file" / "t")


class Interrupted:
    """Lets the first file through, then raises `error` in the middle of the second."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.reads = error, 0

    def __call__(self, source: zipfile.ZipExtFile, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads == 4:  # one piece and the end of the first file, one piece of the second
            raise self.error
        return REAL_READ(source, size)


REAL_READ = zipfile.ZipExtFile.read


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(143), SystemExit),
        (OSError(errno.ENOSPC, "No space left on device"), Unavailable),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Unavailable),
        (OSError(errno.EIO, "Input/output error"), Unavailable),
        (OSError(errno.EROFS, "Read-only file system"), BadInput),
    ],
    ids=["Ctrl-C", "terminated", "disk full", "quota", "disk fails", "read-only"],
)
def test_whatever_interrupts_nothing_is_left_and_the_next_call_succeeds(
    error: BaseException,
    expected: type[BaseException],
    tmp_path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, interrupted = saved(GOOD, tmp_path), Interrupted(error)
    with monkeypatch.context() as patched:
        patched.setattr(
            zipfile.ZipExtFile, "read", lambda source, size=-1: interrupted(source, size)
        )
        with pytest.raises(expected):
            extract(path, place / "t")

    assert interrupted.reads == 4
    assert list(place.iterdir()) == []
    assert extract(path, place / "t") == 2


def test_a_disk_that_is_too_small_is_found_before_writing(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 299

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(Unavailable, match=r"needs 300 bytes, 299 are free"):
        extract(saved(GOOD, tmp_path), place / "t")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path, place: Path) -> None:
    old, new, other = (place / f".{name}.part" for name in ("t." + "a" * 32, "t." + "b" * 32, "u"))
    for left in (old, new, other):
        left.mkdir()
        (left / "1.jpg").touch()
    for left in (old, other):
        os.utime(left, (0, time.time() - 25 * 3600))

    extract(saved(GOOD, tmp_path), place / "t")

    assert sorted(place.iterdir()) == sorted([new, other, place / "t"])
    for left in (new, other):
        archive._remove(left)


LETTERS = st.characters(
    exclude_categories=["Cc", "Cn", "Cs", "Zl", "Zp"], exclude_characters="\\/", codec="utf-8"
)
NAMES = st.text(LETTERS, min_size=1, max_size=12).filter(
    lambda name: name not in {".", "..", "__MACOSX", ".DS_Store"} and not name.startswith("._")
)
TREES = st.recursive(
    st.binary(max_size=200),
    lambda below: st.dictionaries(NAMES, below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def flat(tree: dict[str, Any], above: str = "") -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, below in tree.items():
        path = f"{above}{name}"
        files |= {path: below} if isinstance(below, bytes) else flat(below, f"{path}/")
    return files


def distinct(files: dict[str, bytes]) -> bool:
    """Whether no two paths meet where case is ignored, and none begins as a drive does."""
    parents = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    nodes = parents | set(files)
    drives = any(path[1:2] == ":" and path[0].isascii() for path in files)
    return len({archive._folded(node) for node in nodes}) == len(nodes) and not drives


@settings(max_examples=50, deadline=None)
@given(tree=TREES, method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_any_benign_tree_comes_out_as_it_went_in(tree: dict[str, Any], method: int) -> None:
    files = flat(tree)
    assume(distinct(files))
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, "a.zip"), Path(folder, "t")
        with zipfile.ZipFile(path, "w", method) as bundle:
            for name, data in files.items():
                bundle.writestr(name, data)

        assert extract(path, target) == len(files)
        assert holds(target) == files


EDITS = st.lists(
    st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.sampled_from("=+-")),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, edits: list[tuple[int, int, str]]) -> bytes:
    for place, byte, how in edits:
        keep = {"=": place + 1, "+": place, "-": place + 1 + byte}[how]
        data = data[:place] + (b"" if how == "-" else bytes([byte])) + data[keep:]
    return data


@settings(max_examples=500, deadline=None)
@given(edits=EDITS)
@example(edits=[(len(GOOD) - 6, 0xFF, "=")])
def test_a_damaged_archive_is_refused_or_extracted_and_nothing_else(
    edits: list[tuple[int, int, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, "a.zip"), Path(folder, "t")
        path.write_bytes(mutated(GOOD, edits))
        try:
            count = extract(path, target, Limits(total_bytes=MIB))
        except BadInput:
            assert [left.name for left in Path(folder).iterdir()] == ["a.zip"]
        else:
            assert len(holds(target)) == count
