"""Where the lesion is in an image: the square around the dark region nearest to the centre.

    square = around_lesion(InNumPy(), wholes, 0.8)   # top, left and side, up to 1: each (n, 1)

Images are packed with NumPy, and the released model is made of layers of Keras. Both find the
lesion by the lines of this module, so that a model sees the squares that it was trained on.
Brightness is counted in whole numbers, so that rounding does not part the two either.

The darkness of a lesion parts it from the skin (Otsu 1979); hairs and the dark corners of a round
field of view are dark as well, so only the region with the most dark pixels near the centre counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy import ndimage

Array = Any  # of NumPy, or a symbolic tensor of Keras

GRID = 56  # pixels of the side at least, on which the lesion is searched
LEVELS = 256
GREY = (77, 150, 29)  # of 256: red, green and blue (ITU-R BT.601)
FIELD = 0.475  # of the side: beyond this radius are the dark corners of a round field of view
NEAR = 0.25  # of the side: what is darker than skin counts less with its distance from the centre
STEPS, REACH = 16, 5  # a region grows so often, each time by half of such a window
LEAST_AREA = 0.01  # of the square: a smaller region is not a lesion
OUTLIERS = 1  # percent of a region's pixels on each side that may be hairs
AROUND = 1.4  # side of the square, in sides of the region
LEAST_SIDE = 0.35  # a smaller square would show blurred pixels


class Operations(Protocol):
    """What computes: functions of one name in NumPy and in Keras, and one that NumPy lacks."""

    @property
    def xp(self) -> Any:
        """`numpy`, or `keras.ops`."""

    def in_blocks(self, wholes: Array, block: int) -> Array:
        """Returns the brightness, in parts of `LEVELS`, added up over blocks of pixels (n, g, g).

        Args:
            wholes: Images (n, g * block, g * block, 3) of whole numbers.
            block: Side of a block in pixels.
        """

    def counted(self, grey: Array, field: Array) -> Array:
        """Returns how many pixels of the field have each brightness (n, LEVELS).

        Args:
            grey: Whole numbers from 0 to under `LEVELS` (n, g, g).
            field: 1 for what counts, else 0, for all images (1, g, g) or each.
        """

    def grown(self, seed: Array, dark: Array) -> Array:
        """Returns the seed (n, g, g), grown `STEPS` times by half of a window, where it is dark."""


class InNumPy:
    """Computes with NumPy, in ways that Keras does not have and that are faster.

    All of it counts in whole numbers, so the results are the same.
    """

    xp = np

    def in_blocks(self, wholes: Array, block: int) -> Array:
        """See `Operations`."""
        g = wholes.shape[1] // block
        rows = wholes.reshape(-1, g, block, g * block, 3).sum(axis=2)
        red, green, blue = (weight * rows[..., i] for i, weight in enumerate(GREY))
        return (red + green + blue).reshape(-1, g, g, block).sum(axis=3)

    def counted(self, grey: Array, field: Array) -> Array:
        """See `Operations`."""
        images = np.arange(len(grey))[:, None, None]
        places = (grey.astype(np.intp) + LEVELS * images)[np.broadcast_to(field > 0, grey.shape)]
        counts = np.bincount(places, minlength=LEVELS * len(grey))
        return counts.reshape(-1, LEVELS).astype(np.float64)

    def grown(self, seed: Array, dark: Array) -> Array:
        """See `Operations`."""
        window = np.ones((1, REACH, REACH), bool)
        grown = ndimage.binary_dilation(seed > 0, window, STEPS, mask=dark > 0)
        return grown.astype(np.float64)


class InKeras:
    """Computes with Keras, or makes layers of a model, if it is given symbolic tensors.

    These layers are compared with those in a model's file: another function here, or another order,
    and models that were published before are refused.
    """

    def __init__(self, keras: Any) -> None:
        self.xp = keras.ops

    def in_blocks(self, wholes: Array, block: int) -> Array:
        """See `Operations`."""
        xp, g = self.xp, wholes.shape[1] // block
        red, green, blue = (weight * wholes[..., i] for i, weight in enumerate(GREY))
        return xp.sum(xp.reshape(red + green + blue, (-1, g, block, g, block)), axis=(2, 4))

    def counted(self, grey: Array, field: Array) -> Array:
        """See `Operations`."""
        xp, pixels = self.xp, int(np.prod(grey.shape[1:]))
        levels = np.arange(LEVELS, dtype=np.float32)
        each = xp.equal(xp.reshape(grey, (-1, pixels, 1)), levels)
        return xp.sum(xp.where(each, xp.reshape(field, (-1, pixels, 1)), 0.0), axis=1)

    def grown(self, seed: Array, dark: Array) -> Array:
        """See `Operations`."""
        xp = self.xp
        region, dark = xp.expand_dims(seed, -1), xp.expand_dims(dark, -1)
        for _ in range(STEPS):
            region = xp.max_pool(region, REACH, strides=1, padding="same") * dark
        return region[..., 0]


class Squares(NamedTuple):
    """Squares in whole centre squares of images, as shares of their side: each (n, 1)."""

    top: Array
    left: Array
    side: Array


def around_lesion(with_: Operations, wholes: Array, field_of_view: float) -> Squares:
    """Returns the square around the lesion in each image.

    Args:
        with_: What computes.
        wholes: Centre squares of images (n, side, side, 3), of brightness 0…255.
        field_of_view: Side of the central square that is returned where no lesion is found.
    """
    xp = with_.xp
    grey = _smooth(xp, _grey(with_, wholes))
    rows, columns = _away(xp, grey)
    field = xp.where(columns < FIELD**2 - rows, 1.0, 0.0)
    dark = xp.where(grey <= _otsu(with_, grey, field), field, 0.0)
    near = xp.exp(-rows / NEAR**2) * xp.exp(-columns / NEAR**2)
    region = _region(with_, dark, near)
    return _square(xp, region, field_of_view)


def _grey(with_: Operations, wholes: Array) -> Array:
    """Returns the brightness (n, g, g), a whole number, of blocks of pixels; g is about `GRID`."""
    side = wholes.shape[1]
    block = max(1, side // GRID)
    g = side // block
    xp = with_.xp
    cut = xp.round(wholes[:, : g * block, : g * block])
    sums = with_.in_blocks(cut, block)
    return _whole(xp, sums, LEVELS * block**2)


def _whole(xp: Any, sums: Array, by: int) -> Array:
    """Returns sums divided by a number, without the remainder.

    A half keeps them off the limits, where one library may round up and another down.
    """
    return xp.floor((sums + 0.5) / by)


def _smooth(xp: Any, grey: Array) -> Array:
    """Returns brightness without hairs and noise."""
    return _whole(xp, _blurred(xp, grey), 256)


def _blurred(xp: Any, values: Array) -> Array:
    """Returns sums (n, g, g) over 5 by 5 pixels with binomial weights, which add up to 256."""
    padded = xp.pad(values, ((0, 0), (2, 2), (2, 2)), mode="symmetric")
    for _ in range(2):
        padded = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
        padded = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    return padded


def _away(xp: Any, grey: Array) -> tuple[Array, Array]:
    """Returns the squared distance of each row (n, g, 1) and column (n, 1, g) from the centre, in
    sides.

    They are never added up: Keras 3.15 takes the second of such arrays for a bias, if n is 1.
    """
    g = grey.shape[1]
    squared = (middles(xp, grey[:, 0]) / g - 0.5) ** 2
    return xp.reshape(squared, (-1, g, 1)), xp.reshape(squared, (-1, 1, g))


def middles(xp: Any, line: Array) -> Array:
    """Returns where the middle of each pixel of a line is (n, pixels), in pixels.

    They are made from the line, whose length a model does not know beforehand.
    """
    return xp.cumsum(xp.ones_like(line), axis=1) - 0.5


def _otsu(with_: Operations, grey: Array, field: Array) -> Array:
    """Returns the brightness (n, 1, 1) that parts dark from light: with it, the variance between
    both is the largest."""
    xp, levels = with_.xp, np.arange(LEVELS, dtype=np.float32)
    counts = with_.counted(grey, field)
    dark, total = xp.cumsum(counts, axis=1), xp.cumsum(counts * levels, axis=1)
    light = dark[:, -1:] - dark
    apart = total[:, -1:] * dark - total * dark[:, -1:]
    between = apart * apart / xp.maximum(dark * light, 1.0)
    best = between >= xp.amax(between, axis=1, keepdims=True)
    return xp.reshape(xp.amin(xp.where(best, levels, LEVELS), axis=1), (-1, 1, 1))


def _region(with_: Operations, dark: Array, near: Array) -> Array:
    """Returns the region (n, g, g) that has the most dark pixels near the centre."""
    xp = with_.xp
    mass = _blurred(xp, dark * near) * dark
    seed = xp.where(mass >= xp.amax(mass, axis=(1, 2), keepdims=True), dark, 0.0)
    return with_.grown(seed, dark)


def _square(xp: Any, region: Array, field_of_view: float) -> Squares:
    g = region.shape[1]
    area = xp.sum(region, axis=(1, 2))[:, None]
    (top, bottom), (left, right) = (_extent(xp, xp.sum(region, axis=a), area) for a in (2, 1))
    extent = xp.maximum(bottom - top, right - left) / g
    found = area >= LEAST_AREA * g * g
    wanted = xp.minimum(xp.maximum(AROUND * extent, LEAST_SIDE), 1.0)
    side = xp.where(found, wanted, field_of_view)
    y, x = (xp.where(found, (a + b) / 2 / g, 0.5) for a, b in ((top, bottom), (left, right)))
    up, along = (xp.minimum(xp.maximum(one - side / 2, 0.0), 1.0 - side) for one in (y, x))
    return Squares(up, along, side)


def _extent(xp: Any, pixels: Array, area: Array) -> tuple[Array, Array]:
    """Returns where a region begins and ends (n, 1), from its pixels in each row or column."""
    so_far = 100 * xp.cumsum(pixels, axis=1)
    before = xp.sum(xp.where(so_far <= OUTLIERS * area, 1.0, 0.0), axis=1)
    within = xp.sum(xp.where(so_far < (100 - OUTLIERS) * area, 1.0, 0.0), axis=1)
    return before[:, None], within[:, None] + 1
