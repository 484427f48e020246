"""Safe extraction: hostile archives made byte by byte, benign ones at random, and fuzz."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from skin_pipeline.data import disk, kinds
from skin_pipeline.data.disk import appearing
from skin_pipeline.data.sources import zip_archive
from skin_pipeline.data.sources.contents import Contents
from skin_pipeline.data.sources.from_zip import extract
from skin_pipeline.data.sources.zip_archive import Limits
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


def linking(name: str, target: bytes, crc: int | None = None) -> bytes:
    return zipped(Entry(name, target, mode=stat.S_IFLNK | 0o777, crc=crc))


def written_by_python(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as bundle:
        bundle.writestr("a.jpg", b"pixels" * 100)
    return buffer.getvalue()


GOOD = zipped(Entry("benign/1.jpg", b"one" * 50), Entry("malignant/2.jpg", b"two" * 50))
ZEROS = bytes(2 * MIB)


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
    "backslash parent": (named("..\\b.jpg"), "leads out"),
    "backslash parent inside": (named("a\\..\\..\\b.jpg"), "leads out"),
    "backslash root": (named("\\windows\\x.jpg"), "absolute"),
    "network share of Windows": (named("\\\\server\\share\\x.jpg"), "absolute"),
    "drive of Windows": (named("C:\\x.jpg"), "drive letter"),
    "parent of what nobody wants": (named("a.jpg", "../notes.md"), "leads out"),
    "no name": (named(""), "no name"),
    "NUL": (named("a.jpg\0.exe"), "NUL"),
    "name that is no UTF-8": (zipped(Entry(b"\xff.jpg", flags=UTF8)), "damaged"),
    "link to an absolute path": (linking("a.jpg", b"/etc/passwd"), "link that leads out"),
    "link up": (linking("a.jpg", b"../b.jpg"), "link that leads out"),
    "link up from below": (linking("d/a.jpg", b"x/../../../b.jpg"), "link that leads out"),
    "link of Windows": (linking("a.jpg", b"..\\b.jpg"), "link that leads out"),
    "link to a drive": (linking("a.jpg", b"C:/b.jpg"), "link that leads out"),
    "link of a kind that nobody wants": (linking("a.md", b"/etc/passwd"), "link that leads out"),
    "link that cannot be read": (linking("a.jpg", b"b", crc=7), "link that leads out"),
    "link to nothing": (linking("a.jpg", b""), "impossible place"),
    "endless link": (linking("a.jpg", b"x" * 5000), "impossible place"),
    "character device": (holding(stat.S_IFCHR), "character device"),
    "block device": (holding(stat.S_IFBLK), "block device"),
    "pipe": (holding(stat.S_IFIFO), "pipe"),
    "socket": (holding(stat.S_IFSOCK), "socket"),
    "duplicate": (zipped(Entry("a.jpg"), Entry("a.jpg", b"other")), "appears twice"),
    "duplicate by another spelling": (
        zipped(Entry("a/b.jpg"), Entry("./a//b.jpg", b"other")),
        "appears twice",
    ),
    "duplicate by a backslash": (
        zipped(Entry("a/b.jpg"), Entry("a\\b.jpg", b"other")),
        "appears twice",
    ),
    "encrypted": (zipped(Entry("a.jpg", flags=0x1)), "encrypted"),
    "strongly encrypted": (zipped(Entry("a.jpg", flags=0x41)), "encrypted"),
    "hidden headers": (zipped(Entry("a.jpg", flags=0x2000)), "encrypted"),
    "patch": (zipped(Entry("a.jpg", flags=0x20)), "damaged"),
    "bzip2": (written_by_python(zipfile.ZIP_BZIP2), "BZIP2 (method 12)"),
    "lzma": (written_by_python(zipfile.ZIP_LZMA), "LZMA (method 14)"),
    "Windows Explorer, large": (zipped(Entry("a.jpg", method=9)), "Deflate64 (method 9)"),
    "Zstandard": (zipped(Entry("a.csv", method=93)), "Zstandard (method 93)"),
    "unknown method": (zipped(Entry("a.jpg", method=77)), "an unknown method (method 77)"),
    "bomb": (zipped(Entry("a.bmp", ZEROS)), "200 times"),
    "bomb of small entries": (
        zipped(*(Entry(f"{i}.bmp", ZEROS[:MIB]) for i in range(4))),
        "200 times",
    ),
    "nothing packed": (zipped(Entry("a.csv", b"", size=2 * MIB)), "200 times"),
    "longer than its header says": (zipped(Entry("a.jpg", b"x" * 999, size=9)), "damaged"),
    "longer, checksum of the start": (
        zipped(Entry("a.csv", b"x" * 999, size=9, crc=zlib.crc32(b"x" * 9))),
        "damaged",
    ),
    "longer by one, checksum fits": (
        zipped(Entry("a.csv", b"x" * 10, size=9, crc=zlib.crc32(b"x" * 10))),
        "unpacks to 10 bytes where its header says 9",
    ),
    "shorter than its header says": (zipped(Entry("a.jpg", b"x", size=9)), "to 1 bytes where"),
    "stored, longer": (zipped(Entry("a.jpg", b"x" * 99, method=0, size=9)), "damaged"),
    "checksum": (zipped(Entry("a.jpg", crc=7)), "damaged"),
    "garbage instead of deflate": (zipped(Entry("a.jpg", packed=b"\xff" * 30)), "damaged"),
    "deflate cut off": (
        zipped(Entry("a.jpg", b"abc" * 99, packed=deflated(b"abc" * 99)[:4])),
        "damaged",
    ),
    "other name in the local header": (zipped(Entry("a.jpg", local_name=b"b.jpg")), "damaged"),
    "no local header": (zipped(Entry("a.jpg", magic=b"none")), "damaged"),
    "shared bytes": (zipped(Entry("a.jpg"), Entry("a2jpg", offset=0)), "is outside"),
    "reaches into the list": (zipped(Entry("a.jpg", packed_size=999)), "is outside"),
    "begins after the end": (zipped(Entry("a.jpg", offset=10**6)), "is outside"),
    "empty file": (b"", "not a zip"),
    "text": (b"benign,malignant\n" * 99, "not a zip"),
    "only the start": (GOOD[:60], "not a zip"),
    "last byte missing": (GOOD[:-1], "not a zip"),
    "bytes missing before the list": (GOOD[50:], "is outside"),
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
    "total size": (
        zipped(*(Entry(f"{name}.jpg", os.urandom(700)) for name in "abc")),
        "2100 bytes; 2000",
    ),
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


def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def held(contents: Contents) -> dict[str, bytes]:
    """The extracted files by the archive's names."""
    files = (*contents.images, *contents.tables)
    held = {item.name: item.path.read_bytes() for item in files}
    assert len(held) == len(files)
    return held


