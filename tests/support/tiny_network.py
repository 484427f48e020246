"""A network of three layers, and images with their cached activations, for tests of what is done
with any network. Each number that a model reads says of which image and view it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from skin_pipeline.contracts import RESULT, Features, Trunk, Views, dump
from skin_pipeline.storage import FolderStore, Store
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.inputs import Source
from skin_pipeline.training.networks import Spec
from skin_pipeline.training.views import dihedral

SIZE = 16
TRUNK = Trunk(backbone="ResNet50", source="none", digest="none")
CHANNELS = (3, 4, 5)  # of the three stages
MAP = (2, 2, CHANNELS[1])
SPEC = Spec(("first", "second", "third"), "caffe", (3, 7, 12), jit=False, least=8)


def network(seed: int = 1, spec: Spec = SPEC) -> Network:
    """Three convolutions, the last one with batch normalisation behind it."""
    keras.utils.set_random_seed(seed)
    return Network(keras, spec, whole(), SIZE)


def whole(
    include_top: bool = False,
    weights: None = None,
    input_shape: tuple[int, int, int] = (SIZE, SIZE, 3),
) -> Any:
    """The layers of the network, built as those of keras.applications are."""
    assert (include_top, weights) == (False, None)
    layers = keras.layers
    image = keras.Input(input_shape)
    first = layers.Conv2D(CHANNELS[0], 4, strides=4, name="first")(image)
    second = layers.Conv2D(CHANNELS[1], 2, strides=2, activation="relu", name="second")(first)
    third = layers.Conv2D(CHANNELS[2], 1, name="third_conv")(second)
    third = layers.BatchNormalization(name="third_bn")(third)
    return keras.Model(image, layers.Activation("linear", name="third")(third))


def table(labels: np.ndarray, **sides: Sequence[Any]) -> pd.DataFrame:
    """Readable images with their sides in `run_0`, `run_1`, …, or with other columns."""
    names = np.where(labels == 1, "malignant", "benign")
    return pd.DataFrame({"label": names, "key": [f"{n}.jpg" for n in range(len(labels))], **sides})


def pooled(count: int, views: int) -> np.ndarray:
    """Features (views, n, channels), of which the first is the image's number and the second the
    view's."""
    made = np.random.default_rng(5).normal(size=(views, count, sum(CHANNELS))).astype(np.float32)
    made[..., 0], made[..., 1] = np.arange(count), np.arange(views)[:, None]
    return made


def maps(count: int, views: int) -> np.ndarray:
    """Maps (views, n, height, width, channels), told apart in the same way."""
    made = np.random.default_rng(6).normal(size=(views, count, *MAP)).astype(np.float16)
    made[..., 0] = np.arange(count)[:, None, None]
    made[..., 1] = np.arange(views)[:, None, None, None]
    return made


def squares(count: int) -> np.ndarray:
    """Packed images (n, size, size, 3), of which the first pixel is the image's number."""
    made = np.random.default_rng(7).integers(0, 255, (count, SIZE, SIZE, 3), dtype=np.uint8)
    made[:, 0, 0] = np.arange(count)[:, None]
    return made


def seen(made: Network, images: np.ndarray, views: int) -> dict[str, np.ndarray]:
    """What a network says of images: its features and maps of each view."""
    stages = made.stages()
    ends = [stages(dihedral(images, view).astype(np.float32)) for view in range(views)]
    means = [np.concatenate([np.mean(end, axis=(1, 2)) for end in view], axis=1) for view in ends]
    return {"pooled": np.stack(means), "maps": np.stack([v[1] for v in ends]).astype(np.float16)}


def source(
    folder: Path,
    rows: pd.DataFrame,
    views: int | Views,
    shards: int = 2,
    made: Network | None = None,
) -> Source:
    """The images of a table in some shards, each with its activations in two blocks that do not
    stand in the images' order: those of a network, or without one such as tell images apart."""
    store = FolderStore(folder / "store")
    shown = Views(dihedral=views) if isinstance(views, int) else views
    views = shown.dihedral + shown.copies
    parts = np.array_split(np.arange(len(rows)), shards)
    images = squares(len(rows))
    told = {"pooled": pooled(len(rows), views), "maps": maps(len(rows), views)}
    arrays = seen(made, images, views) if made else told
    keys = []
    for number, part in enumerate(parts):
        _put(store, f"shards/{number}.npy", images[part], folder)
        found = [
            _blocks(store, kind, array[:, part], number, folder) for kind, array in arrays.items()
        ]
        document = Features(
            shard=f"shards/{number}.npy",
            trunk=TRUNK,
            views=shown,
            blocks={kind: blocks for kind, (blocks, _) in zip(arrays, found, strict=True)},
            places={kind: place for kind, (_, place) in zip(arrays, found, strict=True)},
        )
        store.put(f"features/{number}/{RESULT}", dump(document))
        keys.append(f"features/{number}")
    return Source(store, rows, keys, [f"shards/{number}.npy" for number in range(shards)])


def _blocks(
    store: Store, kind: str, array: np.ndarray, number: int, folder: Path
) -> tuple[tuple[str, ...], str]:
    views, count = array.shape[:2]
    flat = array.reshape(-1, *array.shape[2:])
    order = np.random.default_rng(number).permutation(len(flat))
    blocks = (f"blocks/{kind}-{number}-a.npy", f"blocks/{kind}-{number}-b.npy")
    half = len(flat) // 2
    _put(store, blocks[0], flat[order[:half]], folder)
    _put(store, blocks[1], flat[order[half:]], folder)
    places = np.empty((len(flat), 2), np.int64)
    places[order] = [(int(n >= half), n if n < half else n - half) for n in range(len(flat))]
    key = f"features/{number}/{kind}.npy"
    _put(store, key, places.reshape(views, count, 2), folder)
    return blocks, key


def _put(store: Store, key: str, array: Any, folder: Path) -> None:
    np.save(folder / "array.npy", array)
    store.put_file(key, folder / "array.npy")
