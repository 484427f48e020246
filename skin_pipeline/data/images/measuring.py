"""Measures an image: statistics for the checks, and a fingerprint to search duplicates by.

All is measured on the image squeezed into a square of 64 pixels. That costs little next to the
decoding, and makes the figures of images of different sizes comparable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline.data.images import surround
from skin_pipeline.data.images.unusable import Unusable

THUMBNAIL = 64  # side in pixels at which images are measured and compared
RING = THUMBNAIL // 10  # width of the border ring
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


def shrunk(image: Image.Image) -> NDArray[np.uint8]:
    """Returns the whole image as (64, 64, 3), squeezed into a square.

    Raises:
        Unusable: All pixels have the same colour.
    """
    side = (THUMBNAIL, THUMBNAIL)
    small = np.asarray(image.resize(side, Image.Resampling.BOX, reducing_gap=1.0))
    # Few images get as far as `getcolors`, which goes over all of their pixels.
    if not (small != small[0, 0]).any() and image.getcolors(1):
        raise Unusable("shows a single colour")
    return small


def statistics(small: NDArray[np.uint8], light: NDArray[np.float32]) -> tuple[float, ...]:
    """Returns the values of `STATISTICS` for an image (64, 64, 3) and its luminance.

    All are in units of 0…255. Brightness and contrast are mean and standard deviation of the
    luminance, sharpness is the mean absolute Laplacian, `ring_spread` the standard deviation of
    the luminance in the border ring.
    """
    core = light[1:-1, 1:-1]
    beside = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    sharpness = float(np.abs(4 * core - beside).mean())
    colours = (WEIGHTS @ small.reshape(-1, 3)).ravel()
    light = light.reshape(-1, 1).astype(np.float64)
    means = WEIGHTS @ light
    # The variance as E[x²] - E[x]². Rounding may make it a little less than zero.
    spreads = np.sqrt(np.maximum(WEIGHTS @ light**2 - means**2, 0.0))
    values = [means[0, 0], spreads[0, 0], sharpness, *colours, spreads[1, 0]]
    return tuple(round(float(value), 2) for value in values)


def _in_ring() -> NDArray[np.bool_]:
    ring = np.ones((THUMBNAIL, THUMBNAIL), bool)
    ring[RING:-RING, RING:-RING] = False
    return ring.ravel()


# Two rows: one averages all pixels, the other those of the ring. One product with them gives all
# means at once, which is several times faster than masking.
WEIGHTS = np.stack([np.ones(THUMBNAIL**2), _in_ring()])
WEIGHTS /= WEIGHTS.sum(1, keepdims=True)


def fingerprint(small: NDArray[np.uint8], light: NDArray[np.float32]) -> str:
    """Returns 15 bytes in hex by which near-duplicates are searched.

    They are five quantiles each of the luminance and of the colour differences R-G and G-B. A
    quantile does not depend on where a pixel is: a flip or a quarter turn changes nothing, another
    size or encoding next to nothing, and a crop little. Only the skin counts, and not what
    surrounds it, because that is alike in all images of one device.
    """
    red, green, blue = small.reshape(-1, 3).T.astype(np.int16)
    # Differences are in -255…255. Those of skin are small, so 128 brings nearly all into a byte.
    rows = np.stack([light.ravel().astype(np.int16), red - green + 128, green - blue + 128])
    # The three rows get numbers of their own (0…255, 256…511, 512…767), so one count serves all.
    rows = np.clip(rows, 0, 255) + np.array([[0], [256], [512]], np.int16)
    shown = surround.field(np.rint(light[None]).astype(np.uint8)).ravel()
    if not shown.all():
        rows = rows[:, shown]
    # Counting gives the same quantiles as sorting, and is several times faster.
    below = np.bincount(rows.ravel(), minlength=768).reshape(3, 256).cumsum(1)
    ranks = [round(q * rows.shape[1]) for q in QUANTILES]
    return np.stack([np.searchsorted(row, ranks) for row in below]).astype(np.uint8).tobytes().hex()
