"""Square parts of an image that a network may be shown, at the working size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline.config import Settings
from skin_pipeline.data import images
from skin_pipeline.geometry import Geometry, region

Pixels = NDArray[np.uint8]
FIELD_OF_VIEW: float = Settings.model_fields["field_of_view"].default


def squashed(image: Image.Image, size: int) -> Pixels:
    """Returns the whole image, its aspect ratio lost, as the original notebook did."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def centre(image: Image.Image, size: int) -> Pixels:
    """Returns the centre, as the workflow cuts it."""
    return images.working_squares(image, Geometry(size, FIELD_OF_VIEW))


def lesion(image: Image.Image, size: int) -> Pixels:
    """Returns the square around the lesion, as the workflow cuts it."""
    return region(images.working_squares(image, Geometry(size, FIELD_OF_VIEW, regions=2)), 1)


REGIONS: dict[str, Callable[[Image.Image, int], Pixels]] = {
    "squashed": squashed,
    "centre": centre,
    "lesion": lesion,
}
