"""The part of an image that a network sees, and in how many pixels it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skin_pipeline.config import Settings


class Geometry(NamedTuple):
    """How an image becomes a working square: its centre square is scaled, then cut to `size`.

    The data room packs images with it, and the released model does the same to its input, so a
    geometry that differs between the two makes a model see other images than it was trained on.

        >>> Geometry(224, 0.8).whole_side
        280

    Attributes:
        size: Side of the working square in pixels.
        field_of_view: Share of an image's short side that the working square shows, up to 1.
        regions: How many working squares an image has: its centre, and the square around the
            lesion. A packed image has the second one below the first.
    """

    size: int
    field_of_view: float = 1.0
    regions: int = 1

    @classmethod
    def of(cls, settings: Settings) -> Geometry:
        """Returns the geometry that the settings name."""
        return cls(settings.image_size, settings.field_of_view, settings.region_count)

    @property
    def whole_side(self) -> int:
        """The side in pixels to which the whole centre square is scaled before it is cut."""
        return round(self.size / self.field_of_view)


def region(packed: NDArray[Any], number: int = 0) -> NDArray[Any]:
    """Returns one working square of each packed image.

    Args:
        packed: Images (…, regions * size, size, 3).
        number: 0 for the centre, 1 for the square around the lesion.
    """
    size = packed.shape[-2]
    return packed[..., number * size : (number + 1) * size, :, :]
