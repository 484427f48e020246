"""One look at each image file: decode it, measure it, bring it to the working size."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
# Beyond any dermatoscope; a few kilobytes of a hostile PNG can claim to be gigabytes of pixels.
MOST_PIXELS = 120_000_000


@dataclass(frozen=True)
class Inspected:
    """What is known of an image file. `pixels` is (size, size, 3) uint8, None if unreadable."""

    sha256: str
    pixels_sha256: str
    width: int
    height: int
    bytes: int
    problem: str
    pixels: NDArray[np.uint8] | None


def inspect(path: Path, size: int, field_of_view: float) -> Inspected:
    """Decode an image completely; a broken one has a `problem` instead of pixels."""
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        image = decode(data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return Inspected(sha256, "", 0, 0, len(data), _one_line(error, path), None)
    pixels_sha256 = hashlib.sha256(np.asarray(image).tobytes()).hexdigest()
    pixels = working_square(image, size, field_of_view)
    return Inspected(sha256, pixels_sha256, *image.size, len(data), "", pixels)


def decode(data: bytes) -> Image.Image:
    """An upright RGB image from the bytes of a file.

    Raises:
        OSError, ValueError, SyntaxError: the bytes are empty, truncated, of another format or
            claim more than `MOST_PIXELS`.
    """
    if not data:
        raise ValueError("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width}x{image.height} is over {MOST_PIXELS} pixels")
            return ImageOps.exif_transpose(image).convert("RGB")


def working_square(image: Image.Image, size: int, field_of_view: float) -> NDArray[np.uint8]:
    """The centre of an image at the working size, its aspect ratio kept.

    The released model does the same to its input (`training.backbone.geometry`): the centre
    square, scaled so that `field_of_view` of its side becomes `size` pixels, cut to `size`.

    Returns:
        An array (size, size, 3) of uint8.
    """
    whole = scaled_side(size, field_of_view)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    square = image.crop((left, top, left + short, top + short))
    first, side = (whole - size) // 2 * short / whole, size * short / whole
    box = (first, first, first + side, first + side)
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR, box=box))


def scaled_side(size: int, field_of_view: float) -> int:
    """Side in pixels to which the whole centre square is scaled before it is cut to `size`."""
    return round(size / field_of_view)


def _one_line(error: Exception, path: Path) -> str:
    # PIL names a BytesIO with its memory address, which differs from run to run.
    text = str(error).split("<_io.BytesIO")[0].strip() or type(error).__name__
    return f"{path.name}: {text}".replace("\n", " ")
