"""What becomes of every kind of image file: taken as it is, converted, or quarantined."""

from __future__ import annotations

import io
import itertools
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, PngImagePlugin, TiffImagePlugin

from skin_pipeline.data import images
from skin_pipeline.data.images import (
    decode,
    inspect,
    inspect_bytes,
    inspecting,
    measuring,
    working_square,
)
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.geometry import Geometry

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


def with_exif(tag, kind, count, value, image_kind="JPEG"):
    """An image whose EXIF says that it lies on its side, and holds one more tag as it is given."""
    entries = sorted([struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0), _entry(tag, kind, count, value)])
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    minus_one_by_zero = struct.pack("<ii", -1, 0)
    exif = head + b"".join(entries) + bytes(4) + minus_one_by_zero * 8
    return encoded(LESION, image_kind, exif=b"Exif\0\0" + exif)


def _entry(tag, kind, count, value):
    return struct.pack("<HHI", tag, kind, count) + value


def with_texts(*texts):
    """A PNG whose texts stand compressed before its pixels, as image editors write them."""
    info = PngImagePlugin.PngInfo()
    for text in texts:
        info.add_text("Comment", text, zip=True)
    return encoded(LESION, "PNG", pnginfo=info)


def tiff(image, bits=8, pages=(), kinds=()):
    """A TIFF with further pages; `kinds` are their tag NewSubfileType."""
    pages = [image, *pages]
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, True) as writer:
        for page, kind in zip(pages, (*kinds, *[0] * len(pages)), strict=False):
            page.save(writer, "TIFF", tiffinfo={254: kind})
            writer.newFrame()
    return buffer.getvalue()


