"""Real images for the simulation of drift: how each looks to a model, as it is and changed.

The trunk's features take minutes, so they are kept in a file and read from it the next time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from skin_pipeline.data import images as reading
from skin_pipeline.geometry import Geometry
from skin_pipeline.monitoring import measures
from skin_pipeline.training import backbone, features, runtime

SIZE, BATCH = 224, features.BATCH
CAST = np.array([1.08, 1.0, 0.92])  # warmer light: what a white balance that is off by little does
BLUR = 1.2  # pixels of the square: the lens is not quite in focus
Squares = NDArray[np.uint8]


class Looks(NamedTuple):
    """How images look: measures (n, m) and pooled features (n, d) of each."""

    measures: NDArray[np.float32]
    pooled: NDArray[np.float32]


def warmer(square: Squares) -> Squares:
    """Returns an image in warmer light."""
    warm: Squares = np.clip(square * CAST, 0, 255).astype(np.uint8)
    return warm


def blurred(square: Squares) -> Squares:
    """Returns an image that is slightly out of focus."""
    return np.asarray(Image.fromarray(square).filter(ImageFilter.GaussianBlur(BLUR)))


CHANGES: dict[str, Callable[[Squares], Squares]] = {
    "as it is": lambda square: square,
    "colour cast": warmer,
    "blur": blurred,
}


def kaggle(folder: Path) -> pd.DataFrame:
    """Returns the images of a folder like the Kaggle set: `path`, `malignant` and `patient`."""
    table = pd.read_csv(next(folder.glob("*.csv")), dtype=str)
    path = table["benign_malignant"] + "/" + table["image_name"] + ".jpg"
    return pd.DataFrame({
        "path": [str(folder / name) for name in path],
        "malignant": (table["benign_malignant"] == "malignant").astype(int),
        "patient": table["patient_id"],
    })


def another_source(folder: Path, share: float, count: int) -> pd.DataFrame:
    """Returns images of another origin, with a share of malignant ones."""
    table = pd.read_csv(folder / "metadata.csv")
    table = table.assign(malignant=(table["benign_malignant"] == "malignant").astype(int))
    many = {1: round(share * count), 0: round((1 - share) * count)}
    parts = [
        table[table["malignant"] == label].sample(n, random_state=0) for label, n in many.items()
    ]
    drawn = pd.concat(parts, ignore_index=True)
    paths = [str(folder / name) for name in drawn["file"]]
    return drawn.assign(path=paths, patient=drawn["file"])[["path", "malignant", "patient"]]


def looks(table: pd.DataFrame, change: str, weights: Path, cache: Path) -> Looks:
    """Returns how the images of a table look after a change; from the cache where it has them."""
    recipe = f"{change} {CAST} {BLUR} {weights.name} {table['path'].tolist()} {measures.NAMES}"
    kept = cache / f"{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = _looks([CHANGES[change](_square(path)) for path in table["path"]], weights)
        buffer = io.BytesIO()
        np.savez(buffer, *made)
        kept.write_bytes(buffer.getvalue())
    with np.load(kept) as found:
        return Looks(found["arr_0"], found["arr_1"])


def _square(path: str) -> Squares:
    seen = reading.inspect(Path(path), Geometry(SIZE, 1.0))
    assert seen.pixels is not None, f"{path}: {seen.problem}"
    return seen.pixels


def _looks(squares: list[Squares], weights: Path) -> Looks:
    values = [measures.measure(square) for square in squares]
    measured = np.array([[one[name] for name in measures.NAMES] for one in values], np.float32)
    forward, parts = _forward(weights), []
    for start in range(0, len(squares), BATCH):
        batch = np.zeros((BATCH, SIZE, SIZE, 3), np.uint8)
        part = np.stack(squares[start : start + BATCH])
        batch[: len(part)] = part
        parts.append(np.asarray(forward(batch)["pooled"])[: len(part)])
    return Looks(measured, np.concatenate(parts))


def _forward(weights: Path) -> Any:
    keras = runtime.keras_on(2)
    network = backbone.Network.untrained(keras, "ResNet50", SIZE)
    network.whole.load_weights(weights)
    return features.forward_of(network, ["pooled"])
