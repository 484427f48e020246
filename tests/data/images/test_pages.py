"""Which page of a file with several is the picture."""

from __future__ import annotations

import numpy as np
from image_files import LESION, SMALL, tiff

from skin_pipeline.data.images import (
    decode,
)


def test_a_thumbnail_is_not_taken_for_the_picture() -> None:
    for pages in (tiff(LESION, pages=[SMALL]), tiff(SMALL, pages=[LESION], kinds=[1, 0])):
        assert np.array_equal(np.asarray(decode(pages).image), np.asarray(LESION))
