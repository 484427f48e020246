"""The self-contained model: an image of any size in, a probability out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skin_pipeline.data.images import scaled_side
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.checkpoints import Arrays
from skin_pipeline.training.strategies import STRATEGIES


def released_model(
    network: Network,
    strategy: str,
    runs: Sequence[Arrays],
    field_of_view: float,
    *,
    views: int = 1,
    temperature: float = 1.0,
) -> Any:
    """The runs as one model: RGB uint8 (n, h, w, 3) in, probability of malignancy (n, 1) out.

    Args:
        network: With its pretrained weights.
        strategy: That the runs were trained with.
        runs: The weights of each run's model; their logits are averaged.
        field_of_view: Share of the image's short side that the network sees.
        views: Dihedral views of an image over which its logit is averaged, from the first.
        temperature: By which the logit is divided.
    """
    keras = network.keras
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    square = geometry(keras, image, network.image_size, field_of_view)
    # One after the other in the batch: the network stands in the model once.
    every = [seen_as(keras, square, view) for view in range(views)]
    squares = keras.ops.concatenate(every, axis=0) if views > 1 else square
    seen = STRATEGIES[strategy].stem(network)(squares)
    logits = [_run(network, strategy, weights, i)(seen) for i, weights in enumerate(runs)]
    logit = keras.layers.Average(name="ensemble")(logits) if len(logits) > 1 else logits[0]
    mean = keras.ops.mean(keras.ops.reshape(logit, (views, -1, 1)), axis=0)
    scaled = keras.layers.Rescaling(1 / temperature, dtype="float32", name="calibrated")(mean)
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(scaled)
    return keras.Model(image, probability, name="skin_cancer_screening")


def seen_as(keras: Any, squares: Any, view: int) -> Any:
    """Squares (n, size, size, 3) in one of the eight views, as `inputs.dihedral` turns them."""
    if view & 1:
        squares = keras.ops.flip(squares, axis=2)
    if view & 2:
        squares = keras.ops.flip(squares, axis=1)
    if view & 4:
        squares = keras.ops.transpose(squares, (0, 2, 1, 3))
    return squares


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
