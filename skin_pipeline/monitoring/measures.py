"""Measures of one image, from its pixels alone: is it of the kind and quality that was trained on?

All of them are numbers that a person can understand, so that an alarm says what is different.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "red",
    "green",
    "blue",
    "saturation",
    "contrast",
    "sharpness",
    "dark",
    "bright",
    "vignette",
)
CLIPPED_LOW, CLIPPED_HIGH = 8, 247  # grey levels from which a pixel counts as dark or bright


def measure(square: NDArray[np.uint8]) -> dict[str, float]:
    """Returns the measures of an image, by name.

    - `red`, `green`, `blue`, `saturation`: means, in 0…1
    - `contrast`: the standard deviation of the grey levels, in 0…0.5
    - `sharpness`: the logarithm of the variance of the Laplacian; low in blurred images
      (Pech-Pacheco et al. 2000)
    - `dark`, `bright`: shares of pixels without detail, as in wrongly exposed images
    - `vignette`: mean grey level of the middle less that of the corners, in -1…1

    Args:
        square: The image as the network sees it, of shape (size, size, 3), values 0…255.
    """
    colour = square.astype(np.float32) / 255
    grey = colour.mean(axis=2)
    top, bottom = colour.max(axis=2), colour.min(axis=2)
    saturation = np.divide(top - bottom, top, out=np.zeros_like(top), where=top > 0)
    size = len(grey)
    inner, corner = slice(size // 4, size - size // 4), size // 8 or 1
    corners = [
        grey[a, b]
        for a in (np.s_[:corner], np.s_[-corner:])
        for b in (np.s_[:corner], np.s_[-corner:])
    ]
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    red, green, blue = (float(colour[..., n].mean()) for n in range(3))
    return {
        "red": red,
        "green": green,
        "blue": blue,
        "saturation": float(saturation.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.log(laplacian.var() + 1e-8)),
        "dark": float((grey * 255 < CLIPPED_LOW).mean()),
        "bright": float((grey * 255 > CLIPPED_HIGH).mean()),
        "vignette": float(grey[inner, inner].mean() - np.mean(corners)),
    }


def measured(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the measures of images (n, size, size, 3), in the order of `NAMES` (n, measures)."""
    each = [measure(square) for square in squares]
    return np.array([[values[name] for name in NAMES] for values in each], np.float32)
