"""Draws synthetic lesions, to try the workflow without any data.

The drawings have the signs that dermoscopy looks for (asymmetry, border, colours), in a crude form.
A model that is trained on them says nothing about skin.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

VERSION = 1  # a part of the seed; raise it when the drawings change
PER_CLASS = 300  # enough for a model to pass the gate, and few enough for a laptop
WIDTH, HEIGHT = 176, 132
SITES = ("torso", "upper extremity", "lower extremity", "head/neck")


def generate(folder: Path, seed: int, per_class: int = PER_CLASS) -> None:
    """Writes `benign/`, `malignant/` and `metadata.csv` below `folder`: equal for equal seeds."""
    rng = np.random.default_rng([VERSION, seed])
    rows = []
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for index in range(per_class):
            name = f"DEMO_{label[0].upper()}{index:04d}"
            image = lesion(rng, malignant=label == "malignant")
            image.save(folder / label / f"{name}.jpg", quality=90)
            rows.append((
                name,
                f"P{rng.integers(per_class)}",
                rng.choice(("female", "male")),
                5 * int(rng.integers(4, 18)),
                rng.choice(SITES),
            ))
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_name", "patient_id", "sex", "age_approx", "site"))
        writer.writerows(rows)


def lesion(rng: np.random.Generator, *, malignant: bool) -> Image.Image:
    """Draws one lesion on skin: irregular and many-coloured if malignant, else round."""
    rough = rng.normal(0.24 if malignant else 0.07, 0.06)
    inside = _blob(rng, max(rough, 0.01))
    skin = np.array((226, 180, 155)) + rng.normal(0, 9, 3)
    base = np.array((134, 88, 62)) + rng.normal(0, 16, 3)
    colour = base + _patches(rng, 26.0 if malignant else 9.0)
    pixels = np.where(inside[..., None], colour, skin) + rng.normal(0, 5, (HEIGHT, WIDTH, 1))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(0.8 if malignant else 1.4))


def _blob(rng: np.random.Generator, rough: float) -> NDArray[np.bool_]:
    """Returns which pixels are inside of a lesion: a disc whose radius varies in waves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    y -= HEIGHT / 2 + rng.normal(0, 4)
    x -= WIDTH / 2 + rng.normal(0, 4)
    angle = np.arctan2(y, x)
    radius = rng.uniform(0.26, 0.36) * HEIGHT
    # At least two waves around the disc: a single one would only move it. Fine waves are weaker.
    waves = range(2, 9)
    outline = sum(
        rng.normal(0, rough / np.sqrt(k)) * np.cos(k * angle + rng.uniform(0, 6.28)) for k in waves
    )
    return np.asarray(np.hypot(x, y) < radius * (1 + outline))


def _patches(rng: np.random.Generator, strength: float) -> NDArray[np.float64]:
    """Returns smooth patches of colour: noise on a coarse grid, scaled up."""
    coarse = rng.normal(0, strength, (6, 8, 3))
    channels = [
        np.asarray(
            Image.fromarray(coarse[..., c].astype(np.float32)).resize(
                (WIDTH, HEIGHT), Image.Resampling.BICUBIC
            )
        )
        for c in range(3)
    ]
    return np.stack(channels, axis=-1).astype(np.float64)
