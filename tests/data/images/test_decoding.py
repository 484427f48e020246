"""Pixels of any kind become upright RGB, with the brightness that they mean."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import GREY16, JPEG_75, LESION, encoded, turned, with_texts
from PIL import Image

from skin_pipeline.data.images import (
    decode,
)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_lies_on_its_side_is_set_upright(orientation: int) -> None:
    upright = decode(turned(orientation)).image
    assert upright.size == ((180, 120) if orientation < 5 else (120, 180))


def test_pixels_of_16_bits_are_scaled_and_not_cut_off() -> None:
    eight = np.asarray(LESION.convert("L"))
    scaled = np.asarray(decode(encoded(Image.fromarray(GREY16))).image)[..., 0]
    assert np.array_equal(scaled, eight)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_greys_of_any_depth_are_as_bright_as_their_8_bits(bits: int, kind: str) -> None:
    eight = np.asarray(LESION.convert("L"))
    deep = (eight.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    seen = np.asarray(decode(encoded(Image.fromarray(deep), kind)).image)[..., 0]
    assert np.abs(seen.astype(int) - eight).max() <= 1


def test_a_png_is_the_same_picture_without_its_texts() -> None:
    assert np.array_equal(np.asarray(decode(with_texts("x" * 3_000_000)).image), np.asarray(LESION))


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    shown, expected = decode(turned(orientation)).image, decode(JPEG_75).image
    assert np.array_equal(np.asarray(shown), np.asarray(expected))