def told(contents: Contents) -> dict[str, int]:
    """What was not extracted: how many files by what is said of them."""
    return {notice.subject: notice.count for notice in contents.notices}


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
    data = zipped(Entry("a/b.jpg", os.urandom(1000)), Entry("c.jpg", os.urandom(1000)))

    assert len(held(extract(saved(data, tmp_path), place / "t", SMALL))) == 2


def test_a_file_over_its_limit_is_left_out_and_told(tmp_path: Path, place: Path) -> None:
    data = zipped(Entry("a.jpg", os.urandom(1001)), Entry("c.jpg", os.urandom(1000)))

    contents = extract(saved(data, tmp_path), place / "t", SMALL)

    assert list(held(contents)) == ["c.jpg"]
    assert told(contents) == {".jpg": 1}


def test_a_small_file_may_be_as_compressible_as_it_likes(tmp_path: Path, place: Path) -> None:
    data = zipped(Entry("mask.bmp", ZEROS[:MIB]))
    assert list(held(extract(saved(data, tmp_path), place / "t"))) == ["mask.bmp"]


def test_files_come_out_as_they_went_in(tmp_path: Path, place: Path) -> None:
    contents = extract(saved(GOOD, tmp_path), place / "deeper" / "t")

    assert held(contents) == {"benign/1.jpg": b"one" * 50, "malignant/2.jpg": b"two" * 50}
    assert {path.parents[1] for path in written(place)} == {place / "deeper" / "t"}


