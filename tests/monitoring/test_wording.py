"""What moved, in words that a person understands without knowing how it was found."""

from __future__ import annotations

import numpy as np
import pytest

from skin_pipeline.monitoring.watched import FAMILIES
from skin_pipeline.monitoring.wording import Change, told

USUAL = np.random.default_rng(0).normal(0.52, 0.1, 500)


@pytest.mark.parametrize(
    ("name", "by", "words"),
    [
        ("red", 0.09, "images are redder than those that the model was judged on: 0.61 against"),
        ("red", -0.09, "images are less red than those"),
        ("sharpness", -0.2, "images are more blurred than those"),
        ("vignette", 0.2, "corners are darker than those"),
        ("direction 3", 0.4, "images look different to the trunk (direction 3 of its features)"),
        ("novelty", 0.4, "images show more that is new to the model than those"),
    ],
)
def test_a_mean_that_moved(name: str, by: float, words: str) -> None:
    assert told(Change.between(name, USUAL, USUAL + by)).startswith(words)


@pytest.mark.parametrize("name", [*FAMILIES, "distance", "novelty", "direction 1", "probability"])
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_a_scatter_that_changed(name: str, factor: float) -> None:
    middle = USUAL.mean()
    text = told(Change.between(name, USUAL, middle + factor * (USUAL - middle)))
    assert f"varies {'more' if factor > 1 else 'less'}" in text
    assert f"standard deviation {factor * USUAL.std():.2f} against {USUAL.std():.2f}" in text


def test_a_share() -> None:
    change = Change.between("malignant", np.array([0.1, 0.9]), np.array([0.9, 0.8, 0.7, 0.1]), 0.5)
    assert told(change) == ("75% of the images are classified as malignant, against 50% expected")


@pytest.mark.parametrize("name", [*FAMILIES, "distance", "novelty", "probability"])
def test_everything_has_words(name: str) -> None:
    assert "judged on" in told(Change.between(name, USUAL, USUAL + 1))
