"""Finds structure that many images of a set show at one spot: a ruler, a logo, a printed date.

It says nothing about whether two of them are one photograph. What an image has in common with
several others is found by comparing it with the images of a sample that are most like it: pictures
of one device agree where its overlay is and nowhere else, copies of one picture agree all over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

SAMPLE = 1000  # images that others are compared with: memory and time do not grow with the set
CROWD = 12  # images of the sample, the most alike, that are looked at closely
SEVERAL = 8  # images of the crowd that must show the same
ITSELF = 0.999  # correlation from which a picture of the sample is the image itself
AGREED = 0.85  # local correlation of the same structure; outlines of spots seldom reach it
NEARBY = 1.25  # standard deviation in pixels of the neighbourhood of a local correlation
AROUND = 1  # pixels around common structure that do not count either
ALL_OVER = 0.85  # share of the picture beyond which the others are copies of it


class Common(NamedTuple):
    """A sample of a set's images, as structure (n, side, side); see `structure.half`."""

    sample: NDArray[np.float16]

    def elsewhere(self, layers: Float, shown: Mask) -> Mask:
        """Returns `shown` without the structure that an image has in common with others.

        Args:
            layers: Structure of images (n, side, side), made as the sample's.
            shown: What counts of them, at twice the size (n, 2 side, 2 side).
        """
        crowds = self._crowds(layers)
        return np.stack([
            _without(part, self._common(layer, crowd))
            for layer, part, crowd in zip(layers, shown, crowds, strict=True)
        ])

    def _crowds(self, layers: Float) -> list[NDArray[np.int64]]:
        """Returns for each image the pictures of the sample that are most like it."""
        likeness = _unit(layers) @ _unit(self.sample.astype(np.float32)).T
        likeness[likeness > ITSELF] = -1  # an image has everything in common with itself
        order = np.argsort(-likeness, axis=1)[:, :CROWD]
        return [row[scores[row] > 0] for row, scores in zip(order, likeness, strict=True)]

    def _common(self, layer: Float, crowd: NDArray[np.int64]) -> Mask:
        """Returns where an image shows the same as several of its crowd."""
        others = self.sample[crowd].astype(np.float32)
        both = _nearby(others * layer)
        # The local correlation, written as a product: a division by next to nothing is avoided, and
        # the constant keeps plain skin from agreeing with plain skin.
        strength = np.sqrt(_nearby(others**2) * _nearby(layer[None] ** 2)) + 0.1
        common = (both > AGREED * strength).sum(0) >= SEVERAL
        wide = ndimage.binary_dilation(common, iterations=AROUND)
        return np.asarray(wide.repeat(2, 0).repeat(2, 1))


def _without(shown: Mask, common: Mask) -> Mask:
    """Returns `shown` without `common`; all of `shown` if nearly nothing would be left.

    The others are copies of the image then, and exactly such pairs are searched.
    """
    rest = shown & ~common
    return rest if rest.sum() > (1 - ALL_OVER) * shown.sum() else shown


def _nearby(images: Float) -> Float:
    return np.asarray(ndimage.gaussian_filter(images, (0, NEARBY, NEARBY)), np.float32)


def _unit(layers: Float) -> Float:
    flat = layers.reshape(len(layers), -1)
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6), np.float32)
