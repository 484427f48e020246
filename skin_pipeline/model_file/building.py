"""Builds the self-contained model: an image of any size in, a probability out.

    model = released_model(network, "head", [weights_of_run_0, weights_of_run_1], 0.8)
    model.save("model.keras")

All of it is made of Keras's own layers, so that everybody who has Keras can load the file without
this project, and in safe mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from skin_pipeline.arrays import Arrays
from skin_pipeline.geometry import Geometry, region
from skin_pipeline.model_file import looking
from skin_pipeline.training import backbone, networks, strategies


class Recipe(NamedTuple):
    """What a released model is built from, beside its weights.

    Attributes:
        backbone: Name of the network.
        strategy: What the runs trained.
        runs: How many there are.
        image_size: Side in pixels of the square that the network sees.
        whole_side: Side in pixels to which the whole centre square is scaled, before it is cut to
            `image_size`.
        views: Dihedral views of each square over which an image's logit is averaged.
        scale: What logits are multiplied by: one divided by the temperature.
        pixels: How the network's weights expect pixels: the factors of red, green and blue, and
            what is added to them; None for those of keras.applications.
        stages: How many of the network's three stages are read.
        regions: How many squares of an image the network sees.
        scaled: The numbers of the scaled image that they are cut out of.
    """

    backbone: str
    strategy: str
    runs: int
    image_size: int
    whole_side: int
    views: int
    scale: float
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    stages: int = networks.STAGES
    regions: int = 1
    scaled: looking.Scaled = "uint8"


def released_model(
    network: backbone.Network,
    strategy: str,
    runs: Sequence[Arrays],
    field_of_view: float,
    *,
    regions: int = 1,
    views: int = 1,
    temperature: float = 1.0,
) -> Any:
    """Returns the runs as one model: RGB uint8 (n, h, w, 3) in, probability (n, 1) out.

    Args:
        network: The network with its pretrained weights.
        strategy: The strategy of the runs.
        runs: The weights of each run's model; their logits are averaged.
        field_of_view: Share of the image's short side that the network sees.
        regions: How many squares of an image the network sees: its centre, and around the lesion.
        views: Dihedral views of each square over which an image's logit is averaged.
        temperature: What the logit is divided by, so that probabilities are calibrated.
    """
    whole_side = Geometry(network.image_size, field_of_view).whole_side
    cut = partial(looking.squares, whole_side=whole_side, regions=regions)
    return _built(network, strategy, runs, cut, views, 1 / temperature)


def rebuilt(network: backbone.Network, recipe: Recipe) -> Any:
    """Returns the model that `released_model` makes from a recipe, without the runs' weights.

    Args:
        network: `Network.untrained` of the recipe's backbone and image size.
        recipe: The recipe of the released model.
    """
    runs = [None] * recipe.runs
    cut = partial(
        looking.squares,
        whole_side=recipe.whole_side,
        regions=recipe.regions,
        scaled=recipe.scaled,
    )
    return _built(network, recipe.strategy, runs, cut, recipe.views, recipe.scale)


def fewest_parameters(network: backbone.Network, recipe: Recipe) -> int:
    """Returns how many weights a released model has without its heads, before it is built.

    A file with fewer does not contain the runs or the backbone that it claims to contain.
    """
    whole = network.parameters(network.whole.input)
    if recipe.strategy == "head":
        return whole
    if recipe.strategy == "full":
        return recipe.runs * whole
    return whole + recipe.runs * network.parameters(network.ends[1])


def _built(
    network: backbone.Network,
    strategy: str,
    runs: Sequence[Arrays | None],
    cut: Callable[..., Any],
    views: int,
    scale: float,
) -> Any:
    keras, size = network.keras, network.image_size
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    packed = cut(keras, image, size)
    regions = packed.shape[1] // size
    each = [region(packed, number) for number in range(regions)] if regions > 1 else [packed]
    # The views of an image follow each other in the batch, in the order of `views.views_of`, so
    # that the model has one network for all of them.
    every = [seen_as(keras, square, view) for view in range(views) for square in each]
    squares = keras.ops.concatenate(every, axis=0) if len(every) > 1 else packed
    seen = strategies.STRATEGIES[strategy].stem(network)(squares)
    logits = [_run(network, strategy, arrays, i)(seen) for i, arrays in enumerate(runs)]
    logit = keras.layers.Average(name="ensemble")(logits) if len(logits) > 1 else logits[0]
    mean = keras.ops.mean(keras.ops.reshape(logit, (len(every), -1, 1)), axis=0)
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
