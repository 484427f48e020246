"""Image files that were made to cost time or memory, or to raise what nobody expects.

Each is drawn and bent here, byte by byte. A test that lets through any of them takes hours, or the
memory of the machine.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

END = b"\xff\xd9"
NOISE = np.random.RandomState(0).randint(0, 255, (10, 12, 3))
LESION = Image.fromarray(np.kron(NOISE, np.ones((8, 8, 1))).astype(np.uint8))  # 96 x 80
SHORT, LONG, RATIONAL, FLOAT, TEXT = 3, 4, 5, 11, 2
WIDTH, LENGTH, ORIENTATION, PAGE_KIND, X_RESOLUTION = 256, 257, 0x0112, 0x00FE, 0x011A
SOS = b"\xff\xda"
MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)


def encoded(image: Image.Image = LESION, kind: str = "PNG", **options: object) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# --- JPEG ----------------------------------------------------------------------------------------


def with_scans(extra: int, side: int = 96) -> bytes:
    """A progressive JPEG, one of whose scans of ten bytes is repeated.

    A decoder goes over the whole picture for each of them.
    """
    picture = LESION.convert("L").convert("RGB").resize((side, side))
    data = encoded(picture, "JPEG", progressive=True, quality=20)  # no scan of colours says a thing
    starts = [place for place in range(len(data)) if data.startswith(SOS, place)]
    ends = [*starts[1:], len(data) - 2]
    scans = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    small = min((scan.partition(b"\xff\xc4")[0] for scan in scans[1:]), key=len)
    return data[:-2] + small * extra + END


def with_segments(count: int) -> bytes:
    """A JPEG with so many empty segments before its picture."""
    data = encoded(kind="JPEG")
    return data[:2] + (b"\xff\xed" + b"\0\x02") * count + data[2:]


def with_markers(count: int) -> bytes:
    """A JPEG with so many markers that have no segment before its picture."""
    data = encoded(kind="JPEG")
    return data[:2] + b"\xff\x01" * count + data[2:]


def claiming_jpeg(side: int) -> bytes:
    """A JPEG that says it is so many pixels wide and high, and whose end is padded."""
    data = bytearray(encoded(kind="JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data[:-2]) + bytes(500) + END


# --- PNG -----------------------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def flat_png(wide: int, high: int, colour: int, channels: int, orientation: int = 1) -> bytes:
    """A PNG of zeros, of a few hundred bytes for each million of them."""
    size = (1 + wide * channels) * high
    block = 1 << 20
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, wbits=-15)
    rest = packer.compress(bytes(size % block)) + packer.flush()
    # Of zeros: a is 1, and b the number of them.
    check = struct.pack(">HH", size % 65521, 1)
    stream = b"\x78\xda" + packed * (size // block) + rest + check
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, ORIENTATION, SHORT, 1, orientation, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, colour, 0, 0, 0))
        + chunk(b"eXIf", exif)
        + chunk(b"IDAT", stream)
        + chunk(b"IEND", b"")
    )


@functools.cache
def bomb() -> bytes:
    """A PNG of a quarter of a megabyte, as large as is allowed, that takes 1.4 GB when it is turned
    upright: grey with transparency, which is kept in four bytes a pixel, as RGB, and as RGB once
    more."""
    return flat_png(12_000, 10_000, 4, 2, orientation=6)


@functools.cache
def slow() -> bytes:
    """A sound PNG of 60 KB that keeps a C decoder busy for a fraction of a second."""
    return flat_png(9_000, 6_000, 0, 1)


# --- TIFF ----------------------------------------------------------------------------------------

Entry = tuple[int, int, int, bytes]  # tag, kind, count, value


def entries_of(data: bytes) -> list[Entry]:
    """The first directory of a little-endian TIFF."""
    (place,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[place : place + 2])
    fields = [data[place + 2 + 12 * i :][:12] for i in range(count)]
    return [(*struct.unpack("<HHI", field[:8]), field[8:]) for field in fields]


def directory(entries: list[Entry], following: int = 0) -> bytes:
    """A directory of a TIFF."""
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def tiff(*changed: Entry, without: tuple[int, ...] = (), behind: bytes = b"") -> bytes:
    """A TIFF whose directory has further entries, or lacks some."""
    data = encoded(kind="TIFF") + behind
    replaced = {*without, *(entry[0] for entry in changed)}
    entries = [entry for entry in entries_of(data) if entry[0] not in replaced] + list(changed)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory(entries)


def chain(count: int, closed: bool = False) -> bytes:
    """A TIFF of so many directories of the same picture; `closed`, the last leads to the second."""
    data = encoded(kind="TIFF")
    entries = entries_of(data)
    size = len(directory(entries))
    start = len(data)
    places = [start + number * size for number in range(count)] + [start + size if closed else 0]
    return (
        data[:4]
        + struct.pack("<I", start)
        + data[8:]
        + b"".join(directory(entries, following) for following in places[1:])
    )


def second_without_size() -> bytes:
    """A TIFF whose second directory says nothing of its size."""
    data = encoded(kind="TIFF")
    entries = entries_of(data)
    bare = [entry for entry in entries if entry[0] not in {WIDTH, LENGTH}]
    start = len(data)
    first = directory(entries, start + len(directory(entries)))
    return data[:4] + struct.pack("<I", start) + data[8:] + first + directory(bare)


def heavy_tags(count: int, size: int) -> bytes:
    """A TIFF each of whose tags is the same large block."""
    place = len(encoded(kind="TIFF"))
    tags = [(40_000 + i, 7, size, struct.pack("<I", place)) for i in range(count)]
    return tiff(*tags, behind=bytes(size))


def odd(tag: int, kind: int, count: int, value: bytes = b"\xff" * 4) -> bytes:
    """A TIFF with a tag of a kind that nobody expects."""
    return tiff((tag, kind, count, value))


@dataclass(frozen=True)
class Attack:
    """A file, and what is to be said of it; "" where it is a sound picture after all."""

    make: Callable[[], bytes]
    problem: str


ATTACKS = {
    "scans.jpg": Attack(lambda: with_scans(5_000, 1_000), "has over 100 scans"),
    "segments.jpg": Attack(lambda: with_segments(60_000), "has over 5000 segments"),
    "markers.jpg": Attack(lambda: with_markers(3_000_000), "has over 5000 segments"),
    "claims.jpg": Attack(lambda: claiming_jpeg(12_000), "12000x12000 is over 120000000 pixels"),
    "claims-more.jpg": Attack(lambda: claiming_jpeg(65_500), "is over 120000000 pixels"),
    "bomb.png": Attack(bomb, "decoding it takes over 1024 MiB of memory"),
    "chain.tif": Attack(lambda: chain(100_000), "has over 16 frames"),
    "ring.tif": Attack(lambda: chain(5, closed=True), "has 5 frames"),
    "ring-of-one.tif": Attack(lambda: chain(2, closed=True), "has 2 frames"),
    "no-width.tif": Attack(lambda: tiff(without=(WIDTH,)), "cannot identify"),
    "second-without-size.tif": Attack(second_without_size, "TypeError: Missing dimensions"),
    "width-as-text.tif": Attack(lambda: odd(WIDTH, TEXT, 4, b"96\0\0"), "width-as-text.tif: "),
    "width-as-rational.tif": Attack(lambda: odd(WIDTH, RATIONAL, 1), "width-as-rational.tif: "),
    "resolution-as-text.tif": Attack(lambda: odd(X_RESOLUTION, TEXT, 4, b"abc\0"), ""),
    "orientation-as-text.tif": Attack(lambda: odd(ORIENTATION, TEXT, 4, b"abc\0"), ""),
    "orientation-no-number.tif": Attack(
        lambda: odd(ORIENTATION, FLOAT, 1, struct.pack("<f", float("nan"))), ""
    ),
    "heavy-tags.tif": Attack(lambda: heavy_tags(4_000, 2 << 20), ""),
    "many-frames.gif.jpg": Attack(
        lambda: encoded(LESION, "GIF", save_all=True, append_images=[LESION.rotate(90)] * 200),
        "is a GIF file, which is not read",
    ),
    "animated.webp": Attack(
        lambda: encoded(LESION, "WEBP", save_all=True, append_images=[LESION.rotate(90)] * 40),
        "frames; a lesion's image has one",
    ),
}


# --- mutants -------------------------------------------------------------------------------------


def corpus() -> dict[str, bytes]:
    """A small file of each kind that is read."""
    grey = LESION.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[ORIENTATION], exif[X_RESOLUTION], exif[0x010E] = 6, 72.5, "a lesion"
    return {
        "a.jpg": encoded(kind="JPEG", exif=exif),
        "b.jpg": encoded(kind="JPEG", progressive=True, exif=exif, comment=b"skin"),
        "c.jpg": encoded(LESION.convert("CMYK"), "JPEG", restart_marker_rows=1),
        "d.mpo": encoded(kind="MPO", save_all=True, append_images=[LESION.rotate(90)]),
        "e.png": encoded(exif=exif),
        "f.png": encoded(LESION.convert("P"), transparency=3),
        "g.png": encoded(deep, interlace=1),
        "h.png": encoded(save_all=True, append_images=[LESION.rotate(90)]),
        "i.tif": encoded(kind="TIFF", exif=exif),
        "j.tif": encoded(kind="TIFF", compression="tiff_lzw", tiffinfo={PAGE_KIND: 0}),
        "k.tif": encoded(kind="TIFF", compression="jpeg"),
        "l.tif": encoded(deep, "TIFF", save_all=True, append_images=[deep.resize((40, 33))]),
        "m.webp": encoded(kind="WEBP", exif=exif),
        "n.webp": encoded(LESION.convert("RGBA"), "WEBP", lossless=True),
        "o.bmp": encoded(kind="BMP"),
        "p.bmp": encoded(LESION.convert("P"), "BMP"),
    }


def pieces(data: bytes) -> list[tuple[int, int]]:
    """Where the segments, chunks or entries of a file begin and end, or its head."""
    if data.startswith(b"\xff\xd8"):
        starts = [
            i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] not in {0, 255}
        ]
        return list(itertools.pairwise([*starts, len(data)]))
    if data.startswith((b"II*\0", b"MM\0*")):
        place = struct.unpack("<I", data[4:8])[0]
        count = struct.unpack("<H", data[place : place + 2])[0]
        return [(place + 2 + 12 * i, place + 14 + 12 * i) for i in range(count)]
    place, order, head = (8, ">", 12) if data.startswith(b"\x89PNG") else (12, "<", 8)
    found = []
    while data[:4] != b"BM\0\0" and place + 8 <= len(data) and data[:2] != b"BM":
        length = struct.unpack(f"{order}I", data[place + (4 if order == "<" else 0) :][:4])[0]
        found.append((place, min(len(data), place + head + length)))
        place = found[-1][1] + (length % 2 if order == "<" else 0)
    return found or [(0, min(len(data), 64))]


EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutant(data: bytes, random: np.random.RandomState) -> bytes:
    """A file with one to three faults of a kind that a hostile one may have."""
    for _ in range(random.randint(1, 4)):
        data = FAULTS[random.randint(len(FAULTS))](data, random) or data
    return data


def _place(data: bytes, random: np.random.RandomState) -> int:
    """A place in a piece's head twice out of three times, where a fault is most telling."""
    if random.randint(3):
        parts = pieces(data)
        start, end = parts[random.randint(len(parts))]
        return min(len(data) - 1, start + random.randint(min(16, max(1, end - start))))
    return random.randint(len(data))


