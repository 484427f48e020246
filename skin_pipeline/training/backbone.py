"""The frozen ResNet50 trunk: its weights, its proper preprocessing, and the released model.

The only room that builds networks. TensorFlow is imported at first use, never at import.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import Store, digest_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

# The ends of three stages: the deepest features are not the best ones on skin.
STAGES = ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
# ImageNet means that "caffe" preprocessing takes from blue, green and red.
CAFFE_MEANS = (103.939, 116.779, 123.68)
RANDOM_SEED = 50  # of the trunk with weights=none: the same one on every worker
WAYS_OUT = (
    "Give weights=FILE with the weights of keras.applications.ResNet50(include_top=False), or "
    "weights=imagenet on a machine that can download them"
)


def pin_weights(settings: Settings, store: Store) -> str:
    """Bring the weights that the settings name to where every worker can read them.

    Returns:
        `imagenet`, `none`, or the key of the file's copy in the store, which its digest names.

    Raises:
        BadInput: there is no such file.
    """
    if settings.weights in {"imagenet", "none"}:
        return settings.weights
    path = Path(settings.weights).expanduser()
    if not path.is_file():
        raise BadInput(f"weights: there is no file {path}. {WAYS_OUT}.")
    key = f"weights/{digest_file(path)}.weights.h5"
    if not store.exists(key):
        store.put_file(key, path)
    return key


def trunk_of(weights: str) -> Trunk:
    """What the features of these pinned weights are made with."""
    return Trunk(source=weights, digest=Path(weights).name.split(".")[0])


def keras_on(threads: int) -> Any:
    """Keras, with TensorFlow held to a number of threads."""
    with _without_chatter():
        import keras
        import tensorflow as tf

        # TensorFlow that already runs in this process (the command line runs several steps in
        # one) keeps its threads.
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        gpus = tf.config.list_logical_devices("GPU")
    log.info("tensorflow version=%s threads=%d gpus=%d", tf.__version__, threads, len(gpus))
    return keras


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


def pooled_trunk(keras: Any, trunk: Trunk, image_size: int, store: Store) -> Any:
    """A model from RGB (n, size, size, 3), 0…255, to pooled activations (n, 3584) float32.

    Raises:
        BadInput: the weight file belongs to another network.
        Unavailable: Keras could not download its ImageNet weights.
    """
    keras.utils.set_random_seed(RANDOM_SEED)
    shape = (image_size, image_size, 3)
    network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=shape)
    if trunk.source == "imagenet":
        _load_imagenet(keras, network, shape)
    elif trunk.source != "none":
        _load_file(network, store.local(trunk.source))
    network.trainable = False
    image = keras.Input(shape, name="square")
    stages = keras.Model(network.input, [network.get_layer(name).output for name in STAGES])
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in stages(_caffe(keras, image))]
    return keras.Model(image, keras.layers.Concatenate()(pooled), name="trunk")


def _caffe(keras: Any, image: Any) -> Any:
    """RGB to zero-centred BGR, as the ImageNet weights want it; built-in layers only."""
    blue_green_red = keras.ops.flip(image, axis=-1)
    offset = [-mean for mean in CAFFE_MEANS]
    return keras.layers.Rescaling(1.0, offset=offset, name="caffe")(blue_green_red)


def _load_imagenet(keras: Any, network: Any, shape: tuple[int, int, int]) -> None:
    try:
        source = keras.applications.ResNet50(include_top=False, input_shape=shape)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise Unavailable(
            f"weights=imagenet could not be downloaded ({_first_line(error)}). {WAYS_OUT}."
        ) from None
    network.set_weights(source.get_weights())


def _load_file(network: Any, path: Path) -> None:
    before = network.get_weights()[0].copy()
    try:
        with warnings.catch_warnings():
            # Keras names every layer of the other network in a warning of its own.
            warnings.simplefilter("ignore", UserWarning)
            network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise BadInput(
            f"weights: the file does not fit ResNet50 without its top ({_first_line(error)}). "
            f"{WAYS_OUT}."
        ) from None
    if (before == network.get_weights()[0]).all():
        raise BadInput(f"weights: the file holds no ResNet50 layers. {WAYS_OUT}.")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def released_model(
    keras: Any,
    trunk: Any,
    heads: list[tuple[NDArray[np.float32], NDArray[np.float32]]],
    image_size: int,
    field_of_view: float,
) -> Any:
    """The self-contained model: RGB uint8 (n, h, w, 3) of any size in, probability (n, 1) out.

    Args:
        keras: The Keras module.
        trunk: From `pooled_trunk`.
        heads: A kernel (channels, 1) and a bias (1,) for each run; their logits are averaged.
        image_size: Side of the square that the trunk takes, in pixels.
        field_of_view: Share of the image's short side that the square shows.
    """
    import numpy as np

    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    pooled = trunk(geometry(keras, image, image_size, field_of_view))
    layer = keras.layers.Dense(len(heads), name="runs")
    logits = layer(pooled)
    layer.set_weights([np.hstack([k for k, _ in heads]), np.concatenate([b for _, b in heads])])
    logit = keras.ops.mean(logits, axis=-1, keepdims=True)
    probability = keras.layers.Activation("sigmoid", name="probability")(logit)
    return keras.Model(image, probability, name="skin_cancer_screening")


def geometry(keras: Any, image: Any, image_size: int, field_of_view: float) -> Any:
    """The centre of an image at the working size, as `data.images.working_square` cuts it."""
    from skin_pipeline.data.images import scaled_side

    side = scaled_side(image_size, field_of_view)
    square = keras.layers.Resizing(
        side, side, crop_to_aspect_ratio=True, antialias=True, name="centre_square"
    )(image)
    return keras.layers.CenterCrop(image_size, image_size, name="field_of_view")(square)
