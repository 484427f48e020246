"""Many small images, or many rows without any; quickly, in a module that workers import."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from skin_pipeline.data import images
from skin_pipeline.storage import digest

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


def lesion(number: int) -> Image.Image:
    """Returns the same with a dark spot in it, which is larger in malignant ones."""
    image, random = picture(number), np.random.RandomState(number)
    radius = random.randint(6, 14) + (10 if malignant(number) else 0)
    spot = Image.new("L", image.size)
    ImageDraw.Draw(spot).ellipse((48 - radius, 36 - radius, 48 + radius, 36 + radius), fill=190)
    image.paste((40, 25, 20), mask=spot)
    return image


def malignant(number: int) -> bool:
    """Returns whether an image is drawn as a malignant one: every other two are."""
    return bool(number // 2 % 2)


def draw(numbers: range, folder: Path, drawn: Callable[[int], Image.Image] = picture) -> int:
    """Draws a batch of images; every hundredth is a copy of the one before."""
    for number in numbers:
        image = drawn(number)
        if number % COPY_EVERY == COPY_EVERY - 1:
            image = drawn(number - 1).transpose(Image.Transpose.ROTATE_90).resize((66, 88))
        label = "malignant" if malignant(number) else "benign"
        image.save(folder / label / f"image{number:06}.jpg", quality=85)
    return len(numbers)


draw_lesions = partial(draw, drawn=lesion)


PER_PATIENT = 3  # images
SITES = ("torso", "lower extremity", "upper extremity", "head/neck", "palms/soles", "")


def rows(numbers: range, shard_size: int = 1024) -> pd.DataFrame:
    """Returns what `ingest` would write of so many images, without any image.

    One in a hundred is a copy of the file before it, and one in a thousand cannot be read.
    """
    count, random = len(numbers), np.random.default_rng(numbers.start)
    number = np.arange(numbers.start, numbers.stop)
    copied = number % COPY_EVERY == COPY_EVERY - 1
    files = [digest(str(item).encode()) for item in (number - copied).tolist()]
    readable, patient = number % 1000 != 7, number // PER_PATIENT
    labels = np.where(patient % 5 == 0, "malignant", "benign")
    names = [f"ISIC_{item:07}" for item in number.tolist()]
    colours = random.integers(0, 256, (count, 15), np.uint8)
    colours[1:][copied[1:]] = colours[:-1][copied[1:]]
    width = random.choice([600, 1024, 1872, 4000, 6000], count)
    return pd.DataFrame({
        "image_id": names,
        "key": [f"{label}/{name}.jpg" for label, name in zip(labels, names, strict=True)],
        "label": labels,
        "sha256": files,
        "format": "JPEG",
        "width": width,
        "height": width * 3 // 4,
        "bytes": random.integers(20_000, 2_000_000, count),
        "readable": readable,
        "problem": np.where(readable, "", "cannot identify image file"),
        "converted": np.where(number % 50 == 0, "turned upright", ""),
        **{name: np.round(random.uniform(20, 180, count), 2) for name in images.STATISTICS},
        "fingerprint": [line.tobytes().hex() for line in colours],
        "shard": np.where(readable, number // shard_size, -1),
        "row": np.where(readable, number % shard_size, -1),
        "pixels_sha256": "",
        "patient_id": [f"P{item:07}" for item in patient.tolist()],
        "lesion_id": [f"L{item:07}" if item % 2 else "" for item in patient.tolist()],
        "sex": random.choice(["male", "female", ""], count),
        "age": random.integers(10, 90, count).astype(str),
        "site": random.choice(SITES, count),
    })
