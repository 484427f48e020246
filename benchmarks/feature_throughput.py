"""Images a second of the features step, against a bare forward loop on arrays in memory.

Both run the same network on the same images: the bare one a plain tf.function over batches in
memory, its results thrown away; ours turns the view, pads the batch, keeps what it computes as
files and puts them into the store.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import folder_of, in_turn, parser, report

from skin_pipeline import steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Dataset, Views, load
from skin_pipeline.geometry import region
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import backbone, cache, engines, features, pretrained, runtime, views

IMAGES = 192
PLAIN_BATCH = 32
KINDS = {"pooled": ["pooled"], "pooled and maps": ["pooled", "maps"]}


def bare_loop(network: backbone.Network, pixels: np.ndarray[Any, Any]) -> Any:
    """Runs a plain forward pass over all images, as one would write it first."""
    import tensorflow as tf

    model = network.stages()
    forward = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
    floats = pixels.astype(np.float32)

    def run() -> None:
        for start in range(0, len(floats), PLAIN_BATCH):
            forward(floats[start : start + PLAIN_BATCH])[2].numpy()

    return run


def our_step(
    network: backbone.Network,
    pixels: np.ndarray[Any, Any],
    folder: Path,
    kinds: list[str],
    engine: str,
) -> Any:
    """Computes the features of all images into an empty cache."""
    trunk = pretrained.trunk_of("ResNet50", f"{engine}:none")
    forward = engines.forward_of(network, kinds, trunk, threads=os.cpu_count() or 1)
    shown = views.views_of(Views(dihedral=1))
    count = itertools.count()

    def run() -> None:
        store = FolderStore(folder / f"{engine}{next(count)}")
        ids = cache.ids_of(pixels)
        known = cache.FeatureCache(store, trunk, network.image_size, ids)
        features.compute(forward, pixels, ids, known, kinds=kinds, views=shown, folder=folder)
        assert not len(known.missing(kinds[-1], shown[0].name, ids))

    return run


def found_engines() -> list[str]:
    """Returns the engines of this machine, as `engine:precision`."""
    return ["tensorflow:float32", *(f"openvino:{one}" for one in engines.precisions())]


def main() -> None:
    """Measures both sides and reports the figure."""
    arguments = parser(str(__doc__)).parse_args()
    logging.disable(logging.INFO)
    with folder_of(arguments.data) as (data, name), tempfile.TemporaryDirectory() as scratch:
        settings = Settings(data=str(data), weights=str(arguments.weights or "imagenet"))
        store = FolderStore(Path(scratch, "images"))
        job = Job(settings, Deployment(store=store.url), store)
        ingested = steps.ingest(job)
        shard = load(store, ingested.dataset, Dataset).shards[0]
        pixels = region(np.load(store.local(shard))[:IMAGES])
        keras = runtime.keras_on(job.threads)
        source = ingested.weights if arguments.weights else "none"
        network = backbone.Network.load(keras, pretrained.trunk_of("ResNet50", source), 224, store)
        # A head by default does not read the last stage, so that less is computed; the bare loop
        # computes what `fine_tune` reads, and so does each engine here.
        ours = {
            (engine, kind): our_step(network, pixels, Path(scratch), KINDS[kind], engine)
            for engine in found_engines()
            for kind in KINDS
        }
        bare, *times = in_turn(bare_loop(network, pixels), *ours.values())
    ratios = {about: round(bare / time, 3) for about, time in zip(ours, times, strict=True)}
    (best, _), ratio = max(ratios.items(), key=lambda item: item[1])
    report(
        [
            ("images", f"{len(pixels)} ({name})"),
            ("bare tf.function loop", f"{len(pixels) / bare:.2f} images/s"),
            *(
                (f"{engine}, {kind}", f"{ratio * len(pixels) / bare:.2f} images/s, ratio {ratio}")
                for (engine, kind), ratio in ratios.items()
            ),
        ],
        name="feature_throughput",
        value=ratio,
        unit="ratio",
        against="bare tf.function forward loop on arrays in memory",
        engine=best,
        ratios={f"{engine} {kind}": ratio for (engine, kind), ratio in ratios.items()},
        data=name,
    )


if __name__ == "__main__":
    main()
