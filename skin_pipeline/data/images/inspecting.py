"""Looks at an image file once: decodes it, measures it, and says what is wrong with it.

A bad image is no exception but a result: an `Inspected` with a `problem`. An exception means that
the disk or the machine failed, which says nothing of the image.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline.data import bounds
from skin_pipeline.data.bounds import MIB
from skin_pipeline.data.images.decoding import decode
from skin_pipeline.data.images.masks import like_a_mask
from skin_pipeline.data.images.measuring import (
    LUMINANCE,
    STATISTICS,
    fingerprint,
    shrunk,
    statistics,
)
from skin_pipeline.data.images.squares import working_squares
from skin_pipeline.data.kinds import MOST_BYTES
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import line
from skin_pipeline.geometry import Geometry

# Errors of Pillow whose text says what is wrong. The text of others needs the error's name before
# it: that of a KeyError is only the key.
SELF_EXPLANATORY = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
MOST_WORDS = 300  # characters of a problem
# Errors of reading that are the file's own, which its owner can mend. All others are the disk's,
# the network's or the machine's.
OF_THE_FILE = {
    errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
    errno.ENOTDIR, errno.EPERM,
}  # fmt: skip


class Place(NamedTuple):
    """An image file, and its key among those of its source.

    A process that is given one imports this package only, and none of what lists or keeps images.
    """

    path: Path
    key: str

    @property
    def name(self) -> str:
        """What the file is called at its source."""
        return PurePosixPath(self.key).name


@dataclass(frozen=True)
class Inspected:
    """What is known of an image file.

    Attributes:
        sha256: Digest of the file's bytes; "" if they were not read.
        bytes: Length of the file.
        problem: The reason for quarantine; "" if there is none. Then all that follows is known.
        converted: What was changed to make it an upright RGB image; "" for nothing.
        format: As Pillow calls it.
        width: In pixels, of the upright image.
        height: In pixels, of the upright image.
        statistics: The values of `STATISTICS`.
        fingerprint: See `measuring.fingerprint`.
        mask: Whether it looks like a mask of a lesion.
        pixels_sha256: What `pixels_digest` returns, if it was asked for.
        thumbnail: The luminance of the whole image (64, 64) in uint8.
        pixels: The working squares (regions * size, size, 3) in uint8, if a geometry was given.
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
    pixels_sha256: str = ""
    thumbnail: NDArray[np.uint8] | None = None
    pixels: NDArray[np.uint8] | None = None


def inspect(
    path: Path, geometry: Geometry | None = None, name: str = "", *, hashed: bool = False
) -> Inspected:
    """Decodes an image completely and measures it; a bad one has a `problem` instead.

    Args:
        path: The file.
        geometry: Of the working square; None for no working square.
        name: What the file is called at its source; the path's own name by default.
        hashed: Whether the digest of the pixels is wanted, which takes a third of the time more.

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
    return inspect_bytes(data, name, geometry, hashed=hashed)


def inspect_at(place: Place, geometry: Geometry | None, *, hashed: bool) -> Inspected:
    """Does what `inspect` does for a file of a source."""
    return inspect(place.path, geometry, place.name, hashed=hashed)


def read(path: Path) -> bytes:
    """Returns the bytes of a file; only the first ones of a file that is too large to be used."""
    with path.open("rb") as file:
        return file.read(min(os.fstat(file.fileno()).st_size, MOST_BYTES + 1))


def inspect_bytes(
    data: bytes, name: str, geometry: Geometry | None = None, *, hashed: bool = False
) -> Inspected:
    """Does what `inspect` does for the bytes of a file with this name."""
    if len(data) > MOST_BYTES:
        return _oversized(name, len(data))
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return _measured(data, sha256, Path(name).suffix, geometry, hashed)
    except MemoryError:
        return Inspected(sha256, len(data), _out_of_memory(name))
    # Decoders raise nearly anything for bytes that they did not expect.
    except Exception as error:
        return Inspected(sha256, len(data), _one_line(error, name))


def killed(place: Place, why: str) -> Inspected:
    """Returns what is known of an image that ended the process of its decoder."""
    try:
        length = place.path.stat().st_size
    except OSError:
        length = 0
    return Inspected("", length, f"{line(place.name)}: {why}")


def pixels_digest(path: Path) -> str:
    """Returns the SHA-256 of the decoded pixels: the same for the same picture in another format.

    Raises:
        BadInput: The file can no longer be decoded.
    """
    try:
        return _pixels_digest(decode(path.read_bytes()).image)
    except MemoryError:
        raise BadInput(_out_of_memory(path.name)) from None
    except Exception as error:
        raise BadInput(f"{_one_line(error, path.name)}: it changed while it was read") from None


def _pixels_digest(image: Image.Image) -> str:
    # The shape is hashed too: the same bytes in rows of another length are another picture.
    shape = f"{image.width}x{image.height}:".encode()
    return hashlib.sha256(shape + image.tobytes()).hexdigest()


def _measured(
    data: bytes, sha256: str, suffix: str, geometry: Geometry | None, hashed: bool
) -> Inspected:
    decoded = decode(data, suffix)
    image = decoded.image
    small = shrunk(image)
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
        pixels_sha256=_pixels_digest(image) if hashed else "",
        thumbnail=np.rint(light).astype(np.uint8),
        pixels=working_squares(image, geometry) if geometry else None,
    )


def _oversized(name: str, length: int) -> Inspected:
    return Inspected("", length, f"{line(name)}: {length} bytes are over {MOST_BYTES}")


def _out_of_memory(name: str) -> str:
    """Returns the problem of an image that takes too much memory.

    Raises:
        Unavailable: The machine has none left, whatever the image.
    """
    if not bounds.were_reached():
        raise Unavailable(
            f"{line(name)} could not be decoded: the machine has no memory left. Give the "
            "task more, or run fewer tasks at once (SKIN_THREADS, slots of the pool)"
        )
    return f"{line(name)}: decoding it takes over {bounds.MEMORY // MIB} MiB of memory"


def _one_line(error: Exception, name: str) -> str:
    # Pillow names a BytesIO with its memory address, which differs from run to run.
    text = str(error).split("<_io.BytesIO")[0].strip()
    if not text or not isinstance(error, SELF_EXPLANATORY):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return f"{line(name)}: {line(' '.join(text.split()))[:MOST_WORDS]}"
