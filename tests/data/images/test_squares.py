"""The working square is the centre of an image, at the working size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from skin_pipeline.data.images import (
    working_square,
)
from skin_pipeline.geometry import Geometry


def test_the_aspect_ratio_is_kept() -> None:
    disc = Image.new("L", (300, 200))
    disc.paste(255, (110, 60, 190, 140))  # a square in the middle
    pixels = working_square(disc.convert("RGB"), Geometry(100))[..., 0] > 127
    assert abs(int(pixels.any(axis=0).sum()) - int(pixels.any(axis=1).sum())) <= 1


@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
def test_the_working_square_is_the_centre_of_the_image(size: Any) -> None:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[size[1] // 2, size[0] // 2] = 255
    bright = working_square(Image.fromarray(pixels), Geometry(200))[..., 0]
    assert tuple(map(int, np.unravel_index(bright.argmax(), bright.shape))) == (100, 100)


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (500, 31), (3, 200)])
def test_images_of_any_shape_come_out_at_the_working_size(size: Any) -> None:
    assert working_square(Image.new("RGB", size), Geometry(64, 0.8)).shape == (64, 64, 3)
