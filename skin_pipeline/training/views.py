"""What a network is shown of each image: dihedral views of its squares, then corrupted copies.

    views_of(Views(dihedral=2, regions=2, copies=2, corruptions=("light", "jpeg")))  # six views

A score is averaged over dihedral views. Corrupted copies are learned from only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import geometry
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Views
from skin_pipeline.training.corruptions import KINDS, corrupted


class View(NamedTuple):
    """A way in which a network is shown an image.

    Attributes:
        number: Of the dihedral view, 0…7, or of the corrupted copy.
        corruptions: The kinds of corruption, in the order of `corruptions.KINDS`; none for a
            dihedral view.
        region: Of the image: 0 for its centre, 1 for the square around the lesion.
    """

    number: int
    corruptions: tuple[str, ...] = ()
    region: int = 0

    @property
    def name(self) -> str:
        """What the feature cache calls the view."""
        where = [f"region{self.region}"] if self.region else []
        return "-".join([*where, *self.corruptions, str(self.number)])

    def of(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns packed images (n, regions * size, size, 3) in this view (n, size, size, 3)."""
        images = geometry.region(images, self.region)
        if not self.corruptions:
            return dihedral(images, self.number)
        copies = [corrupted(image, self.corruptions, self.number) for image in images]
        return np.stack(copies) if copies else images


def learned_from(settings: Settings) -> Views:
    """Returns what the settings show a network that is trained."""
    return Views(
        dihedral=settings.views,
        regions=settings.region_count,
        copies=settings.corrupted,
        corruptions=settings.corruption_list,
    )


def views_of(views: Views) -> list[View]:
    """Returns all views: each dihedral one of all regions, then the next one; then the copies."""
    regions = range(views.regions)
    kinds = tuple(kind for kind in KINDS if kind in views.corruptions)
    return [
        *(View(number, (), region) for number in range(views.dihedral) for region in regions),
        *(View(copy, kinds, copy % views.regions) for copy in range(views.copies)),
    ]


def dihedral(images: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """Returns one of the eight views of square images that turning and mirroring gives.

    Args:
        images: An array (n, size, size, channels).
        view: 0…7; 0 is the image itself and 1 its mirror image; the first four do not exchange
            rows and columns. A run on few views takes the first ones, which differ most.
    """
    if view & 1:
        images = images[:, :, ::-1]
    if view & 2:
        images = images[:, ::-1]
    if view & 4:
        images = images.transpose(0, 2, 1, 3)
    return images
