"""A network of keras.applications with random weights, at the smallest size that makes sense."""

from __future__ import annotations

import gc
import tempfile
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
import pytest

from skin_pipeline.contracts import Trunk
from skin_pipeline.storage import FolderStore, Store
from skin_pipeline.training import networks
from skin_pipeline.training.backbone import Network

SIZE = 64
IMAGES = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)
# Of each way in which networks are taken apart and scaled one that is quick to build.
QUICK = {
    *("ResNet50", "ResNet50V2", "EfficientNetV2B0", "ConvNeXtTiny"),
    *("Xception", "EfficientNetB0", "MobileNetV3Small"),
}
# The smallest of each other family, but for InceptionResNetV2, which is slow to build. Larger
# networks of a family have more of the same layers.
FAMILIES = ("InceptionV3", "DenseNet121", "MobileNetV2", "VGG16")


def marks_of(backbone: str) -> list[pytest.MarkDecorator]:
    """Returns what says how often a test of a network runs that is not quick."""
    return [pytest.mark.exhaustive if backbone in {*QUICK, *FAMILIES} else pytest.mark.networks]


ALL = [
    pytest.param(name, marks=[] if name in QUICK else marks_of(name)) for name in networks.BACKBONES
]


def trunk_named(backbone: str) -> Trunk:
    """Returns a network with random weights as a trunk."""
    return Trunk(backbone=backbone, source="none", digest="none")


RANDOM = trunk_named("ResNet50")


def network(trunk: Trunk = RANDOM, store: Store | None = None) -> Network:
    """Returns a network that is built now."""
    # Random weights and those of Keras come from no store.
    made = store or FolderStore(Path(tempfile.gettempdir()))
    return Network.load(keras, trunk, size_of(trunk.backbone), made)


def size_of(backbone: str) -> int:
    """Returns the side of the images that a network of a test sees."""
    return max(SIZE, networks.BACKBONES[backbone].least)


def images_of(backbone: str) -> np.ndarray:
    """Returns two images for a network, which it may change."""
    side = size_of(backbone)
    return np.random.default_rng(0).integers(0, 255, (2, side, side, 3)).astype(np.float32)


@lru_cache(maxsize=2)
def loaded(backbone: str = "ResNet50") -> Network:
    """Returns a network that is built once; models only take copies of its weights."""
    gc.collect()  # networks refer to themselves, and some take gigabytes
    return network(trunk_named(backbone))
