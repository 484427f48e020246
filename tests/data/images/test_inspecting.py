"""What becomes of every kind of image file: taken as it is, converted, or quarantined."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import (
    ELSEWHERE,
    GREY16,
    JPEG,
    LESION,
    ODD_TAGS,
    PNG,
    RATIONAL,
    SMALL,
    TEXT,
    TWELVE,
    claiming,
    encoded,
    flipped_bytes,
    frames,
    png_part,
    tiff,
    tiff_of_12_bits,
    turned,
    with_exif,
    with_texts,
)
from PIL import Image

from skin_pipeline.data import images
from skin_pipeline.data.images import (
    inspect,
    inspect_bytes,
    inspecting,
)
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.geometry import Geometry

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
    ("resolution-cut.png", PNG[:33] + png_part(b"pHYs", b"") + PNG[33:], "texts left out"),
    ("time-cut.png", PNG[:33] + png_part(b"gAMA", b"x") + PNG[33:], "texts left out"),
    ("clear-cut.png", PNG[:33] + png_part(b"tRNS", b"x") + PNG[33:], "texts left out"),
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
    ("text.jpg", b"<html>404 Not Found</html>", "is a web page"),
    ("zeros.jpg", bytes(5000), "nothing but zeros"),
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
    ("a.gif.jpg", encoded(LESION, "GIF"), "is a GIF file, which is not read"),
    (
        "phone.jpg",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "is a HEIC file, which is not",
    ),
    ("scan.jpg", bytes(128) + b"DICM" + bytes(99), "is a DICOM file, which is not read"),
    ("lfs.jpg", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    ("packed.jpg", b"PK\x03\x04" + bytes(99), "is packed (zip)"),
    ("limit.jpg", b'{"error": "rate limit"}', "is a text"),
    ("icon.png", encoded(LESION.resize((64, 64)), "ICO"), "cannot identify"),
    ("portable.png", encoded(LESION, "PPM"), "cannot identify"),
    ("jpeg2000.jpg", encoded(LESION, "JPEG2000"), "is a JPEG 2000 file, which is not read"),
    ("postscript.jpg", encoded(LESION, "EPS"), "is a text"),
    ("document.jpg", encoded(LESION, "PDF"), "is a PDF file, which is not read"),
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
def test_every_kind_of_file_has_its_outcome(
    tmp_path: Path, name: Any, data: Any, outcome: Any
) -> None:
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


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_value_of_an_exif_tag_costs_the_picture(kind: str) -> None:
    tags = (0x0112, 0x011A, 0x0128, 0x8769, 0x8825, 0x010E, 0xA005, 0x02BC)
    for tag, type_, count in itertools.product(tags, range(14), (0, 1, 2**32 - 1)):
        seen = inspect_bytes(with_exif(tag, type_, count, b"\xff" * 4, kind), "a")
        assert not seen.problem, (tag, type_, count)


def test_a_decoder_that_raises_anything_at_all_costs_one_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr(Image, "open", broken)
    assert inspect_bytes(PNG, "a.png").problem == "a.png: KeyError: 'no such thing'"


def test_a_machine_without_memory_is_not_blamed_on_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", out_of_memory)
    with pytest.raises(
        Unavailable, match=r"a\.png could not be decoded: the machine has no memory"
    ):
        inspect_bytes(PNG, "a.png")


def test_a_file_that_cannot_be_read_is_quarantined_with_the_reason(tmp_path: Path) -> None:
    assert inspect(tmp_path / "gone.png").problem == (
        "gone.png: cannot be read (No such file or directory)"
    )


def test_a_name_that_is_not_utf_8_can_be_written_into_a_report(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/l\xe9sion.png"))
    path.write_bytes(b"no image")
    assert inspect(path).problem.encode().startswith(b"l\\udce9sion.png: is a text")


def test_a_file_too_large_to_be_an_image_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    monkeypatch.setattr(inspecting, "MOST_BYTES", len(PNG) - 1)
    assert inspect(path).problem == f"a.png: {len(PNG)} bytes are over {len(PNG) - 1}"


def test_the_same_pixels_in_another_file_are_recognised(tmp_path: Path) -> None:
    LESION.save(tmp_path / "a.png")
    LESION.save(tmp_path / "b.bmp")
    LESION.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "c.png")
    seen = [inspect(tmp_path / name) for name in ("a.png", "b.bmp", "c.png")]
    digests = [images.pixels_digest(tmp_path / name) for name in ("a.png", "b.bmp", "c.png")]
    assert seen[0].sha256 != seen[1].sha256
    assert seen[0].fingerprint == seen[1].fingerprint
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_changed_since_it_was_inspected_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"gone")
    with pytest.raises(BadInput, match=r"a\.png: .*changed while it was read"):
        images.pixels_digest(path)


def test_a_process_that_inspects_images_imports_no_tables() -> None:
    code = "import sys, skin_pipeline.data.images; print({'pandas', 'pydantic'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
