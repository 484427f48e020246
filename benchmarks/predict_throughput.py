"""Images a second of `predict` on image files, against the bare forward on their squares in memory.

Both run the same network in batches, on as many squares and views of an image as a model of the
default settings: the bare one a plain tf.function over arrays of float in memory; ours, by each
engine, lists nothing and loads no model within the measured time, but starts its processes, reads,
checks and decodes the files, finds the lesions, cuts the squares and calls the label.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import folder_of, in_turn, parser, report

from skin_pipeline.config import Settings
from skin_pipeline.contracts import LABELS, Release
from skin_pipeline.data import images, kinds
from skin_pipeline.model_file import building, loading, looking
from skin_pipeline.release import predict
from skin_pipeline.storage import FolderStore, digest_file
from skin_pipeline.training import backbone, engines, pretrained, runtime, strategies

USUAL = Settings()
IMAGES = 192
RUNS = 6


def model_in(folder: Path, weights: Path | None, threads: int) -> predict.Resolved:
    """Returns a model as the pipeline releases it, of six heads that learned nothing."""
    keras = runtime.keras_on(threads)
    store = FolderStore(folder / "store")
    settings = Settings(weights=str(weights)) if weights else None
    source = pretrained.pin_weights(settings, store) if settings else "none"
    network = backbone.Network.load(keras, pretrained.trunk_of("ResNet50", source), 224, store)
    heads = [strategies.STRATEGIES["head"].model(network, "run").get_weights()] * RUNS
    path = folder / "model.keras"
    told = {"regions": USUAL.region_count, "views": USUAL.scored_views}
    building.released_model(network, "head", heads, USUAL.field_of_view, **told).save(path)
    release = Release(
        model="benchmark",
        version="0",
        verdict="gate/benchmark",
        synthetic=True,
        content_digest="0",
        labels=LABELS,
        threshold=0.5,
        files={path.name: digest_file(path)},
    )
    return predict.Resolved(release, path)


def bare_loop(model: predict.Resolved, squares: np.ndarray[Any, Any], threads: int) -> Any:
    """Runs a plain forward pass over all squares, as one would write it first."""
    import keras
    import tensorflow as tf

    loaded = loading.load(model.path, threads)
    network = keras.Model(looking.seen(loaded), loaded.output)
    forward = tf.function(lambda batch: network(batch, training=False), reduce_retracing=True)
    floats = squares.astype(np.float32)

    def run() -> None:
        for start in range(0, len(floats), predict.BATCH):
            forward(floats[start : start + predict.BATCH]).numpy()

    return run


def our_command(scorer: predict.Scorer, paths: Sequence[Path]) -> Any:
    """Returns a call that scores all files as the command `predict` does."""

    def run() -> None:
        assert not any(row.problem for row in scorer.predict(paths))

    return run


def main() -> None:
    """Measures both sides and reports the figure."""
    arguments = parser(str(__doc__)).parse_args()
    logging.disable(logging.INFO)
    threads = os.cpu_count() or 1
    with folder_of(arguments.data) as (data, name), tempfile.TemporaryDirectory() as scratch:
        found = sorted(path for path in data.rglob("*") if path.suffix.lower() in kinds.SUFFIXES)
        paths = found[:IMAGES]
        model = model_in(Path(scratch), arguments.weights, threads)
        by = ["tensorflow", *(["openvino"] if engines.installed() else [])]
        scorers = [predict.Scorer.of(model, threads, engine) for engine in by]
        seen = [images.inspect(path, scorers[0].geometry) for path in paths]
        squares = np.stack([item.pixels for item in seen if item.pixels is not None])
        commands = [our_command(scorer, paths) for scorer in scorers]
        bare, *times = in_turn(bare_loop(model, squares, threads), *commands)
    ratios = {engine: round(bare / time, 3) for engine, time in zip(by, times, strict=True)}
    best = max(ratios, key=ratios.__getitem__)
    report(
        [
            ("images", f"{len(paths)} ({name})"),
            ("bare tf.function loop", f"{len(paths) / bare:.2f} images/s"),
            *(
                (f"predict, {engine}", f"{ratio * len(paths) / bare:.2f} images/s, ratio {ratio}")
                for engine, ratio in ratios.items()
            ),
        ],
        name="predict_throughput",
        value=ratios[best],
        unit="ratio",
        against="bare tf.function forward loop on squares in memory",
        engine=best,
        ratios=ratios,
        data=name,
    )


if __name__ == "__main__":
    main()
