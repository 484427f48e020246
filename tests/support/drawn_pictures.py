"""Pictures that are drawn for tests, each unlike any other."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image


def photograph(number: Any) -> Any:
    """A picture with structure of every size and colours of its own, unlike any other."""
    random = np.random.RandomState(number)
    canvas = np.zeros((300, 400, 3), np.float32)
    for cells, weight in ((3, 0.4), (7, 0.3), (15, 0.2), (40, 0.1)):  # as in nature
        noise = random.rand(cells, cells, 3).astype(np.float32) * 255
        layers = [Image.fromarray(noise[..., i]).resize((400, 300), 3) for i in range(3)]
        canvas += np.stack([np.asarray(layer) for layer in layers], -1) * weight
    skin = canvas * (0.55, 0.4, 0.35) + random.uniform(20, 90, 3)
    return Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8))
