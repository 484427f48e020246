"""Which networks there are, their weights, and how each is taken apart.

A network of keras.applications without its top is seen as three stages. The features of an image
are its activations at their ends, averaged over the picture; the second end is where `fine_tune`
starts from. TensorFlow is imported at first use, never at import.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import line, words
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import Store, copied, copied_file, digest_named, scratch
from skin_pipeline.training import weight_files

log = logging.getLogger(__name__)


class Spec(NamedTuple):
    """How a network of keras.applications is used.

    `stages` are the layers at whose ends features are taken, the shallowest first: the deepest
    features are not the best ones on skin. `scale` is what its weights want: `caffe` (zero-centred
    BGR), `tf` (-1…1), or `inside` where the network begins with it. `jit` tells whether XLA makes
    it faster on a CPU; `residual` that the sum after each of the first two layers is meant.
    `skipping` are the layers of the third stage that read the second one's end, where they read
    every other row and column of it only: then the rest need not be kept.
    """

    stages: tuple[str, str, str]
    scale: Literal["caffe", "tf", "inside"]
    jit: bool = True
    residual: bool = False
    skipping: tuple[str, ...] = ()


BACKBONES = {
    "ResNet50": Spec(
        ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
        "caffe",
        skipping=("conv5_block1_0_conv", "conv5_block1_1_conv"),
    ),
    "ResNet50V2": Spec(("conv3_block4_out", "conv4_block6_out", "post_relu"), "tf"),
    "EfficientNetV2B0": Spec(("block3b_add", "block5e_add", "top_activation"), "inside", jit=False),
    "ConvNeXtTiny": Spec(
        (
            "convnext_tiny_stage_1_block_2_identity",
            "convnext_tiny_stage_2_block_8_identity",
            "layer_normalization",
        ),
        "inside",
        jit=False,
        residual=True,
    ),
}
# ImageNet means that "caffe" preprocessing takes from blue, green and red.
CAFFE_MEANS = (103.939, 116.779, 123.68)
TRAINED = "trained"  # name of a whole network that is trained, in the model of a run
JIT_FROM = 160  # side in pixels; below, XLA was up to eight times slower
BACKEND = "tensorflow"  # of Keras
EPSILON = 1e-7  # Keras's own default, which its optimizers take
SHORTENING = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")  # variables that end training early
FLAGS = ("XLA_FLAGS", "TF_XLA_FLAGS")
RANDOM_SEED = 50  # of the network with weights=none: the same one on every worker
WAYS_OUT = (
    "Give weights=FILE with the weights of keras.applications.{0}(include_top=False), or "
    "weights=imagenet on a machine that can download them"
)


def pin_weights(settings: Settings, store: Store, roots: Roots = ANYWHERE) -> str:
    """Bring the weights that the settings name to where every worker can read them.

    Returns:
        `imagenet`, `none`, or the key of the file's copy in the store, which its digest names.

    Raises:
        BadInput: there is no such file, it holds no weights, or `roots` do not hold it.
    """
    if settings.weights in {"imagenet", "none"}:
        return settings.weights
    path = roots.path(settings.weights)
    ways_out = f"{WAYS_OUT.format(settings.backbone)}."
    if not path.is_file():
        raise BadInput(f"weights: there is no file {line(path)}. {ways_out}")
    weight_files.check(path, ways_out)  # before anything of another kind or size is copied
    with scratch() as folder:
        copy = folder / "pinned.weights.h5"
        key = f"weights/{copied_file(path, copy)}.weights.h5"
        weight_files.check(copy, ways_out, named=path)
        if not store.exists(key):
            store.put_file(key, copy)  # the bytes that the key names, whatever stands at the path
    return key


def trunk_of(backbone: str, weights: str) -> Trunk:
    """Which network with which pinned weights."""
    return Trunk(backbone=backbone, source=weights, digest=Path(weights).name.split(".")[0])


def keras_on(threads: int) -> Any:
    """Keras on TensorFlow, held to a number of threads, whatever the machine's own settings say.

    Raises:
        BadInput: Keras runs on another backend in this process already, or cannot be imported.
    """
    # What it says of itself while it works goes to the error stream, past every logger.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with nullcontext() if _flagged() else _without_chatter():
        keras = _keras_as_needed()
        import tensorflow as tf

        # TensorFlow that already runs in this process (the command line runs several steps in
        # one) keeps its threads.
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.list_logical_devices()  # starts the devices, which is what chatters
    log.info("tensorflow version=%s keras=%s", tf.__version__, keras.__version__)
    return keras


def _flagged() -> bool:
    """Whether somebody set flags of the compiler. TensorFlow ends the process at one that it does
    not know, and says why on the error stream only."""
    found = [f"{name}={os.environ[name]}" for name in FLAGS if os.environ.get(name)]
    if found:
        text = "tensorflow_flags %s (an unknown one ends the process: then correct or unset it)"
        log.warning(text, " ".join(found))
    return bool(found)


def _keras_as_needed() -> Any:
    """Keras with the settings that models are made with: those of a `keras.json`, of the
    environment or of other code in this process would give other results."""
    os.environ["KERAS_BACKEND"] = BACKEND
    for name in SHORTENING:
        os.environ.pop(name, None)
    try:
        import keras
    except Exception as error:  # whatever its settings make it raise
        raise BadInput(
            f"Keras cannot be imported: {words(error)}. Correct or remove keras.json in "
            "~/.keras or in KERAS_HOME, and install the locked packages"
        ) from None
    if keras.config.backend() != BACKEND:
        raise BadInput(
            f"Keras already runs on {keras.config.backend()} in this process; {BACKEND} is needed. "
            f"Set KERAS_BACKEND={BACKEND}, or do not import Keras before"
        )
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(EPSILON)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    return keras


def gpus() -> tuple[str, ...]:
    """The GPUs that TensorFlow sees, by name."""
    import tensorflow as tf

    return tuple(device.name for device in tf.config.list_logical_devices("GPU"))


@contextmanager
def spread_over(keras: Any, devices: Sequence[str]) -> Generator[None, None, None]:
    """What is built within is mirrored on these devices and computes in mixed precision; without
    devices it is built as ever."""
    if not devices:
        yield
        return
    import tensorflow as tf

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with tf.distribute.MirroredStrategy(list(devices)).scope():
            yield
    finally:
        keras.config.set_dtype_policy(policy)


@contextmanager
def _without_chatter() -> Generator[None, None, None]:
    """Nothing on the error stream: TensorFlow's start writes there past every logger, and a task's
    log would show as errors that there is no GPU. Python's exceptions still come through."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@dataclass(frozen=True)
