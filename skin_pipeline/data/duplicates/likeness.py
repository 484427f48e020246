"""Judges whether two thumbnails show one photograph.

One is aligned to the other, and then the correlation of their finest structure is the likeness. It
is taken in blocks all over the picture, because pictures of one device share a frame, and most
lesions are a dark spot on light skin: neither is evidence that two photographs are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.data.duplicates.common import Common
from skin_pipeline.data.duplicates.registration import aligned, search, warped
from skin_pipeline.data.duplicates.structure import Fine, Skin, fine
from skin_pipeline.data.images import THUMBNAIL

Float = NDArray[np.float32]
Thumbnails = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # of pairs

LIKELY = 0.78  # correlation of coarse structure that is worth a closer look
# Likeness from which two images are one photograph. Of distinct real images the most alike have
# .55, of generated ones on smooth skin .74; nine in ten of those cropped to 90 % have over .77.
SAME = 0.77
BLOCK = 16  # side in pixels of the parts of a thumbnail that are compared one by one
MOST = 0.7  # share of the picture below which blocks of half the side are compared
LEAST_SHARE = 0.2  # of a block that must count, so that its correlation says something
EVIDENCE = 0.2  # share of the picture from which on a likeness is taken as it is
LEAST_EVIDENCE = 0.06  # share of the picture without which nothing is said


def likeness(images: Thumbnails, common: Common | None = None) -> Float:
    """Returns how far pairs of thumbnails show the same picture (n,), -1…1.

    Pairs that clearly do not show the same have 0.

    Args:
        images: Two arrays (n, 64, 64) of luminance; one of a pair may be a crop of the other.
        common: Images of the set; what they have in common does not count.
    """
    first, second = (Skin.of(part) for part in images)
    # Which of the two is the crop is not known, so both ways are tried.
    forward, backward = search(first.light, second.light), search(second.light, first.light)
    scores = np.zeros(len(first.light), np.float32)
    # Each pair is compared in the better direction only.
    for swap, found in ((False, forward), (True, backward)):
        better = backward.score > forward.score
        chosen = np.flatnonzero((found.score >= LIKELY) & (better == swap))
        whole, part = (second, first) if swap else (first, second)
        pairs = zip(fine(whole, chosen, common), fine(part, chosen, common), strict=True)
        for index, (a, b) in zip(chosen, pairs, strict=True):
            scores[index] = _agreement(a, b, found.orientation[index], found.start[index])
    return scores


def _agreement(whole: Fine, part: Fine, orientation: int, start: Float) -> float:
    """Returns the correlation of the finest structure after alignment."""
    turned = whole.oriented(orientation)
    # From rough to fine: at half the size the start may be a few pixels off, which at full size
    # would lead the steps to the next hair instead of the right one.
    view = aligned(turned.half, part.half, start, steps=12)
    view = aligned(turned.full, part.full, view, steps=5)
    seen, shown = warped(turned.compared, view)
    weight = shown * warped(turned.weight, view)[0] * part.weight
    return _block_correlation(seen, part.compared, weight)


def _block_correlation(seen: Float, part: Float, weight: Float) -> float:
    """Returns the mean correlation in blocks, as far as they count.

    One strong edge, such as that of a round dark spot, is no evidence for the rest of the picture,
    so it must not weigh more than its block.

    The less of the picture there is to compare, the smaller are the blocks, and the more each
    difference weighs: a few blocks agree by chance more easily than many.
    """
    side = BLOCK if weight.mean() >= MOST else BLOCK // 2
    blocks = [_blocks(array, side) for array in (seen, part, weight)]
    shares = blocks[2].mean((1, 2))
    counted = shares >= LEAST_SHARE
    evidence = float(shares[counted].sum()) * side**2 / THUMBNAIL**2
    if evidence < LEAST_EVIDENCE:
        return 0.0
    pairs = zip(*(part[counted] for part in blocks), strict=True)
    scores = [_correlation(*block) for block in pairs]
    difference = 1 - float(np.average(scores, weights=shares[counted]))
    return 1 - difference * max(1.0, EVIDENCE / evidence)


def _blocks(array: NDArray[Any], side: int) -> NDArray[Any]:
    """Returns a square array (64, 64) as blocks (n, side, side)."""
    count = THUMBNAIL // side
    return array.reshape(count, side, count, side).swapaxes(1, 2).reshape(-1, side, side)


def _correlation(a: Float, b: Float, weight: Float) -> float:
    """Returns the weighted correlation of two blocks; about 0 if one of them is flat."""
    total = weight.sum()
    a, b = (part - (part * weight).sum() / total for part in (a, b))
    both, first, second = ((x * y * weight).sum() for x, y in ((a, b), (a, a), (b, b)))
    return float(both / (np.sqrt(first * second) + 1e-6))
