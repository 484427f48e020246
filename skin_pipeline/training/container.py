"""Reads the zip that a `.keras` file is, only if it is exactly as Keras writes it.

    found = members(file)  # {"config.json": Member(start=95, size=193830, crc=…), …}

A zip says things twice, and readers differ in what they believe: the list at the end or the header
before each member, a name or the other name in an extra field, the first or the last of two alike.
Keras could then read something else than was checked here. So the file is read from its first
byte, and its list must be, to the byte, the one that Python's `zipfile` writes of these members.
There may be nothing before, between or behind them, and none is compressed.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from skin_pipeline.foreign import shown

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEMBERS = frozenset({METADATA, CONFIG, WEIGHTS})
HEADER = struct.Struct("<4s5H3L2H")  # before a member
ENTRY = struct.Struct("<4s4B4H3L5H2L")  # of a member in the list
END = struct.Struct("<4s4H2LH")
LONG_END = struct.Struct("<4sQ2H2L4Q")  # of a file over 2 GiB
LONG_END_OFFSET = struct.Struct("<4sLQL")
LONG_SIZES = struct.Struct("<2H2Q")
HEADER_MAGIC, ENTRY_MAGIC = b"PK\3\4", b"PK\1\2"
VERSION, LONG_VERSION = 20, 45  # of zip, that a reader must know
IN_EXTRA = 0xFFFFFFFF  # in the field of a size or position that the extra field has instead
LONG_FROM = 2**31 - 1  # bytes, above which `zipfile` writes sizes into an extra field
DOS, UNIX = 0, 3  # systems on which the file was made
CHUNK = 2**20


class Foreign(Exception):
    """Refuses a model file; its text continues a sentence that begins with the file's name."""


class Member(NamedTuple):
    """Where the bytes of a member are in the file, and what their checksum should be."""

    start: int
    size: int
    crc: int


class _Header(NamedTuple):
    """The header before a member, and where it is in the file."""

    start: int
    name: str
    version: int
    time: int
    date: int
    member: Member


def members(file: BinaryIO) -> dict[str, Member]:
    """Returns the three members of a `.keras` file, by name.

    Raises:
        Foreign: Keras would not write such a file; says why.
    """
    headers = _headers(file)
    list_start = headers[-1].member.start + headers[-1].member.size
    file.seek(list_start)
    entries = b"".join(_entry(header, file) for header in headers)
    end = _end(len(headers), list_start, len(entries))
    if file.read(len(end) + 1) != end:  # one byte more, so that nothing may follow
        raise Foreign("is no zip as Keras writes it: its end is another")
    return {header.name: header.member for header in headers}


def refuse_large(members: Mapping[str, Member], most: Mapping[str, int]) -> None:
    """Raises `Foreign` if a member has more bytes than its name allows."""
    for name, allowed in most.items():
        if members[name].size > allowed:
            raise Foreign(f"has {members[name].size} bytes of {name}; {allowed} are allowed")


def contents(file: BinaryIO, member: Member) -> bytes:
    """Returns the bytes of a member that fits in memory.

    Raises:
        Foreign: Their checksum is wrong.
    """
    return b"".join(_checked(file, member))


def verify(file: BinaryIO, member: Member) -> None:
    """Reads a member of any size; raises `Foreign` if its checksum is wrong."""
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
    """Returns the headers of the members, from the file's start to where its list must begin."""
    size, start = file.seek(0, io.SEEK_END), 0
    found: dict[str, _Header] = {}
    while len(found) < len(MEMBERS):
        header = _header(file, start, size)
        if header is None:
            there = ", ".join(map(shown, found)) or "nothing that it should"
            raise Foreign(f"contains {there} instead of {', '.join(sorted(MEMBERS))}")
        if header.name in found:
            raise Foreign(f"contains {header.name} twice")
        found[header.name] = header
        start = header.member.start + header.member.size
    return list(found.values())


def _header(file: BinaryIO, at: int, file_size: int) -> _Header | None:
    """Returns the header that begins at a byte of the file, or None if there is none."""
    file.seek(at)
    fixed = file.read(HEADER.size)
    if len(fixed) < HEADER.size or not fixed.startswith(HEADER_MAGIC):
        return None
    _, version, flags, method, time, date, crc, packed, size, name_size, extra_size = HEADER.unpack(
        fixed
    )
    raw, extra = file.read(name_size), file.read(extra_size)
    name = raw.decode("ascii", "backslashreplace")
    if name not in MEMBERS:
        raise Foreign(f"contains {shown(name)}, which no model file has")
    if flags or method:
        raise Foreign(f"contains {name} packed or encrypted (method {method}, flags {flags:#x})")
    is_long = extra_size == LONG_SIZES.size and packed == size == IN_EXTRA
    if is_long:
        size, packed = LONG_SIZES.unpack(extra)[2:]
    expected = _long_sizes(size, size) if is_long else b""
    fits = version == (LONG_VERSION if is_long else VERSION) and packed == size
    start = at + HEADER.size + name_size + extra_size
    if extra != expected or not fits or start + size > file_size:
        raise Foreign(f"is no zip as Keras writes it: {name} has other sizes or fields before it")
    return _Header(at, name, version, time, date, Member(start, size, crc))


def _entry(header: _Header, file: BinaryIO) -> bytes:
    """Returns the entry in the list that a header must have, which the file must have next.

    Only two things in it are free: the system that the file was made on, and who may read the
    unpacked member.
    """
    _, size, crc = header.member
    # The extra field has only what is too large for its own field, the sizes before the position.
    long = [size, size] * (size > LONG_FROM) + [header.start] * (header.start > LONG_FROM)
    extra = _long_sizes(*long) if long else b""
    version = LONG_VERSION if long else header.version
    name = header.name.encode()
    length = ENTRY.size + len(name) + len(extra)
    there = file.read(length)
    if len(there) < length:
        raise Foreign("is no zip, or a damaged one: the list at its end is cut short")
    # The places of these two in `ENTRY`.
    system, rights = there[5], int.from_bytes(there[38:42], "little")
    said = ENTRY.pack(
        *(ENTRY_MAGIC, version, system, version, 0, 0, 0, header.time, header.date, crc),
        *(IN_EXTRA if size > LONG_FROM else size,) * 2,
        *(len(name), len(extra), 0, 0, 0, rights),
        IN_EXTRA if header.start > LONG_FROM else header.start,
    )
    # Only those of a plain file: with others, unpacking the member would make a link or a folder.
    is_file = stat.S_IFMT(rights >> 16) in {0, stat.S_IFREG} and not rights & 0xFFFF
    if there != said + name + extra or system not in {DOS, UNIX} or not is_file:
        raise Foreign(
            f"is no zip as Keras writes it: the list at its end says otherwise of {name.decode()} "
            "than the header before it"
        )
    return there


def _end(count: int, start: int, size: int) -> bytes:
    """Returns what must follow a list of so many entries and bytes that begins at `start`."""
    end = END.pack(b"PK\5\6", 0, 0, count, count, min(size, IN_EXTRA), min(start, IN_EXTRA), 0)
    if start <= LONG_FROM:
        return end
    versions = (LONG_VERSION, LONG_VERSION)
    # 44 is the number of bytes that follow in this record.
    long = LONG_END.pack(b"PK\6\6", 44, *versions, 0, 0, count, count, size, start)
    return long + LONG_END_OFFSET.pack(b"PK\6\7", 0, start + size, 1) + end


def _long_sizes(*sizes: int) -> bytes:
    return struct.pack(f"<2H{len(sizes)}Q", 1, 8 * len(sizes), *sizes)
