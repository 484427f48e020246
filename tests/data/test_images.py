"""What becomes of every kind of image file: taken as it is, converted, or quarantined."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFilter, TiffImagePlugin

from skin_pipeline.data import images
from skin_pipeline.data.images import decode, inspect, working_square
from skin_pipeline.errors import BadInput

random = np.random.RandomState(0)
LESION = Image.fromarray(
    np.kron(random.randint(0, 255, (10, 15, 3)), np.ones((12, 12, 1))).astype(np.uint8)
)  # 180 x 120
GREY16 = np.asarray(LESION.convert("L")).astype(np.uint16) * 257


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(LESION, "JPEG", exif=exif)


def claiming(width, height):
    """A PNG of a few bytes that says it is so many pixels wide and high."""
    data = bytearray(encoded(Image.new("RGB", (80, 80))))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def frames(kind):
    return encoded(LESION, kind, save_all=True, append_images=[LESION.rotate(90)] * 2)


def flipped_bytes(data, start, count=40):
    spoilt = bytearray(data)
    for i in range(start, start + count):
        spoilt[i] ^= 0xFF
    return bytes(spoilt)


PNG, JPEG = encoded(LESION), encoded(LESION, "JPEG", quality=95)
ODD_TAGS = TiffImagePlugin.ImageFileDirectory_v2()
ODD_TAGS[270] = "x" * 70_000

TAKEN = "taken as it is"
CASES = [
    # name of the file, its bytes, and what becomes of it
    ("a.jpg", JPEG, TAKEN),
    ("a.JPG", JPEG, TAKEN),
    ("a.jpeg", JPEG, TAKEN),
    ("a.png", PNG, TAKEN),
    ("a.bmp", encoded(LESION, "BMP"), TAKEN),
    ("a.tif", encoded(LESION, "TIFF"), TAKEN),
    ("a.tiff", encoded(LESION, "TIFF", compression="tiff_lzw"), TAKEN),
    ("a.webp", encoded(LESION, "WEBP", lossless=True), TAKEN),
    ("progressive.jpg", encoded(LESION, "JPEG", progressive=True), TAKEN),
    ("interlaced.png", encoded(LESION, "PNG", interlace=1), TAKEN),
    ("comment.jpg", encoded(LESION, "JPEG", comment=b"x" * 60_000), TAKEN),
    ("tags.tif", encoded(LESION, "TIFF", tiffinfo=ODD_TAGS), TAKEN),
    ("trailing.png", PNG + b"trailing" * 100, TAKEN),
    ("smallest.png", encoded(LESION.resize((64, 64))), TAKEN),
    ("upright.jpg", turned(1), TAKEN),
    ("two-pictures.jpg", frames("MPO"), "MPO"),
    # converted
    ("png.jpg", PNG, "PNG named .jpg"),
    ("jpeg.png", JPEG, "JPEG named .png"),
    ("webp.jpg", encoded(LESION, "WEBP"), "WEBP named .jpg"),
    ("grey.png", encoded(LESION.convert("L")), "L to RGB"),
    ("grey.jpg", encoded(LESION.convert("L"), "JPEG"), "L to RGB"),
    ("bits.png", encoded(LESION.convert("1")), "1 to RGB"),
    ("palette.png", encoded(LESION.convert("P")), "P to RGB"),
    ("alpha.png", encoded(LESION.convert("RGBA")), "RGBA to RGB"),
    ("grey-alpha.png", encoded(LESION.convert("LA")), "LA to RGB"),
    ("alpha.webp", encoded(LESION.convert("RGBA"), "WEBP"), None),
    ("cmyk.jpg", encoded(LESION.convert("CMYK"), "JPEG"), "CMYK to RGB"),
    ("cmyk.tif", encoded(LESION.convert("CMYK"), "TIFF"), "CMYK to RGB"),
    ("ycbcr.tif", encoded(LESION.convert("YCbCr"), "TIFF"), "YCbCr to RGB"),
    ("grey16.png", encoded(Image.fromarray(GREY16)), "I;16 to RGB"),
    ("grey16.tif", encoded(Image.fromarray(GREY16), "TIFF"), "I;16 to RGB"),
    *[(f"turned{i}.jpg", turned(i), "turned upright") for i in range(2, 9)],
    ("grey-png.jpg", encoded(LESION.convert("L")), "PNG named .jpg; L to RGB"),
    # quarantined
    ("empty.jpg", b"", "the file is empty"),
    ("text.jpg", b"<html>404 Not Found</html>", "cannot identify"),
    ("zeros.jpg", bytes(5000), "cannot identify"),
    ("head.jpg", JPEG[:2], "cannot identify"),
    ("half.jpg", JPEG[: len(JPEG) // 2], "truncated"),
    ("nearly.jpg", JPEG[:-300], "truncated"),
    ("half.png", PNG[: len(PNG) // 2], "truncated"),
    ("nearly.png", PNG[:-40], ""),
    ("half.bmp", encoded(LESION, "BMP")[:20_000], "truncated"),
    ("half.tif", encoded(LESION, "TIFF")[:20_000], ""),
    ("half.webp", encoded(LESION, "WEBP")[:500], ""),
    ("flipped.png", flipped_bytes(PNG, 300), ""),
    ("checksum.png", flipped_bytes(PNG, 29, 4), ""),
    ("a.gif.jpg", encoded(LESION, "GIF"), "cannot identify"),
    ("icon.png", encoded(LESION.resize((64, 64)), "ICO"), "cannot identify"),
    ("portable.png", encoded(LESION, "PPM"), "cannot identify"),
    ("jpeg2000.jpg", encoded(LESION, "JPEG2000"), "cannot identify"),
    ("postscript.jpg", encoded(LESION, "EPS"), "cannot identify"),
    ("document.jpg", encoded(LESION, "PDF"), "cannot identify"),
    ("animated.png", frames("PNG"), "has 3 frames"),
    ("animated.webp", frames("WEBP"), " frames; a lesion's image has one"),
    ("pages.tif", frames("TIFF"), "has 3 frames"),
    ("float.tif", encoded(LESION.convert("F"), "TIFF"), "pixels of 32 bits"),
    ("int32.tif", encoded(LESION.convert("I"), "TIFF"), "pixels of 32 bits"),
    ("black.png", encoded(Image.new("RGB", (200, 200))), "shows a single colour"),
    ("skin.jpg", encoded(Image.new("RGB", (200, 200), (200, 150, 120)), "JPEG"), "single colour"),
    ("tiny.png", encoded(LESION.resize((63, 200))), "63x200 has a side under 64 pixels"),
    ("dot.png", encoded(LESION.resize((1, 1))), "1x1 has a side under 64 pixels"),
    ("huge.png", claiming(60_000, 60_000), "3600000000 pixels"),
    ("wide.png", claiming(2_000_000_000, 64), "128000000000 pixels"),
    ("large.png", claiming(13_000, 10_000), "13000x10000 is over 120000000 pixels"),
    ("nothing.png", claiming(0, 0), ""),
]


@pytest.mark.parametrize(("name", "data", "outcome"), CASES, ids=[case[0] for case in CASES])
def test_every_kind_of_file_has_its_outcome(tmp_path, name, data, outcome):
    path = tmp_path / name
    path.write_bytes(data)
    seen = inspect(path, 64, 0.8)
    position = [case[0] for case in CASES].index(name)
    quarantined = position >= [case[0] for case in CASES].index("empty.jpg")
    assert bool(seen.problem) == quarantined
    assert seen.bytes == len(data)
    if quarantined:
        assert seen.problem.startswith(f"{name}: ")
        assert outcome in seen.problem
        assert " at 0x" not in seen.problem  # a memory address would differ from run to run
        assert (seen.pixels, seen.thumbnail, seen.fingerprint) == (None, None, "")
    else:
        assert seen.pixels.shape == (64, 64, 3)
        assert seen.thumbnail.shape == (64, 64)
        assert np.isfinite(seen.statistics).all()
        if outcome == "MPO":
            assert (seen.format, seen.converted) == ("MPO", "")
        elif outcome is not None:
            assert seen.converted == outcome.replace(TAKEN, "")


def test_there_are_enough_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_lies_on_its_side_is_set_upright(orientation):
    upright = decode(turned(orientation)).image
    assert upright.size == ((180, 120) if orientation < 5 else (120, 180))


def test_pixels_of_16_bits_are_scaled_and_not_cut_off():
    eight = np.asarray(LESION.convert("L"))
    scaled = np.asarray(decode(encoded(Image.fromarray(GREY16))).image)[..., 0]
    assert np.array_equal(scaled, eight)


def test_a_file_too_large_to_be_an_image_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    monkeypatch.setattr(images, "MOST_BYTES", len(PNG) - 1)
    assert inspect(path).problem == f"a.png: {len(PNG)} bytes are over {len(PNG) - 1}"


def test_the_same_pixels_in_another_file_are_recognised(tmp_path):
    LESION.save(tmp_path / "a.png")
    LESION.save(tmp_path / "b.bmp")
    LESION.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "c.png")
    seen = [inspect(tmp_path / name) for name in ("a.png", "b.bmp", "c.png")]
    digests = [images.pixels_digest(tmp_path / name) for name in ("a.png", "b.bmp", "c.png")]
    assert seen[0].sha256 != seen[1].sha256
    assert seen[0].fingerprint == seen[1].fingerprint
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_changed_since_it_was_inspected_is_told(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"gone")
    with pytest.raises(BadInput, match=r"a\.png: .*changed while it was read"):
        images.pixels_digest(path)


# --- what is measured ----------------------------------------------------------------------------


def measured(image):
    small = images._small(image)
    return dict(
        zip(images.STATISTICS, images.statistics(small, small @ images.LUMINANCE), strict=True)
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


# --- the working square --------------------------------------------------------------------------


def test_the_aspect_ratio_is_kept():
    disc = Image.new("L", (300, 200))
    disc.paste(255, (110, 60, 190, 140))  # a square in the middle
    pixels = working_square(disc.convert("RGB"), 100, 1.0)[..., 0] > 127
    assert abs(int(pixels.any(axis=0).sum()) - int(pixels.any(axis=1).sum())) <= 1


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (500, 31), (3, 200)])
def test_images_of_any_shape_come_out_at_the_working_size(size):
    assert working_square(Image.new("RGB", size), 64, 0.8).shape == (64, 64, 3)
