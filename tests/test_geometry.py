"""The geometry that packing and the released model share."""

from __future__ import annotations

import numpy as np
import pytest

from skin_pipeline.config import REGIONS, Settings
from skin_pipeline.geometry import Geometry, region


@pytest.mark.parametrize(
    ("size", "field_of_view", "whole"), [(224, 0.8, 280), (64, 1.0, 64), (224, 0.9, 249)]
)
def test_the_whole_side_is_that_of_which_the_working_square_is_cut(
    size: int, field_of_view: float, whole: int
) -> None:
    assert Geometry(size, field_of_view).whole_side == whole


def test_without_a_field_of_view_the_whole_centre_square_is_seen() -> None:
    assert Geometry(100) == (100, 1.0, 1)
    assert Geometry(100).whole_side == 100


@pytest.mark.parametrize(("regions", "count"), [("centre", 1), ("centre_and_lesion", 2)])
def test_the_settings_name_how_many_squares_an_image_has(regions: str, count: int) -> None:
    assert REGIONS[count - 1] == regions
    settings = Settings().model_copy(
        update={"image_size": 96, "field_of_view": 0.9, "regions": regions}
    )
    assert Geometry.of(settings) == (96, 0.9, count)


@pytest.mark.parametrize("before", [(), (5,)])
def test_each_square_of_a_packed_image_is_found(before: tuple[int, ...]) -> None:
    first, second = np.zeros((*before, 8, 8, 3)), np.ones((*before, 8, 8, 3))
    packed = np.concatenate([first, second], axis=-3)
    np.testing.assert_array_equal(region(packed), first)
    np.testing.assert_array_equal(region(packed, 1), second)
    np.testing.assert_array_equal(region(first), first)
