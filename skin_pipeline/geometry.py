"""The part of an image that a network sees, and in how many pixels it sees it."""

from __future__ import annotations

from typing import NamedTuple


class Geometry(NamedTuple):
    """How an image becomes a working square: its centre square is scaled, then cut to `size`.

    The data room packs images with it, and the released model does the same to its input, so a
    geometry that differs between the two makes a model see other images than it was trained on.

        >>> Geometry(224, 0.8).whole_side
        280

    Attributes:
        size: Side of the working square in pixels.
        field_of_view: Share of an image's short side that the working square shows, up to 1.
    """

    size: int
    field_of_view: float = 1.0

    @property
    def whole_side(self) -> int:
        """The side in pixels to which the whole centre square is scaled before it is cut."""
        return round(self.size / self.field_of_view)
