"""Recognises images that are masks of lesions, or drawings over them, and no pictures."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# How public sets name what was drawn over or about an image: ISIC's `_segmentation`, `_superpixels`
# and `_attribute_globules`, and what annotation tools write.
MASK_NAME = re.compile(
    r"(?:^|[\W_])(?:segmentations?|segmented|superpixels?|masks?|seg|overlays?|contours?|outlines?"
    r"|annotations?|annotated|heatmaps?|saliency|ground[\W_]?truths?|gt|roi|attribute_[a-z_]+)$"
)
GREY_STEP = 8  # greys that are no further apart count as one
LIKE_A_MASK = 0.97  # share of an image's pixels that have one of its two greys
# The same of its thumbnail, whose pixels along an edge are means of both greys.
PERHAPS_A_MASK = 0.75


def named_like_a_mask(key: str) -> bool:
    """Returns whether the name of an image, or of a folder above it, is one that masks have."""
    *folders, name = key.casefold().split("/")
    return any(MASK_NAME.search(part) for part in (*folders, name.rpartition(".")[0] or name))


def like_a_mask(image: Image.Image, small: NDArray[np.uint8]) -> bool:
    """Returns whether an RGB image consists of two greys only, as the mask of a lesion does.

    Args:
        image: The whole image.
        small: The same as (64, 64, 3). Most images are told apart by it, at little cost.
    """
    grey = small[..., 1].astype(np.int16)
    if np.abs(small - grey[..., None]).max() > GREY_STEP:
        return False
    if not _two_greys(grey.ravel(), PERHAPS_A_MASK):
        return False
    return _two_greys(np.asarray(image.getchannel("G"), np.int16).ravel(), LIKE_A_MASK)


def _two_greys(grey: NDArray[np.int16], share: float) -> bool:
    """Returns whether that share of the pixels is near the darkest or the brightest of them."""
    low, high = int(grey.min()), int(grey.max())
    at_an_end = (grey - low <= GREY_STEP) | (high - grey <= GREY_STEP)
    return high - low > 4 * GREY_STEP and float(at_an_end.mean()) >= share
