"""One look at each image file: decode it, measure it, bring it to the working size.

What does not fit is either converted, and said so, or quarantined with a reason:

    as it is        8-bit RGB or grey-free JPEG, PNG, BMP, TIFF, WebP with the right suffix
    converted       another suffix than its format has; grey, palette, CMYK, alpha, 16-bit pixels;
                    turned upright by its EXIF tag
    quarantined     empty, damaged, cut short, of another format, several frames, 32-bit or float
                    pixels, a side under 64 pixels, over 120 million pixels or 256 MiB, one colour
                    only, or fatal to the decoder
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from skin_pipeline.data import surround
from skin_pipeline.errors import BadInput

FORMATS: dict[str, tuple[str, ...]] = {
    "BMP": (".bmp",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # a JPEG with further pictures behind it, as some cameras write
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
OPENED = tuple(name for name in FORMATS if name != "MPO")  # which Pillow opens as JPEG
# Beyond any dermatoscope; a few kilobytes of a hostile PNG can claim to be gigabytes of pixels.
MOST_PIXELS = 120_000_000
MOST_BYTES = 256 * 2**20
SMALLEST_SIDE = 64
THUMBNAIL = 64  # side in pixels at which images are measured and compared
RING = THUMBNAIL // 10  # width of the border ring
SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
THIRTY_TWO_BIT = {"I", "F"}
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's mode L
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
STATISTICS = (
    "brightness",
    "contrast",
    "sharpness",
    "red",
    "green",
    "blue",
    "ring_red",
    "ring_green",
    "ring_blue",
    "ring_spread",
)
# What Pillow raises for bytes that it cannot make an image of.
PROBLEMS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
FATAL = "decoding it ended the process (a crash, or out of memory)"
ORIENTATION = 0x0112  # EXIF tag; 1 is upright


class Unusable(ValueError):
    """An image that is quarantined; the message is the reason."""


@dataclass(frozen=True)
class Decoded:
    """An upright RGB image, and what was changed to make it one ("" for nothing)."""

    image: Image.Image
    format: str
    converted: str


@dataclass(frozen=True)
class Inspected:
    """What is known of an image file.

    `problem` is the reason for quarantine, "" if there is none. `thumbnail` (64, 64) uint8
    luminance of the whole image and the `statistics` are then there, and `pixels`
    (size, size, 3) uint8 if they were asked for.
    """

    sha256: str
    bytes: int
    problem: str = ""
    converted: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    statistics: tuple[float, ...] = (float("nan"),) * len(STATISTICS)
    fingerprint: str = ""
    thumbnail: NDArray[np.uint8] | None = None
    pixels: NDArray[np.uint8] | None = None


def inspect(path: Path, size: int | None = None, field_of_view: float = 1.0) -> Inspected:
    """Decode an image completely and measure it; a bad one has a `problem` instead.

    Args:
        path: The file.
        size: Side of the working square in pixels; None for no working square.
        field_of_view: See `working_square`.
    """
    length = path.stat().st_size
    if length > MOST_BYTES:
        return _oversized(path.name, length)
    return inspect_bytes(path.read_bytes(), path.name, size, field_of_view)


def inspect_bytes(
    data: bytes, name: str, size: int | None = None, field_of_view: float = 1.0
) -> Inspected:
    """`inspect` for the bytes of a file with this name."""
    if len(data) > MOST_BYTES:
        return _oversized(name, len(data))
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        decoded = decode(data, Path(name).suffix)
        image = decoded.image
        small = _small(image)
    except PROBLEMS as error:
        return Inspected(sha256, len(data), _one_line(error, name))
    light = small @ LUMINANCE
    return Inspected(
        sha256,
        len(data),
        converted=decoded.converted,
        format=decoded.format,
        width=image.width,
        height=image.height,
        statistics=statistics(small, light),
        fingerprint=fingerprint(small, light),
        thumbnail=np.rint(light).astype(np.uint8),
        pixels=working_square(image, size, field_of_view) if size else None,
    )


def _oversized(name: str, length: int) -> Inspected:
    return Inspected("", length, f"{name}: {length} bytes are over {MOST_BYTES}")


def fatal(path: Path) -> Inspected:
    """What is said of an image on which the decoder's process died."""
    return Inspected("", path.stat().st_size, f"{path.name}: {FATAL}")


def pixels_digest(path: Path) -> str:
    """SHA-256 of the decoded pixels: the same for the same picture in another format.

    Raises:
        BadInput: the file can no longer be decoded.
    """
    try:
        image = decode(path.read_bytes()).image
    except PROBLEMS as error:
        raise BadInput(f"{_one_line(error, path.name)}: it changed while it was read") from None
    shape = f"{image.width}x{image.height}:".encode()
    return hashlib.sha256(shape + image.tobytes()).hexdigest()


