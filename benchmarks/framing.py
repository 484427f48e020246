"""Pictures behind the frames that dermatoscopes and archives put around them, and copies of them.

A frame is drawn onto an image in memory and gets a number, so that what differs from picture to
picture (where a field of view lies, which device it was) can be drawn from it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from skin_pipeline.data import duplicates
from skin_pipeline.data import images as reading

Colour = tuple[int, int, int]
Frame = Callable[[Image.Image, int], Image.Image]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def _blended(image: Image.Image, shown: NDArray[Any], colour: Colour) -> Image.Image:
    pixels = np.asarray(image) * shown[..., None] + np.array(colour) * (1 - shown[..., None])
    return Image.fromarray(pixels.astype(np.uint8))


def circle(
    image: Image.Image,
    number: int,
    radius: float = 0.47,
    soft: float = 0.0,
    moved: float = 0.0,
    colour: Colour = BLACK,
) -> Image.Image:
    """Draws a round field of view; lengths are shares of the short side. `moved` is how far it
    may lie off the centre, and by how much its radius may differ."""
    random = np.random.default_rng(number)
    right, down, wider = random.uniform(-moved, moved, 3)
    short = min(image.size)
    y, x = np.mgrid[: image.height, : image.width] + 0.5
    away = np.hypot(x - image.width / 2 - right * short, y - image.height / 2 - down * short)
    inside = (radius + wider / 2) * short - away
    shown = np.clip(inside / (soft * short) + 0.5, 0, 1) if soft else inside > 0
    return _blended(image, np.asarray(shown, float), colour)


def frame(
    image: Image.Image,
    number: int,
    widths: tuple[float, float] = (0.08, 0.08),
    colour: Colour = WHITE,
    line: float = 0.0,
) -> Image.Image:
    """Bars of a colour at left and right, and above and below, with a black line inside."""
    framed = image.copy()
    across, down = (round(width * side) for width, side in zip(widths, image.size, strict=True))
    inner = image.crop((across, down, image.width - across, image.height - down))
    if line:
        ImageDraw.Draw(inner).rectangle(
            (0, 0, inner.width - 1, inner.height - 1),
            None,
            BLACK,
            max(1, round(line * image.width)),
        )
    framed.paste(colour, (0, 0, *image.size))
    framed.paste(inner, (across, down))
    return framed


def cut_corners(image: Image.Image, number: int) -> Image.Image:
    """Draws black triangles at the corners."""
    y, x = np.mgrid[: image.height, : image.width]
    away = np.minimum(x, image.width - 1 - x) + np.minimum(y, image.height - 1 - y)
    return _blended(image, (away > 0.2 * min(image.size)).astype(float), BLACK)


def vignette(image: Image.Image, number: int, strength: float = 0.8) -> Image.Image:
    """Darkens the corners."""
    y, x = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    return _blended(image, 1 - strength * (np.hypot(x, y) / np.sqrt(2)) ** 3, BLACK)


def ruler(image: Image.Image, number: int) -> Image.Image:
    """Draws a scale along the lower side."""
    ruled = image.copy()
    draw, (width, height) = ImageDraw.Draw(ruled), image.size
    foot = 0.93 * height
    draw.line((0.05 * width, foot, 0.95 * width, foot), BLACK, 2)
    for mark in range(41):
        x = (0.05 + 0.9 * mark / 40) * width
        draw.line((x, foot, x, foot - (0.06 if mark % 5 == 0 else 0.03) * height), BLACK)
    return ruled


def writing(image: Image.Image, number: int) -> Image.Image:
    """Draws a logo, the device's name and a date."""
    written = image.copy()
    draw, (width, height) = ImageDraw.Draw(written), image.size
    draw.text((4, 4), "DERMATOSCOPE 10x", (255, 255, 0))
    draw.text((4, height - 16), "2017-03-12  ID", WHITE)
    draw.rectangle((0.76 * width, 4, 0.97 * width, 0.14 * height), (20, 60, 200))
    draw.text((0.79 * width, 8), "LOGO", WHITE)
    return written


def grid(image: Image.Image, number: int) -> Image.Image:
    """Draws a measuring grid over the whole picture."""
    ruled = image.copy()
    draw, (width, height) = ImageDraw.Draw(ruled), image.size
    for step in np.arange(0.125, 1, 0.125):
        draw.line((step * width, 0, step * width, height), BLACK, 2)
        draw.line((0, step * height, width, step * height), BLACK, 2)
    return ruled


