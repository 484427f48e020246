"""A network that is taken apart into what is frozen and what is trained.

A network of keras.applications without its top is seen as three stages. The features of an image
are the activations at their ends, averaged over the picture; `fine_tune` starts from the end of the
second stage. The frozen part of a network is its trunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from skin_pipeline.contracts import Trunk
from skin_pipeline.storage import Store
from skin_pipeline.training import networks
from skin_pipeline.training.networks import Spec
from skin_pipeline.training.pixels import Pixels
from skin_pipeline.training.pretrained import load_weights
from skin_pipeline.training.runtime import seeded

# Means over ImageNet, which "caffe" preprocessing subtracts from blue, green and red.
CAFFE_MEANS = (103.939, 116.779, 123.68)
# Means and deviations over ImageNet of red, green and blue in 0…1, for "torch" preprocessing.
TORCH_MEANS, TORCH_DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The scalings of keras.applications that leave channels in their order.
USUAL = {
    "tf": Pixels((1 / 127.5,) * 3, (-1.0,) * 3),
    "torch": Pixels(
        tuple(1 / (255 * deviation) for deviation in TORCH_DEVIATIONS),
        tuple(
            -mean / deviation for mean, deviation in zip(TORCH_MEANS, TORCH_DEVIATIONS, strict=True)
        ),
    ),
}
PIXELS = "pixels"  # name of the layer that scales them for weights of another kind
TRAINED = "trained"  # name of the network in the model of a run that trains all of it
# Side of images in pixels from which XLA compiles a network: on the small maps of smaller images
# it was up to eight times slower than TensorFlow's own kernels.
JIT_FROM = 160
RANDOM_SEED = 50  # of the weights with weights=none: every worker has the same ones


@dataclass(frozen=True)
class Network:
    """A network with its weights, and the models that are made from it.

    Attributes:
        keras: The Keras module.
        spec: How the network is used.
        whole: The Keras model, without its top.
        image_size: Side in pixels of the squares that it sees: RGB (n, size, size, 3), 0…255.
        pixels: How its weights expect pixels, where not as those of keras.applications.
        depth: How many of its stages are read, from the first. What is behind them is not computed.
    """

    keras: Any
    spec: Spec
    whole: Any
    image_size: int
    pixels: Pixels | None = None
    depth: int = networks.STAGES

    @classmethod
    def load(cls, keras: Any, trunk: Trunk, image_size: int, store: Store) -> Network:
        """Returns the network that `trunk` names.

        Raises:
            BadInput: The weight file belongs to another network.
            Unavailable: Keras could not download its ImageNet weights.
        """
        with seeded(keras, RANDOM_SEED):
            made = cls.untrained(keras, trunk.backbone, image_size).reading(trunk.stages)
        pixels = load_weights(keras, made.whole, trunk, store)
        usual = USUAL.get(made.spec.scale)
        return made if pixels is None or (usual and usual.is_like(pixels)) else made.seeing(pixels)

    @classmethod
    def untrained(cls, keras: Any, backbone: str, image_size: int) -> Network:
        """Returns a network with random weights, for a caller that replaces them.

        Raises:
            BadInput: The squares are too small for the network.
        """
        built = networks.whole(keras, backbone, image_size)
        return cls(keras, networks.BACKBONES[backbone], built, image_size)

    def seeing(self, pixels: Pixels | None) -> Network:
        """Returns the same network for weights that were trained on pixels scaled so."""
        return replace(self, pixels=pixels)

    def reading(self, stages: int) -> Network:
        """Returns the same network, of which only the first so many stages are read."""
        return replace(self, depth=stages)

    def in_half_precision(self) -> Network:
        """Returns the same network that computes in half precision, with weights in single."""

        def halved(layer: Any) -> Any:
            return type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})

        whole = self.keras.models.clone_model(self.whole, clone_function=halved)
        whole.set_weights(self.whole.get_weights())
        return replace(self, whole=whole)

    @cached_property
    def ends(self) -> tuple[Any, ...]:
        """The symbolic outputs of the stages that are read."""
        return networks.ends(self.whole, self.spec, self.depth)

    @property
    def jit(self) -> bool:
        """Whether XLA makes the network faster on a CPU: not on the small maps of small images."""
        return self.spec.jit and self.image_size >= JIT_FROM

    @property
    def shallow(self) -> int:
        """Channels of the first two stages together: the features that `fine_tune` keeps frozen."""
        return sum(int(end.shape[-1]) for end in self.ends[:2])

    @property
    def channels(self) -> int:
        """Channels of all stages that are read together."""
        return sum(int(end.shape[-1]) for end in self.ends)

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Shape of what the third stage reads of an image."""
        return tuple(self.read_of(self.ends[1]).shape[1:])

    def parameters(self, begin: Any) -> int:
        """Returns how many weights the layers from `begin` to the last end that is read have."""
        return int(self.keras.Model(begin, self.ends[-1]).count_params())

    def read_of(self, second_end: Any) -> Any:
        """Returns the part of the second stage's end that the third stage reads: a quarter, or all.

        Only this part is cached, so a quarter of the maps takes a quarter of the disk space.
        """
        if not self.spec.skipping:
            return second_end
        # Pooling over one pixel only skips the others. Unlike a slice, it is a layer of Keras.
        return self.keras.layers.AveragePooling2D(1, strides=2, name="read")(second_end)

    def stages(self) -> Any:
        """Returns a frozen model from squares to the ends of the stages that are read."""
        self.whole.trainable = False
        return self._on_squares(self.keras.Model(self.whole.input, self.ends), "trunk")

    def trainable(self) -> Any:
        """Returns a copy to be trained, from squares to the ends of the three stages."""
        copy = self._copied(
            self.keras.Model(self.whole.input, self.ends), "network", None, self._in_precision
        )
        return self._on_squares(copy, TRAINED)

    def last_stage(self, *, training: bool) -> Any:
        """Returns a copy of the third stage, from what it reads to its end.

        Args:
            training: Whether convolutions are computed as `products`, which are quick to train. A
                released model has Keras's own layers, so that it loads without this project.
        """
        stage = self.keras.Model(self.ends[1], self.ends[2])
        layer_of = partial(self._reading_all, training=training)
        return self._copied(stage, "last_stage", self.keras.Input(self.map_shape), layer_of)

    def _on_squares(self, model: Any, name: str) -> Any:
        image = self.keras.Input((self.image_size, self.image_size, 3), name="square")
        return self.keras.Model(image, model(self._scaled(image), training=False), name=name)

    def _scaled(self, image: Any) -> Any:
        """Returns pixels as the weights expect them, scaled by layers of Keras only."""
        layers = self.keras.layers
        if self.pixels:
            factors, addends = map(list, self.pixels)
            return layers.Rescaling(factors, addends, name=PIXELS)(image)
        if self.spec.scale == "caffe":
            image = self.keras.ops.flip(image, axis=-1)
            return layers.Rescaling(1.0, offset=[-mean for mean in CAFFE_MEANS])(image)
        if self.spec.scale == "tf":
            return layers.Rescaling(1 / 127.5, offset=-1.0)(image)
        if self.spec.scale == "torch":
            factors, addends = map(list, USUAL["torch"])
            return layers.Rescaling(factors, addends)(image)
        return image

    def _copied(self, model: Any, name: str, read: Any = None, layer_of: Any = None) -> Any:
        """Returns a copy with weights of its own, in which batch normalisation stays frozen.

        Small batches of skin images would spoil the statistics of the normalisation.
        """
        copy = self.keras.models.clone_model(model, input_tensors=read, clone_function=layer_of)
        copy.set_weights(model.get_weights())
        # `stages` freezes the network, and a copy of it would stay frozen too.
        for layer in copy.layers:
            layer.trainable = not isinstance(layer, self.keras.layers.BatchNormalization)
        copy.name = name
        return copy

    def _in_precision(self, layer: Any) -> Any:
        """Returns a copy of a layer that computes in the current precision, not the original's."""
        config = layer.get_config()
        if isinstance(layer, self.keras.layers.Layer):  # an operation has no precision of its own
            config["dtype"] = self.keras.config.dtype_policy().name
        return type(layer).from_config(config)

    def _reading_all(self, layer: Any, training: bool) -> Any:
        """Returns a copy of a layer that skips no pixels: `read_of` has left them out already."""
        config = layer.get_config()
        if layer.name in self.spec.skipping:
            config["strides"] = (1, 1)
        if training and type(layer) is self.keras.layers.Conv2D and _is_plain(config):
            return products(self.keras).from_config(config)
        return type(layer).from_config(config)


