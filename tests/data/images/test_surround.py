"""The part of a picture that shows skin, behind whatever a device has put around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn_pictures import photograph
from framing import FRAMES, WHITE, circle, cropped, encoded, frame, side_of, vignette

from skin_pipeline.data import demo
from skin_pipeline.data.images import surround


def thumbnails(*images: Any) -> Any:
    return side_of(images).thumbnails[0]


def round_field(radius: Any) -> tuple[bool, bool]:
    """The pixels well inside and well outside of a circle on a square picture."""
    y, x = np.mgrid[:64, :64] - 31.5
    away = np.hypot(x, y) / 64
    return away < radius - 0.08, away > radius


def framed_field(across: Any, down: Any) -> tuple[bool, bool]:
    y, x = np.mgrid[:64, :64] + 0.5
    depth = np.minimum(np.minimum(x, 64 - x) / 64 - across, np.minimum(y, 64 - y) / 64 - down)
    return depth > 0.08, depth < -0.01


ROUND: dict[str, tuple[dict[str, Any], float]] = {
    "black": ({}, 0.47),
    "small": ({"radius": 0.3}, 0.3),
    "larger than the picture is high": ({"radius": 0.58}, 0.58),
    "with a soft edge": ({"radius": 0.45, "soft": 0.08}, 0.43),
    "not quite black": ({"colour": (9, 8, 12)}, 0.47),
    "white": ({"colour": WHITE}, 0.47),
}
STRAIGHT: dict[str, tuple[dict[str, Any], float, float]] = {
    "white, with a black line": ({"line": 0.01}, 0.08, 0.08),
    "black bars": ({"widths": (0, 0.15), "colour": (0, 0, 0)}, 0, 0.15),
    "yellow pillars": ({"widths": (0.12, 0), "colour": (240, 220, 40)}, 0.12, 0),
}


def square(number: Any) -> Any:
    return photograph(number).resize((256, 256))


@pytest.mark.parametrize("quality", [95, 30])
@pytest.mark.parametrize("kind", ROUND)
def test_a_round_field_of_view_is_seen(kind: str, quality: int) -> None:
    options, radius = ROUND[kind]
    inside, outside = round_field(radius)
    for number in range(5):
        picture = encoded(circle(square(number), 0, **options), quality)
        shown = surround.field(thumbnails(picture))[0]
        assert shown[inside].mean() > 0.97, number
        assert shown[outside].mean() < 0.03, number


@pytest.mark.parametrize("quality", [95, 30])
@pytest.mark.parametrize("kind", STRAIGHT)
def test_a_frame_is_seen(kind: str, quality: int) -> None:
    options, across, down = STRAIGHT[kind]
    inside, outside = framed_field(across, down)
    for number in range(5):
        picture = encoded(frame(square(number), 0, **options), quality)
        shown = surround.field(thumbnails(picture))[0]
        assert shown[inside].mean() > 0.97, number
        assert shown[outside].mean() < 0.03, number


def test_what_is_left_of_a_frame_after_a_crop_is_seen() -> None:
    picture = cropped(frame(square(1), 0, line=0.01), 0.88, left=0.0, top=0.5)
    shown = surround.field(thumbnails(picture))[0]
    assert shown[7:-7, 11:].all()
    assert not shown[:, :5].any()


def test_a_picture_without_a_surround_is_skin_all_over() -> None:
    pictures = [photograph(number) for number in range(20)]
    random = np.random.default_rng(0)
    lesions = [demo.lesion(random, malignant=bool(number % 2)) for number in range(40)]
    poor = [encoded(lesion, 30) for lesion in lesions[:20]]
    assert surround.field(thumbnails(*pictures, *lesions, *poor)).all()


def test_a_dark_spot_in_the_middle_is_no_surround() -> None:
    light = np.full((1, 64, 64), 180, np.uint8)
    light += np.random.RandomState(0).randint(0, 9, light.shape).astype(np.uint8)
    light[0, 20:50, 15:40] = 5
    assert surround.field(light).all()


@pytest.mark.parametrize("light", [0, 10, 200, 255])
def test_a_picture_of_one_colour_is_not_taken_away_altogether(light: int) -> None:
    assert surround.field(np.full((2, 64, 64), light, np.uint8)).all()


@pytest.mark.parametrize("kind", ["circle 0.4", "beige frame", "six devices", "vignette"])
def test_a_flip_or_turn_moves_the_field_along(kind: str) -> None:
    light = thumbnails(*(FRAMES[kind](square(number), number) for number in range(6)))
    shown = surround.field(light)
    assert (surround.field(light[:, ::-1]) == shown[:, ::-1]).all()
    assert (surround.field(light.swapaxes(1, 2)) == shown.swapaxes(1, 2)).all()


def test_each_image_is_looked_at_by_itself() -> None:
    light = thumbnails(*(FRAMES["six devices"](square(number), number) for number in range(12)))
    alone = np.concatenate([surround.field(image[None]) for image in light])
    assert (surround.field(light) == alone).all()


def test_filling_changes_the_surround_only_and_leaves_no_edge() -> None:
    light = thumbnails(circle(square(3), 0, radius=0.4), square(4)).astype(np.float32)
    shown = surround.field(light.astype(np.uint8))
    filled = surround.filled(light, shown)
    assert (filled[shown] == light[shown]).all()
    assert shown[1].all()
    skin = light[0][shown[0]]
    outside = filled[0][~shown[0]]
    assert skin.min() <= outside.min()
    assert outside.max() <= skin.max()
    steps = np.abs(np.diff(filled[0], axis=0))
    assert steps.max() < 2.5 * np.abs(np.diff(light[1], axis=0)).max()


def test_a_slow_shade_is_no_surround() -> None:
    picture = vignette(square(2), 0, strength=0.5)
    assert surround.field(thumbnails(picture))[0].mean() > 0.9
