"""How far two thumbnails show the same picture."""

from __future__ import annotations

import numpy as np
from drawn_pictures import photograph

from skin_pipeline.data.duplicates.likeness import likeness


def test_likeness_is_near_one_for_the_same_and_low_for_other_thumbnails() -> None:
    first = np.stack([np.asarray(photograph(i).convert("L").resize((64, 64))) for i in range(6)])
    assert likeness((first, first)).min() > 0.99
    assert likeness((first, np.roll(first, 1, axis=0))).max() < 0.5


def test_flat_thumbnails_are_like_nothing() -> None:
    flat = np.full((2, 64, 64), 128, np.uint8)
    assert likeness((flat, flat)).max() == 0
