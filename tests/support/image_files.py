"""Image files of every kind, made in memory."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

random = np.random.RandomState(0)
LESION = Image.fromarray(
    np.kron(random.randint(0, 255, (10, 15, 3)), np.ones((12, 12, 1))).astype(np.uint8)
)  # 180 x 120
GREY16 = np.asarray(LESION.convert("L")).astype(np.uint16) * 257


def encoded(image: Any, kind: str = "PNG", **options: Any) -> Any:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: Any) -> Any:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(LESION, "JPEG", exif=exif)


def claiming(width: Any, height: Any) -> bytes:
    """A PNG of a few bytes that says it is so many pixels wide and high."""
    data = bytearray(encoded(Image.new("RGB", (80, 80))))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def png_part(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG with a right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def frames(kind: Any) -> Any:
    return encoded(LESION, kind, save_all=True, append_images=[LESION.rotate(90)] * 2)


def flipped_bytes(data: Any, start: Any, count: int = 40) -> bytes:
    spoilt = bytearray(data)
    for i in range(start, start + count):
        spoilt[i] ^= 0xFF
    return bytes(spoilt)


def with_exif(tag: Any, kind: Any, count: Any, value: Any, image_kind: str = "JPEG") -> Any:
    """An image whose EXIF says that it lies on its side, and holds one more tag as it is given."""
    entries = sorted([struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0), _entry(tag, kind, count, value)])
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    minus_one_by_zero = struct.pack("<ii", -1, 0)
    exif = head + b"".join(entries) + bytes(4) + minus_one_by_zero * 8
    return encoded(LESION, image_kind, exif=b"Exif\0\0" + exif)


def _entry(tag: Any, kind: Any, count: Any, value: Any) -> Any:
    return struct.pack("<HHI", tag, kind, count) + value


def with_texts(*texts: Any) -> Any:
    """A PNG whose texts stand compressed before its pixels, as image editors write them."""
    info = PngImagePlugin.PngInfo()
    for text in texts:
        info.add_text("Comment", text, zip=True)
    return encoded(LESION, "PNG", pnginfo=info)


def tiff(image: Any, bits: int = 8, pages: Any = (), kinds: Any = ()) -> Any:
    """A TIFF with further pages; `kinds` are their tag NewSubfileType."""
    pages = [image, *pages]
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, True) as writer:
        for page, kind in zip(pages, (*kinds, *[0] * len(pages)), strict=False):
            page.save(writer, "TIFF", tiffinfo={254: kind})
            writer.newFrame()
    return buffer.getvalue()


def tiff_of_12_bits(grey: Any) -> Any:
    """A TIFF of packed 12-bit greys, which Pillow reads and does not write."""
    high, width = grey.shape
    pairs = grey.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12) | pairs[:, 1]
    pixels = packed.astype(">u4").tobytes()
    pixels = np.frombuffer(pixels, np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    tags = [(256, width), (257, high), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, high), (279, len(pixels))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    count = struct.pack("<H", len(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + count + entries + bytes(4)


PNG, JPEG = encoded(LESION), encoded(LESION, "JPEG", quality=95)
JPEG_75 = encoded(LESION, "JPEG")
ODD_TAGS = TiffImagePlugin.ImageFileDirectory_v2()
ODD_TAGS[270] = "x" * 70_000
SMALL = LESION.resize((60, 40))
TWELVE = (GREY16 >> 4).astype(np.uint16)
RATIONAL, TEXT = 5, 2
# A value that stands elsewhere, at the place where -1/0 stands.
ELSEWHERE = struct.pack("<I", 8 + 2 + 24 + 4)
