"""Images a second of training the whole network (`full`), against a bare loop of the same steps.

Both train the same ResNet50 on the same images: the bare loop calls one compiled step on arrays of
float in memory; ours draws the batches of an epoch, reads the packed images, turns and corrupts
them as the default settings say, and adds up the losses. On a machine with GPUs both use all of
them, in mixed precision, and the figure says how far reading the images keeps them waiting.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_turn, parser, report

from skin_pipeline.config import Settings
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import (
    backbone,
    batches,
    inputs,
    learners,
    runtime,
    stages,
    strategies,
    views,
)

SETTINGS = Settings(strategy="full")
STEPS = 4  # of an epoch


def stage_of(network: Any, store: FolderStore, images: int, batch: int) -> stages.Stage:
    """Returns the stage that trains the whole network, on random images in a store."""
    random = np.random.default_rng(0)
    side, regions = SETTINGS.image_size, SETTINGS.region_count
    coarse = random.integers(0, 255, (images, regions * side // 8, side // 8, 3), dtype=np.uint8)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, coarse.repeat(8, axis=1).repeat(8, axis=2))
        file.flush()
        store.put_file("shards/0.npy", Path(file.name))
    seen = inputs.Squares(store, ["shards/0.npy"], views.learned_from(SETTINGS))
    examples = stages.Examples(
        seen, np.arange(images), np.resize([0, 1], images), SETTINGS.learned_views
    )
    training = strategies.Training(SETTINGS.l2, SETTINGS.jitter)
    devices = runtime.gpus()
    return stages.Stage(
        name="full",
        build=partial(strategies.STRATEGIES["full"].model, network, "run", training),
        train=examples,
        validation=examples,
        epochs=1000,  # the rate does not fall while it is measured
        patience=1,
        batch_size=batch,
        rate=SETTINGS.tune_learning_rate,
        rate_setting="tune_learning_rate",
        jit=network.jit and len(devices) < 2,
        devices=devices,
    )


def ours(stage: stages.Stage, keras: Any) -> Callable[[], None]:
    """Returns a call that trains an epoch as a run does."""
    learner, count = learners.learner_of(stage, lambda: keras, 0), itertools.count(1)

    def run() -> None:
        learner.learn(batches.Order(stage, 0, 1, next(count)))

    return run


def bare(stage: stages.Stage, keras: Any) -> Callable[[], None]:
    """Returns a call that trains as many steps on one batch in memory."""
    with runtime.spread_over(keras, stage.devices):
        model = stage.build()
        model.compile(
            keras.optimizers.Adam(stage.rate),
            keras.losses.BinaryCrossentropy(from_logits=True),
            jit_compile=stage.jit and all(one.supports_jit for one in model.layers),
        )
    order = batches.Order(stage, 0, 1, 1)
    batch = batches.batch_of(stage.train, *order[0])

    def run() -> None:
        for _ in range(len(order)):
            model.train_on_batch(*batch)

    return run


def main() -> None:
    """Measures both sides and reports the figure."""
    made = parser(str(__doc__))
    made.add_argument("--batch", type=int, default=8, help="images in a batch")
    arguments = made.parse_args()
    logging.disable(logging.INFO)
    keras = runtime.keras_on(0)
    network = backbone.Network.untrained(keras, SETTINGS.backbone, SETTINGS.image_size)
    with tempfile.TemporaryDirectory() as scratch:
        store = FolderStore(Path(scratch))
        stage = stage_of(network, store, STEPS * arguments.batch, arguments.batch)
        plain, real = in_turn(bare(stage, keras), ours(stage, keras))
    images = STEPS * arguments.batch
    report(
        [
            ("devices", ", ".join(stage.devices) or "processor"),
            ("bare steps in memory", f"{images / plain:.2f} images/s"),
            ("full", f"{images / real:.2f} images/s"),
            ("ratio", f"{plain / real:.3f}"),
        ],
        name="full_training",
        value=round(plain / real, 3),
        unit="ratio",
        against="bare loop of train_on_batch on one batch in memory",
        images_per_second={"bare": images / plain, "full": images / real},
    )


if __name__ == "__main__":
    main()
