"""Finds JPEG files whose compressed data end before their last pixel.

    first, *others = variants(data)

A decoder fills what is missing with grey and only warns, so half an image passes as a whole one if
an end marker stands behind it. Pillow hides the warning. It does not hide that it runs out of
bytes, so the bytes behind a scan are replaced:

    one scan        The end marker becomes a few bytes that mean nothing. A complete scan does not
                    need them. A scan that was cut short asks for more, and Pillow raises.
    several scans   (progressive) Here the decoder wants the end marker before it shows anything.
                    Two different fillings behind each scan give two variants. A complete scan
                    ignores them. A scan that was cut short reads them as pixels, which differ.

Markers are named as in ITU-T T.81, table B.1.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image

from skin_pipeline.data.bounds import MOST_PIXELS

SOI, SOS, EOI = 0xD8, 0xDA, 0xD9
# Frames with Huffman codes. An arithmetic decoder may read a little past its data, so the bytes
# behind its scans are left alone.
SEQUENTIAL = (0xC0, 0xC1)
PROGRESSIVE = 0xC2
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))  # TEM, RST0 to RST7, SOI
# Any number of bytes 0xFF may stand before a marker. `\xff+` would take a time that grows with
# the square of their number.
MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # any marker but RST0 to RST7
COEFFICIENTS = 64
# A decoder goes over the whole picture for each scan, though a scan may be of ten bytes. Encoders
# write some ten of them, and up to 64 for each component if told to.
MOST_SCANS = 100
# Segments before the last scan. A profile or a list of thumbnails takes up to 255 of them.
MOST_SEGMENTS = 5_000
SPARE = 16  # a decoder reads up to 8 bytes ahead of what it needs
FILLINGS = (bytes(SPARE), b"\xff\x00" * SPARE)
TRUNCATED = "image file is truncated"


class Scan(NamedTuple):
    """Where the compressed data of a scan lie, and which coefficients of which components it
    gives to their last bit."""

    start: int
    end: int
    components: tuple[int, ...]
    coefficients: frozenset[int]


@dataclass
class Picture:
    """The first picture of a JPEG file: its frame's marker, its components and its scans."""

    frame: int = 0
    components: tuple[int, ...] = ()
    scans: list[Scan] = field(default_factory=list)

    @property
    def several(self) -> bool:
        """Whether the decoder wants all scans, and the end marker, before it shows anything."""
        return self.frame == PROGRESSIVE or len(self.scans) > 1

    def missing(self) -> str:
        """Returns what no scan gives; "" if nothing is missing."""
        exact = {name: self._exact(name) for name in self.components}
        if unknown := [name for name, known in exact.items() if 0 not in known]:
            return f"no scan completes component {unknown[0]}"
        if len(exact[self.components[0]]) < COEFFICIENTS:
            return "the scans with its fine structure are missing"
        return ""

    def _exact(self, component: int) -> frozenset[int]:
        return frozenset().union(
            *(scan.coefficients for scan in self.scans if component in scan.components)
        )


def variants(data: bytes) -> list[bytes]:
    """Returns the first picture of a JPEG file, rearranged so that decoding shows whether it is
    complete: it is if the first variant can be decoded and the others give the same pixels.

    Args:
        data: Bytes of an image file. Other formats, and JPEG files of rare kinds, are returned as
            they are.

    Raises:
        ValueError: Scans are missing, or bytes of one value stand for the rest of the picture; or
            it has more pixels, scans or segments than any picture needs.
    """
    picture = read(data)
    if not (picture.components and picture.scans):
        return [data]
    if missing := picture.missing():
        raise ValueError(f"{TRUNCATED} ({missing})")
    if _padded(data, picture):
        raise ValueError(f"{TRUNCATED} (its end is filled with bytes of one value)")
    return [_filled(data, picture, filling) for filling in FILLINGS[: 1 + picture.several]]


def read(data: bytes) -> Picture:
    """Returns the structure of a JPEG file's first picture, as far as it can be followed.

    Raises:
        ValueError: It has more pixels, scans or segments than any picture needs.
    """
    picture = Picture()
    for number, (marker, start, end) in enumerate(_segments(data)):
        if number == MOST_SEGMENTS:
            raise ValueError(f"has over {MOST_SEGMENTS} segments")
        body = data[start:end]
        if marker in {*SEQUENTIAL, PROGRESSIVE} and len(body) >= 6:
            picture.frame, picture.components = marker, tuple(body[6::3][: body[5]])
            _refuse_large(body)
        elif marker == SOS and len(body) >= 6:
            if len(picture.scans) == MOST_SCANS:
                raise ValueError(f"has over {MOST_SCANS} scans; a picture needs some ten")
            picture.scans.append(_scan(body, end, _scan_end(data, end), picture.frame))
    return picture


def _refuse_large(frame: bytes) -> None:
    high, wide = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if wide * high > MOST_PIXELS:
        raise ValueError(f"{wide}x{high} is over {MOST_PIXELS} pixels")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the end of the first picture."""
    if not data.startswith(bytes([0xFF, SOI])):
        return
    place = 2
    while found := MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == EOI:
            return
        if marker in WITHOUT_LENGTH:
            yield marker, place, place
        else:
            end = place + max(2, int.from_bytes(data[place : place + 2], "big"))
            yield marker, place + 2, end
            place = _scan_end(data, end) if marker == SOS else end


def _scan_end(data: bytes, start: int) -> int:
    found = SCAN_END.search(data, start)
    end = found.start() if found else len(data)
    while end > start and data[end - 1] == 0xFF:
        end -= 1
    return end


def _scan(body: bytes, start: int, end: int, frame: int) -> Scan:
    first, last, bits = body[-3:]
    coefficients = range(COEFFICIENTS) if frame in SEQUENTIAL else range(first, last + 1)
    exact = frame in SEQUENTIAL or not bits & 0x0F  # the low half is the last bit that it gives
    return Scan(start, end, tuple(body[1:-3:2]), frozenset(coefficients if exact else ()))


def _filled(data: bytes, picture: Picture, filling: bytes, without: int = 0) -> bytes:
    """The picture with a filling behind each scan, and the last scan's last bytes left out."""
    parts, place = [], 0
    *others, last = picture.scans
    for scan in others:
        parts += [data[place : scan.end], filling]
        place = scan.end
    parts += [data[place : last.end - without], filling]
    return b"".join([*parts, bytes([0xFF, EOI]) if picture.several else b""])


def _padded(data: bytes, picture: Picture) -> bool:
    """Whether the rest of a picture was lost and its place filled with bytes of one value.

    Few pictures end in such bytes. Of those, some show one colour at their end, so that they need
    all of the bytes; others were padded behind their last pixel and need none. Of a filling that
    stands for lost data the decoder needs some.
    """
    last = picture.scans[-1]
    tail = data[last.start : last.end]
    length = len(tail) - len(tail.rstrip(tail[-1:]))
    if length < 4 * SPARE:
        return False
    shown = _pixels(_filled(data, picture, FILLINGS[0]))
    some = _pixels(_filled(data, picture, FILLINGS[0], SPARE))
    none = _pixels(_filled(data, picture, FILLINGS[0], length))
    return shown is not None and shown == some and shown != none


def _pixels(data: bytes) -> bytes | None:
    """The decoded pixels; None where Pillow finds the data too short."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.tobytes()
    except OSError:
        return None
