"""Recognises images that are masks of lesions, or drawings over them, and no pictures."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# How public sets name what was drawn over or about an image: ISIC's `_segmentation`, `_superpixels`
# and `_attribute_globules`, and what annotation tools write. The word stands last, perhaps with a
# number (`a_mask_2`, `a_mask (1)`), or first (`overlay_a`).
WORDS = (
    r"segmentations?|segmented|superpixels?|masks?|seg|overlays?|contours?|outlines?"
    r"|annotations?|annotated|heatmaps?|saliency|grad[\W_]?cam|ground[\W_]?truths?|gt"
)
LAST = re.compile(rf"(?:^|[\W_])(?:(?:{WORDS})(?:[\W_]*\d{{1,3}}\)?)?|roi|attribute_[a-z_]+)$")
FIRST = re.compile(rf"(?:{WORDS})[\W_]")
STEP = 8  # colours that are no further apart count as one
LIKE_A_MASK = 0.97  # share of an image's pixels that have one of its two colours
# The same of its thumbnail, whose pixels along an edge are means of both.
PERHAPS_A_MASK = 0.7
# The same of a few of the image's own pixels: an error of over ten standard deviations.
LIKELY_A_MASK = 0.9
A_FEW = 2**12  # pixels of an image
LOOKED_AT = 2**20  # pixels of an image, at most
EACH = 4  # of the thumbnail's rows and columns one in so many is enough to tell most images apart


def named_like_a_mask(key: str) -> bool:
    """Returns whether the name of an image, or of a folder above it, is one that masks have."""
    *folders, name = key.casefold().split("/")
    stem = name.rpartition(".")[0] or name
    return bool(FIRST.match(stem)) or any(LAST.search(part) for part in (*folders, stem))


def like_a_mask(image: Image.Image, small: NDArray[np.uint8]) -> bool:
    """Returns whether an RGB image consists of two colours only, as the mask of a lesion does.

    Args:
        image: The whole image.
        small: The same as (64, 64, 3). Most images are told apart by it, at little cost.
    """
    if not _two_colours(small[::EACH, ::EACH].astype(np.int16), PERHAPS_A_MASK):
        return False
    # Even pictures of plain skin may get as far as this, and few of their pixels tell them apart.
    if not _two_colours(_some_of(image, A_FEW), LIKELY_A_MASK):
        return False
    return _two_colours(_some_of(image, LOOKED_AT), LIKE_A_MASK)


def _some_of(image: Image.Image, most: int) -> NDArray[np.int16]:
    """Returns pixels of an image (height, width, 3) as they are, of a large one only so many."""
    by = math.ceil(math.sqrt(image.width * image.height / most))
    if by > 1:  # sorting all pixels of a picture of 100 megapixels would take gigabytes
        size = max(1, image.width // by), max(1, image.height // by)
        image = image.resize(size, Image.Resampling.NEAREST)
    return np.asarray(image, np.int16)


def _two_colours(pixels: NDArray[np.int16], share: float) -> bool:
    """Returns whether that share of the pixels has the usual colour of its dark or bright half."""
    flat = pixels.reshape(-1, 3)
    light = flat.sum(axis=1)
    order = light.argsort()
    dark = int(np.searchsorted(light[order], (int(light.min()) + int(light.max())) / 2, "right"))
    if dark == len(flat):
        return False  # one colour
    low, high = flat[order[dark // 2]], flat[order[(dark + len(flat)) // 2]]
    usual = _near(flat, low) | _near(flat, high)
    return int(np.abs(high - low).max()) > 4 * STEP and float(usual.mean()) >= share


def _near(pixels: NDArray[np.int16], colour: NDArray[np.int16]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(pixels - colour).max(axis=1) <= STEP)
