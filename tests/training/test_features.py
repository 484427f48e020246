from __future__ import annotations

import numpy as np
import pytest

from skin_pipeline.training.features import BATCH, dihedral, pooled

IMAGES = np.random.default_rng(0).integers(0, 255, (BATCH + 3, 16, 16, 3), dtype=np.uint8)


def test_the_eight_views_are_the_symmetries_of_the_square():
    square = IMAGES[:1]
    views = {dihedral(square, view).tobytes() for view in range(8)}
    assert len(views) == 8
    turned = {np.rot90(square, k, axes=(1, 2)).tobytes() for k in range(4)}
    mirrored = {np.rot90(square[:, :, ::-1], k, axes=(1, 2)).tobytes() for k in range(4)}
    assert views == turned | mirrored


def test_the_first_view_is_the_image_itself():
    assert dihedral(IMAGES, 0) is IMAGES


def mean_colour(batch, training):
    import tensorflow as tf

    return tf.reduce_mean(batch, axis=(1, 2)) + batch[:, 0, 0] / 7


@pytest.mark.parametrize("views", [1, 4])
def test_every_image_of_every_view_keeps_its_place(views):
    seen = pooled(mean_colour, IMAGES, views)
    assert seen.shape == (views, BATCH + 3, 3)
    assert seen.dtype == np.float32
    for view in range(views):
        pixels = dihedral(IMAGES, view).astype(np.float32)
        np.testing.assert_allclose(
            seen[view], pixels.mean(axis=(1, 2)) + pixels[:, 0, 0] / 7, rtol=1e-5
        )
