"""The lesion is found alike in NumPy and in Keras, and other dark things are not taken for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from skin_pipeline.lesions import AROUND, InKeras, InNumPy, around_lesion

Pixels = NDArray[np.float32]
SIDE, SKIN, DARK = 280, (210.0, 160.0, 140.0), (90.0, 60.0, 50.0)
IN_NUMPY, IN_KERAS = InNumPy(), InKeras(keras)


def skin() -> Pixels:
    noise = np.random.default_rng(0).normal(0, 4, (SIDE, SIDE, 1))
    return (np.array(SKIN) + noise).clip(0, 255).astype(np.float32)


def away_from(y: float, x: float) -> Pixels:
    """Returns the distance of each pixel from a place, all in sides."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    return np.hypot(places[:, None] - y, places[None] - x).astype(np.float32)


def disc(pixels: Pixels, y: float, x: float, radius: float, colour: Any = DARK) -> Pixels:
    pixels = pixels.copy()
    pixels[away_from(y, x) < radius] = colour
    return pixels


def found(pixels: Pixels) -> tuple[float, float, float]:
    """Returns the middle of the square in one image, and its side."""
    top, left, side = (float(one[0, 0]) for one in around_lesion(IN_NUMPY, pixels[None], 0.8))
    return top + side / 2, left + side / 2, side


@pytest.mark.parametrize(
    ("y", "x", "radius"), [(0.5, 0.5, 0.2), (0.35, 0.6, 0.2), (0.6, 0.4, 0.15)]
)
def test_the_square_is_around_the_lesion(y: float, x: float, radius: float) -> None:
    np.testing.assert_allclose(
        found(disc(skin(), y, x, radius)), (y, x, 2 * AROUND * radius), atol=0.03
    )


@pytest.mark.parametrize(("radius", "side"), [(0.1, 0.35), (0.45, 1.0)])
def test_the_square_is_neither_tiny_nor_larger_than_the_image(radius: float, side: float) -> None:
    assert found(disc(skin(), 0.5, 0.5, radius)) == pytest.approx((0.5, 0.5, side), abs=0.01)


def test_the_square_of_a_lesion_at_the_border_lies_within_the_image() -> None:
    top, left, side = (
        one[0, 0] for one in around_lesion(IN_NUMPY, disc(skin(), 0.25, 0.3, 0.2)[None], 0.8)
    )
    assert min(top, left) >= 0
    assert max(top, left) + side <= 1


def _corners(pixels: Pixels) -> Pixels:
    return np.where(away_from(0.5, 0.5)[..., None] > 0.5, 0, pixels)


def _hairs(pixels: Pixels) -> Pixels:
    pixels = pixels.copy()
    for start in (40, 120, 200):  # from one side to the other, two pixels wide
        pixels[start : start + 2] = 30
    return pixels


def _another(pixels: Pixels) -> Pixels:
    return disc(pixels, 0.15, 0.55, 0.06)


def _darker_mark(pixels: Pixels) -> Pixels:
    return disc(pixels, 0.85, 0.5, 0.06, (0.0, 0.0, 60.0))


def _gradient(pixels: Pixels) -> Pixels:
    return pixels * np.linspace(1.1, 0.9, SIDE, dtype=np.float32)[None, :, None]


@pytest.mark.parametrize("beside", [_corners, _hairs, _another, _darker_mark, _gradient])
def test_what_else_is_dark_does_not_move_the_square(beside: Callable[[Pixels], Pixels]) -> None:
    lesion = disc(skin(), 0.5, 0.45, 0.2)
    np.testing.assert_allclose(found(beside(lesion)), found(lesion), atol=0.06)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_of_one_colour_is_seen_at_its_centre(level: int) -> None:
    assert found(np.full((SIDE, SIDE, 3), level, np.float32))[:2] == (0.5, 0.5)


def test_too_small_a_dark_spot_is_no_lesion() -> None:
    # The blur spreads it, so it must be well under a hundredth of the square.
    assert found(disc(np.full((SIDE, SIDE, 3), 200, np.float32), 0.4, 0.4, 0.02)) == pytest.approx((
        0.5,
        0.5,
        0.8,
    ))


@given(
    arrays(np.uint8, (12, 16, 3)),
    st.sampled_from([16, 80, 224, 280, 300]),
    st.sampled_from([1.0, 0.9, 0.55]),
)
@settings(max_examples=25, deadline=None)
def test_keras_finds_the_square_that_numpy_finds(coarse: Any, side: int, view: float) -> None:
    zoom = (side / 12, side / 16, 1)
    pixels = ndimage.zoom(coarse.astype(np.float32), zoom, order=1)[None, :side, :side]
    ours = around_lesion(IN_NUMPY, pixels, view)
    theirs = around_lesion(IN_KERAS, keras.ops.convert_to_tensor(pixels), view)
    np.testing.assert_allclose([np.asarray(one) for one in theirs], ours, atol=1e-5)


@pytest.mark.parametrize("images", [1, 2])
def test_a_model_finds_the_square_in_as_many_images_as_it_is_given(images: int) -> None:
    whole = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(whole, list(around_lesion(IN_KERAS, whole, 0.8)))
    lesions = np.stack([disc(skin(), 0.4, 0.5, 0.2), disc(skin(), 0.6, 0.5, 0.2)])[:images]
    found = [np.asarray(one) for one in model(lesions, training=False)]
    np.testing.assert_allclose(found, around_lesion(IN_NUMPY, lesions, 0.8), atol=1e-5)


def test_each_image_of_a_batch_has_the_square_that_it_has_alone() -> None:
    images = np.stack([disc(skin(), y, 0.5, 0.2) for y in (0.35, 0.5, 0.6)])
    together = np.concatenate(around_lesion(IN_NUMPY, images, 0.8), axis=1)
    alone = [np.concatenate(around_lesion(IN_NUMPY, one[None], 0.8), axis=1)[0] for one in images]
    np.testing.assert_array_equal(together, alone)


def test_the_search_in_published_models_is_made_of_the_same_functions_as_now() -> None:
    """A model's file is compared with what is built now, so another order refuses old models."""
    whole = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(whole, list(around_lesion(IN_KERAS, whole, 0.8)))
    names = " ".join(type(one).__name__ for one in model.operations)
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "fb9f5f2f2e883c89"
