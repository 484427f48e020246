"""Changes a square as another camera, lamp or archive might have changed it.

    corrupted(square, ("light", "jpeg"), copy=0)

A network that learns from such copies beside the images themselves cannot rely on what tells one
archive from another: the colour of the light, the sharpness, the frame. The kinds follow Hendrycks
and Dietterich (2019) and, for dermoscopy, Maron et al. (2021); the light is that of another lamp
rather than a neutral one (Barata et al. 2015), since removing it costs what the colour says of the
lesion.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.float32]  # (size, size, 3), 0…1
Random = np.random.Generator
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

MINKOWSKI = 6  # the norm of shades of grey (Finlayson and Trezzi 2004)
# Of the light in dermoscopic images, by shades of grey: means and spreads of the logarithms of red
# and blue divided by green.
LIGHT_MEAN, LIGHT_SPREAD = (0.22, -0.07), (0.17, 0.14)


def _crop(square: Pixels, random: Random) -> Pixels:
    """A section of the square; every other one is stretched, as a squashed archive is."""
    size = square.shape[0]
    aspect = np.exp(random.uniform(-0.3, 0.3)) if random.random() < 0.5 else 1.0
    side = size * random.uniform(0.8, 1.0)
    wide, high = min(side * aspect**0.5, size), min(side * aspect**-0.5, size)
    left, top = random.uniform(0, size - wide), random.uniform(0, size - high)
    return _resized(square, size, (left, top, left + wide, top + high))


def _light(square: Pixels, random: Random) -> Pixels:
    """The square in another light."""
    light = ((square.astype(np.float64) ** MINKOWSKI).mean(axis=(0, 1)) ** (1 / MINKOWSKI)).clip(
        1e-3
    )
    red, blue = np.exp(random.normal(LIGHT_MEAN, LIGHT_SPREAD))
    gains = np.array([red, 1.0, blue]) / light
    return np.asarray(square * (gains / gains.mean()), np.float32)


def _exposure(square: Pixels, random: Random) -> Pixels:
    """The square lighter or darker, with more or less contrast."""
    bent = square.clip(0, 1) ** np.exp(random.uniform(-0.3, 0.3))
    return np.asarray(bent * np.exp(random.uniform(-0.15, 0.15)), np.float32)


def _saturation(square: Pixels, random: Random) -> Pixels:
    """The square with stronger or weaker colours."""
    grey = square.mean(axis=2, keepdims=True)
    return np.asarray(grey + (square - grey) * random.uniform(0.7, 1.3), np.float32)


def _vignette(square: Pixels, random: Random) -> Pixels:
    """Every other square darker towards its corners."""
    strength = random.uniform(0, 0.5) if random.random() < 0.5 else 0.0
    darker = strength * _from_centre(square) ** 2 / 2  # the corners are √2 from the centre
    return np.asarray(square * (1 - darker)[..., None], np.float32)


def _frame(square: Pixels, random: Random) -> Pixels:
    """One of six squares in the round black frame of a dermatoscope."""
    if random.random() >= 1 / 6:
        return square
    edge = np.clip((random.uniform(0.8, 1.1) - _from_centre(square)) * 40, 0, 1)
    return np.asarray(square * edge[..., None], np.float32)


def _blur(square: Pixels, random: Random) -> Pixels:
    """One of three squares out of focus."""
    if random.random() >= 0.3:
        return square
    radius = square.shape[0] / 224 * random.uniform(0.3, 1.2)
    return _pixels(_image(square).filter(ImageFilter.GaussianBlur(radius)))


def _resolution(square: Pixels, random: Random) -> Pixels:
    """The square of a camera with fewer pixels, down to 45 % of each side."""
    size = square.shape[0]
    fewer = max(1, round(size / np.exp(random.uniform(0, 0.8))))
    return _resized(_resized(square, fewer), size)


def _jpeg(square: Pixels, random: Random) -> Pixels:
    """Every other square compressed, with a quality from 40 to 95."""
    if random.random() >= 0.5:
        return square
    file = io.BytesIO()
    _image(square).save(file, "JPEG", quality=int(random.integers(40, 96)))
    return _pixels(Image.open(file))


# In the order in which they happen: at the lamp, in the lens, in the camera, in the archive.
KINDS: dict[str, Callable[[Pixels, Random], Pixels]] = {
    "crop": _crop,
    "light": _light,
    "exposure": _exposure,
    "saturation": _saturation,
    "vignette": _vignette,
    "frame": _frame,
    "blur": _blur,
    "resolution": _resolution,
    "jpeg": _jpeg,
}


def corrupted(square: NDArray[np.uint8], kinds: Sequence[str], copy: int) -> NDArray[np.uint8]:
    """Returns a square as another camera might have made it, turned by a number of quarters.

    Everything that is drawn depends on the square, the copy and the kind alone: leaving one kind
    out changes nothing about the others.

    Args:
        square: A packed image (size, size, 3).
        kinds: Of `KINDS`, in any order.
        copy: Number of the copy, from 0.
    """
    seed = int.from_bytes(hashlib.sha256(square.tobytes()).digest()[:8], "big")
    pixels: Pixels = np.asarray(square, np.float32) / np.float32(255)
    for number, (kind, change) in enumerate(KINDS.items()):
        if kind in kinds:
            pixels = change(pixels, np.random.default_rng([seed, copy, number]))
    turned = np.random.default_rng([seed, copy, len(KINDS)]).integers(4)
    return np.rot90(np.asarray(_image(pixels)), int(turned))


def _from_centre(square: Pixels) -> Pixels:
    """Returns how far each pixel is from the centre (size, size): 1 at the middle of a side."""
    along = np.linspace(-1, 1, square.shape[0], dtype=np.float32)
    return np.hypot(*np.meshgrid(along, along))


def _resized(square: Pixels, size: int, box: Box | None = None) -> Pixels:
    return _pixels(_image(square).resize((size, size), Image.Resampling.BICUBIC, box=box))


def _image(square: Pixels) -> Image.Image:
    return Image.fromarray(np.asarray(np.rint(square.clip(0, 1) * 255), np.uint8))


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image, np.float32) / np.float32(255)