class Network:
    """A network with its weights; `square` images are RGB (n, size, size, 3), 0…255."""

    keras: Any
    spec: Spec
    whole: Any
    image_size: int

    @classmethod
    def load(cls, keras: Any, trunk: Trunk, image_size: int, store: Store) -> Network:
        """Build the network that `trunk` names.

        Raises:
            BadInput: the weight file belongs to another network.
            Unavailable: Keras could not download its ImageNet weights.
        """
        keras.utils.set_random_seed(RANDOM_SEED)
        made = cls.untrained(keras, trunk.backbone, image_size)
        if trunk.source == "imagenet":
            build = getattr(keras.applications, trunk.backbone)
            _load_imagenet(build, made.whole, trunk.backbone)
        elif trunk.source != "none":
            with scratch() as folder:
                copy = folder / Path(trunk.source).name
                copied(store, trunk.source, copy, digest_named(trunk.source))
                _load_file(made.whole, copy, trunk.backbone)
        return made

    @classmethod
    def untrained(cls, keras: Any, backbone: str, image_size: int) -> Network:
        """Build a network of some weights, for those that will be put into it."""
        build = getattr(keras.applications, backbone)
        shape = (image_size, image_size, 3)
        whole = build(include_top=False, weights=None, input_shape=shape)
        return cls(keras, BACKBONES[backbone], whole, image_size)

    @cached_property
    def ends(self) -> tuple[Any, Any, Any]:
        """The symbolic outputs of the three stages."""
        operations = self.whole.operations
        places = [_place([item.name for item in operations], name) for name in self.spec.stages]
        after = int(self.spec.residual)
        first, second, third = places[0] + after, places[1] + after, places[2]
        return tuple(operations[place].output for place in (first, second, third))

    @property
    def jit(self) -> bool:
        """Whether XLA makes it faster on a CPU: not on the small maps of small images."""
        return self.spec.jit and self.image_size >= JIT_FROM

    @property
    def shallow(self) -> int:
        """Channels of the first two stages together: the features that `fine_tune` leaves be."""
        return int(self.ends[0].shape[-1] + self.ends[1].shape[-1])

    @property
    def channels(self) -> int:
        """Channels of all three stages together."""
        return int(self.shallow + self.ends[2].shape[-1])

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """Shape of what the third stage reads of an image."""
        return tuple(self.read_of(self.ends[1]).shape[1:])

    def parameters(self, begin: Any) -> int:
        """How many numbers the layers from `begin` to the third stage's end have."""
        return int(self.keras.Model(begin, self.ends[2]).count_params())

    def read_of(self, second_end: Any) -> Any:
        """What the third stage reads of the second one's end, which may be a quarter of it."""
        if not self.spec.skipping:
            return second_end
        return self.keras.layers.AveragePooling2D(1, strides=2, name="read")(second_end)

    def stages(self) -> Any:
        """A frozen model from squares to the ends of the three stages."""
        self.whole.trainable = False
        return self._on_squares(self.keras.Model(self.whole.input, self.ends), "trunk")

    def trainable(self) -> Any:
        """A copy to be trained, from squares to the ends of the three stages."""
        copy = self._copied(
            self.keras.Model(self.whole.input, self.ends), "network", None, self._in_precision
        )
        return self._on_squares(copy, TRAINED)

    def last_stage(self, *, training: bool) -> Any:
        """A copy of the third stage, from what it reads to its end.

        Args:
            training: Whether convolutions are computed in the way that is quick to train.
        """
        stage = self.keras.Model(self.ends[1], self.ends[2])
        layer_of = partial(self._reading_all, training=training)
        return self._copied(stage, "last_stage", self.keras.Input(self.map_shape), layer_of)

    def _on_squares(self, model: Any, name: str) -> Any:
        image = self.keras.Input((self.image_size, self.image_size, 3), name="square")
        return self.keras.Model(image, model(self._scaled(image), training=False), name=name)

    def _scaled(self, image: Any) -> Any:
        """What the weights want; built-in layers only."""
        layers = self.keras.layers
        if self.spec.scale == "caffe":
            image = self.keras.ops.flip(image, axis=-1)
            return layers.Rescaling(1.0, offset=[-mean for mean in CAFFE_MEANS])(image)
        if self.spec.scale == "tf":
            return layers.Rescaling(1 / 127.5, offset=-1.0)(image)
        return image

    def _copied(self, model: Any, name: str, read: Any = None, layer_of: Any = None) -> Any:
        """A copy with weights of its own. Batch normalisation stays as it was trained: a few small
        batches of skin would spoil its statistics."""
        copy = self.keras.models.clone_model(model, input_tensors=read, clone_function=layer_of)
        copy.set_weights(model.get_weights())
        # `stages` freezes the network, and a copy is as frozen as what it was made of.
        for layer in copy.layers:
            layer.trainable = not isinstance(layer, self.keras.layers.BatchNormalization)
        copy.name = name
        return copy

    def _in_precision(self, layer: Any) -> Any:
        """A copy of a layer that computes in the precision of now, not in that of the original."""
        config = layer.get_config()
        if isinstance(layer, self.keras.layers.Layer):  # an operation has no precision of its own
            config["dtype"] = self.keras.config.dtype_policy().name
        return type(layer).from_config(config)

    def _reading_all(self, layer: Any, training: bool) -> Any:
        """A copy of a layer that skips nothing, because what it skipped is gone already."""
        config = layer.get_config()
        if layer.name in self.spec.skipping:
            config["strides"] = (1, 1)
        if training and type(layer) is self.keras.layers.Conv2D and _is_plain(config):
            return products(self.keras).from_config(config)
        return type(layer).from_config(config)


