"""One look at each image file: decode it, measure it, bring it to the working size.

What does not fit is either converted, and said so, or quarantined with a reason:

    as it is        8-bit RGB or grey-free JPEG, PNG, BMP, TIFF, WebP with the right suffix
    converted       another suffix than its format has; grey, palette, CMYK, alpha, 12-bit and
                    16-bit pixels; turned upright by its EXIF tag; EXIF tags or texts that cannot
                    be read; a thumbnail beside the picture
    quarantined     empty, damaged, cut short, of another format, several frames, 32-bit or float
                    pixels, a side under 64 pixels, over 120 million pixels or 256 MiB, one colour
                    only, a JPEG of over 100 scans; whatever is fatal to the decoder, or takes more
                    time or memory than `data.bounds` says
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline.data import bounds, jpeg, surround
from skin_pipeline.data.bounds import MIB, MOST_PIXELS
from skin_pipeline.data.kinds import MOST_BYTES
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import line

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
OPENED = tuple(name for name in FORMATS if name != "MPO")  # which Pillow opens as JPEG
SMALLEST_SIDE = 64
THUMBNAIL = 64  # side in pixels at which images are measured and compared
RING = THUMBNAIL // 10  # width of the border ring
SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
# Cameras keep 12 bits in 16. A picture that shows nothing brighter than a sixteenth of what 16 bits
# can say is one of them.
DEPTHS = (8, 12, 16)
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
# Errors of Pillow whose text says what is wrong; that of others needs the error's name.
SAID_WELL = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
MOST_WORDS = 300  # letters of a problem
# Errors of reading that say something of the file, as its owner could mend it. All others are the
# disk's, the network's or the machine's.
OF_THE_FILE = {
    errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
    errno.ENOTDIR, errno.EPERM,
}  # fmt: skip
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
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # what a picture looks like does not need them
PAGE_KIND = 0x00FE  # TIFF tag NewSubfileType: bit 0 says a smaller copy, bit 2 a mask
NO_PICTURE = 0b101
MOST_PAGES = 16  # of a TIFF: a picture and its copies in other sizes
LIKE_A_MASK = 0.97  # share of a picture's points that have one of its two greys
# How public sets name what was drawn over or about an image: ISIC's `_segmentation`, `_superpixels`
# and `_attribute_globules`, and what annotation tools write.
MASK_NAME = re.compile(
    r"(?:^|[\W_])(?:segmentations?|segmented|superpixels?|masks?|seg|overlays?|contours?|outlines?"
    r"|annotations?|annotated|heatmaps?|saliency|ground[\W_]?truths?|gt|roi|attribute_[a-z_]+)$"
)
GREY_STEP = 8  # greys that are no further apart count as one


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
    (size, size, 3) uint8 if they were asked for. `mask` says that it looks like a mask of a lesion.
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
    mask: bool = False
    thumbnail: NDArray[np.uint8] | None = None
    pixels: NDArray[np.uint8] | None = None


def inspect(
    path: Path, size: int | None = None, field_of_view: float = 1.0, name: str = ""
) -> Inspected:
    """Decodes an image completely and measures it; a bad one has a `problem` instead.

    Args:
        path: The file.
        size: Side of the working square in pixels; None for no working square.
        field_of_view: See `working_square`.
        name: What the file is called where it comes from; the path's own name by default.

    Raises:
        Unavailable: The disk or the machine's memory failed, which says nothing of the file.
    """
    name = name or path.name
    try:
        length = path.stat().st_size
        if length > MOST_BYTES:
            return _oversized(name, length)
        data = read(path)
    except OSError as error:
        reason = f"{line(name)}: cannot be read ({error.strerror})"
        if error.errno not in OF_THE_FILE:
            raise Unavailable(f"{reason}. See whether its disk or network still answers") from None
        return Inspected("", 0, reason)
    return inspect_bytes(data, name, size, field_of_view)


def read(path: Path) -> bytes:
    """Returns the bytes of a file; only the first ones of a file that is too large to be used."""
    with path.open("rb") as file:
        return file.read(min(os.fstat(file.fileno()).st_size, MOST_BYTES + 1))


def inspect_bytes(
    data: bytes, name: str, size: int | None = None, field_of_view: float = 1.0
) -> Inspected:
    """Does what `inspect` does for the bytes of a file with this name."""
    if len(data) > MOST_BYTES:
        return _oversized(name, len(data))
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return _measured(data, sha256, Path(name).suffix, size, field_of_view)
    except MemoryError:
        return Inspected(sha256, len(data), _out_of_memory(name))
    # Decoders raise nearly everything for bytes that they did not expect.
    except Exception as error:
        return Inspected(sha256, len(data), _one_line(error, name))


def _oversized(name: str, length: int) -> Inspected:
    return Inspected("", length, f"{line(name)}: {length} bytes are over {MOST_BYTES}")


def _measured(
    data: bytes, sha256: str, suffix: str, size: int | None, field_of_view: float
) -> Inspected:
    decoded = decode(data, suffix)
    image = decoded.image
    small = _small(image)
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
        mask=like_a_mask(image, small),
        thumbnail=np.rint(light).astype(np.uint8),
        pixels=working_square(image, size, field_of_view) if size else None,
    )


def _out_of_memory(name: str) -> str:
    """Says that an image takes too much memory.

    Raises:
        Unavailable: The machine has none left, whatever the image.
    """
    if not bounds.were_reached():
        raise Unavailable(
            f"{line(name)} could not be decoded: the machine has no memory left. Give the "
            "task more, or run fewer tasks at once (SKIN_THREADS, slots of the pool)"
        )
    return f"{line(name)}: decoding it takes over {bounds.MEMORY // MIB} MiB of memory"


def killed(path: Path, name: str, why: str) -> Inspected:
    """Returns what is said of an image with which the decoder's process was ended."""
    try:
        length = path.stat().st_size
    except OSError:
        length = 0
    return Inspected("", length, f"{line(name)}: {why}")


