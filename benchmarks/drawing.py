"""Many small images, quickly; in a module of its own, which worker processes import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COPY_EVERY = 100


def picture(number: int) -> Image.Image:
    """Returns an image of 96x72 pixels with structure at three scales and colours of its own."""
    random = np.random.RandomState(number)
    canvas = np.zeros((72, 96, 3), np.float32)
    for cells, weight in ((3, 0.4), (6, 0.35), (14, 0.25)):
        noise = Image.fromarray(random.randint(0, 256, (cells, cells, 3)).astype(np.uint8))
        canvas += weight * np.asarray(noise.resize((96, 72), Image.Resampling.BICUBIC))
    skin = canvas * random.uniform(0.4, 0.7, 3) + random.uniform(10, 70, 3)
    return Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8))


def draw(numbers: range, folder: Path) -> int:
    """Draws a batch of images; every hundredth is a copy of the one before."""
    for number in numbers:
        image = picture(number)
        if number % COPY_EVERY == COPY_EVERY - 1:
            image = picture(number - 1).transpose(Image.Transpose.ROTATE_90).resize((66, 88))
        label = "malignant" if number // 2 % 2 else "benign"
        image.save(folder / label / f"image{number:06}.jpg", quality=85)
    return len(numbers)
