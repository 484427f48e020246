"""Cuts an image at the working size: its centre, and the square around the lesion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline import lesions
from skin_pipeline.geometry import Geometry

Pixels = NDArray[np.uint8]
IN_NUMPY = lesions.InNumPy()


def working_squares(image: Image.Image, geometry: Geometry) -> Pixels:
    """Returns the working squares of an RGB image, its aspect ratio kept.

    The released model does the same to its input (`model_file.looking`): the centre square, scaled
    so that `field_of_view` of its side becomes `size` pixels, cut to `size`. The lesion is searched
    in the scaled square, and cut out of the image itself, so that it is as sharp as the image is.

    Returns:
        An array (regions * size, size, 3) of uint8.
    """
    size, whole, short = geometry.size, geometry.whole_side, min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    square = image.crop((left, top, left + short, top + short))
    first = (whole - size) // 2  # the cut begins at a whole pixel, as it does in the model
    if geometry.regions == 1:
        # Scaling and cutting in one step: only the part that is kept is computed.
        begin, side = first * short / whole, size * short / whole
        return _scaled(square, size, begin, begin, side)
    scaled = _scaled(square, whole, 0, 0, short)
    around = lesions.around_lesion(IN_NUMPY, scaled[None].astype(np.float32), size / whole)
    up, along, side = (short * float(one[0, 0]) for one in around)
    lesion = _scaled(image, size, left + along, top + up, side)
    return np.concatenate([scaled[first : first + size, first : first + size], lesion])


def _scaled(image: Image.Image, size: int, left: float, top: float, side: float) -> Pixels:
    """Returns a square part of an image in so many pixels."""
    box = (left, top, min(left + side, image.width), min(top + side, image.height))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
