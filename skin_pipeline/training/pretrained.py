"""The pretrained weights of a backbone: pinned in the store once, then loaded by every worker.

    pinned = pin_weights(settings, store)        # "weights/3f….weights.h5"
    trunk = trunk_of("ResNet50", pinned)         # part of the key of everything made with it
    load_weights(keras, network, trunk, store)

The door needs the first two only, so TensorFlow and Keras are not imported for them.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import line, words
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import Store, copied, copied_file, digest_named, scratch
from skin_pipeline.training import weight_files

WAYS_OUT = (
    "Give weights=FILE with the weights of keras.applications.{0}(include_top=False), or "
    "weights=imagenet on a machine that can download them"
)


def pin_weights(settings: Settings, store: Store, roots: Roots = ANYWHERE) -> str:
    """Copies the weight file that the settings name into the store, for every worker to read.

    Returns:
        `imagenet`, `none`, or the key of the file's copy in the store, which its digest names.

    Raises:
        BadInput: There is no such file, it contains no weights, or it is not below `roots`.
    """
    if settings.weights in {"imagenet", "none"}:
        return settings.weights
    path = roots.path(settings.weights)
    ways_out = f"{WAYS_OUT.format(settings.backbone)}."
    if not path.is_file():
        raise BadInput(f"weights: there is no file {line(path)}. {ways_out}")
    # Checked twice: first so that nothing of another kind or size is copied, then the copy itself,
    # since the file could have been exchanged between the check and the copy.
    weight_files.check(path, ways_out)
    with scratch() as folder:
        copy = folder / "pinned.weights.h5"
        key = f"weights/{copied_file(path, copy)}.weights.h5"
        weight_files.check(copy, ways_out, named=path)
        if not store.exists(key):
            store.put_file(key, copy)  # the bytes that the key names, whatever the file has by now
    return key


def trunk_of(backbone: str, weights: str) -> Trunk:
    """Returns the trunk: a network, and its weights as `pin_weights` returned them."""
    # `imagenet` and `none`, which are no file, are their own digest.
    return Trunk(backbone=backbone, source=weights, digest=Path(weights).name.split(".")[0])


def load_weights(keras: Any, network: Any, trunk: Trunk, store: Store) -> None:
    """Puts the weights of a trunk into a network of keras.applications, built without its top.

    With the source `none` the network keeps the weights that it was built with.

    Raises:
        BadInput: The weight file belongs to another network.
        Unavailable: Keras could not download its ImageNet weights.
    """
    if trunk.source == "imagenet":
        _load_imagenet(getattr(keras.applications, trunk.backbone), network, trunk.backbone)
    elif trunk.source != "none":
        with scratch() as folder:
            copy = folder / Path(trunk.source).name
            copied(store, trunk.source, copy, digest_named(trunk.source))
            _load_file(network, copy, trunk.backbone)


def _load_imagenet(build: Any, network: Any, name: str) -> None:
    try:
        source = build(include_top=False, input_shape=tuple(network.input.shape[1:]))
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise Unavailable(
            f"weights=imagenet could not be downloaded ({words(error)}). {WAYS_OUT.format(name)}."
        ) from None
    network.set_weights(source.get_weights())


def _load_file(network: Any, path: Path, name: str) -> None:
    # A convolution's kernel, which every network initialises at random. Keras may skip the layers
    # that it does not find in a file: if this kernel stays the same, nothing was loaded.
    kernel = next(i for i, array in enumerate(network.get_weights()) if array.ndim == 4)
    before = network.get_weights()[kernel].copy()
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
    if (before == network.get_weights()[kernel]).all():
        raise BadInput(f"weights: the file contains no {name} layers. {WAYS_OUT.format(name)}.")
