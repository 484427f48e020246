"""Finds JPEG files whose compressed data end before their last pixel.

    first, *others = variants(data)

A decoder fills what is missing with grey and only warns, so half an image passes for a whole one if
an end marker is behind it. Pillow hides the warning, but it does raise an error when it runs out of
bytes. So the bytes behind a scan are replaced:

    one scan        The end marker becomes a few bytes that mean nothing. A complete scan does not
                    need them. A scan that was cut short reads past them, and Pillow raises.
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
# Frames with Huffman codes. Others are not looked at: an arithmetic decoder may read a little past
# its data, so that a filling would change a complete picture.
SEQUENTIAL = (0xC0, 0xC1)
PROGRESSIVE = 0xC2
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))  # TEM, RST0 to RST7, SOI
# Any number of bytes 0xFF may be before a marker. The pattern takes the last of them only: `\xff+`
# would take a time that grows with the square of their number.
MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # any marker but RST0 to RST7
COEFFICIENTS = 64
# A decoder goes over the whole picture for each scan, even if the scan has ten bytes, so a small
# file with many scans takes hours. Encoders write about ten, or up to 64 a component on request.
MOST_SCANS = 100
# Segments in all. A colour profile or a list of thumbnails takes up to 255 of them.
MOST_SEGMENTS = 5_000
SPARE = 16  # a decoder reads up to 8 bytes ahead of what it needs
FILLINGS = (bytes(SPARE), b"\xff\x00" * SPARE)
TRUNCATED = "image file is truncated"


class Scan(NamedTuple):
    """Where the compressed data of a scan are, and what it gives.

    Attributes:
        start: Position of its first byte in the file.
        end: Position behind its last byte.
        components: The colour components that it is about.
        coefficients: Which of the 64 coefficients of a block it gives to their last bit. A
            progressive scan may give only the upper bits, which a later scan completes.
    """

    start: int
    end: int
    components: tuple[int, ...]
    coefficients: frozenset[int]


@dataclass
class Picture:
    """The first picture of a JPEG file: its frame's marker, its components and its scans.

    It is filled while the file is read, and stays empty for a kind that is not looked at.
    """

    frame: int = 0
    components: tuple[int, ...] = ()
    scans: list[Scan] = field(default_factory=list)

    @property
    def several(self) -> bool:
        """Whether the decoder needs all scans, and the end marker, before it shows anything."""
        return self.frame == PROGRESSIVE or len(self.scans) > 1

    def missing(self) -> str:
        """Returns what no scan gives; "" if nothing is missing.

        A file that was cut between two scans has no scan that ends early, so only the count of
        the coefficients shows that the last scans are gone. Coefficient 0, the mean of a block, is
        required of each component. The others are required of the first component (luminance)
        only, as encoders may leave fine structure of colours out.
        """
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
    """Returns the first picture of a JPEG file in variants that show whether it is complete.

    It is complete if the first variant can be decoded and the others give the same pixels.

    Args:
        data: Bytes of an image file. Other formats, and JPEG files of rare kinds, are returned as
            they are.

    Raises:
        ValueError: Scans are missing, or bytes of one value replace the rest of the picture; or
            it has more pixels, scans or segments than any picture needs.
    """
    picture = read(data)
    if not (picture.components and picture.scans):
        return [data]  # another format or a rare kind: the decoder alone judges it
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
        # Damaged files have segments that are too short for what they should contain.
        if marker in {*SEQUENTIAL, PROGRESSIVE} and len(body) >= 6:
            # Precision (1 byte), height (2), width (2), the number of components (1), and three
            # bytes for each of them, of which the first is its name.
            picture.frame, picture.components = marker, tuple(body[6::3][: body[5]])
            _refuse_large(body)
        elif marker == SOS and len(body) >= 6:
            if len(picture.scans) == MOST_SCANS:
                raise ValueError(f"has over {MOST_SCANS} scans; a picture needs some ten")
            picture.scans.append(_scan(body, end, _scan_end(data, end), picture.frame))
    return picture


def _refuse_large(frame: bytes) -> None:
    """Refuses a frame of too many pixels.

    `_padded` decodes the picture before the other checks come, so this one cannot wait for them.
    """
    high, wide = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if wide * high > MOST_PIXELS:
        raise ValueError(f"{wide}x{high} is over {MOST_PIXELS} pixels")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of each segment up to the end of the first picture.

    What is behind it, such as a second picture or a text, is of no interest.
    """
    if not data.startswith(bytes([0xFF, SOI])):
        return
    position = 2
    while found := MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == EOI:
            return
        if marker in WITHOUT_LENGTH:
            yield marker, position, position
        else:
            # The length counts its own two bytes. A damaged one of 0 or 1 must not hold the search
            # where it is.
            end = position + max(2, int.from_bytes(data[position : position + 2], "big"))
            yield marker, position + 2, end
            # Compressed data follow the segment of a scan, without a length of their own.
            position = _scan_end(data, end) if marker == SOS else end


def _scan_end(data: bytes, start: int) -> int:
    """Returns the position behind the compressed data of a scan: of the next marker, or the end.

    In compressed data a byte 0xFF is followed by 0x00, so that it is no marker; fill bytes 0xFF
    before the marker are no data.
    """
    found = SCAN_END.search(data, start)
    end = found.start() if found else len(data)
    while end > start and data[end - 1] == 0xFF:
        end -= 1
    return end


def _scan(body: bytes, start: int, end: int, frame: int) -> Scan:
    # The last three bytes of its header: the first and the last coefficient, and two half bytes
    # with the first and the last bit of them. A sequential scan always gives all.
    first, last, bits = body[-3:]
    coefficients = range(COEFFICIENTS) if frame in SEQUENTIAL else range(first, last + 1)
    exact = frame in SEQUENTIAL or not bits & 0x0F  # the low half is the last bit that it gives
    return Scan(start, end, tuple(body[1:-3:2]), frozenset(coefficients if exact else ()))


def _filled(data: bytes, picture: Picture, filling: bytes, without: int = 0) -> bytes:
    """Returns the picture with a filling behind each scan, and without the last scan's last bytes.

    Args:
        data: The file.
        picture: Its structure.
        filling: The bytes behind each scan.
        without: How many bytes of the last scan are left out.
    """
    parts, position = [], 0
    *others, last = picture.scans
    for scan in others:
        parts += [data[position : scan.end], filling]
        position = scan.end
    parts += [data[position : last.end - without], filling]
    return b"".join([*parts, bytes([0xFF, EOI]) if picture.several else b""])


def _padded(data: bytes, picture: Picture) -> bool:
    """Returns whether the rest of a picture was lost and replaced by bytes of one value.

    Few pictures end in such bytes, and three kinds are told apart by how many of them the decoder
    needs for the same pixels:

        all    The picture shows one colour at its end: it is sound.
        none   It was padded behind its last pixel: it is sound.
        some   The bytes replace lost data. The decoder takes them for pixels until it has enough,
               and ignores the rest.
    """
    last = picture.scans[-1]
    tail = data[last.start : last.end]
    length = len(tail) - len(tail.rstrip(tail[-1:]))
    if length < 4 * SPARE:
        return False
    # Decoded with all of these bytes, without the last few of them, and without any.
    shown = _pixels(_filled(data, picture, FILLINGS[0]))
    some = _pixels(_filled(data, picture, FILLINGS[0], SPARE))
    none = _pixels(_filled(data, picture, FILLINGS[0], length))
    return shown is not None and shown == some and shown != none


def _pixels(data: bytes) -> bytes | None:
    """Returns the decoded pixels; None where Pillow finds the data too short."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.tobytes()
    except OSError:
        return None
