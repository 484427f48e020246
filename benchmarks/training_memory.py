"""Peak memory of one training task, as a process of its own, and how it grows with the images.

The activations are random numbers of the real shapes (ResNet50 at 224 pixels, four views), so that
any number of images can be tried without computing them; the training on them is the real one. An
epoch of each stage is enough to reach the peak. `value` is the peak with four times the images
divided by the peak with the usual number.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from measuring import PeakMemory, parser, report

from skin_pipeline import tables
from skin_pipeline.contracts import RESULT, Dataset, Features, Split, Trunk, dump
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import cache

TRUNK = Trunk(backbone="ResNet50", source="none", digest="none")
VIEWS, SHARD, POOLED, MAPS = 4, 256, (3584,), (7, 7, 1024)
USUAL = 1144
KEYS = {"dataset": "ingest/memory", "split": "split/memory"}


def prepare(folder: Path, images: int) -> list[str]:
    """Fills a store with all that a training task reads; returns the keys of the features."""
    store = FolderStore(folder / "store")
    random = np.random.default_rng(0)
    keys = []
    for start in range(0, images, SHARD):
        count = min(SHARD, images - start)
        ids = np.array([f"{start + row:032}" for row in range(count)], "S32")
        known = cache.FeatureCache(store, TRUNK, 224, ids)
        for view in range(VIEWS):
            for kind, shape, dtype in (("pooled", POOLED, "f4"), ("maps", MAPS, "f2")):
                values = np.abs(random.normal(size=(count, *shape))).astype(dtype)
                np.save(folder / "block.npy", values)
                known.add(kind, str(view), ids, folder / "block.npy")
        keys.append(_features(store, known, ids, start, folder))
    sides = np.resize(["train", "train", "train", "validation", "test"], images)
    labels = np.resize(["benign", "malignant"], images)
    table = pd.DataFrame({"label": labels, "readable": True, "run_0": sides})
    tables.write(store, "split/memory/manifest.parquet", table)
    store.put(f"{KEYS['split']}/{RESULT}", dump(_split()))
    store.put(f"{KEYS['dataset']}/{RESULT}", dump(_dataset(images)))
    return keys


def _features(
    store: FolderStore, known: cache.FeatureCache, ids: cache.Ids, start: int, folder: Path
) -> str:
    key = f"features/memory-{start}"
    blocks, places = {}, {}
    for kind in ("pooled", "maps"):
        found = [known.find(kind, str(view), ids) for view in range(VIEWS)]
        blocks[kind], index = cache.index_of(found)
        places[kind] = f"{key}/{kind}.npy"
        np.save(folder / "places.npy", index)
        store.put_file(places[kind], folder / "places.npy")
    made = Features(shard="none", trunk=TRUNK, views=VIEWS, blocks=blocks, places=places)
    store.put(f"{key}/{RESULT}", dump(made))
    return key


def _split() -> Split:
    return Split(
        dataset=KEYS["dataset"],
        table="split/memory/manifest.parquet",
        runs=1,
        counts={},
        stratification={},
        checks=(),
        docs="",
    )


def _dataset(images: int) -> Dataset:
    return Dataset(
        source="random numbers",
        synthetic=True,
        content_digest="none",
        table="split/memory/manifest.parquet",
        shards=(),
        thumbnails=(),
        golden={},
        image_size=224,
        field_of_view=0.8,
        classes={"benign": images // 2, "malignant": images // 2},
        unreadable=0,
    )


def peak_mib(folder: Path, features: list[str], strategy: str) -> float:
    """Returns the peak memory of the training task in a process of its own."""
    flags = f"--strategy={strategy} --data=demo --weights=none --epochs=1 --tune-epochs=1".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "skin_pipeline", "train", KEYS["split"], "0", *features, *flags],
        env={**os.environ, "SKIN_STORE": f"file://{folder}/store"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with PeakMemory(psutil.Process(process.pid)) as peak:
        _, logged = process.communicate()
    assert process.returncode == 0, logged[-2000:]
    (told,) = [line for line in logged.splitlines() if 'memory what="training' in line]
    print(f"{strategy}: {peak.mib:.0f} MiB; told before: {told.split('needed_gib=')[1]} GiB")
    return peak.mib


def main() -> None:
    """Measures both sides and reports the figure."""
    parser(str(__doc__)).parse_args()
    peaks: dict[str, list[int]] = {"head": [], "fine_tune": []}
    for images in (USUAL, 4 * USUAL):
        with tempfile.TemporaryDirectory(prefix="skin-bench-") as scratch:
            features = prepare(Path(scratch), images)
            for strategy, seen in peaks.items():
                seen.append(round(peak_mib(Path(scratch), features, strategy)))
    growth = {name: round(large / usual, 3) for name, (usual, large) in peaks.items()}
    report(
        [
            (name, f"{usual} MiB with {USUAL} images, {large} MiB with {4 * USUAL}")
            for name, (usual, large) in peaks.items()
        ],
        name="training_memory",
        value=max(growth.values()),
        unit="ratio",
        against=f"peak with {USUAL} images",
        peak_mib=peaks,
        growth=growth,
    )


if __name__ == "__main__":
    main()
