"""Pooled activations of the frozen trunk, computed once and shared by all runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

BATCH = 32


def dihedral(images: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """One of the eight views of square images that turning and mirroring gives.

    Args:
        images: An array (n, size, size, channels).
        view: 0…7; 0 is the image itself. The first two are mirror images and the first four
            leave the axes in place, so that a run on few views has the most different ones.
    """
    if view & 1:
        images = images[:, :, ::-1]
    if view & 2:
        images = images[:, ::-1]
    if view & 4:
        images = images.transpose(0, 2, 1, 3)
    return images


def pooled(trunk: Any, images: NDArray[np.uint8], views: int) -> NDArray[np.float32]:
    """Activations of every view of every image.

    Args:
        trunk: A Keras model (n, size, size, 3) → (n, channels).
        images: An array (n, size, size, 3) of uint8.
        views: How many dihedral views, from the first.

    Returns:
        An array (views, n, channels) of float32.
    """
    import tensorflow as tf

    # One shape for every batch, the last one padded: one trace, and the same arithmetic for an
    # image wherever it stands.
    forward = tf.function(
        lambda batch: trunk(tf.cast(batch, tf.float32), training=False), reduce_retracing=True
    )
    return np.stack([_one_view(forward, images, view, views) for view in range(views)])


def _one_view(
    forward: Callable[[Any], Any], images: NDArray[np.uint8], view: int, views: int
) -> NDArray[np.float32]:
    started = time.monotonic()
    parts = []
    for start in range(0, len(images), BATCH):
        batch = dihedral(images[start : start + BATCH], view)
        padded = np.zeros((BATCH, *batch.shape[1:]), np.uint8)
        padded[: len(batch)] = batch
        parts.append(np.asarray(forward(padded))[: len(batch)])
    rate = len(images) / (time.monotonic() - started)
    log.info(
        "features view=%d/%d images=%d images_per_second=%.1f", view + 1, views, len(images), rate
    )
    return np.concatenate(parts).astype(np.float32)
