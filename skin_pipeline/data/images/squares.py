"""Cuts the centre of an image at the working size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline.geometry import Geometry


def working_square(image: Image.Image, geometry: Geometry) -> NDArray[np.uint8]:
    """Returns the centre of an RGB image at the working size, its aspect ratio kept.

    The released model does the same to its input (`model_file.building.geometry`): the centre
    square, scaled so that `field_of_view` of its side becomes `size` pixels, cut to `size`.

    Returns:
        An array (size, size, 3) of uint8.
    """
    size, whole = geometry.size, geometry.whole_side
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    square = image.crop((left, top, left + short, top + short))
    # Scaling and cutting in one step: only the part that is kept is computed. The cut begins at a
    # whole pixel of the scaled square, as it does in the model.
    first, side = (whole - size) // 2 * short / whole, size * short / whole
    box = (first, first, first + side, first + side)
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR, box=box))
