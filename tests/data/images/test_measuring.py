"""What is measured of an image."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from drawn_pictures import photograph
from image_files import LESION, encoded
from PIL import Image, ImageFilter

from skin_pipeline.data.images import (
    measuring,
)


def measured(image: Any) -> dict[str, Any]:
    small = measuring.shrunk(image)
    return dict(
        zip(
            measuring.STATISTICS,
            measuring.statistics(small, small @ measuring.LUMINANCE),
            strict=True,
        )
    )


def test_statistics_say_what_their_names_say() -> None:
    pixels = np.full((200, 200, 3), (180, 120, 90), np.uint8)
    pixels[60:140, 60:140] = (60, 40, 30)
    seen = measured(Image.fromarray(pixels))
    assert [seen[name] for name in ("ring_red", "ring_green", "ring_blue")] == [180, 120, 90]
    assert seen["ring_spread"] == 0
    assert seen["red"] == pytest.approx(pixels[..., 0].mean(), abs=1)
    light = pixels @ np.array([0.299, 0.587, 0.114])
    assert seen["brightness"] == pytest.approx(light.mean(), abs=1)
    assert seen["contrast"] == pytest.approx(light.std(), abs=2)


def test_blur_lowers_sharpness() -> None:
    sharp, blurred = LESION, LESION.filter(ImageFilter.GaussianBlur(8))
    assert measured(blurred)["sharpness"] < 0.5 * measured(sharp)["sharpness"]


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_a_fingerprint_is_the_same_whichever_way_an_image_is_turned(turn: Image.Transpose) -> None:
    image = LESION.resize((128, 128))
    assert fingerprint_of(image.transpose(turn)) == fingerprint_of(image)


def test_another_size_or_encoding_changes_a_fingerprint_little_and_another_image_much() -> None:
    first = photograph(1)
    near = [first.resize((200, 150)), Image.open(io.BytesIO(encoded(first, "JPEG", quality=60)))]
    assert max(distance(first, copy) for copy in near) < 3
    assert min(distance(first, photograph(number)) for number in range(2, 6)) > 3


def distance(first: Image.Image, second: Image.Image) -> float:
    """The mean difference of the fifteen bytes."""
    a, b = (np.frombuffer(bytes.fromhex(fingerprint_of(i)), np.uint8) for i in (first, second))
    return float(np.abs(a.astype(int) - b).mean())


def fingerprint_of(image: Image.Image) -> str:
    small = measuring.shrunk(image)
    return measuring.fingerprint(small, small @ measuring.LUMINANCE)