def quick_with_xla(model: Any, image_size: int) -> bool:
    """`Network.jit` for a model that was made of some network, wherever it stands in it."""
    names = set(_layer_names(model))
    made_of = (spec for spec in BACKBONES.values() if names.issuperset(spec.stages))
    return image_size >= JIT_FROM and any(spec.jit for spec in made_of)


def _layer_names(model: Any) -> Iterator[str]:
    for layer in model.layers:
        yield layer.name
        if hasattr(layer, "layers"):
            yield from _layer_names(layer)


def _place(names: list[str], wanted: str) -> int:
    """Where a layer stands. One that has no name of its own is numbered by Keras from the second
    network on."""
    return next(place for place, name in enumerate(names) if is_name(name, wanted))


def is_name(name: str, wanted: str) -> bool:
    """Whether a layer's name is the wanted one, with or without a number of Keras's."""
    return re.fullmatch(rf"{re.escape(wanted)}(_\d+)?", name) is not None


def _is_plain(config: dict[str, Any]) -> bool:
    """Whether a convolution takes every pixel, and all channels together."""
    sides, ones = config["kernel_size"], {(1, 1)}
    centred = config["padding"] == "valid" or all(side % 2 for side in sides)
    steps = {tuple(config["strides"]), tuple(config["dilation_rate"])}
    return centred and steps == ones and config["groups"] == 1


