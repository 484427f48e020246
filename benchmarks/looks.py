"""Square parts of an image that a network may be shown, at the working size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from skin_pipeline.config import Settings
from skin_pipeline.data import images
from skin_pipeline.geometry import Geometry

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Pixels = NDArray[np.uint8]
THUMBNAIL = 128  # pixels of the short side on which the lesion is searched
AROUND = 1.4  # side of the lesion's square, in sides of its box
LEAST = 0.35  # of the short side: a smaller square would show blurred pixels
FIELD_OF_VIEW: float = Settings.model_fields["field_of_view"].default


def squashed(image: Image.Image, size: int) -> Pixels:
    """Returns the whole image, its aspect ratio lost, as the original notebook did."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def centre(image: Image.Image, size: int) -> Pixels:
    """Returns the centre, as the workflow does by default."""
    return images.working_square(image, Geometry(size, FIELD_OF_VIEW))


def lesion(image: Image.Image, size: int) -> Pixels:
    """Returns the square around the lesion; the centre if none is found."""
    box = lesion_box(image)
    return _cut(image, box, size) if box else centre(image, size)


REGIONS: dict[str, Callable[[Image.Image, int], Pixels]] = {
    "squashed": squashed,
    "centre": centre,
    "lesion": lesion,
}


def lesion_box(image: Image.Image) -> Box | None:
    """Returns a square around the dark region nearest to the centre (Otsu 1979); None if none."""
    scale = THUMBNAIL / min(image.size)
    wide, high = (max(1, round(side * scale)) for side in image.size)
    small = image.resize((wide, high), Image.Resampling.BILINEAR)
    light = np.asarray(small.convert("L"), np.float32)
    smooth = ndimage.gaussian_filter(light, 2).astype(np.uint8)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    away = np.hypot(rows - light.shape[0] / 2, columns - light.shape[1] / 2) / THUMBNAIL
    field = away < 0.475  # the corners of a round field of view are dark too
    regions, count = ndimage.label((smooth <= _otsu(smooth[field])) & field)
    if not count:
        return None
    central = ndimage.sum(np.exp(-((away / 0.25) ** 2)), regions, range(1, count + 1))
    inside = np.nonzero(regions == int(np.argmax(central)) + 1)
    if len(inside[0]) < light.size / 100:
        return None
    return _square(inside, light.shape, scale)


def _square(inside: tuple[Any, ...], shape: tuple[int, ...], scale: float) -> Box:
    (top, bottom), (left, right) = (np.percentile(one, [1, 99]) for one in inside)
    side = np.clip(AROUND * max(bottom - top, right - left), LEAST * min(shape), min(shape))
    half = side / 2
    y = np.clip((top + bottom) / 2, half, shape[0] - half)
    x = np.clip((left + right) / 2, half, shape[1] - half)
    first, second, third, last = (
        float(value / scale) for value in (x - half, y - half, x + half, y + half)
    )
    return first, second, third, last


def _otsu(values: Pixels) -> int:
    """Returns the grey level that parts dark from light with the largest variance between them."""
    counts = np.bincount(values, minlength=256) / len(values)
    dark, mean = counts.cumsum(), (counts * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * dark - mean) ** 2 / (dark * (1 - dark))
    return int(np.argmax(np.nan_to_num(between, nan=-1.0, posinf=-1.0)))


def _cut(image: Image.Image, box: Box, size: int) -> Pixels:
    left, top, right, bottom = box
    inside = max(0.0, left), max(0.0, top), min(right, image.width), min(bottom, image.height)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=inside))
