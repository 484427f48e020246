"""The working squares are the centre of an image, and the square around its lesion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from skin_pipeline.data.images import working_squares
from skin_pipeline.geometry import Geometry, region


def test_the_aspect_ratio_is_kept() -> None:
    disc = Image.new("L", (300, 200))
    disc.paste(255, (110, 60, 190, 140))  # a square in the middle
    pixels = working_squares(disc.convert("RGB"), Geometry(100))[..., 0] > 127
    assert abs(int(pixels.any(axis=0).sum()) - int(pixels.any(axis=1).sum())) <= 1


@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
def test_the_working_square_is_the_centre_of_the_image(size: Any) -> None:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[size[1] // 2, size[0] // 2] = 255
    bright = working_squares(Image.fromarray(pixels), Geometry(200))[..., 0]
    assert tuple(map(int, np.unravel_index(bright.argmax(), bright.shape))) == (100, 100)


@pytest.mark.parametrize("regions", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (65, 64), (500, 31), (3, 200), (1, 1)])
def test_images_of_any_shape_come_out_at_the_working_size(size: Any, regions: int) -> None:
    squares = working_squares(Image.new("RGB", size), Geometry(64, 0.8, regions))
    assert squares.shape == (64 * regions, 64, 3)


def lesion(size: tuple[int, int], middle: tuple[int, int], radius: int) -> Image.Image:
    image = Image.new("RGB", size, (210, 160, 140))
    x, y = middle
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), (90, 60, 50))
    return image


@pytest.mark.parametrize(("size", "middle"), [((900, 600), (420, 330)), ((600, 900), (330, 420))])
def test_the_second_square_is_around_the_lesion(size: Any, middle: Any) -> None:
    packed = working_squares(lesion(size, middle, 120), Geometry(224, 0.8, 2))
    dark = region(packed, 1)[..., 0] < 150
    rows, columns = np.nonzero(dark)
    # A circle of 1 / 1.4 of the square's side, in its middle.
    assert rows.mean() == pytest.approx(111.5, abs=6)
    assert columns.mean() == pytest.approx(111.5, abs=6)
    assert dark.any(axis=0).sum() == pytest.approx(224 / 1.4, rel=0.08)


def test_the_first_square_is_the_centre_whether_there_is_a_second_one_or_not() -> None:
    image = lesion((901, 600), (420, 330), 120)
    alone, both = (working_squares(image, Geometry(224, 0.8, regions)) for regions in (1, 2))
    assert np.abs(region(both).astype(int) - alone).max() <= 1


def test_the_lesion_is_as_sharp_as_the_image() -> None:
    image = lesion((3000, 3000), (1500, 1500), 400)
    stripes = np.asarray(image).copy()
    stripes[1400:1600:20] = stripes[1401:1600:20] = 255  # 20 pixels of 3000: lost in 280
    packed = working_squares(Image.fromarray(stripes), Geometry(224, 0.8, 2))
    middles = [region(packed, number)[104:120, 112, 0].astype(float).std() for number in (0, 1)]
    assert middles[1] > 2 * middles[0]