def tiff_of_12_bits(grey):
    """A TIFF of packed 12-bit greys, which Pillow reads and does not write."""
    high, width = grey.shape
    pairs = grey.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12) | pairs[:, 1]
    pixels = packed.astype(">u4").tobytes()
    pixels = np.frombuffer(pixels, np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    tags = [(256, width), (257, high), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, high), (279, len(pixels))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    count = struct.pack("<H", len(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + count + entries + bytes(4)


PNG, JPEG = encoded(LESION), encoded(LESION, "JPEG", quality=95)
JPEG_75 = encoded(LESION, "JPEG")
ODD_TAGS = TiffImagePlugin.ImageFileDirectory_v2()
ODD_TAGS[270] = "x" * 70_000

SMALL = LESION.resize((60, 40))
TWELVE = (GREY16 >> 4).astype(np.uint16)
RATIONAL, TEXT = 5, 2
# A value that stands elsewhere, at the place where -1/0 stands.
ELSEWHERE = struct.pack("<I", 8 + 2 + 24 + 4)

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
    ("photo.jfif", JPEG, TAKEN),
    ("photo.jpe", JPEG, TAKEN),
    ("PHOTO.JFIF", JPEG, TAKEN),
    ("text.png", with_texts("x" * 10_000), TAKEN),
    # converted
    ("long-text.png", with_texts("x" * 3_000_000), "texts left out"),
    ("many-texts.png", with_texts(*["x" * 900_000] * 80), "texts left out"),
    ("resolution-text.jpg", with_exif(0x011A, TEXT, 4, b"72 \0"), "turned upright"),
    ("resolution-none.jpg", with_exif(0x011A, RATIONAL, 1, ELSEWHERE), "turned upright"),
    ("resolution-none.webp", with_exif(0x011B, RATIONAL, 1, ELSEWHERE, "WEBP"), "turned upright"),
    ("resolution-none.png", with_exif(0x011B, RATIONAL, 1, ELSEWHERE, "PNG"), "turned upright"),
    ("tag-of-no-kind.jpg", with_exif(0x8769, 99, 1, b"\xff" * 4), "turned upright"),
    ("pointer-to-nowhere.jpg", with_exif(0x8769, 4, 1, b"\xff" * 4), "turned upright"),
    ("thumbnail.tif", tiff(LESION, pages=[SMALL], kinds=[0, 1]), "thumbnail left out"),
    ("thumbnail-first.tif", tiff(SMALL, pages=[LESION], kinds=[1, 0]), "thumbnail left out"),
    ("thumbnail-untold.tif", tiff(LESION, pages=[SMALL]), "thumbnail left out"),
    ("mask-page.tif", tiff(LESION, pages=[LESION], kinds=[0, 4]), "thumbnail left out"),
    ("grey12.png", encoded(Image.fromarray(TWELVE)), "I;16 to RGB"),
    ("grey12.tif", tiff_of_12_bits(TWELVE), "I;16 to RGB"),
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
    ("two-lesions.tif", tiff(LESION, pages=[LESION.rotate(90)]), "has 2 frames"),
    ("two-sizes.tif", tiff(LESION, pages=[LESION.resize((90, 90))]), "has 2 frames"),
    ("half.jfif", JPEG[: len(JPEG) // 2] + b"\xff\xd9", "truncated"),
    ("half-end.png", PNG[: len(PNG) // 2] + PNG[-12:], ""),
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
    seen = inspect(path, Geometry(64, 0.8))
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


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_greys_of_any_depth_are_as_bright_as_their_8_bits(bits, kind):
    eight = np.asarray(LESION.convert("L"))
    deep = (eight.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    seen = np.asarray(decode(encoded(Image.fromarray(deep), kind)).image)[..., 0]
    assert np.abs(seen.astype(int) - eight).max() <= 1


def test_a_thumbnail_is_not_taken_for_the_picture():
    for pages in (tiff(LESION, pages=[SMALL]), tiff(SMALL, pages=[LESION], kinds=[1, 0])):
        assert np.array_equal(decode(pages).image, LESION)


def test_a_png_is_the_same_picture_without_its_texts():
    assert np.array_equal(decode(with_texts("x" * 3_000_000)).image, LESION)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    assert np.array_equal(decode(turned(orientation)).image, decode(JPEG_75).image)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_value_of_an_exif_tag_costs_the_picture(kind):
    tags = (0x0112, 0x011A, 0x0128, 0x8769, 0x8825, 0x010E, 0xA005, 0x02BC)
    for tag, type_, count in itertools.product(tags, range(14), (0, 1, 2**32 - 1)):
        seen = inspect_bytes(with_exif(tag, type_, count, b"\xff" * 4, kind), "a")
        assert not seen.problem, (tag, type_, count)


def test_a_decoder_that_raises_anything_at_all_costs_one_picture(monkeypatch):
    def broken(*_, **__):
        raise KeyError("no such thing")

    monkeypatch.setattr(Image, "open", broken)
    assert inspect_bytes(PNG, "a.png").problem == "a.png: KeyError: 'no such thing'"


def test_a_machine_without_memory_is_not_blamed_on_the_picture(monkeypatch):
    def out_of_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image, "open", out_of_memory)
    with pytest.raises(
        Unavailable, match=r"a\.png could not be decoded: the machine has no memory"
    ):
        inspect_bytes(PNG, "a.png")


def test_a_file_that_cannot_be_read_is_quarantined_with_the_reason(tmp_path):
    assert inspect(tmp_path / "gone.png").problem == (
        "gone.png: cannot be read (No such file or directory)"
    )


def test_a_name_that_is_not_utf_8_can_be_written_into_a_report(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/l\xe9sion.png"))
    path.write_bytes(b"no image")
    assert inspect(path).problem.encode().startswith(b"l\\udce9sion.png: cannot identify")


# --- masks ---------------------------------------------------------------------------------------


def mask(kind="PNG", mode="L", **options):
    drawn = Image.new("L", (300, 200))
    ImageDraw.Draw(drawn).ellipse((60, 30, 220, 170), fill=255)
    return encoded(drawn.convert(mode), kind, **options)


@pytest.mark.parametrize(
    "data",
    [mask(), mask(mode="1"), mask(mode="RGB"), mask(mode="P"), mask("JPEG"), mask("BMP")],
)
def test_an_image_of_two_greys_is_like_a_mask(data):
    assert inspect_bytes(data, "a.png").mask


def test_a_lesion_is_not_like_a_mask_whatever_its_frame():
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
        ("benign/mask-a.png", False),
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
def test_masks_are_known_by_the_names_that_public_sets_give_them(key, expected):
    assert images.named_like_a_mask(key) is expected


def test_a_file_too_large_to_be_an_image_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    monkeypatch.setattr(inspecting, "MOST_BYTES", len(PNG) - 1)
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


# --- the working square --------------------------------------------------------------------------


def test_the_aspect_ratio_is_kept():
    disc = Image.new("L", (300, 200))
    disc.paste(255, (110, 60, 190, 140))  # a square in the middle
    pixels = working_square(disc.convert("RGB"), Geometry(100))[..., 0] > 127
    assert abs(int(pixels.any(axis=0).sum()) - int(pixels.any(axis=1).sum())) <= 1


@pytest.mark.parametrize("size", [(300, 200), (200, 300)])
def test_the_working_square_is_the_centre_of_the_image(size):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[size[1] // 2, size[0] // 2] = 255
    bright = working_square(Image.fromarray(pixels), Geometry(200))[..., 0]
    assert np.unravel_index(bright.argmax(), bright.shape) == (100, 100)


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (500, 31), (3, 200)])
def test_images_of_any_shape_come_out_at_the_working_size(size):
    assert working_square(Image.new("RGB", size), Geometry(64, 0.8)).shape == (64, 64, 3)
