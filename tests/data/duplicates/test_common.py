"""What many images of a set have in common does not count; copies count in full."""

from __future__ import annotations

import numpy as np
from drawn_pictures import photograph
from numpy.typing import NDArray

from skin_pipeline.data.duplicates.common import SEVERAL, Common
from skin_pipeline.data.duplicates.structure import half


def light(number: int, ruler: bool) -> NDArray[np.float32]:
    """A photograph, with lines of a ruler over its lowest rows."""
    image = np.array(photograph(number).convert("L").resize((64, 64)), np.float32)
    if ruler:
        image[50:, ::6] = 0
    return image


def elsewhere(image: NDArray[np.float32], others: list[NDArray[np.float32]]) -> NDArray[np.bool_]:
    common = Common(half(np.stack(others)).astype(np.float16))
    return common.elsewhere(half(image[None]), np.ones((1, 64, 64), bool))[0]


def test_a_ruler_that_many_images_show_does_not_count() -> None:
    others = [light(number, ruler=True) for number in range(1, 13)]
    left = elsewhere(light(0, ruler=True), others)
    assert left[52:].mean() < 0.3
    assert left[:44].mean() > 0.9


def test_a_ruler_that_few_images_show_counts() -> None:
    others = [light(number, ruler=number < SEVERAL) for number in range(1, 13)]
    assert elsewhere(light(0, ruler=True), others).all()


def test_copies_of_an_image_take_nothing_from_it() -> None:
    image = light(0, ruler=False)
    assert elsewhere(image, [image + number for number in range(12)]).all()
