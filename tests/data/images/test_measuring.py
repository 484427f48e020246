"""What is measured of an image."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import LESION
from PIL import Image, ImageFilter

from skin_pipeline.data.images import (
    measuring,
)


def measured(image):
    small = measuring.shrunk(image)
    return dict(
        zip(
            measuring.STATISTICS,
            measuring.statistics(small, small @ measuring.LUMINANCE),
            strict=True,
        )
    )


def test_statistics_say_what_their_names_say():
    pixels = np.full((200, 200, 3), (180, 120, 90), np.uint8)
    pixels[60:140, 60:140] = (60, 40, 30)
    seen = measured(Image.fromarray(pixels))
    assert [seen[name] for name in ("ring_red", "ring_green", "ring_blue")] == [180, 120, 90]
    assert seen["ring_spread"] == 0
    assert seen["red"] == pytest.approx(pixels[..., 0].mean(), abs=1)
    light = pixels @ np.array([0.299, 0.587, 0.114])
    assert seen["brightness"] == pytest.approx(light.mean(), abs=1)
    assert seen["contrast"] == pytest.approx(light.std(), abs=2)


def test_blur_lowers_sharpness():
    sharp, blurred = LESION, LESION.filter(ImageFilter.GaussianBlur(8))
    assert measured(blurred)["sharpness"] < 0.5 * measured(sharp)["sharpness"]