def bare(image: Image.Image, number: int) -> Image.Image:
    """Returns the picture as it is."""
    return image


def all_of(image: Image.Image, number: int, frames: Sequence[Frame]) -> Image.Image:
    """Draws several frames over each other."""
    for each in frames:
        image = each(image, number)
    return image


def one_of(image: Image.Image, number: int, frames: Sequence[Frame]) -> Image.Image:
    """Draws one of several frames, as several devices in one set do."""
    return frames[number % len(frames)](image, number)


FRAMES: dict[str, Frame] = {
    "none": bare,
    **{f"circle {r}": partial(circle, radius=r) for r in (0.62, 0.55, 0.5, 0.47, 0.4, 0.33, 0.25)},
    "soft circle": partial(circle, radius=0.45, soft=0.1),
    "very soft circle": partial(circle, radius=0.4, soft=0.2),
    "circles of many kinds": partial(circle, radius=0.42, soft=0.02, moved=0.06),
    "soft circles of many kinds": partial(circle, radius=0.42, soft=0.1, moved=0.06),
    "white round circle": partial(circle, colour=WHITE),
    "grey round circle": partial(circle, radius=0.45, colour=(120, 120, 120)),
    "skin-coloured round circle": partial(circle, radius=0.45, colour=(205, 160, 140)),
    "not quite black": partial(circle, radius=0.45, soft=0.02, colour=(9, 8, 12)),
    "white frame, black line": partial(frame, line=0.01),
    "wide white frame, black line": partial(frame, widths=(0.15, 0.15), line=0.02),
    "beige frame": partial(frame, widths=(0.1, 0.1), colour=(210, 180, 150)),
    "black frame": partial(frame, widths=(0.12, 0.12), colour=BLACK),
    "black bars": partial(frame, widths=(0, 0.15), colour=BLACK),
    "black pillars": partial(frame, widths=(0.15, 0), colour=BLACK),
    "white bars": partial(frame, widths=(0, 0.2)),
    "cut corners": cut_corners,
    "vignette": vignette,
    "ruler": ruler,
    "logo and date": writing,
    "grid": grid,
    "circle, ruler, logo": partial(all_of, frames=(circle, ruler, writing)),
    "frame, ruler, logo": partial(all_of, frames=(partial(frame, line=0.01), ruler, writing)),
    "a third behind a circle": partial(
        one_of, frames=(partial(circle, radius=0.45, soft=0.02), bare, bare)
    ),
    "six devices": partial(
        one_of,
        frames=(
            circle,
            partial(circle, radius=0.38, soft=0.03),
            partial(frame, line=0.01),
            partial(frame, widths=(0.12, 0.12), colour=BLACK),
            ruler,
            bare,
        ),
    ),
}


def encoded(image: Image.Image, quality: int) -> Image.Image:
    """Returns the image after a JPEG of this quality."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, keep: float, left: float = 0.4, top: float = 0.6) -> Image.Image:
    """Returns a share of each side, with so much of what is cut away at the left and the top."""
    width, height = image.size
    x, y = int(width * (1 - keep) * left), int(height * (1 - keep) * top)
    box = (x, y, x + int(width * keep), y + int(height * keep))
    return encoded(image.crop(box), 85)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "JPEG 30": partial(encoded, quality=30),
    "flip": lambda image: encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 85),
    "turn": lambda image: encoded(image.transpose(Image.Transpose.ROTATE_90), 85),
    "crop 95": partial(cropped, keep=0.95, left=0.2, top=0.7),
    "crop 90": partial(cropped, keep=0.9),
    "crop 85": partial(cropped, keep=0.85, left=0.5, top=0.45),
    "corner 90": partial(cropped, keep=0.9, left=0.0, top=1.0),
}


def side_of(images: Sequence[Image.Image], name: str = "") -> duplicates.Side:
    """Returns a data set of these images, as `ingest` makes it, held in memory."""
    rows, thumbnails = [], []
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        image.save(buffer, "BMP")
        seen = reading.inspect_bytes(buffer.getvalue(), f"{name}{number}.bmp")
        assert seen.thumbnail is not None, seen.problem
        thumbnails.append(seen.thumbnail)
        rows.append((f"{name}{number}", seen.sha256, "", seen.fingerprint, True, 0, number))
    columns = ["key", "sha256", "pixels_sha256", "fingerprint", "readable", "shard", "row"]
    return duplicates.Side(pd.DataFrame(rows, columns=columns), [np.stack(thumbnails)])
