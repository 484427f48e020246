"""Turns the bytes of an image file into an upright RGB image.

Every conversion on the way is noted, so that the manifest says what was done to an image.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline.data.bounds import MOST_PIXELS
from skin_pipeline.data.images import jpeg, pages
from skin_pipeline.data.images.unusable import Unusable
from skin_pipeline.data.kinds import HEAD, is_read, no_image

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp")
FORMATS: dict[str, tuple[str, ...]] = {
    "BMP": (".bmp", ".dib"),
    "JPEG": JPEG_SUFFIXES,
    # A JPEG with further pictures behind it, as some cameras write.
    "MPO": (*JPEG_SUFFIXES, ".mpo"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
# The decoders that Pillow may use. It knows dozens of formats, and each more is code that a
# hostile file can reach. It opens an MPO as a JPEG.
OPENED = tuple(name for name in FORMATS if name != "MPO")
SMALLEST_SIDE = 64
SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
THIRTY_TWO_BIT = {"I", "F"}
# Some cameras write 12 bits into 16. A picture without a value above the largest of 12 bits is
# taken for one of theirs; otherwise it would be far too dark.
DEPTHS = (8, 12, 16)
ORIENTATION = 0x0112  # EXIF tag; 1 is upright
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_START = b"\x89PNG\r\n\x1a\n"
# Parts of a PNG that the pixels do not depend on. A broken one must not cost the picture.
PNG_TEXTS = (
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"iCCP",
    b"pHYs",
    b"gAMA",
    b"cHRM",
    b"sRGB",
    b"tIME",
    b"tRNS",
)


@dataclass(frozen=True)
class Decoded:
    """An upright RGB image, and what was changed to make it one ("" for nothing)."""

    image: Image.Image
    format: str
    converted: str


def decode(data: bytes, suffix: str = "") -> Decoded:
    """Returns an upright RGB image from the bytes of a file; `suffix` is what its name ends with.

    Raises:
        Unusable: The image is empty, has several frames, pixels of 32 bits, too few or too many
            pixels, or data that end before its last pixel.
        Exception: The bytes are truncated, damaged or of another format. Mostly this is an OSError
            or a ValueError, but a decoder may raise anything.
    """
    if not data:
        raise Unusable("the file is empty")
    head = data[:HEAD]
    if not is_read(head) and (instead := no_image(head)):
        raise Unusable(instead)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those that matter are raised as errors below
        first, *others = jpeg.variants(data)
        decoded = _decode_readable(first, suffix)
        if any(_decode(other, suffix).image != decoded.image for other in others):
            raise Unusable(f"{jpeg.TRUNCATED} (a scan ends before its last pixel)")
    return decoded


def _decode_readable(data: bytes, suffix: str) -> Decoded:
    """Decodes the bytes; once more without their texts if these are too long for Pillow."""
    try:
        return _decode(data, suffix)
    except ValueError:
        bare = _without_texts(data)
        if len(bare) == len(data):
            raise
    decoded = _decode(bare, suffix)
    changes = "; ".join(filter(None, [decoded.converted, "texts left out"]))
    return Decoded(decoded.image, decoded.format, changes)


def _without_texts(data: bytes) -> bytes:
    """Returns a PNG without its texts and colour profile; other bytes as they are."""
    if not data.startswith(PNG_START):
        return data
    parts, start = [PNG_START], len(PNG_START)
    while start + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[start : start + 8])
        end = start + 12 + length  # 4 bytes of length, 4 of kind, and 4 of a checksum at the end
        if kind not in PNG_TEXTS:
            parts.append(data[start:end])
        start = end
    return b"".join([*parts, data[start:]])


def _decode(data: bytes, suffix: str) -> Decoded:
    with Image.open(io.BytesIO(data), formats=OPENED) as image:
        changes = _suffix_change(image, suffix)
        pages.choose(image, changes)
        _refuse_unusable(image)
        rgb = _rgb(image, changes)
        turn = UPRIGHT.get(_orientation(image, changes))
        if turn is not None:
            rgb = rgb.transpose(turn)
            changes.append("turned upright")
        return Decoded(rgb, str(image.format), "; ".join(changes))


def _suffix_change(image: Image.Image, suffix: str) -> list[str]:
    fits = not suffix or suffix.lower() in FORMATS[str(image.format)]
    return [] if fits else [f"{image.format} named {suffix.lower()}"]


def _refuse_unusable(image: Image.Image) -> None:
    """Refuses an image by its header alone: one that claims gigabytes of pixels must be refused
    before Pillow gives it the memory for them."""
    if image.width * image.height > MOST_PIXELS:
        raise Unusable(f"{image.width}x{image.height} is over {MOST_PIXELS} pixels")
    if min(image.size) < SMALLEST_SIDE:
        raise Unusable(f"{image.width}x{image.height} has a side under {SMALLEST_SIDE} pixels")
    if image.mode in THIRTY_TWO_BIT:
        raise Unusable("has pixels of 32 bits, of which no scale is known")


def _rgb(image: Image.Image, changes: list[str]) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    changes.append(f"{image.mode} to RGB")
    if image.mode in SIXTEEN_BIT:
        return _from_deep(np.asarray(image)).convert("RGB")
    return image.convert("RGB")


def _from_deep(grey: NDArray[np.uint16]) -> Image.Image:
    """Returns a grey image of 8 bits. Pillow would cut values off at 255 instead of scaling."""
    largest = int(grey.max(initial=0))
    depth = next(bits for bits in DEPTHS if largest < 2**bits)
    scaled = grey.astype(np.uint32) * 255 // (2**depth - 1)
    return Image.fromarray(scaled.astype(np.uint8))


def _orientation(image: Image.Image, changes: list[str]) -> int:
    """Returns how an image is turned by its EXIF tag; upright if its EXIF cannot be read.

    A damaged EXIF says nothing about the pixels, so the image stays usable. To return one tag,
    Pillow reads all of them, and raises nearly anything for one of a type that it does not expect.
    """
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        changes.append("EXIF not readable")
        return 1
