"""The geometry that packing and the released model share."""

from __future__ import annotations

import pytest

from skin_pipeline.geometry import Geometry


@pytest.mark.parametrize(
    ("size", "field_of_view", "whole"), [(224, 0.8, 280), (64, 1.0, 64), (224, 0.9, 249)]
)
def test_the_whole_side_is_that_of_which_the_working_square_is_cut(
    size: int, field_of_view: float, whole: int
) -> None:
    assert Geometry(size, field_of_view).whole_side == whole


def test_without_a_field_of_view_the_whole_centre_square_is_seen() -> None:
    assert Geometry(100) == (100, 1.0)
    assert Geometry(100).whole_side == 100
