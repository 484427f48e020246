"""How one picture must be turned, scaled and shifted to show what another shows."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_pictures import photograph
from numpy.typing import NDArray

from skin_pipeline.data.duplicates.registration import ORIENTATIONS, aligned, search, warped
from skin_pipeline.data.duplicates.structure import half, oriented

Float = NDArray[np.float32]


@pytest.fixture
def thumbnail() -> Float:
    return np.asarray(photograph(3).convert("L").resize((64, 64)), np.float32)


@pytest.mark.parametrize("number", range(ORIENTATIONS))
def test_the_orientation_of_a_copy_is_found(thumbnail: Float, number: int) -> None:
    found = search(thumbnail[None], np.ascontiguousarray(oriented(thumbnail, number))[None])
    assert found.orientation[0] == number
    assert found.score[0] > 0.99
    assert found.start[0] == pytest.approx([1, 0, 1, 0])


def test_a_picture_under_the_first_view_is_itself(thumbnail: Float) -> None:
    seen, shown = warped(thumbnail, np.array([1, 0, 1, 0], np.float32))
    assert np.abs(seen - thumbnail).max() < 0.5
    assert shown.all()


def test_a_view_beyond_the_picture_shows_where_it_has_no_pixels(thumbnail: Float) -> None:
    _, shown = warped(thumbnail, np.array([1, 0.5, 1, 0], np.float32))
    assert shown.mean() == pytest.approx(0.75, abs=0.02)
    assert not shown[-10:].any()


@pytest.mark.parametrize("view", [(0.9, 0.05, 0.95, -0.03), (1.0, -0.08, 0.92, 0.0)])
def test_steps_lead_to_the_view_under_which_a_copy_was_seen(
    thumbnail: Float, view: tuple[float, ...]
) -> None:
    whole = half(thumbnail[None])[0]
    part, _ = warped(whole, np.array(view, np.float32))
    found = aligned(whole, part, np.array([1, 0, 1, 0], np.float32), steps=30)
    assert found == pytest.approx(view, abs=0.02)
