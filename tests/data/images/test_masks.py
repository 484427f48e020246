"""Masks are known by their names and by their two colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from image_files import LESION, encoded
from PIL import Image, ImageDraw

from skin_pipeline.data import images
from skin_pipeline.data.images import (
    inspect_bytes,
)


def mask(kind: str = "PNG", mode: str = "L", **options: Any) -> Any:
    drawn = Image.new("L", (300, 200))
    ImageDraw.Draw(drawn).ellipse((60, 30, 220, 170), fill=255)
    return encoded(drawn.convert(mode), kind, **options)


@pytest.mark.parametrize(
    "data",
    [mask(), mask(mode="1"), mask(mode="RGB"), mask(mode="P"), mask("JPEG"), mask("BMP")],
)
def test_an_image_of_two_greys_is_like_a_mask(data: Any) -> None:
    assert inspect_bytes(data, "a.png").mask


@pytest.mark.parametrize("colours", [("black", "red"), ("navy", "yellow"), ("grey", "white")])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_of_two_colours_is_like_a_mask(colours: tuple[str, str], kind: str) -> None:
    drawn = Image.new("RGB", (300, 200), colours[0])
    ImageDraw.Draw(drawn).ellipse((60, 30, 220, 170), fill=colours[1])
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    assert inspect_bytes(encoded(drawn, kind, **options), "a.png").mask


def test_a_lesion_is_not_like_a_mask_whatever_its_frame() -> None:
    for image in (LESION, LESION.convert("L"), LESION.convert("L").point(lambda v: v // 8)):
        assert not inspect_bytes(encoded(image), "a.png").mask
    framed = Image.new("RGB", (400, 400))
    framed.paste(LESION.resize((180, 180)), (110, 110))
    assert not inspect_bytes(encoded(framed), "a.png").mask


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("benign/ISIC_0000000_segmentation.png", True),
        ("benign/ISIC_0000000_Segmentation.PNG", True),
        ("benign/ISIC_0000000_superpixels.png", True),
        ("benign/ISIC_0000000_attribute_pigment_network.png", True),
        ("benign/a_mask.png", True),
        ("benign/mask-a.png", True),
        ("benign/overlay_ISIC_0000000.jpg", True),
        ("benign/seg_0001.png", True),
        ("benign/ISIC_0000000_mask_2.png", True),
        ("benign/ISIC_0000000_segmentation (1).png", True),
        ("benign/ISIC_0000000_gradcam.png", True),
        ("benign/maskell-1.jpg", False),
        ("benign/gtx_0001.jpg", False),
        ("benign/roitelet.jpg", False),
        ("benign/a_roi.png", True),
        ("benign/roi_12.jpg", False),
        ("mask_study/benign/a.jpg", False),
        ("benign/a.overlay.jpg", True),
        ("benign/masks/a.png", True),
        ("GroundTruth/benign/a.png", True),
        ("benign/ISIC_0000000.jpg", False),
        ("benign/unmasked.jpg", False),
        ("benign/damask.jpg", False),
        ("benign/lesion.jpg", False),
        ("benign/segment 3.jpg", False),
    ],
)
def test_masks_are_known_by_the_names_that_public_sets_give_them(key: str, expected: bool) -> None:
    assert images.named_like_a_mask(key) is expected


def test_a_mask_with_a_few_pixels_of_other_colours_is_one_and_with_many_is_none() -> None:
    for share, expected in ((0.02, True), (0.04, False)):
        drawn = Image.new("RGB", (600, 400), "black")
        ImageDraw.Draw(drawn).ellipse((120, 60, 440, 340), fill="white")
        pixels = np.asarray(drawn).copy()
        pixels[np.random.default_rng(0).random((400, 600)) < share] = (200, 60, 90)
        assert inspect_bytes(encoded(Image.fromarray(pixels), "PNG"), "a.png").mask is expected