def products(keras: Any) -> Any:
    """A convolution as one product of matrices, with the same weights and results.

    On a CPU, a convolution's gradient is summed up image by image, each time through the whole
    kernel in memory. As a product it is as quick as the arithmetic: on small maps ten times.
    """

    class Products(keras.layers.Conv2D):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            ops, (high, wide) = keras.ops, self.kernel_size
            if self.padding == "same":
                inputs = ops.pad(inputs, ((0, 0), (high // 2,) * 2, (wide // 2,) * 2, (0, 0)))
            rows, columns = inputs.shape[1] - high + 1, inputs.shape[2] - wide + 1
            seen = [
                inputs[:, i : i + rows, j : j + columns] for i in range(high) for j in range(wide)
            ]
            kernel = ops.reshape(self.kernel, (-1, self.filters))
            patches = ops.reshape(ops.concatenate(seen, axis=-1), (-1, kernel.shape[0]))
            made = ops.reshape(ops.matmul(patches, kernel), (-1, rows, columns, self.filters))
            return self.activation(made + self.bias if self.use_bias else made)

    return Products


def _load_imagenet(build: Any, network: Any, name: str) -> None:
    try:
        source = build(include_top=False, input_shape=tuple(network.input.shape[1:]))
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise Unavailable(
            f"weights=imagenet could not be downloaded ({words(error)}). {WAYS_OUT.format(name)}."
        ) from None
    network.set_weights(source.get_weights())


def _load_file(network: Any, path: Path, name: str) -> None:
    # Of a layer that every network initialises at random.
    place = next(i for i, array in enumerate(network.get_weights()) if array.ndim == 4)
    before = network.get_weights()[place].copy()
    try:
        with warnings.catch_warnings():
            # Keras names every layer of the other network in a warning of its own.
            warnings.simplefilter("ignore", UserWarning)
            network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise BadInput(
            f"weights: the file does not fit {name} without its top ({words(error)}). "
            f"{WAYS_OUT.format(name)}."
        ) from None
    if (before == network.get_weights()[place]).all():
        raise BadInput(f"weights: the file holds no {name} layers. {WAYS_OUT.format(name)}.")