def _flip(data: bytes, random: np.random.RandomState) -> bytes:
    place = _place(data, random)
    return data[:place] + bytes([data[place] ^ 1 << random.randint(8)]) + data[place + 1 :]


def _edge(data: bytes, random: np.random.RandomState) -> bytes:
    place, width = _place(data, random), (1, 2, 4)[random.randint(3)]
    value = int(EDGES[random.randint(len(EDGES))] % 256**width)
    order: Literal["little", "big"] = ("little", "big")[random.randint(2)]
    return data[:place] + value.to_bytes(width, order) + data[place + width :]


def _cut(data: bytes, random: np.random.RandomState) -> bytes:
    return data[: 1 + random.randint(len(data))]


def _drop(data: bytes, random: np.random.RandomState) -> bytes:
    start, end = _piece(data, random)
    return data[:start] + data[end:]


def _double(data: bytes, random: np.random.RandomState) -> bytes:
    start, end = _piece(data, random)
    return data[:end] + data[start:end] * random.randint(1, 40) + data[end:]


def _swap(data: bytes, random: np.random.RandomState) -> bytes:
    (a, b), (c, d) = sorted((_piece(data, random), _piece(data, random)))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:] if b <= c else data


def _noise(data: bytes, random: np.random.RandomState) -> bytes:
    place = _place(data, random)
    return data[:place] + random.bytes(random.randint(1, 30)) + data[place:]


def _kind(data: bytes, random: np.random.RandomState) -> bytes:
    """Another kind or count of a TIFF's or EXIF's tag."""
    exif = data.find(b"II*\0")
    if exif < 0:
        return _edge(data, random)
    place = exif + 10 + 12 * random.randint(12) + (2, 3, 4, 5, 6, 7)[random.randint(6)]
    return data[:place] + bytes([random.randint(16)]) + data[place + 1 :]


def _piece(data: bytes, random: np.random.RandomState) -> tuple[int, int]:
    parts = pieces(data)
    return parts[random.randint(len(parts))]


FAULTS = (_flip, _edge, _edge, _cut, _drop, _double, _swap, _noise, _kind, _kind)


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many mutants of the corpus, the same for the same seed."""
    files = sorted(corpus().items())
    for number in range(count):
        name, data = files[number % len(files)]
        random = np.random.RandomState((seed, number))
        try:
            yield f"{number}-{name}", mutant(data, random)
        except (struct.error, ValueError):  # its structure can no longer be followed
            yield f"{number}-{name}", _cut(data, random)
