"""A stand-in for a network whose activations are known by hand, and the cache that they go to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Trunk, Views
from skin_pipeline.storage import Store
from skin_pipeline.training.cache import Entry, FeatureCache, ids_of
from skin_pipeline.training.features import BATCH, compute
from skin_pipeline.training.views import views_of

IMAGES = np.random.default_rng(0).integers(0, 255, (BATCH + 3, 16, 16, 3), dtype=np.uint8)
TRUNK = Trunk(backbone="ResNet50", source="none", digest="none")


class Seeing:
    """Stands for a network: mean colours, and a note of how many images it was shown."""

    shown = 0

    def __call__(self, batch: NDArray[np.uint8]) -> dict[str, Any]:
        self.shown += len(batch)
        pixels = batch.astype(np.float32)
        return {"pooled": pixels.mean(axis=(1, 2)) + pixels[:, 0, 0] / 7}


def computed(
    store: Store, images: NDArray[np.uint8], folder: Path, views: int = 2
) -> tuple[int, list[list[Entry]]]:
    """Computes what the cache does not have of some images.

    Returns:
        How many images the network was shown, and for each view the entries of the images.
    """
    ids = ids_of(images)
    seeing, known = Seeing(), FeatureCache(store, TRUNK, 16, ids)
    folder.mkdir(exist_ok=True)
    seen = views_of(Views(dihedral=views))
    compute(seeing, images, ids, known, kinds=["pooled"], views=seen, folder=folder)
    return seeing.shown, [known.find("pooled", view.name, ids) for view in seen]
