"""The self-contained model: an image of any size in, a probability out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skin_pipeline.data.images import scaled_side
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.checkpoints import Arrays
from skin_pipeline.training.strategies import STRATEGIES


def released_model(
    network: Network, strategy: str, runs: Sequence[Arrays], field_of_view: float
) -> Any:
    """The runs as one model: RGB uint8 (n, h, w, 3) in, probability of malignancy (n, 1) out.

    Args:
        network: With its pretrained weights.
        strategy: That the runs were trained with.
        runs: The weights of each run's model; their logits are averaged.
        field_of_view: Share of the image's short side that the network sees.
    """
    keras = network.keras
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    stem = STRATEGIES[strategy].stem(network)
    seen = stem(geometry(keras, image, network.image_size, field_of_view))
    logits = [_run(network, strategy, weights, i)(seen) for i, weights in enumerate(runs)]
    logit = keras.layers.Average(name="ensemble")(logits) if len(logits) > 1 else logits[0]
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logit)
    return keras.Model(image, probability, name="skin_cancer_screening")


def _run(network: Network, strategy: str, weights: Arrays, number: int) -> Any:
    model = STRATEGIES[strategy].model(network, f"run_{number}")
    model.set_weights(weights)
    model.trainable = False
    return model


def geometry(keras: Any, image: Any, image_size: int, field_of_view: float) -> Any:
    """The centre of an image at the working size, as `data.images.working_square` cuts it."""
    side = scaled_side(image_size, field_of_view)
    square = keras.layers.Resizing(
        side, side, crop_to_aspect_ratio=True, antialias=True, name="centre_square"
    )(image)
    return keras.layers.CenterCrop(image_size, image_size, name="field_of_view")(square)