def pixels_digest(path: Path) -> str:
    """Returns the SHA-256 of the decoded pixels: the same for the same picture in another format.

    Raises:
        BadInput: The file can no longer be decoded.
    """
    try:
        image = decode(path.read_bytes()).image
        shape = f"{image.width}x{image.height}:".encode()
        return hashlib.sha256(shape + image.tobytes()).hexdigest()
    except MemoryError:
        raise BadInput(_out_of_memory(path.name)) from None
    except Exception as error:
        raise BadInput(f"{_one_line(error, path.name)}: it changed while it was read") from None


def decode(data: bytes, suffix: str = "") -> Decoded:
    """Returns an upright RGB image from the bytes of a file; `suffix` is what its name ends with.

    Raises:
        Unusable: The image is empty, has several frames, pixels of 32 bits, or too few or too many
            of them, or its data end before its last pixel.
        Exception: The bytes are truncated, damaged or of another format. Mostly this is an OSError
            or a ValueError, but a decoder may raise anything.
    """
    if not data:
        raise Unusable("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of it is an error here
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


def _decode(data: bytes, suffix: str) -> Decoded:
    with Image.open(io.BytesIO(data), formats=OPENED) as image:
        changes = _suffix_change(image, suffix)
        _choose_page(image, changes)
        _refuse_unusable(image)
        rgb = _rgb(image, changes)
        turn = UPRIGHT.get(_orientation(image, changes))
        if turn is not None:
            rgb = rgb.transpose(turn)
            changes.append("turned upright")
        return Decoded(rgb, str(image.format), "; ".join(changes))


def _without_texts(data: bytes) -> bytes:
    """A PNG without its texts and colour profile; other bytes as they are."""
    if not data.startswith(PNG_START):
        return data
    parts, place = [PNG_START], len(PNG_START)
    while place + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        end = place + 12 + length
        if kind not in PNG_TEXTS:
            parts.append(data[place:end])
        place = end
    return b"".join([*parts, data[place:]])


def _choose_page(image: Image.Image, changes: list[str]) -> None:
    """Turns to the one page of a TIFF that is no smaller copy and no mask of another.

    Raises:
        Unusable: There are several pictures, so which one is meant is not known.
    """
    if image.format == "MPO":
        return
    if image.format != "TIFF":
        if (frames := getattr(image, "n_frames", 1)) > 1:  # which its header says
            raise Unusable(f"has {frames} frames; a lesion's image has one")
        return
    sizes, marked = _pages(image)
    if len(sizes) == 1:
        image.seek(0)
        return
    pages = _pictures(sizes, marked)
    if len(pages) != 1:
        raise Unusable(f"has {len(sizes)} frames; a lesion's image has one")
    image.seek(pages[0])
    changes.append("thumbnail left out")


def _pages(image: Image.Image) -> tuple[list[tuple[int, int]], list[bool]]:
    """Sizes of a TIFF's pages, and whether each says that it is no picture.

    They are never counted: Pillow follows a chain of many for hours.

    Raises:
        Unusable: There are more than a picture and its copies in other sizes.
    """
    sizes: list[tuple[int, int]] = []
    marked: list[bool] = []
    while not sizes or _goes_to(image, len(sizes)):
        if len(sizes) == MOST_PAGES:
            raise Unusable(f"has over {MOST_PAGES} frames; a lesion's image has one")
        sizes.append(image.size)
        marked.append(bool(int(getattr(image, "tag_v2", {}).get(PAGE_KIND, 0)) & NO_PICTURE))
    return sizes, marked


def _goes_to(image: Image.Image, number: int) -> bool:
    """Turns to a frame, if there are so many."""
    try:
        image.seek(number)
    except EOFError:
        return False
    return True


def _pictures(sizes: list[tuple[int, int]], marked: list[bool]) -> list[int]:
    """Numbers of the pages that are pictures of their own."""
    pictures = [size for size, other in zip(sizes, marked, strict=True) if not other]
    wide, high = max(pictures, default=(0, 0))
    return [
        number
        for number, (width, height) in enumerate(sizes)
        if not marked[number]
        and not (width * 2 <= wide and abs(width * high - height * wide) <= max(wide, high))
    ]


def _orientation(image: Image.Image, changes: list[str]) -> int:
    """How a decoded picture lies according to its EXIF tag; upright if its EXIF cannot be read.

    A picture is sound whatever stands in its EXIF, and Pillow reads all tags for the sake of one:
    it raises nearly everything for a tag of another type than it expects.
    """
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        changes.append("EXIF not readable")
        return 1


def _refuse_unusable(image: Image.Image) -> None:
    """Judged by the header, before any pixel is decoded."""
    if image.width * image.height > MOST_PIXELS:
        raise Unusable(f"{image.width}x{image.height} is over {MOST_PIXELS} pixels")
    if min(image.size) < SMALLEST_SIDE:
        raise Unusable(f"{image.width}x{image.height} has a side under {SMALLEST_SIDE} pixels")
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
        return _from_deep(np.asarray(image)).convert("RGB")
    return image.convert("RGB")


def _from_deep(grey: NDArray[np.uint16]) -> Image.Image:
    """A grey image of 8 bits. Pillow would cut values off at 255 instead of scaling them."""
    largest = int(grey.max(initial=0))
    depth = next(bits for bits in DEPTHS if largest < 2**bits)
    scaled = grey.astype(np.uint32) * 255 // (2**depth - 1)
    return Image.fromarray(scaled.astype(np.uint8))


def named_like_a_mask(key: str) -> bool:
    """Whether the name of an image, or of a folder that it lies in, is one that masks have."""
    *folders, name = key.casefold().split("/")
    return any(MASK_NAME.search(part) for part in (*folders, name.rpartition(".")[0] or name))


def like_a_mask(image: Image.Image, small: NDArray[np.uint8]) -> bool:
    """Whether an RGB image consists of two greys only, as the mask of a lesion does.

    Args:
        image: The whole image.
        small: The same as (64, 64, 3), by which most images are told apart at little cost.
    """
    grey = small[..., 1].astype(np.int16)
    if np.abs(small - grey[..., None]).max() > GREY_STEP or not _two_greys(grey.ravel(), 0.75):
        return False
    return _two_greys(np.asarray(image.getchannel("G"), np.int16).ravel(), LIKE_A_MASK)


def _two_greys(grey: NDArray[np.int16], share: float) -> bool:
    low, high = int(grey.min()), int(grey.max())
    at_an_end = (grey - low <= GREY_STEP) | (high - grey <= GREY_STEP)
    return high - low > 4 * GREY_STEP and float(at_an_end.mean()) >= share


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
    text = str(error).split("<_io.BytesIO")[0].strip()
    if not text or not isinstance(error, SAID_WELL):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return f"{line(name)}: {line(' '.join(text.split()))[:MOST_WORDS]}"
