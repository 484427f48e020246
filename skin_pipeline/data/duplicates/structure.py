"""Computes the fine structure of thumbnails, by which they are compared.

Copies of a picture may differ in brightness, contrast and sharpness. What stays is where it changes
at the scale of hairs, dots and edges. So images are filtered to a band of scales, and each part of
the result is brought to the same strength.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from skin_pipeline.data.duplicates.common import Common
from skin_pipeline.data.images import surround

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Skin(NamedTuple):
    """Thumbnails (n, 64, 64) with their surround filled in, and where they show skin."""

    light: Float
    shown: Mask

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Skin:
        """Returns the skin of thumbnails of luminance."""
        shown = surround.field(images)
        return cls(surround.filled(images.astype(np.float32), shown), shown)


class Fine(NamedTuple):
    """A thumbnail's structure at three scales, and how much each pixel counts.

    Alignment goes from rough to fine: `half` (32, 32), then `full` (64, 64). The finest,
    `compared`, is never used to align, so that the alignment cannot fit what is judged.
    """

    half: Float
    full: Float
    compared: Float
    weight: Float

    def oriented(self, number: int) -> Fine:
        """Returns the same of the thumbnail in another orientation."""
        return Fine(*(np.ascontiguousarray(oriented(layer, number)) for layer in self))


def fine(skin: Skin, chosen: NDArray[np.int64], common: Common | None) -> Iterator[Fine]:
    """Yields the structure of the chosen images.

    Args:
        skin: Thumbnails.
        chosen: Which of them (n,).
        common: What many images have in common, which then does not count.
    """
    images, shown = skin.light[chosen], skin.shown[chosen]
    smaller = half(images)
    if common is not None and len(chosen):
        shown = common.elsewhere(smaller, shown)
    full, compared = _evened(images, 0.8, 4.0, 8.0, 3.0), _evened(images, 0.7, 2.5, 6.0, 1.0)
    return map(Fine, smaller, full, compared, shown.astype(np.float32))


def half(images: Float) -> Float:
    """Returns the structure (n, 32, 32) of thumbnails at half their size."""
    small = images.reshape(len(images), 32, 2, 32, 2).mean((2, 4))
    return _evened(small, 0.5, 3.0, 5.0, 3.0)


def _evened(images: Float, fine: float, rough: float, around: float, floor: float) -> Float:
    """Returns the structure between two scales, divided by its own strength nearby.

    Without the division one dark spot would outweigh all else.

    Args:
        images: Thumbnails.
        fine: Standard deviation in pixels of the blur that takes noise away.
        rough: The same of the blur that takes what is larger away.
        around: The same of the neighbourhood in which the strength is measured.
        floor: Luminance that is added to the strength, so that noise on plain skin stays small.
    """
    blur = partial(_blurred, images)
    band = blur(fine) - blur(rough)
    return np.asarray(band / np.sqrt(_blurred(band * band, around) + floor**2), np.float32)


def _blurred(images: Float, sigma: float) -> Float:
    return np.asarray(gaussian_filter(images, (0, sigma, sigma)), np.float32)


def oriented(images: Float, number: int) -> Float:
    """Returns images in one of the eight orientations, 0 being as they are.

    The bits of the number: 1 mirrors the columns, 2 the rows, 4 exchanges rows and columns first.
    """
    turned = images.swapaxes(-1, -2) if number & 4 else images
    return turned[..., :: -1 if number & 1 else 1, :: -1 if number & 2 else 1]
