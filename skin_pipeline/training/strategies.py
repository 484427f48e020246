"""What a run trains: the head, the last stage with it, or the whole network.

    strategy    what is trained                 from                                   augmentation
    head        a head on features              cached features                        dihedral
    fine_tune   the third stage and the head    cached ends of the second stage        dihedral
    full        everything                      packed images          dihedral, colour, crop

Each makes two models: `stem` turns squares into what the run reads, and `model` turns that into a
logit. So a released model is a stem with the models of its runs behind it, whatever was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from skin_pipeline.training.backbone import TRAINED, Network

EPSILON = 1e-12  # of the standardisation; the spread that it divides by has a floor already
Ends = Sequence[Any]  # of the stages of a network that are read
# What each strategy reads from the cache: every run begins with a head on pooled features.
CACHED = {"head": ("pooled",), "fine_tune": ("pooled", "maps"), "full": ("pooled",)}
HEAD_KNOBS = ("strategy", "epochs", "patience", "batch_size", "learning_rate", "l2", "seed")
TUNE_KNOBS = (*HEAD_KNOBS, "tune_epochs", "tune_batch_size", "tune_learning_rate")
# The settings that a run depends on, beside those of its split and its features.
KNOBS = {"head": HEAD_KNOBS, "fine_tune": TUNE_KNOBS, "full": (*TUNE_KNOBS, "jitter")}


class Training(NamedTuple):
    """How a model is trained.

    Attributes:
        l2: The L2 penalty on the head's weights.
        jitter: The strength of the colour and crop augmentation, 0…0.5; for `full`
            only, since the others read activations that were computed in advance.
    """

    l2: float = 0.0
    jitter: float = 0.0


class Strategy(Protocol):
    """How a run's model is made from a network."""

    def stem(self, network: Network) -> Any:
        """Returns a frozen model from squares (n, size, size, 3), 0…255, to what `model` reads."""

    def model(self, network: Network, name: str, training: Training | None = None) -> Any:
        """Returns a model from inputs to logits (n, 1).

        Args:
            network: The network with its pretrained weights, of which the model gets copies.
            name: Name of the model.
            training: How it is trained; None for a model that only scores, made of Keras's own
                layers. Both have the same weights in the same order.
        """

    def explained(self, network: Network, model: Any) -> tuple[Any, Callable[[Ends], Any]]:
        """Returns a model in two parts; the saliency of an image is computed between them.

        Args:
            network: The network with its pretrained weights.
            model: What `model` returned without `training`.

        Returns:
            A function from squares (n, size, size, 3), 0…255, to the ends of stages, and one from
            these to logits (n, 1).
        """


class Head:
    """A logistic head on the features of the stages that the network reads."""

    def stem(self, network: Network) -> Any:
        frozen = network.stages()
        return network.keras.Model(frozen.input, _pooled(network.keras, frozen.output), name="stem")

    def model(self, network: Network, name: str, training: Training | None = None) -> Any:
        features = network.keras.Input((network.channels,), name="pooled")
        return network.keras.Model(features, _logit(network.keras, features, training), name=name)

    def explained(self, network: Network, model: Any) -> tuple[Any, Callable[[Ends], Any]]:
        stages = network.stages()

        def ends(squares: Any) -> Ends:
            found: Ends = network.keras.tree.flatten(stages(squares))
            return found

        return ends, lambda ends: model(_pooled(network.keras, ends))


class FineTune:
    """The third stage on the frozen end of the second, and a head on the features of all three."""

    def stem(self, network: Network) -> Any:
        frozen = network.stages()
        first, second, _ = frozen.output
        features = _pooled(network.keras, (first, second))
        return network.keras.Model(frozen.input, [features, network.read_of(second)], name="stem")

    def model(self, network: Network, name: str, training: Training | None = None) -> Any:
        keras = network.keras
        shallow = keras.Input((network.shallow,), name="pooled")
        maps = keras.Input(network.map_shape, name="maps")
        last = network.last_stage(training=training is not None)
        # Called as in scoring even in training: batch normalisation keeps its statistics.
        deep = keras.layers.GlobalAveragePooling2D()(last(maps, training=False))
        features = keras.layers.Concatenate()([shallow, deep])
        return keras.Model([shallow, maps], _logit(keras, features, training), name=name)

    def explained(self, network: Network, model: Any) -> tuple[Any, Callable[[Ends], Any]]:
        stages = network.stages()

        def logit(ends: Ends) -> Any:
            return model([_pooled(network.keras, ends), network.read_of(ends[1])])

        return lambda squares: stages(squares)[:2], logit


class Full:
    """The whole network, end to end on images."""

    def stem(self, network: Network) -> Any:
        image = network.keras.Input((network.image_size, network.image_size, 3), name="square")
        return network.keras.Model(image, network.keras.layers.Identity()(image), name="stem")

    def model(self, network: Network, name: str, training: Training | None = None) -> Any:
        keras = network.keras
        image = keras.Input((network.image_size, network.image_size, 3), name="squares")
        varied = _augmented(keras, image, training.jitter) if training else image
        features = _pooled(keras, network.trainable()(varied, training=False))
        return keras.Model(image, _logit(keras, features, training), name=name)

    def explained(self, network: Network, model: Any) -> tuple[Any, Callable[[Ends], Any]]:
        standardise, dense = model.get_layer("standardise"), model.get_layer("logit")

        def logit(ends: Ends) -> Any:
            return dense(standardise(_pooled(network.keras, ends), training=False))

        return model.get_layer(TRAINED), logit


STRATEGIES: dict[str, Strategy] = {"head": Head(), "fine_tune": FineTune(), "full": Full()}


def _pooled(keras: Any, ends: Any) -> Any:
    """Returns the end of each stage averaged over the picture, side by side."""
    # Keras gives the only output of a model without a list.
    means = [keras.layers.GlobalAveragePooling2D()(end) for end in keras.tree.flatten(ends)]
    return keras.layers.Concatenate()(means) if len(means) > 1 else means[0]


def _logit(keras: Any, features: Any, training: Training | None) -> Any:
    """Returns a logit of standardised features, in single precision whatever the network's is."""
    # A layer of Keras whose mean and variance can be set, and that is saved with them.
    standard = keras.layers.BatchNormalization(
        center=False,
        scale=False,
        epsilon=EPSILON,
        trainable=False,
        dtype="float32",
        name="standardise",
    )
    dense = keras.layers.Dense(
        1,
        kernel_initializer="zeros",  # training begins with the probability 0.5 for all images
        kernel_regularizer=keras.regularizers.L2(training.l2) if training else None,
        dtype="float32",
        name="logit",
    )
    return dense(standard(features, training=False))


def _augmented(keras: Any, image: Any, jitter: float) -> Any:
    """Returns images whose colours, brightness and section vary at random while training."""
    layers = keras.layers
    shift, scope = jitter / 2, (0.0, 255.0)
    if not jitter:
        return image
    for layer in (
        layers.RandomZoom((-jitter, jitter), fill_mode="reflect"),
        layers.RandomTranslation(shift, shift, fill_mode="reflect"),
        layers.RandomBrightness(jitter, value_range=scope),
        layers.RandomContrast(jitter, value_range=scope),
        layers.RandomSaturation((0.5 - shift, 0.5 + shift), value_range=scope),
    ):
        image = layer(image)
    return image
