"""Measures of an image: each answers to the fault that it is for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from skin_pipeline.monitoring.measures import NAMES, measure

Image = NDArray[np.uint8]


def lesion() -> Image:
    """Noise on a grey ground."""
    return np.random.default_rng(0).integers(60, 200, (64, 64, 3), dtype=np.uint8)


def tinted(image: Image, red: int, blue: int) -> Image:
    return np.clip(image.astype(int) + np.array([red, 0, blue]), 0, 255).astype(np.uint8)


def blurred(image: Image) -> Image:
    mean = (image.astype(int) + np.roll(image, 1, 0) + np.roll(image, 1, 1)) // 3
    return mean.astype(np.uint8)


def vignetted(image: Image) -> Image:
    made = image.copy()
    made[:8], made[-8:], made[:, :8], made[:, -8:] = 0, 0, 0, 0
    return made


@pytest.mark.parametrize(
    ("name", "change", "sign"),
    [
        ("red", lambda image: tinted(image, 40, 0), 1),
        ("blue", lambda image: tinted(image, 0, -40), -1),
        ("saturation", lambda image: np.repeat(image[..., :1], 3, axis=2), -1),
        ("contrast", lambda image: np.uint8(image // 2 + 64), -1),
        ("sharpness", blurred, -1),
        ("dark", vignetted, 1),
        ("bright", lambda image: np.uint8(np.where(image > 150, 255, image)), 1),
        ("vignette", vignetted, 1),
    ],
)
def test_a_measure_moves_with_what_it_is_for(
    name: str, change: Callable[[Image], Image], sign: int
) -> None:
    before, after = measure(lesion()), measure(change(lesion()))
    assert tuple(before) == NAMES
    assert (after[name] - before[name]) * sign > 0.01


@pytest.mark.parametrize("level", [0, 255])
def test_an_even_image_has_measures_too(level: int) -> None:
    assert np.isfinite(list(measure(np.full((32, 32, 3), level, np.uint8)).values())).all()
