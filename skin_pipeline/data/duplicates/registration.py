"""Finds how one thumbnail must be turned, scaled and shifted to show what another shows.

This is image registration, in two steps:

1. `search` tries all eight orientations and a few crops at 24 pixels. For each, one product in the
   Fourier domain gives the correlation at all shifts at once. The best of all is the start.
2. `aligned` moves from there in Gauss-Newton steps (Baker and Matthews, "Lucas-Kanade 20 Years On:
   A Unifying Framework", IJCV 2004): it predicts from the slopes of the picture how each pixel
   would change with each parameter, and solves for the change that leaves the least difference.

A *view* is the four parameters of an alignment: scale and shift of the rows, scale and shift of the
columns, in units in which a picture reaches from -1 to 1. (1, 0, 1, 0) is the picture itself.
Rows and columns have a scale each, since thumbnails are squeezed into a square.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from skin_pipeline.data.duplicates.structure import oriented
from skin_pipeline.data.images import THUMBNAIL

Float = NDArray[np.float32]

COARSE = 24  # side in pixels at which orientation, shift and scale are searched
ORIENTATIONS = 8
CROPS = (1.0, 0.95, 0.9, 0.85)  # shares of the side that are tried
OVERLAP = 0.4  # least share of the image that both must show
LONGEST_STEP = 0.06  # change of a parameter at once, beyond which the slopes predict nothing
SHORTEST_STEP = 3e-3  # a tenth of a pixel, after which nothing would improve


class Search(NamedTuple):
    """The best of all orientations, crops and shifts of one image against another, for n pairs."""

    score: Float
    orientation: NDArray[np.int64]
    start: Float  # views (n, 4)


def search(whole: Float, part: Float) -> Search:
    """Returns for pairs of thumbnails (n, 64, 64) how `whole` shows best what `part` shows."""
    crops = [_orientations(_coarse(whole, crop)) for crop in CROPS]
    spectra = fft.rfft2(np.stack(crops, axis=1).reshape(len(whole), -1, COARSE, COARSE))
    other = fft.rfft2(_coarse(part, 1.0))
    # A product with the conjugate is a correlation at every shift: (n, variants, 24, 24). The
    # images are unit vectors, so that a value is the cosine between the two, 1 for the same.
    found = fft.irfft2(spectra * np.conj(other)[:, None], s=(COARSE, COARSE))
    flat = found.reshape(len(whole), -1)
    best = flat.argmax(1)
    variant, shift_number = np.divmod(best, COARSE * COARSE)
    crop, orientation = np.divmod(variant, ORIENTATIONS)
    # The correlation is cyclic: a shift beyond half of the side is one in the other direction.
    shift = (np.stack(np.divmod(shift_number, COARSE), 1) + COARSE // 2) % COARSE - COARSE // 2
    scale = np.array(CROPS, np.float32)[crop]
    rows, columns = (shift * 2 / COARSE * scale[:, None]).T
    start = np.stack([scale, rows, scale, columns], axis=1).astype(np.float32)
    return Search(np.take_along_axis(flat, best[:, None], 1)[:, 0], orientation, start)


def _coarse(images: Float, crop: float) -> Float:
    """Returns the centre of thumbnails at 24 pixels, without slow gradients, as unit vectors."""
    shrink = _shrinking(crop)
    small = shrink @ images @ shrink.T
    band: Any = (small - gaussian_filter(small, (0, 2, 2))) * _TAPER
    band -= band.mean((1, 2), keepdims=True)
    return _unit(band)


def _shrinking(crop: float) -> Float:
    """Returns a matrix (24, 64) that averages the centre `crop` of 64 pixels to 24.

    The edges of the 24 do not fall between two of the 64, so a pixel counts for each as far as it
    is inside.
    """
    edges = THUMBNAIL * (0.5 + crop * (np.arange(COARSE + 1) / COARSE - 0.5))
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(THUMBNAIL)[None]
    covered = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, 1)
    return np.asarray(covered / covered.sum(1, keepdims=True), np.float32)


# Lets the borders fade: the Fourier transform takes them to touch, and would see an edge there.
_TAPER = np.sqrt(np.outer(*2 * [np.hanning(COARSE + 2)[1:-1]])).astype(np.float32)


def _unit(images: Float) -> Float:
    norm = np.linalg.norm(images, axis=(1, 2), keepdims=True)
    return np.asarray(images / (norm + 1e-6), np.float32)  # a flat image stays near zero


def _orientations(images: Float) -> Float:
    """Returns images (n, 8, side, side) in all flips and quarter turns."""
    return np.stack([oriented(images, number) for number in range(ORIENTATIONS)], axis=1)


def aligned(whole: Float, part: Float, view: Float, steps: int) -> Float:
    """Returns the view under which `whole` shows what `part` shows.

    Args:
        whole: Structure (side, side).
        part: The same of the other image.
        view: Where to begin.
        steps: How many steps to take at most.
    """
    side = len(whole)
    axis = _axis(side)
    slopes: Any = np.gradient(whole)
    for _ in range(steps):
        seen, shown = warped(whole, view)
        if shown.mean() < OVERLAP:  # it has slid off the picture: they do not show the same
            break
        # How each pixel changes with each of the four parameters. A shift moves all pixels alike, a
        # scale moves them in proportion to their distance from the centre. Slopes are per pixel,
        # and side / 2 pixels are one unit of a view.
        down, across = (warped(slope, view)[0] * (side / 2) for slope in slopes)
        gains = np.stack([down * axis[:, None], down, across * axis, across]) * shown
        jacobian = gains.reshape(4, -1)
        normal = jacobian @ jacobian.T
        # Damping, relative to the size of the matrix: without structure in one direction it would
        # be singular. The constant is for a flat picture, where it is zero.
        normal += np.eye(4, dtype=np.float32) * (1e-3 * np.trace(normal) / 4 + 1e-9)
        change = np.linalg.solve(normal, jacobian @ ((part - seen) * shown).ravel())
        view = view + np.clip(change, -LONGEST_STEP, LONGEST_STEP)
        if np.abs(change).max() < SHORTEST_STEP:
            break
    return view


def _axis(side: int) -> Float:
    """Returns the positions of pixels from -1 to 1."""
    return ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)


def warped(image: Float, view: Float) -> tuple[Float, NDArray[np.bool_]]:
    """Returns a square image seen under a view, and where it has pixels to show."""
    side = len(image)
    # Where each row and each column of the result is in the image, in pixels.
    positions = [(view[i] * _axis(side) + view[i + 1] + 1) / 2 * side - 0.5 for i in (0, 2)]
    inside = [(position >= 0) & (position <= side - 1) for position in positions]
    # Bilinear, one axis after the other. A little less than the last pixel, as each needs the next.
    rows, columns = (np.clip(position, 0, side - 1.001) for position in positions)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    rest = (rows - top)[:, None].astype(np.float32)
    seen = image[top] * (1 - rest) + image[top + 1] * rest
    rest = (columns - left).astype(np.float32)
    return seen[:, left] * (1 - rest) + seen[:, left + 1] * rest, np.outer(*inside)
