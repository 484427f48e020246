"""Finds what surrounds the skin in a picture: the black around a round field of view, or a frame.

Most dermatoscopes leave such a surround, and it is the same in all pictures of one device. It says
nothing about the skin, and would make all of them look alike, so fingerprints and the search for
near-duplicates leave it out.

All functions work on thumbnails (n, 64, 64) of luminance, many at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Float = NDArray[np.float32]

DARK = 24  # luminance up to which a pixel can be the black of a surround, which is seldom quite 0
BRIGHT = 250  # luminance of the white of a surround
LEAST, LEAST_WHITE = 12, 60  # pixels of a surround; overexposed skin has some white ones too
SKIN = 0.06  # share of the picture that must be left, or else all of it counts
ISLAND = 0.03  # share of the picture up to which a part inside the surround is writing on it
SHADE = 0.6  # share of the skin's median luminance below which a pixel is in the black's soft edge
REACH = 6  # largest width of this edge in pixels
MARGIN = 2  # pixels along the edge that are left out too
SAME_COLOUR = 4  # difference in luminance that encoding makes in an area of one colour
STEP = 16  # difference in luminance over two pixels that makes an edge
JUMP = 14  # difference between the means of the rows on its two sides
LENGTH = 0.7  # share of a side along which an edge must run
DEEPEST = 16  # pixels from the border up to which an edge is searched
NEAR = 0.15  # share of skin nearby from which a local mean counts in full

# Neighbours for scipy's operations on a stack of images. They are flat (all of one image), so that
# nothing spreads from an image to the one before or behind it.
_FLAT = np.zeros((3, 3, 3), bool)
_FLAT[1] = True
_CROSS = ndimage.generate_binary_structure(3, 1) & _FLAT


def field(light: NDArray[np.uint8]) -> Mask:
    """Returns where thumbnails (n, side, side) of luminance show skin and no surround.

    A surround touches the border, and is nearly black, evenly white, or separated from the skin by
    a straight line along the border. A picture without one shows skin everywhere.
    """
    shown = np.ones(light.shape, bool)
    for hint, found in ((_may_have_lines, _beyond_lines), (_may_be_plain, _plain)):
        some = np.flatnonzero(hint(light))
        if len(some):  # the quick look spares most images the slow one
            shown[some] &= ~found(light[some])
    some = np.flatnonzero(~shown.all((1, 2)))
    if len(some):
        shown[some] = _inside(~shown[some])
    return shown


def _may_have_lines(light: NDArray[np.uint8]) -> Mask:
    """Returns which images may have a straight edge: the means of rows or columns jump at one."""
    means = np.stack([light.mean(2, dtype=np.float32), light.mean(1, dtype=np.float32)], 1)
    jumps = np.abs(means[:, :, 2:] - means[:, :, :-2])
    jumps[:, :, DEEPEST:-DEEPEST] = 0
    return np.asarray(jumps.max((1, 2)) > JUMP)


def _beyond_lines(light: NDArray[np.uint8]) -> Mask:
    """Returns what is between the border and a straight edge that runs along it."""
    # Turned four times, each border is once at the top, so that one rule finds all edges.
    turned = [np.rot90(light, turn, (1, 2)) for turn in range(4)]
    strips = np.stack([view[:, : DEEPEST + 2] for view in turned], 1).astype(np.int16)
    step = strips[:, :, 2:] - strips[:, :, :-2]
    # A row is on an edge if most of its pixels step the same way, brighter or darker.
    line = np.maximum((step > STEP).mean(3), (step < -STEP).mean(3)) >= LENGTH
    # All rows from the border to the deepest edge are surround.
    beyond = np.logical_or.accumulate(line[:, :, ::-1], 2)[:, :, ::-1]
    around = np.zeros(light.shape, bool)
    for turn in range(4):
        np.rot90(around, turn, (1, 2))[:, :DEEPEST] |= beyond[:, turn, :, None]
    return around


def _may_be_plain(light: NDArray[np.uint8]) -> Mask:
    """Returns which images may have a black or white surround: part of their border is so."""
    border = np.concatenate([light[:, 0], light[:, -1], light[:, :, 0], light[:, :, -1]], 1)
    return np.asarray(((border <= DARK) | (border >= BRIGHT)).sum(1) >= LEAST)


def _plain(light: NDArray[np.uint8]) -> Mask:
    """Returns what is black or evenly white from the border on, with the soft edge of the black."""
    edge = np.zeros(light.shape, bool)
    edge[:, [0, -1]] = edge[:, :, [0, -1]] = True
    # White must be even, unlike black: overexposed skin is white with structure.
    even = _reached(edge, _constant(light) & (light >= BRIGHT))
    even[even.sum((1, 2)) < LEAST_WHITE] = False
    # JPEG leaves a few pixels of other values along the edge of an even area.
    alike = np.abs(light - _medians(light, even)) <= SAME_COLOUR
    even |= ndimage.binary_dilation(even, _CROSS, REACH, mask=alike)
    # Black may begin at the border, or behind a white frame.
    black = _reached(edge | ndimage.binary_dilation(even, _FLAT, MARGIN), light <= DARK)
    black[black.sum((1, 2)) < LEAST] = False
    shade = light < SHADE * _medians(light, ~(black | even))
    return np.asarray(even | black | ndimage.binary_dilation(black, _CROSS, REACH, mask=shade))


def _reached(start: Mask, through: Mask) -> Mask:
    """Returns the parts of `through` that are connected to one of the `start` pixels."""
    return np.asarray(ndimage.binary_propagation(start & through, _CROSS, through))


def _medians(light: NDArray[np.uint8], where: Mask) -> Float:
    """Returns the median luminance of each image in its part; infinite if that is empty."""
    pairs = zip(light, where, strict=True)
    medians = [np.median(image[part]) if part.any() else np.inf for image, part in pairs]
    return np.array(medians, np.float32)[:, None, None]


def _inside(around: Mask) -> Mask:
    """Returns the skin inside a surround: without its margin, and without writing on it."""
    inside = ~ndimage.binary_dilation(around, _FLAT, MARGIN)
    inside &= ~_islands(inside)
    # Where hardly any skin is left, the picture itself is dark, and its structure must count.
    inside[inside.mean((1, 2)) < SKIN] = True
    return np.asarray(inside)


def _constant(light: NDArray[np.uint8]) -> Mask:
    """Returns the pixels in a block of 3x3 of one value; the border is taken to go on outside."""
    wide = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    same = wide[:, :, 1:] == wide[:, :, :-1]  # as the pixel to the left
    across = same[:, :, 1:] & same[:, :, :-1]
    down = (wide[:, 1:] == wide[:, :-1])[:, :, 1:-1]
    centres = across[:, :-2] & across[:, 1:-1] & across[:, 2:] & down[:, 1:] & down[:, :-1]
    return np.asarray(ndimage.binary_dilation(centres, _FLAT))


def _islands(inside: Mask) -> Mask:
    """Returns the small parts that a surround encloses: letters, a ruler, a logo."""
    labels: Any
    labels, _ = ndimage.label(inside, _FLAT)
    sizes = np.bincount(labels.ravel())
    return np.asarray(sizes[labels] < ISLAND * inside[0].size)


def filled(light: Float, shown: Mask) -> Float:
    """Returns thumbnails whose surround is replaced by what the skin nearby looks like, so that its
    edge is no structure."""
    some = np.flatnonzero(~shown.all((1, 2)))
    result = light.copy()
    if len(some):
        weight = shown[some].astype(np.float32)
        result[some] = np.where(weight > 0, light[some], _continued(light[some] * weight, weight))
    return result


def _continued(light: Float, weight: Float) -> Float:
    """Returns local means of what has weight: of the nearest pixels where there are any.

    It begins with the mean of the whole image, and puts ever more local means over it, as far as
    there is enough skin near a pixel to trust them.
    """
    value = light.sum((1, 2), keepdims=True) / weight.sum((1, 2), keepdims=True)
    for sigma in (8, 4, 2):
        near = ndimage.gaussian_filter(weight, (0, sigma, sigma))
        mean = ndimage.gaussian_filter(light, (0, sigma, sigma)) / np.maximum(near, 1e-6)
        trust = np.clip(near / NEAR, 0, 1)
        value = value * (1 - trust) + mean * trust
    return np.asarray(value, np.float32)