# What no system takes as a name, or takes for another one: files with these contents and names.
ODD_NAMES = {
    "case": ["a.jpg", "A.JPG"],
    "case of folders": ["HAM10000_images_part_1/1.jpg", "ham10000_images_part_1/1.jpg"],
    "case beyond ASCII": ["stra\u00dfe.jpg", "STRASSE.jpg"],
    "Unicode form": ["\u00e9.jpg", "e\u0301.jpg"],
    "file and folder": ["a.jpg", "a.jpg/b.jpg"],
    "folder and file": ["a.jpg/b.jpg", "a.jpg"],
    "reserved by Windows": ["NUL.jpg", "con/a.jpg", "COM1", "aux.benign.png"],
    "odd for Windows": ['ab:?"<>|*.jpg', "ends with a dot./b.jpg", "blank /c.jpg", " d.jpg"],
    "our own place for such names": ["~/1.jpg", "~1.jpg", "con/b.jpg"],
    "long": ["x" * 256 + ".jpg", "\u00e9" * 128 + ".jpg", "/".join(["x" * 200] * 6) + ".jpg"],
    "deep": ["/".join(["d"] * 200) + ".jpg", "/".join(["d"] * 9) + "/b.jpg"],
    "an option, a home, a variable": ["-rf.jpg", "~root.jpg", "$HOME.jpg", "%PATH%.jpg"],
}


@pytest.mark.parametrize("case", ODD_NAMES)
def test_names_that_no_file_could_have_cost_nothing(case: str, tmp_path: Path, place: Path) -> None:
    files = {name: name.encode() for name in ODD_NAMES[case]}
    data = zipped(*(Entry(name, data) for name, data in files.items()))

    assert held(extract(saved(data, tmp_path), place / "t")) == files

    paths = [path.relative_to(place / "t").as_posix() for path in written(place / "t")]
    assert len({path.casefold() for path in paths}) == len(files)
    assert all(re.fullmatch(r"[\w~][\w ./-]*\w", path) for path in paths)


# a name, bytes or text; how it is known
STRANGE_NAMES: dict[str, tuple[bytes | str, str]] = {
    "line feed": ("a\nERROR b.jpg", "a%0AERROR b.jpg"),
    "escape": ("\x1b[2Ja.jpg", "%1B[2Ja.jpg"),
    "line separator": ("a\u2028b.jpg", "a%E2%80%A8b.jpg"),
    "right to left": ("a\u202egpj.exe.jpg", "a%E2%80%AEgpj.exe.jpg"),
    "delete, in the old encoding": (b"a\x7f.jpg", "a%7F.jpg"),
    "UTF-8 without the mark, as macOS writes": ("caf\u00e9.jpg".encode(), "caf\u00e9.jpg"),
    "Latin-1, as old Unix tools write": (b"caf\xe9.jpg", "caf\u00e9.jpg"),
    "Windows's separators": ("lesions\\benign\\a.jpg", "lesions/benign/a.jpg"),
    "both separators": ("lesions/benign\\a.jpg", "lesions/benign/a.jpg"),
}


@pytest.mark.parametrize("case", STRANGE_NAMES)
def test_names_become_text_that_can_be_shown_and_encoded(
    case: str, tmp_path: Path, place: Path
) -> None:
    name, known = STRANGE_NAMES[case]

    assert list(held(extract(saved(zipped(Entry(name)), tmp_path), place / "t"))) == [known]


def test_a_name_in_the_letters_of_dos_is_read_as_such(tmp_path: Path, place: Path) -> None:
    unix = bytes([MADE_ON_UNIX & 255, MADE_ON_UNIX >> 8])
    data = zipped(Entry(b"caf\x82.jpg")).replace(b"PK\x01\x02" + unix, b"PK\x01\x02" + b"\x14\0")

    assert list(held(extract(saved(data, tmp_path), place / "t"))) == ["caf\u00e9.jpg"]


# entries beside an image, what is told of each: the subject, words of the reason
UNASKED: dict[str, tuple[Entry, str, str]] = {
    "an archive of pixels": (Entry("hmnist.hdf5", size=300 * MIB), ".hdf5", "export them as CSV"),
    "what packs a thousandfold": (Entry("w.npy", ZEROS), ".npy", "export them"),
    "an encrypted note": (Entry("note.docx", flags=1), ".docx", "export them as CSV"),
    "an encrypted text": (Entry("note.txt", flags=1), "note.txt", "is encrypted"),
    "a method of Windows": (Entry("w.h5", method=9), ".h5", "export them as CSV"),
    "a readme by another method": (Entry("README.md", method=14), ".md", "neither"),
    "a text by another method": (Entry("x.txt", method=14), "x.txt", "LZMA (method 14)"),
    "a wrong checksum": (Entry("w.bin", crc=7), ".bin", "neither"),
    "garbage": (Entry("model.keras", packed=b"\xff" * 30), ".keras", "neither"),
    "a zip": (Entry("imgs_part_1.zip", b"PK\x03\x04" + bytes(40)), ".zip", "unpack them"),
    "a zip of another name": (
        Entry("imgs", b"PK\x03\x04" + bytes(40)),
        "no usual suffix",
        "unpack them",
    ),
    "a link within": (Entry("b.jpg", b"a.jpg", mode=stat.S_IFLNK | 0o777), "symbolic links", "not"),
    "a huge image": (Entry("b.jpg", size=300 * MIB), ".jpg", "over 268435456 bytes"),
    "a huge table": (Entry("b.csv", size=300 * MIB), ".csv", "over 268435456 bytes"),
    "a phone's image": (Entry("b.heic", b"\0\0\0 ftypheic"), ".heic", "save them as PNG or JPEG"),
}


