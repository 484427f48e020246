"""A run of `full` on two virtual devices, which stand for GPUs; a program of its own, since devices
must be set up before TensorFlow starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Trunk
from skin_pipeline.storage import FolderStore
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.checkpoints import Checkpoints
from skin_pipeline.training.inputs import Ints, Source
from skin_pipeline.training.runs import train_run
from skin_pipeline.training.stages import Examples, Run, Stage
from skin_pipeline.training.strategies import STRATEGIES, Training

SQUARES = np.random.default_rng(0).uniform(0, 255, (16, 64, 64, 3)).astype(np.float32)


class Images:
    """Stands for packed images."""

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[Any], ...]:
        return (SQUARES[rows],)


def main() -> None:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    store = FolderStore(Path(sys.argv[1]))
    trunk = Trunk(backbone="EfficientNetV2B0", source="none", digest="none")
    network = Network.load(keras, trunk, 64, store)
    seen = []

    def build() -> Any:
        model = STRATEGIES["full"].model(network, "run", Training(0.001, 0.1))
        inner = model.get_layer("trained").get_layer("network").get_layer("stem_conv")
        kind = type(model.trainable_variables[0].value).__name__
        seen.append((kind, inner.compute_dtype, model.get_layer("logit").compute_dtype))
        return model

    examples = Examples(Images(), np.arange(16), np.arange(16) % 2)
    stage = Stage(
        name="full",
        build=build,
        train=examples,
        validation=examples,
        epochs=2,
        patience=2,
        batch_size=8,
        rate=1e-4,
        rate_setting="tune_learning_rate",
        falling=True,
        devices=("CPU:0", "CPU:1"),
    )
    run = Run(lambda: network, Source(store, pd.DataFrame(), (), ()), Settings(), number=0, seed=1)
    trained = train_run(run, [stage], Checkpoints(store, "train/a"))
    finite = bool(np.isfinite(trained.held_out).all())
    policy = keras.config.dtype_policy().name
    print("SEEN", *seen[0], len(trained.history), policy, trained.weights[0].dtype, finite)


if __name__ == "__main__":
    main()
