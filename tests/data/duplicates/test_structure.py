"""The fine structure by which thumbnails are compared."""

from __future__ import annotations

import numpy as np
from drawn_pictures import photograph
from numpy.typing import NDArray

from skin_pipeline.data.duplicates.structure import Skin, fine, half, oriented

LIGHT: NDArray[np.float32] = np.asarray(photograph(5).convert("L").resize((64, 64)), np.float32)


def test_brightness_changes_no_structure_and_contrast_little() -> None:
    first, brighter, flatter = (half(image[None]) for image in (LIGHT, LIGHT + 20, LIGHT * 0.8))
    assert np.abs(first - brighter).max() < 1e-3
    assert np.corrcoef(first.ravel(), flatter.ravel())[0, 1] > 0.99


def test_plain_skin_has_no_structure() -> None:
    assert np.abs(half(np.full((1, 64, 64), 150, np.float32))).max() < 1e-3


def test_the_eight_orientations_differ_and_none_is_the_picture_itself_but_the_first() -> None:
    turned = [oriented(LIGHT, number).tobytes() for number in range(8)]
    assert len(set(turned)) == 8
    assert turned[0] == LIGHT.tobytes()


def test_a_surround_counts_for_nothing() -> None:
    framed = LIGHT.astype(np.uint8)
    framed[:, :10] = 0
    (layers,) = fine(Skin.of(framed[None]), np.array([0]), None)
    assert not layers.weight[:, :10].any()
    assert layers.weight[:, 16:].all()