@pytest.mark.parametrize("case", UNASKED)
def test_an_entry_that_nobody_asked_for_costs_nothing_and_is_told(
    case: str, tmp_path: Path, place: Path
) -> None:
    entry, subject, words = UNASKED[case]

    contents = extract(saved(zipped(Entry("a.jpg"), entry), tmp_path), place / "t")

    assert list(held(contents)) == ["a.jpg"]
    (notice,) = contents.notices
    assert (notice.subject, notice.count) == (subject, 1)
    assert words in notice.reason


def test_a_mask_that_packs_a_thousandfold_comes_with_the_images(
    tmp_path: Path, place: Path
) -> None:
    images = [Entry(f"{i}.jpg", os.urandom(20_000)) for i in range(2)]
    data = zipped(*images, Entry("mask.bmp", ZEROS))

    assert held(extract(saved(data, tmp_path), place / "t"))["mask.bmp"] == ZEROS


def test_an_image_is_known_by_its_bytes_under_any_name(tmp_path: Path, place: Path) -> None:
    starts = {"a": b"\xff\xd8\xff\xe0", "b.dat": b"\x89PNG\r\n\x1a\n", "c.JFIF": b""}
    data = zipped(*(Entry(name, start + bytes(99)) for name, start in starts.items()))

    contents = extract(saved(data, tmp_path), place / "t")

    assert [item.name for item in contents.images] == list(starts)
    assert [item.path.suffix for item in contents.images] == ["", ".dat", ".JFIF"]


def test_an_entry_that_stands_there_twice_is_used_once_and_told(
    tmp_path: Path, place: Path
) -> None:
    twice = [Entry("a.jpg"), Entry("./a.jpg"), Entry("d/", b""), Entry("d/", b"")]

    contents = extract(saved(zipped(*twice), tmp_path), place / "t")

    assert held(contents) == {"a.jpg": b"pixels"}
    assert told(contents) == {"repeated files": 1}


def test_what_nobody_asked_for_may_stand_there_twice(tmp_path: Path, place: Path) -> None:
    data = zipped(Entry("a.jpg"), Entry("README.md", b"1"), Entry("README.md", b"2"))

    assert list(held(extract(saved(data, tmp_path), place / "t"))) == ["a.jpg"]


def test_many_folders_are_not_made_but_their_files_come(tmp_path: Path, place: Path) -> None:
    names = [f"{i}/{j}/{k}.jpg" for i in range(2) for j in range(2) for k in range(2)]

    contents = extract(saved(named(*names), tmp_path), place / "t", Limits(entries=8))
    assert sorted(held(contents)) == sorted(names)
    folders = [path for path in (place / "t").rglob("*") if path.is_dir()]
    assert 0 < len(folders) <= 8


# first bytes and name of what is given as an archive, words of the message
NO_ZIP = {
    "tar": (bytes(257) + b"ustar\x0000" + bytes(300), "a.tar", "archive of the kind tar"),
    "tar.gz": (b"\x1f\x8b\x08" + bytes(99), "a.tar.gz", "archive of the kind gzip"),
    "RAR": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "a.rar", "archive of the kind RAR"),
    "7z": (b"7z\xbc\xaf'\x1c" + bytes(99), "a.7z", "archive of the kind 7z"),
    "RAR named zip": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "a.zip", "archive of the kind RAR"),
    "RAR that ends as a zip": (b"Rar!\x1a\x07\x01\x00" + GOOD, "a.zip", "of the kind RAR"),
    "last part": (GOOD[:-18] + b"\1\0\1\0" + GOOD[-14:], "a.zip", "part of a split archive"),
    "part": (GOOD[:99], "a.zip.001", "part of a split archive"),
    "image": (b"\xff\xd8\xff\xe0" + bytes(99), "a.jpg", "a single image"),
    "web page": (b"\n<!DOCTYPE html><title>Sign in", "a.zip", "a web page"),
    "table": (b"image,dx\n", "HAM.csv", "a single table"),
    "DICOM": (bytes(128) + b"DICM" + bytes(99), "a.dcm", "a file of the kind DICOM"),
}


