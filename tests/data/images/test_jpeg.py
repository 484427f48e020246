"""Half an image with an end marker behind it is noticed, and sound images are left alone."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from skin_pipeline.data.images import decode, inspect_bytes, jpeg

END = b"\xff\xd9"
NOISE = np.random.RandomState(0).randint(0, 60, (120, 160, 3))
LESION = Image.fromarray((NOISE + np.linspace(60, 190, 160)[None, :, None]).astype(np.uint8))
FLAT_END = LESION.copy()
ImageDraw.Draw(FLAT_END).rectangle((0, 50, 160, 120), fill=(0, 0, 0))
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "no subsampling": {"subsampling": 0},
    "restart markers": {"restart_marker_rows": 1},
    "progressive with restart markers": {"progressive": True, "restart_marker_rows": 2},
    "thumbnail inside": {"exif": b"Exif\0\0" + b"\xff\xd8\xff\xd9" * 40},
}


def encoded(image: Any = LESION, **options: Any) -> Any:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def several_scans(image: Any = LESION) -> Any:
    """A sequential JPEG whose components have a scan each, from one that has them all in one."""
    grey = encoded(image.convert("L"))
    start = grey.index(b"\xff\xda")
    header, scan = grey[:start], grey[start + 10 : -2]
    frame = header.index(b"\xff\xc0")
    tables = header[:frame] + header[frame + 13 :]
    three = b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    sof = b"\xff\xc0\x00\x11" + header[frame + 4 : frame + 9] + b"\x03" + three
    scans = [b"\xff\xda\x00\x08\x01" + bytes([name, 0, 0, 63, 0]) + scan for name in (1, 2, 3)]
    return tables + sof + b"".join(scans) + END


EVERY_KIND = {
    **{name: encoded(**options) for name, options in KINDS.items()},
    "grey": encoded(LESION.convert("L")),
    "CMYK": encoded(LESION.convert("CMYK")),
    "a scan for each component": several_scans(),
    "black at its end": encoded(FLAT_END, optimize=True),
    "black at its end, progressive": encoded(FLAT_END, optimize=True, progressive=True),
}
of_every_kind = pytest.mark.parametrize("data", EVERY_KIND.values(), ids=EVERY_KIND)


def pixels(data: Any) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def problem(data: Any) -> str:
    return inspect_bytes(data, "a.jpg").problem


@of_every_kind
@pytest.mark.parametrize(
    "behind", [b"", b"\0" * 300, b"trailing text", encoded()], ids=["", "zeros", "text", "picture"]
)
def test_a_sound_picture_comes_out_pixel_for_pixel(data: Any, behind: Any) -> None:
    assert np.array_equal(np.asarray(decode(data + behind).image), pixels(data))


@of_every_kind
@pytest.mark.parametrize("share", [0.4, 0.5, 0.9])
def test_a_picture_that_was_cut_short_is_noticed_though_an_end_marker_stands_behind(
    data: Any, share: float
) -> None:
    start = jpeg.read(data).scans[0].start
    cut = data[: start + int(share * (len(data) - start))]
    # Pillow alone sees a whole picture in the first of these.
    for end in (END, END + data[len(cut) :], END * 50, b""):
        assert "image file is truncated" in problem(cut + end)


@of_every_kind
@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\xaa"])
@pytest.mark.parametrize("end", [END, b""], ids=["end marker", "no end marker"])
def test_a_picture_whose_second_half_is_filler_is_noticed(
    data: Any, filler: bytes, end: bytes
) -> None:
    half = len(data) // 2
    assert problem(data[:half] + filler * (len(data) - half - 2) + end)


def test_a_picture_that_is_padded_before_its_end_marker_is_sound() -> None:
    for name in ("baseline", "progressive", "restart markers"):
        data = EVERY_KIND[name]
        assert not problem(data[:-2] + bytes(500) + END)


def test_a_complete_picture_without_an_end_marker_is_sound() -> None:
    assert not problem(EVERY_KIND["baseline"][:-2])
    assert not problem(EVERY_KIND["progressive"][:-2])


def test_a_progressive_picture_without_its_last_scans_is_noticed() -> None:
    data = EVERY_KIND["progressive"]
    for scan in jpeg.read(data).scans[:-1]:
        assert "image file is truncated (" in problem(data[: scan.end] + END)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["baseline", "progressive", "restart markers"]), st.floats(0.0, 0.97))
def test_wherever_a_picture_is_cut_it_is_noticed(kind: Any, share: float) -> None:
    data = EVERY_KIND[kind]
    start = jpeg.read(data).scans[0].start
    assert problem(data[: start + int(share * (len(data) - start))] + END)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(2, 700))
def test_no_bytes_make_the_structure_raise_anything_but_a_value_error(
    noise: bytes, place: int
) -> None:
    data = EVERY_KIND["progressive"]
    spoilt = data[:place] + noise + data[place + len(noise) :]
    try:
        assert jpeg.variants(spoilt)
    except ValueError as error:
        # The noise may also be a size, or many scans.
        refusals = r"truncated|is over \d+ pixels|has over \d+ (scans|segments)"
        assert re.search(refusals, str(error))  # ruff: ignore[pytest-assert-in-except]


def test_many_fill_bytes_take_no_more_time_than_their_number() -> None:
    # With a pattern that tries every length at every place this would take hours.
    assert problem(EVERY_KIND["baseline"][:700] + b"\xff" * 5_000_000)


@pytest.mark.real
def test_no_shared_image_is_taken_for_cut_short_and_each_cut_one_is(shared: Path) -> None:
    paths = sorted((shared / "data").rglob("*.jpg"))
    assert len(paths) > 3000
    for number, path in enumerate(paths):
        data = path.read_bytes()
        assert len(jpeg.variants(data)) == 1
        if number % 3 == 0:
            assert not problem(data)
        if number % 10 == 0:
            assert "truncated" in problem(data[: len(data) // 2] + END)


@pytest.mark.real
def test_a_shared_image_saved_as_progressive_is_sound_and_its_half_is_not(shared: Path) -> None:
    for path in sorted((shared / "data" / "isic2017").rglob("*.jpg"))[:40]:
        with Image.open(path) as image:
            data = encoded(image, progressive=True)
        assert not problem(data)
        assert "truncated" in problem(data[: len(data) // 2] + END)
