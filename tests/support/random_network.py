"""A network of keras.applications with random weights, at the smallest size that makes sense."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np

from skin_pipeline.contracts import Trunk
from skin_pipeline.storage import FolderStore, Store
from skin_pipeline.training.backbone import Network

SIZE = 64
IMAGES = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)


def trunk_named(backbone: str) -> Trunk:
    """Returns a network with random weights as a trunk."""
    return Trunk(backbone=backbone, source="none", digest="none")


RANDOM = trunk_named("ResNet50")


def network(trunk: Trunk = RANDOM, store: Store | None = None) -> Network:
    """Returns a network that is built now."""
    # Random weights and those of Keras come from no store.
    return Network.load(keras, trunk, SIZE, store or FolderStore(Path(tempfile.gettempdir())))


@lru_cache
def loaded(backbone: str = "ResNet50") -> Network:
    """Returns a network that is built once; models only take copies of its weights."""
    return network(trunk_named(backbone))
