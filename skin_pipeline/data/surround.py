"""What surrounds the skin in a picture: the black around a round field of view, a frame, bars.

Most dermatoscopes leave such a surround, and it is the same in all pictures of one device. It says
nothing about the skin, so that fingerprints and the search for near-duplicates leave it out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Float = NDArray[np.float32]

DARK = 24  # luminance up to which a pixel can be the black of a surround, which is never quite 0
BRIGHT = 250  # luminance of the white of a surround
LEAST, LEAST_WHITE = 12, 60  # pixels of a surround; overexposed skin has some white ones too
SKIN = 0.06  # share of the picture that must be left, else all of it counts
ISLAND = 0.03  # smaller parts that the surround encloses are writing on it
SHADE = 0.6  # share of the median luminance below which the soft edge of the black reaches
REACH = 6  # pixels that this edge is wide at most
MARGIN = 2  # pixels along the edge that are left out too
SAME_COLOUR = 4  # difference in luminance that encoding makes where there was one colour
STEP = 16  # difference in luminance over two pixels that makes an edge
JUMP = 14  # difference between the means of the rows on its two sides
LENGTH = 0.7  # share of a side along which an edge must run
DEEPEST = 16  # pixels from the border at which an edge is looked for
NEAR = 0.15  # share of skin nearby that a local mean needs

_FLAT = np.zeros((3, 3, 3), bool)  # neighbours within an image, not of the one before
_FLAT[1] = True
_CROSS = ndimage.generate_binary_structure(3, 1) & _FLAT


def field(light: NDArray[np.uint8]) -> Mask:
    """Where thumbnails (n, side, side) of luminance show skin: all of it, or without a surround.

    A surround touches the border, and is nearly black, evenly white, or parted from the skin by a
    straight line along the border.
    """
    shown = np.ones(light.shape, bool)
    for hint, found in ((_may_have_lines, _beyond_lines), (_may_be_plain, _plain)):
        some = np.flatnonzero(hint(light))
        if len(some):  # most images have none
            shown[some] &= ~found(light[some])
    some = np.flatnonzero(~shown.all((1, 2)))
    if len(some):
        shown[some] = _inside(~shown[some])
    return shown


def _may_have_lines(light: NDArray[np.uint8]) -> Mask:
    """By the means of rows and columns: they jump at a line."""
    means = np.stack([light.mean(2, dtype=np.float32), light.mean(1, dtype=np.float32)], 1)
    jumps = np.abs(means[:, :, 2:] - means[:, :, :-2])
    jumps[:, :, DEEPEST:-DEEPEST] = 0
    return np.asarray(jumps.max((1, 2)) > JUMP)


def _beyond_lines(light: NDArray[np.uint8]) -> Mask:
    """What lies between the border and a straight edge that runs along it."""
    turned = [np.rot90(light, turn, (1, 2)) for turn in range(4)]
    strips = np.stack([view[:, : DEEPEST + 2] for view in turned], 1).astype(np.int16)
    step = strips[:, :, 2:] - strips[:, :, :-2]
    line = np.maximum((step > STEP).mean(3), (step < -STEP).mean(3)) >= LENGTH
    beyond = np.logical_or.accumulate(line[:, :, ::-1], 2)[:, :, ::-1]
    around = np.zeros(light.shape, bool)
    for turn in range(4):
        np.rot90(around, turn, (1, 2))[:, :DEEPEST] |= beyond[:, turn, :, None]
    return around


def _may_be_plain(light: NDArray[np.uint8]) -> Mask:
    """By the border alone: some of it is black or white."""
    border = np.concatenate([light[:, 0], light[:, -1], light[:, :, 0], light[:, :, -1]], 1)
    return np.asarray(((border <= DARK) | (border >= BRIGHT)).sum(1) >= LEAST)


def _plain(light: NDArray[np.uint8]) -> Mask:
    """What is black or evenly white from the border on, with the soft edge of the black."""
    edge = np.zeros(light.shape, bool)
    edge[:, [0, -1]] = edge[:, :, [0, -1]] = True
    even = _reached(edge, _constant(light) & (light >= BRIGHT))
    even[even.sum((1, 2)) < LEAST_WHITE] = False
    alike = np.abs(light - _medians(light, even)) <= SAME_COLOUR
    even |= ndimage.binary_dilation(even, _CROSS, REACH, mask=alike)
    black = _reached(edge | ndimage.binary_dilation(even, _FLAT, MARGIN), light <= DARK)
    black[black.sum((1, 2)) < LEAST] = False
    shade = light < SHADE * _medians(light, ~(black | even))
    return np.asarray(even | black | ndimage.binary_dilation(black, _CROSS, REACH, mask=shade))


def _reached(start: Mask, through: Mask) -> Mask:
    return np.asarray(ndimage.binary_propagation(start & through, _CROSS, through))


def _medians(light: NDArray[np.uint8], where: Mask) -> Float:
    """The median luminance of each image in its part; infinite if that is empty."""
    pairs = zip(light, where, strict=True)
    medians = [np.median(image[part]) if part.any() else np.inf for image, part in pairs]
    return np.array(medians, np.float32)[:, None, None]


def _inside(around: Mask) -> Mask:
    inside = ~ndimage.binary_dilation(around, _FLAT, MARGIN)
    inside &= ~_islands(inside)
    inside[inside.mean((1, 2)) < SKIN] = True
    return np.asarray(inside)


def _constant(light: NDArray[np.uint8]) -> Mask:
    """Pixels in a block of 3x3 of one value; beyond the border the picture goes on."""
    wide = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = (wide[:, :, 1:] == wide[:, :, :-1])[:, :, 1:] & (wide[:, :, 1:] == wide[:, :, :-1])[
        :, :, :-1
    ]
    down = (wide[:, 1:] == wide[:, :-1])[:, :, 1:-1]
    centres = across[:, :-2] & across[:, 1:-1] & across[:, 2:] & down[:, 1:] & down[:, :-1]
    return np.asarray(ndimage.binary_dilation(centres, _FLAT))


def _islands(inside: Mask) -> Mask:
    labels: Any
    labels, _ = ndimage.label(inside, _FLAT)
    sizes = np.bincount(labels.ravel())
    return np.asarray(sizes[labels] < ISLAND * inside[0].size)


def filled(light: Float, shown: Mask) -> Float:
    """Thumbnails whose surround is replaced by what the skin nearby looks like, so that its edge
    is no structure."""
    some = np.flatnonzero(~shown.all((1, 2)))
    result = light.copy()
    if len(some):
        weight = shown[some].astype(np.float32)
        result[some] = np.where(weight > 0, light[some], _continued(light[some] * weight, weight))
    return result


def _continued(light: Float, weight: Float) -> Float:
    """Local means of what has weight: of the nearest pixels where there are any."""
    value = light.sum((1, 2), keepdims=True) / weight.sum((1, 2), keepdims=True)
    for sigma in (8, 4, 2):
        near = ndimage.gaussian_filter(weight, (0, sigma, sigma))
        mean = ndimage.gaussian_filter(light, (0, sigma, sigma)) / np.maximum(near, 1e-6)
        trust = np.clip(near / NEAR, 0, 1)
        value = value * (1 - trust) + mean * trust
    return np.asarray(value, np.float32)
