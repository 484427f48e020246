"""The zip that a `.keras` file is: just what Keras writes, so that no two readers can differ.

    found = members(file)  # {"config.json": Member(start=95, size=193830, crc=…), …}

Readers of zips differ in what they believe: the list at the end or what stands before each member,
a name or the other name in an extra field, the first or the last of two alike. So the file is read
from its first byte, and its list must be, to the byte, the one that Python's `zipfile` writes of
these members. Nothing may stand before, between or behind, and nothing is packed.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from skin_pipeline.foreign import shown

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEMBERS = frozenset({METADATA, CONFIG, WEIGHTS})
HEADER = struct.Struct("<4s5H3L2H")  # before a member
ENTRY = struct.Struct("<4s4B4H3L5H2L")  # of a member in the list
END = struct.Struct("<4s4H2LH")
LONG_END = struct.Struct("<4sQ2H2L4Q")  # of a file over 2 GiB
LONG_END_PLACE = struct.Struct("<4sLQL")
LONG_SIZES = struct.Struct("<2H2Q")
HEADER_MAGIC, ENTRY_MAGIC = b"PK\3\4", b"PK\1\2"
VERSION, LONG_VERSION = 20, 45  # of zip, that a reader must know
IN_EXTRA = 0xFFFFFFFF  # in place of a size that stands in the extra field
LONG_FROM = 2**31 - 1  # bytes, above which `zipfile` writes sizes into an extra field
DOS, UNIX = 0, 3  # on which the file was made
CHUNK = 2**20


class Foreign(Exception):
    """Says what is wrong with a model file, as the rest of a sentence that begins with the file."""


class Member(NamedTuple):
    """Where the bytes of a member lie in the file, and what their checksum should be."""

    start: int
    size: int
    crc: int


class _Header(NamedTuple):
    """What stands before a member."""

    place: int
    name: str
    version: int
    time: int
    date: int
    member: Member


def members(file: BinaryIO) -> dict[str, Member]:
    """Finds the three members of a `.keras` file, by name.

    Raises:
        Foreign: Keras would not write such a file; says why.
    """
    headers = _headers(file)
    list_place = headers[-1].member.start + headers[-1].member.size
    file.seek(list_place)
    entries = b"".join(_entry(header, file) for header in headers)
    end = _end(len(headers), list_place, len(entries))
    if file.read(len(end) + 1) != end:
        raise Foreign("is no zip as Keras writes it: something else stands at its end")
    return {header.name: header.member for header in headers}


def contents(file: BinaryIO, member: Member) -> bytes:
    """The bytes of a member that fits in memory.

    Raises:
        Foreign: their checksum is another.
    """
    return b"".join(_checked(file, member))


def verify(file: BinaryIO, member: Member) -> None:
    """Reads a member of any size; raises `Foreign` if its checksum is another."""
    for _ in _checked(file, member):
        pass


def _checked(file: BinaryIO, member: Member) -> Iterator[bytes]:
    file.seek(member.start)
    left, crc = member.size, 0
    while block := file.read(min(left, CHUNK)):
        left, crc = left - len(block), zlib.crc32(block, crc)
        yield block
    if left or crc != member.crc:
        raise Foreign("is damaged: the checksum (CRC) of a part of it is another")


def _headers(file: BinaryIO) -> list[_Header]:
    """What stands before each member, from the file's start to where its list must begin."""
    size, place = file.seek(0, io.SEEK_END), 0
    found: dict[str, _Header] = {}
    while len(found) < len(MEMBERS):
        header = _header(file, place, size)
        if header is None:
            there = ", ".join(map(shown, found)) or "nothing that it should"
            raise Foreign(f"holds {there} instead of {', '.join(sorted(MEMBERS))}")
        if header.name in found:
            raise Foreign(f"holds {header.name} twice")
        found[header.name] = header
        place = header.member.start + header.member.size
    return list(found.values())


def _header(file: BinaryIO, place: int, file_size: int) -> _Header | None:
    """What stands before the member at a place, or None if there is no member."""
    file.seek(place)
    fixed = file.read(HEADER.size)
    if len(fixed) < HEADER.size or not fixed.startswith(HEADER_MAGIC):
        return None
    _, version, flags, method, time, date, crc, packed, size, name_size, extra_size = HEADER.unpack(
        fixed
    )
    raw, extra = file.read(name_size), file.read(extra_size)
    name = raw.decode("ascii", "backslashreplace")
    if name not in MEMBERS:
        raise Foreign(f"holds {shown(name)}, which no model file has")
    if flags or method:
        raise Foreign(f"holds {name} packed or encrypted (method {method}, flags {flags:#x})")
    is_long = extra_size == LONG_SIZES.size and packed == size == IN_EXTRA
    if is_long:
        size, packed = LONG_SIZES.unpack(extra)[2:]
    expected = _long_sizes(size, size) if is_long else b""
    fits = version == (LONG_VERSION if is_long else VERSION) and packed == size
    start = place + HEADER.size + name_size + extra_size
    if extra != expected or not fits or start + size > file_size:
        raise Foreign(f"is no zip as Keras writes it: before {name} stand other sizes or fields")
    return _Header(place, name, version, time, date, Member(start, size, crc))


def _entry(header: _Header, file: BinaryIO) -> bytes:
    """The entry in the list that a header must have; the file must have it where it stands. What it
    may say freely is the system that it was made on, and who may read the unpacked file."""
    _, size, crc = header.member
    long = [size, size] * (size > LONG_FROM) + [header.place] * (header.place > LONG_FROM)
    extra = _long_sizes(*long) if long else b""
    version = LONG_VERSION if long else header.version
    name = header.name.encode()
    length = ENTRY.size + len(name) + len(extra)
    there = file.read(length)
    if len(there) < length:
        raise Foreign("is no zip, or a damaged one: the list at its end is cut short")
    system, rights = there[5], int.from_bytes(there[38:42], "little")
    said = ENTRY.pack(
        *(ENTRY_MAGIC, version, system, version, 0, 0, 0, header.time, header.date, crc),
        *(IN_EXTRA if size > LONG_FROM else size,) * 2,
        *(len(name), len(extra), 0, 0, 0, rights),
        IN_EXTRA if header.place > LONG_FROM else header.place,
    )
    is_file = stat.S_IFMT(rights >> 16) in {0, stat.S_IFREG} and not rights & 0xFFFF
    if there != said + name + extra or system not in {DOS, UNIX} or not is_file:
        raise Foreign(
            f"is no zip as Keras writes it: the list at its end says otherwise of {name.decode()} "
            "than what stands before it"
        )
    return there


def _end(count: int, place: int, size: int) -> bytes:
    """What stands behind a list of so many entries and bytes, at such a place."""
    end = END.pack(b"PK\5\6", 0, 0, count, count, min(size, IN_EXTRA), min(place, IN_EXTRA), 0)
    if place <= LONG_FROM:
        return end
    versions = (LONG_VERSION, LONG_VERSION)
    long = LONG_END.pack(b"PK\6\6", 44, *versions, 0, 0, count, count, size, place)
    return long + LONG_END_PLACE.pack(b"PK\6\7", 0, place + size, 1) + end


def _long_sizes(*sizes: int) -> bytes:
    return struct.pack(f"<2H{len(sizes)}Q", 1, 8 * len(sizes), *sizes)
