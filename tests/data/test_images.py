from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from skin_pipeline.data.images import decode, inspect, working_square


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


GRADIENT = Image.fromarray(
    np.arange(120 * 80 * 3, dtype=np.uint32).reshape(80, 120, 3).astype(np.uint8)
)


@pytest.mark.parametrize(
    "image",
    [
        GRADIENT,
        GRADIENT.convert("L"),
        GRADIENT.convert("P"),
        GRADIENT.convert("RGBA"),
        GRADIENT.convert("1"),
    ],
    ids=lambda image: image.mode,
)
def test_every_kind_of_pixel_becomes_rgb(image):
    decoded = decode(encoded(image))
    assert decoded.mode == "RGB"
    assert decoded.size == image.size


def test_an_image_that_lies_on_its_side_is_set_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to view
    assert decode(encoded(GRADIENT, format="JPEG", exif=exif)).size == (80, 120)


def huge_claim():
    """A PNG of a few bytes that says it is 60,000 pixels wide and high."""
    data = bytearray(encoded(Image.new("RGB", (8, 8))))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an image",
        encoded(GRADIENT)[:200],
        encoded(GRADIENT, format="JPEG")[:-400],
        encoded(GRADIENT, format="GIF"),
        huge_claim(),
    ],
    ids=["empty", "text", "truncated png", "truncated jpeg", "gif", "huge claim"],
)
def test_a_broken_image_has_a_problem_instead_of_pixels(tmp_path, data):
    path = tmp_path / "lesion.jpg"
    path.write_bytes(data)
    seen = inspect(path, 64, 0.8)
    assert seen.pixels is None
    assert seen.problem.startswith("lesion.jpg: ")
    assert "0x" not in seen.problem  # a memory address would differ from run to run
    assert seen.bytes == len(data)


def test_a_readable_image_is_measured_and_cut(tmp_path):
    path = tmp_path / "lesion.png"
    GRADIENT.save(path)
    seen = inspect(path, 64, 0.8)
    assert (seen.width, seen.height, seen.problem) == (120, 80, "")
    assert seen.pixels.shape == (64, 64, 3)
    assert seen.pixels.dtype == np.uint8


def test_the_same_pixels_in_another_file_are_recognised(tmp_path):
    GRADIENT.save(tmp_path / "a.png")
    GRADIENT.save(tmp_path / "b.bmp")
    a, b = (inspect(tmp_path / name, 64, 0.8) for name in ("a.png", "b.bmp"))
    assert a.sha256 != b.sha256
    assert a.pixels_sha256 == b.pixels_sha256


def test_the_aspect_ratio_is_kept():
    disc = Image.new("L", (300, 200))
    disc.paste(255, (110, 60, 190, 140))  # a square in the middle
    pixels = working_square(disc.convert("RGB"), 100, 1.0)[..., 0] > 127
    assert abs(int(pixels.any(axis=0).sum()) - int(pixels.any(axis=1).sum())) <= 1


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (500, 31), (3, 200)])
def test_images_of_any_shape_come_out_at_the_working_size(size):
    assert working_square(Image.new("RGB", size), 64, 0.8).shape == (64, 64, 3)