def quick_with_xla(model: Any, image_size: int) -> bool:
    """Returns `Network.jit` of the network that a model contains, at any depth."""
    found = networks.candidates(_layer_names(model), stages=1)  # a head may read no more
    return image_size >= JIT_FROM and any(networks.BACKBONES[name].jit for name in found)


def _layer_names(model: Any) -> Iterator[str]:
    for layer in model.layers:
        yield layer.name
        if hasattr(layer, "layers"):
            yield from _layer_names(layer)


def _is_plain(config: dict[str, Any]) -> bool:
    """Returns whether `products` can compute a convolution: without strides, dilation or groups."""
    sides, ones = config["kernel_size"], {(1, 1)}
    centred = config["padding"] == "valid" or all(side % 2 for side in sides)
    steps = {tuple(config["strides"]), tuple(config["dilation_rate"])}
    return centred and steps == ones and config["groups"] == 1


def products(keras: Any) -> Any:
    """Returns a class of convolutions that are one product of matrices, with the same results.

    On a CPU, the gradient of a convolution is summed up image by image, and each time the whole
    kernel passes through memory. As one product it takes no longer than the arithmetic: on the
    small maps of the third stage it is ten times as fast.
    """

    class Products(keras.layers.Conv2D):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            ops, (high, wide) = keras.ops, self.kernel_size
            if self.padding == "same":
                inputs = ops.pad(inputs, ((0, 0), (high // 2,) * 2, (wide // 2,) * 2, (0, 0)))
            rows, columns = inputs.shape[1] - high + 1, inputs.shape[2] - wide + 1
            # Of each pixel of the kernel, the part of the image that it meets.
            seen = [
                inputs[:, i : i + rows, j : j + columns] for i in range(high) for j in range(wide)
            ]
            kernel = ops.reshape(self.kernel, (-1, self.filters))
            patches = ops.reshape(ops.concatenate(seen, axis=-1), (-1, kernel.shape[0]))
            made = ops.reshape(ops.matmul(patches, kernel), (-1, rows, columns, self.filters))
            return self.activation(made + self.bias if self.use_bias else made)

    return Products
