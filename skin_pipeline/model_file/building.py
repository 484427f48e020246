"""The self-contained model: an image of any size in, a probability out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from skin_pipeline.geometry import Geometry
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.checkpoints import Arrays
from skin_pipeline.training.strategies import STRATEGIES


class Recipe(NamedTuple):
    """What a released model is built from, beside its weights.

    `whole_side` is the side in pixels to which the whole centre square is scaled before it is cut
    to `image_size`; logits are multiplied by `scale`, which is one by the temperature.
    """

    backbone: str
    strategy: str
    runs: int
    image_size: int
    whole_side: int
    views: int
    scale: float


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
    whole_side = Geometry(network.image_size, field_of_view).whole_side
    return _built(network, strategy, runs, whole_side, views, 1 / temperature)


def rebuilt(network: Network, recipe: Recipe) -> Any:
    """The model that `released_model` made from the same recipe, but for its weights.

    Args:
        network: `Network.untrained` of the recipe's backbone and image size.
        recipe: Of the released model.
    """
    runs = [None] * recipe.runs
    return _built(network, recipe.strategy, runs, recipe.whole_side, recipe.views, recipe.scale)


def fewest_parameters(network: Network, recipe: Recipe) -> int:
    """How many numbers the networks within a released model have, without building it: all of its
    weights but those of the heads."""
    whole = network.parameters(network.whole.input)
    trained = {"head": 0, "fine_tune": network.parameters(network.ends[1]), "full": whole}
    shared = 0 if recipe.strategy == "full" else whole
    return shared + recipe.runs * trained[recipe.strategy]


def _built(
    network: Network,
    strategy: str,
    runs: Sequence[Arrays | None],
    whole_side: int,
    views: int,
    scale: float,
) -> Any:
    keras = network.keras
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    square = _geometry(keras, image, network.image_size, whole_side)
    # One after the other in the batch: the network stands in the model once.
    every = [seen_as(keras, square, view) for view in range(views)]
    squares = keras.ops.concatenate(every, axis=0) if views > 1 else square
    seen = STRATEGIES[strategy].stem(network)(squares)
    logits = [_run(network, strategy, arrays, i)(seen) for i, arrays in enumerate(runs)]
    logit = keras.layers.Average(name="ensemble")(logits) if len(logits) > 1 else logits[0]
    mean = keras.ops.mean(keras.ops.reshape(logit, (views, -1, 1)), axis=0)
    scaled = keras.layers.Rescaling(scale, dtype="float32", name="calibrated")(mean)
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


def _run(network: Network, strategy: str, weights: Arrays | None, number: int) -> Any:
    model = STRATEGIES[strategy].model(network, f"run_{number}")
    if weights is not None:
        model.set_weights(weights)
    model.trainable = False
    return model


def geometry(keras: Any, image: Any, image_size: int, field_of_view: float) -> Any:
    """The centre of an image at the working size, as `data.images.working_square` cuts it."""
    return _geometry(keras, image, image_size, Geometry(image_size, field_of_view).whole_side)


def _geometry(keras: Any, image: Any, image_size: int, whole_side: int) -> Any:
    square = keras.layers.Resizing(
        whole_side, whole_side, crop_to_aspect_ratio=True, antialias=True, name="centre_square"
    )(image)
    return keras.layers.CenterCrop(image_size, image_size, name="field_of_view")(square)
