"""Builds the self-contained model: an image of any size in, a probability out.

    model = released_model(network, "head", [weights_of_run_0, weights_of_run_1], 0.8)
    model.save("model.keras")

All of it is made of Keras's own layers, so that everybody who has Keras can load the file without
this project, and in safe mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from skin_pipeline.arrays import Arrays
from skin_pipeline.geometry import Geometry
from skin_pipeline.training import backbone, strategies


class Recipe(NamedTuple):
    """What a released model is built from, beside its weights.

    Attributes:
        backbone: Name of the network.
        strategy: What the runs trained.
        runs: How many there are.
        image_size: Side in pixels of the square that the network sees.
        whole_side: Side in pixels to which the whole centre square is scaled, before it is cut to
            `image_size`.
        views: Dihedral views of an image over which its logit is averaged.
        scale: What logits are multiplied by: one divided by the temperature.
        pixels: How the network's weights expect pixels: the factors of red, green and blue, and
            what is added to them; None for those of keras.applications.
    """

    backbone: str
    strategy: str
    runs: int
    image_size: int
    whole_side: int
    views: int
    scale: float
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def released_model(
    network: backbone.Network,
    strategy: str,
    runs: Sequence[Arrays],
    field_of_view: float,
    *,
    views: int = 1,
    temperature: float = 1.0,
) -> Any:
    """Returns the runs as one model: RGB uint8 (n, h, w, 3) in, probability (n, 1) out.

    Args:
        network: The network with its pretrained weights.
        strategy: The strategy of the runs.
        runs: The weights of each run's model; their logits are averaged.
        field_of_view: Share of the image's short side that the network sees.
        views: Dihedral views of an image over which its logit is averaged, from the first.
        temperature: What the logit is divided by, so that probabilities are calibrated.
    """
    whole_side = Geometry(network.image_size, field_of_view).whole_side
    return _built(network, strategy, runs, whole_side, views, 1 / temperature)


def rebuilt(network: backbone.Network, recipe: Recipe) -> Any:
    """Returns the model that `released_model` makes from a recipe, without the runs' weights.

    Args:
        network: `Network.untrained` of the recipe's backbone and image size.
        recipe: The recipe of the released model.
    """
    runs = [None] * recipe.runs
    return _built(network, recipe.strategy, runs, recipe.whole_side, recipe.views, recipe.scale)


def fewest_parameters(network: backbone.Network, recipe: Recipe) -> int:
    """Returns how many weights a released model has without its heads, before it is built.

    A file with fewer does not contain the runs or the backbone that it claims to contain.
    """
    whole = network.parameters(network.whole.input)
    trained = {"head": 0, "fine_tune": network.parameters(network.ends[1]), "full": whole}
    shared = 0 if recipe.strategy == "full" else whole
    return shared + recipe.runs * trained[recipe.strategy]


def _built(
    network: backbone.Network,
    strategy: str,
    runs: Sequence[Arrays | None],
    whole_side: int,
    views: int,
    scale: float,
) -> Any:
    keras = network.keras
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    square = _geometry(keras, image, network.image_size, whole_side)
    # The views of an image follow each other in the batch, so that the model has one network for
    # all of them.
    every = [seen_as(keras, square, view) for view in range(views)]
    squares = keras.ops.concatenate(every, axis=0) if views > 1 else square
    seen = strategies.STRATEGIES[strategy].stem(network)(squares)
    logits = [_run(network, strategy, arrays, i)(seen) for i, arrays in enumerate(runs)]
    logit = keras.layers.Average(name="ensemble")(logits) if len(logits) > 1 else logits[0]
    mean = keras.ops.mean(keras.ops.reshape(logit, (views, -1, 1)), axis=0)
    scaled = keras.layers.Rescaling(scale, dtype="float32", name="calibrated")(mean)
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(scaled)
    return keras.Model(image, probability, name="skin_cancer_screening")


def seen_as(keras: Any, squares: Any, view: int) -> Any:
    """Returns squares (n, size, size, 3) in one of the eight views, as `inputs.dihedral` does."""
    if view & 1:
        squares = keras.ops.flip(squares, axis=2)
    if view & 2:
        squares = keras.ops.flip(squares, axis=1)
    if view & 4:
        squares = keras.ops.transpose(squares, (0, 2, 1, 3))
    return squares


def _run(network: backbone.Network, strategy: str, weights: Arrays | None, number: int) -> Any:
    model = strategies.STRATEGIES[strategy].model(network, f"run_{number}")
    if weights is not None:
        model.set_weights(weights)
    model.trainable = False
    return model


def geometry(keras: Any, image: Any, image_size: int, field_of_view: float) -> Any:
    """Returns the centre of an image at the working size, as `data.images.working_square` does."""
    return _geometry(keras, image, image_size, Geometry(image_size, field_of_view).whole_side)


def _geometry(keras: Any, image: Any, image_size: int, whole_side: int) -> Any:
    square = keras.layers.Resizing(
        whole_side, whole_side, crop_to_aspect_ratio=True, antialias=True, name="centre_square"
    )(image)
    crop = keras.layers.CenterCrop(image_size, image_size, name="field_of_view")
    # Keras calls its layers for images as in training unless told otherwise, and all layers behind
    # them with them: a network with dropout would then give an image another probability each time.
    return crop(square, training=False)
