"""Copies of an image as another camera might have made it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from skin_pipeline.config import Settings
from skin_pipeline.training.corruptions import KINDS, corrupted

Pixels = NDArray[np.uint8]
SIZE = 64
COPIES = range(40)


def lesion(seed: int = 0) -> Pixels:
    """A brown spot off the centre of pink skin with some texture."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    spot = (np.hypot(rows - 0.45, columns - 0.6) < 0.2)[..., None]
    skin = np.where(spot, (110, 60, 40), (225, 170, 160))
    noise = np.random.default_rng(seed).normal(0, 8, (SIZE, SIZE, 1))
    return np.asarray((skin + noise).clip(0, 255), np.uint8)


def copies(*kinds: str) -> list[NDArray[np.float64]]:
    """Some copies, turned back as the square stands."""
    square = lesion()
    made = [corrupted(square, kinds, copy).astype(float) for copy in COPIES]
    plain = [corrupted(square, (), copy) for copy in COPIES]
    turns = [next(k for k in range(4) if np.array_equal(np.rot90(square, k), one)) for one in plain]
    return [np.rot90(one, -k) for one, k in zip(made, turns, strict=True)]


def test_the_kinds_are_those_of_the_settings_in_their_order() -> None:
    assert list(KINDS) == Settings().corruptions.split(", ")


def test_without_a_kind_a_copy_is_the_square_turned_by_quarters() -> None:
    turned = {np.rot90(lesion(), k).tobytes() for k in range(4)}
    assert {corrupted(lesion(), (), copy).tobytes() for copy in COPIES} == turned


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_the_same_each_time_and_another_for_each_number_and_image(kind: str) -> None:
    made = [corrupted(lesion(), (kind,), copy) for copy in COPIES]
    again = [corrupted(lesion(), (kind,), copy) for copy in COPIES]
    assert all(map(np.array_equal, made, again))
    assert len({one.tobytes() for one in made}) > 8
    other = [corrupted(lesion(1), (kind,), copy) for copy in COPIES]
    assert not any(map(np.array_equal, made, other))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_for_a_kind_does_not_depend_on_the_others(kind: str) -> None:
    flat = np.full((SIZE, SIZE, 3), 128, np.uint8)  # on which most kinds change nothing
    order = list(KINDS)
    alone = corrupted(flat, (kind,), 3)
    idle = [one for one in ("crop", "blur", "resolution") if one != kind]
    assert np.array_equal(alone, corrupted(flat, (*idle, kind), 3))
    assert np.array_equal(
        corrupted(lesion(), tuple(order), 3), corrupted(lesion(), tuple(order[::-1]), 3)
    )


def _mean_colour(copy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(copy.mean(axis=(0, 1)))


def _corner(copy: NDArray[np.float64]) -> float:
    return float(copy[:4, :4].mean() / copy[28:36, 28:36].mean())


def _edges(copy: NDArray[np.float64]) -> float:
    return float(np.abs(np.diff(copy.mean(axis=2), axis=0)).mean())


@pytest.mark.parametrize(
    ("kind", "figure", "lower", "upper"),
    [
        # Of many copies, how far apart the figure is (upper - lower end of its range).
        ("light", lambda copy: _mean_colour(copy)[0] - _mean_colour(copy)[1], 0.3, 1.6),
        ("exposure", lambda copy: float(np.log(copy.mean())), 0.2, 0.9),
        ("saturation", lambda copy: float(np.ptp(copy.mean(axis=(0, 1)))), 15, 60),
        ("vignette", lambda copy: float(np.log(_corner(copy))), 0.3, 0.8),
        ("blur", _edges, 0.3, 9),
        ("resolution", _edges, 1, 9),
        ("jpeg", _edges, 0.2, 9),
    ],
)
def test_copies_differ_in_what_their_kind_says(
    kind: str, figure: Callable[[NDArray[np.float64]], float], lower: float, upper: float
) -> None:
    found = [figure(copy) for copy in copies(kind)]
    assert lower < np.ptp(found) < upper


def test_the_light_of_a_copy_says_nothing_of_the_light_of_the_image() -> None:
    def tint(square: Pixels) -> float:
        light = square.astype(float).mean(axis=(0, 1))
        return float(np.log(light[0] / light[2]))

    warm = np.asarray(lesion() * (1.0, 0.85, 0.6), np.uint8)
    mean = [
        np.mean([tint(corrupted(one, ("light",), c)) for c in COPIES]) for one in (lesion(), warm)
    ]
    assert tint(warm) - tint(lesion()) > 0.3
    assert abs(mean[1] - mean[0]) < 0.15


def test_a_frame_is_a_black_surround_that_leaves_the_centre_as_it_is() -> None:
    framed = [copy for copy in copies("frame") if copy[0, 0].max() == 0]
    assert 0 < len(framed) < len(COPIES) / 2
    for copy in framed:
        assert np.array_equal(copy[24:40, 24:40], lesion()[24:40, 24:40])


def test_a_crop_keeps_four_fifths_of_the_square_at_least_on_its_shorter_side() -> None:
    ramp = np.zeros((SIZE, SIZE, 3), np.uint8)
    ramp[..., 0] = np.arange(SIZE)[None] * 4
    ramp[..., 1] = np.arange(SIZE)[:, None] * 4
    for copy in COPIES:
        seen = corrupted(ramp, ("crop",), copy)[..., :2].astype(float)
        shown = [np.ptp(seen[..., channel]) / (4 * (SIZE - 1)) for channel in range(2)]
        assert min(shown) > 0.8 * np.exp(-0.15) - 0.05
        assert max(shown) > 0.76


@given(st.integers(8, 96), st.integers(0, 255), st.sampled_from([tuple(KINDS), ("light", "jpeg")]))
def test_any_square_stays_a_square_of_its_size(
    size: int, grey: int, kinds: tuple[str, ...]
) -> None:
    square = np.full((size, size, 3), grey, np.uint8)
    made = corrupted(square, kinds, grey)
    assert made.shape == square.shape
    assert made.dtype == np.uint8