def decode(data: bytes, suffix: str = "") -> Decoded:
    """An upright RGB image from the bytes of a file; `suffix` is what its name ends with.

    Raises:
        Unusable: the image is empty, has several frames, pixels of 32 bits, or too few or too many
            of them.
        OSError, ValueError, SyntaxError: the bytes are truncated, damaged or of another format.
    """
    if not data:
        raise Unusable("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of it is an error here
        with Image.open(io.BytesIO(data), formats=OPENED) as image:
            _refuse_unusable(image)
            changes = _suffix_change(image, suffix)
            upright: Image.Image = image
            if image.getexif().get(ORIENTATION, 1) != 1:
                upright = ImageOps.exif_transpose(image)
                changes.append("turned upright")
            return Decoded(_rgb(upright, changes), str(image.format), "; ".join(changes))


def _refuse_unusable(image: Image.Image) -> None:
    """Judged by the header, before any pixel is decoded."""
    if image.width * image.height > MOST_PIXELS:
        raise Unusable(f"{image.width}x{image.height} is over {MOST_PIXELS} pixels")
    if min(image.size) < SMALLEST_SIDE:
        raise Unusable(f"{image.width}x{image.height} has a side under {SMALLEST_SIDE} pixels")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise Unusable(f"has {frames} frames; a lesion's image has one")
    if image.mode in THIRTY_TWO_BIT:
        raise Unusable("has pixels of 32 bits, of which no scale is known")


def _suffix_change(image: Image.Image, suffix: str) -> list[str]:
    fits = not suffix or suffix.lower() in FORMATS[str(image.format)]
    return [] if fits else [f"{image.format} named {suffix.lower()}"]


def _rgb(image: Image.Image, changes: list[str]) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    changes.append(f"{image.mode} to RGB")
    if image.mode in SIXTEEN_BIT:
        # Pillow would cut values off at 255 instead of scaling them.
        grey = (np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    return image.convert("RGB")


def _small(image: Image.Image) -> NDArray[np.uint8]:
    """The whole image as (64, 64, 3), squeezed into a square.

    Raises:
        Unusable: all pixels have the same colour.
    """
    side = (THUMBNAIL, THUMBNAIL)
    small = np.asarray(image.resize(side, Image.Resampling.BOX, reducing_gap=1.0))
    if not (small != small[0, 0]).any() and image.getcolors(1):
        raise Unusable("shows a single colour")
    return small


def statistics(small: NDArray[np.uint8], light: NDArray[np.float32]) -> tuple[float, ...]:
    """The values of `STATISTICS` for an image (64, 64, 3) and its luminance, in units of 0…255.

    Brightness and contrast are mean and standard deviation of the luminance, sharpness is the mean
    absolute Laplacian, `ring_spread` the standard deviation of luminance in the border ring.
    """
    core = light[1:-1, 1:-1]
    beside = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    sharpness = float(np.abs(4 * core - beside).mean())
    colours = (WEIGHTS @ small.reshape(-1, 3)).ravel()
    light = light.reshape(-1, 1).astype(np.float64)
    means = WEIGHTS @ light
    # Rounding may leave less than nothing of the difference.
    spreads = np.sqrt(np.maximum(WEIGHTS @ light**2 - means**2, 0.0))
    values = [means[0, 0], spreads[0, 0], sharpness, *colours, spreads[1, 0]]
    return tuple(round(float(value), 2) for value in values)


def _in_ring() -> NDArray[np.bool_]:
    ring = np.ones((THUMBNAIL, THUMBNAIL), bool)
    ring[RING:-RING, RING:-RING] = False
    return ring.ravel()


# Two rows that average all pixels, and those of the ring.
WEIGHTS = np.stack([np.ones(THUMBNAIL**2), _in_ring()])
WEIGHTS /= WEIGHTS.sum(1, keepdims=True)


def fingerprint(small: NDArray[np.uint8], light: NDArray[np.float32]) -> str:
    """15 bytes in hex by which near-duplicates are looked for: quantiles of the luminance and of
    the colour differences R-G and G-B (+128).

    Quantiles do not know where a pixel is, so a flip or turn changes nothing, another size or
    encoding next to nothing, and a crop little. Only the skin counts, not what surrounds it.
    """
    red, green, blue = small.reshape(-1, 3).T.astype(np.int16)
    rows = np.stack([light.ravel().astype(np.int16), red - green + 128, green - blue + 128])
    rows = np.clip(rows, 0, 255) + np.array([[0], [256], [512]], np.int16)
    shown = surround.field(np.rint(light[None]).astype(np.uint8)).ravel()
    if not shown.all():
        rows = rows[:, shown]
    # Counting is several times faster than sorting.
    below = np.bincount(rows.ravel(), minlength=768).reshape(3, 256).cumsum(1)
    ranks = [round(q * rows.shape[1]) for q in QUANTILES]
    return np.stack([np.searchsorted(row, ranks) for row in below]).astype(np.uint8).tobytes().hex()


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


def _one_line(error: Exception, name: str) -> str:
    # PIL names a BytesIO with its memory address, which differs from run to run.
    text = str(error).split("<_io.BytesIO")[0].strip() or type(error).__name__
    return f"{name}: {text}".replace("\n", " ")