@pytest.mark.parametrize("case", NO_ZIP)
def test_what_is_no_zip_is_told_for_what_it_is(case: str, tmp_path: Path, place: Path) -> None:
    data, name, words = NO_ZIP[case]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match="only zip is read") as caught:
        extract(tmp_path / name, place / "t")
    assert words in str(caught.value)


def test_permissions_of_the_archive_are_not_taken_over(tmp_path: Path, place: Path) -> None:
    data = zipped(Entry("run.csv", mode=stat.S_IFREG | 0o6777))
    extract(saved(data, tmp_path), place / "t")

    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((place / "t" / "run.csv").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((place / "t").stat().st_mode) == 0o777 & ~umask


def test_what_systems_and_tools_add_is_left_out_and_told(tmp_path: Path, place: Path) -> None:
    junk = ["a/.DS_Store", "a/._1.jpg", "Icon\r", "Thumbs.db", "d/desktop.ini", "~$dx.xlsx"]
    hidden = ["__MACOSX/a/._1.jpg", "b/__MACOSX/x", "a/.ipynb_checkpoints/1.jpg", ".git/HEAD"]

    contents = extract(saved(named("a/1.jpg", *junk, *hidden, "a/.x.jpg"), tmp_path), place / "t")

    assert list(held(contents)) == ["a/1.jpg"]
    assert told(contents) == {
        "system files": len(junk),
        "hidden folder __MACOSX, hidden folder .git, hidden folder .ipynb_checkpoints": len(hidden),
        "hidden files": 1,
    }


def test_dots_and_double_slashes_in_paths_are_taken_as_what_they_mean(
    tmp_path: Path, place: Path
) -> None:
    data = zipped(Entry("./", b""), Entry("./a//1.jpg"), Entry("b/", b""))

    assert list(held(extract(saved(data, tmp_path), place / "t"))) == ["a/1.jpg"]


def test_an_archive_behind_other_bytes_is_extracted(tmp_path: Path, place: Path) -> None:
    assert len(held(extract(saved(b"#!/bin/sh\n" + GOOD, tmp_path), place / "t"))) == 2


@pytest.mark.parametrize(("listed", "local"), [("b\\a.jpg", b"b/a.jpg"), ("b/a.jpg", b"b\\a.jpg")])
def test_a_name_may_have_other_separators_in_the_list_than_before_the_bytes(
    listed: str, local: bytes, tmp_path: Path, place: Path
) -> None:
    data = zipped(Entry(listed, local_name=local))

    assert held(extract(saved(data, tmp_path), place / "t")) == {"b/a.jpg": b"pixels"}


def test_a_large_archive_format_is_read(tmp_path: Path, place: Path) -> None:
    bundle = zipfile.ZipFile(tmp_path / "big.zip", "w")
    with bundle, bundle.open("a.jpg", "w", force_zip64=True) as sink:
        sink.write(b"x" * 10)

    assert len(held(extract(tmp_path / "big.zip", place / "t"))) == 1


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
    before = sorted(place.rglob("*")), [path.read_bytes() for path in written(place)]

    with pytest.raises(BadInput, match="is taken"):
        extract(saved(GOOD, tmp_path), target)
    assert (sorted(place.rglob("*")), [path.read_bytes() for path in written(place)]) == before


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
    assert [path.read_bytes() for path in written(place)] == [b"theirs"]


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
    assert len(held(extract(path, place / "t"))) == 2


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
        disk._remove(left)


LETTERS = st.characters(
    exclude_categories=["Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"],
    exclude_characters="\\/~",
    codec="utf-8",
)
NAMES = st.text(LETTERS, min_size=1, max_size=12).filter(
    lambda name: not name.startswith(".") and name.casefold() not in kinds.HIDDEN_FOLDERS
)
TREES = st.recursive(
    st.binary(max_size=200),
    lambda below: st.dictionaries(NAMES, below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def flat(tree: dict[str, Any], above: str = "") -> dict[str, bytes]:
    """The files of a tree, each with a name as images have it."""
    files: dict[str, bytes] = {}
    for name, below in tree.items():
        path = f"{above}{name}"
        files |= {f"{path}.jpg": below} if isinstance(below, bytes) else flat(below, f"{path}/")
    return files


def drives(files: dict[str, bytes]) -> bool:
    """Whether a path begins as a drive of Windows does."""
    return any(path[1:2] == ":" and path[0].isascii() for path in files)


@settings(max_examples=50, deadline=None)
@given(tree=TREES, method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_any_benign_tree_comes_out_as_it_went_in(tree: dict[str, Any], method: int) -> None:
    files = flat(tree)
    assume(not drives(files))
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, "a.zip"), Path(folder, "t")
        with zipfile.ZipFile(path, "w", method) as bundle:
            for name, data in files.items():
                bundle.writestr(name, data)

        assert held(extract(path, target)) == files
        assert len(written(target)) == len(files)


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
            contents = extract(path, target, Limits(total_bytes=MIB))
        except BadInput:
            assert [left.name for left in Path(folder).iterdir()] == ["a.zip"]
        else:
            assert len(held(contents)) == len(written(target))


# Headers of zip files as people have them, with some fields that lie. Names and contents are those
# that decide what is wanted.
FUZZED = st.builds(
    Entry,
    name=st.sampled_from([
        *(
            "a.jpg",
            "A.jpg",
            "benign/1.jpg",
            "benign\\1.jpg",
            "t.csv",
            "meta",
            "x.h5",
            "d/",
            "..",
            "",
        ),
        *("../a.jpg", "/a.jpg", "c:a.jpg", "n.txt", "z.zip", ".git/a.jpg", b"\xe9.jpg", b"a\0.jpg"),
    ]),
    data=st.sampled_from([
        b"",
        b"pixels",
        b"\xff\xd8\xff" + bytes(3000),
        b"../../x",
        b"PK\x03\x04",
    ]),
    method=st.sampled_from([0, 0, 8, 8, 8, 9, 12, 14, 93, 65535]),
    mode=st.sampled_from([
        0,
        *(kind | 0o644 for kind in (*zip_archive.SPECIAL_FILES, stat.S_IFLNK)),
    ])
    | st.just(stat.S_IFREG | 0o644),
    flags=st.sampled_from([0, 0, 0, 1, 8, 0x20, 0x40, 0x2000, UTF8, 65535]),
    crc=st.none() | st.sampled_from([0, 7, 2**32 - 1]),
    size=st.none() | st.sampled_from([0, 1, 5, 2999, 2**31, 2**32 - 1]),
    packed=st.none() | st.sampled_from([b"", b"\xff" * 9, deflated(b"other")]),
    packed_size=st.none() | st.sampled_from([0, 1, 4000, 2**32 - 1]),
    local_name=st.none() | st.sampled_from([b"", b"other.jpg"]),
    magic=st.just(b"PK\x03\x04") | st.just(b"PK\x01\x02"),
    offset=st.none() | st.sampled_from([0, 20, 2**31, 2**32 - 1]),
)
FEW_LIES = st.lists(st.just(Entry("benign/0.jpg")) | FUZZED, min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(entries=FEW_LIES)
def test_whatever_the_headers_say_an_archive_is_refused_or_extracted_within_its_limits(
    entries: list[Entry],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, "below", "a.zip"), Path(folder, "below", "t")
        path.parent.mkdir()
        path.write_bytes(zipped(*entries))
        try:
            contents = extract(path, target, Limits(total_bytes=9000))
        except BadInput:
            assert [left.name for left in path.parent.iterdir()] == ["a.zip"]
        else:
            files = held(contents)
            assert len(written(Path(folder))) == len(files) + 1  # and the archive itself
            assert sum(map(len, files.values())) <= 9000
            assert all(name.isprintable() for name in files)
            assert set(files.values()) <= {entry.data for entry in entries}


FIELDS = [place for place in range(len(GOOD)) if place < 42 or place >= len(GOOD) - 150]


@pytest.mark.exhaustive
@pytest.mark.parametrize("byte", [0, 1, 0x7F, 0x80, 0xFF])
def test_each_byte_of_the_headers_may_be_wrong(byte: int, tmp_path: Path) -> None:
    for place in FIELDS:
        path, target = tmp_path / "a.zip", tmp_path / str(place)
        path.write_bytes(mutated(GOOD, [(place, byte, "=")]))
        try:
            contents = extract(path, target, Limits(total_bytes=MIB))
        except BadInput:
            assert not target.exists()
        else:
            assert len(held(contents)) == len(written(target))
