"""The pretrained weights of a backbone: pinned in the store once, then loaded by every worker.

    pinned = pin_weights(settings, store)        # "weights/3f….weights.h5"
    trunk = trunk_of("ResNet50", pinned)         # part of the key of everything made with it
    load_weights(keras, network, trunk, store)

The door needs the first two only, so TensorFlow and Keras are not imported for them.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import line, words
from skin_pipeline.roots import ANYWHERE, Roots
from skin_pipeline.storage import Store, copied, copied_file, digest_named, scratch
from skin_pipeline.training import networks, saved, transplant, weight_files
from skin_pipeline.training.container import Foreign
from skin_pipeline.training.pixels import Pixels

WAYS_OUT = (
    "Give weights=FILE with a model that contains keras.applications.{0} (.keras, .weights.h5 or "
    ".h5), or weights=imagenet on a machine that can download them"
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
    if (path / "saved_model.pb").is_file():
        found = f"is a SavedModel folder of TensorFlow{weight_files.SAVE_AGAIN}"
        raise BadInput(f"weights: {line(path)} {found}. {ways_out}")
    if not path.is_file():
        raise BadInput(f"weights: there is no file {line(path)}. {ways_out}")
    # Checked twice: first so that nothing of another kind or size is copied, then the copy itself,
    # since the file could have been exchanged between the check and the copy.
    weight_files.check(path, ways_out)
    with scratch() as folder:
        copy = folder / "pinned"
        found = copied_file(path, copy)
        weight_files.check(copy, ways_out, named=path)
        key = f"weights/{found}{_suffix(copy, settings.backbone, f'weights: {line(path)}')}"
        if not store.exists(key):
            store.put_file(key, copy)  # the bytes that the key names, whatever the file has by now
    return key


def _suffix(copy: Path, backbone: str, named: str) -> str:
    """Returns how the name of a file's copy ends, once its configuration names the network.

    Only with Keras are layers compared with the network's own: by the first step that needs it.
    """
    with _refusing(named, backbone), saved.opened(copy) as file:
        others = transplant.contained(file.models.values())
        if file.models and backbone not in others:
            seems = " or ".join(others)
            told = (
                f"It seems to contain {seems}: set backbone to that"
                if others
                else ("No network of keras.applications that this pipeline knows was found in it")
            )
            raise Foreign(f"does not contain {backbone}. {told}")
    return ".weights.h5" if weight_files.is_hdf5(copy) else ".keras"


def trunk_of(backbone: str, weights: str, stages: int = networks.STAGES) -> Trunk:
    """Returns the trunk: a network, its weights as `pin_weights` returned them, and its depth.

    `probing.with_engine` may have put an engine and its precision in front of the weights.
    """
    *engine, weights = weights.split(":")
    # `imagenet` and `none`, which are no file, are their own digest.
    digest = Path(weights).name.split(".")[0]
    by = dict(zip(("engine", "precision"), engine, strict=bool(engine)))
    return Trunk(backbone=backbone, source=weights, digest=digest, stages=stages, **by)


def load_weights(keras: Any, network: Any, trunk: Trunk, store: Store) -> Pixels | None:
    """Puts the weights of a trunk into a network of keras.applications, built without its top.

    With the source `none` the network keeps the weights that it was built with.

    Returns:
        How the file scales the pixels that its network sees; None for those of keras.applications.

    Raises:
        BadInput: The weight file belongs to another network.
        Unavailable: Keras could not download its ImageNet weights.
    """
    if trunk.source == "imagenet":
        _load_imagenet(keras, network, trunk.backbone)
    elif trunk.source != "none":
        with scratch() as folder:
            copy = folder / Path(trunk.source).name
            copied(store, trunk.source, copy, digest_named(trunk.source))
            return _load_file(network, copy, trunk.backbone)
    return None


def _load_imagenet(keras: Any, network: Any, name: str) -> None:
    try:
        source = networks.whole(keras, name, network.input.shape[1], "imagenet")
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise Unavailable(
            f"weights=imagenet could not be downloaded ({words(error)}). {WAYS_OUT.format(name)}."
        ) from None
    network.set_weights(source.get_weights())


def _load_file(network: Any, path: Path, name: str) -> Pixels | None:
    with _refusing("weights: the file", name), saved.opened(path) as file:
        return transplant.fill(network, file, name)


@contextmanager
def _refusing(named: str, backbone: str) -> Generator[None, None, None]:
    """Raises a `BadInput` that begins so for a file that does not contain the network."""
    try:
        yield
    except Foreign as error:
        raise BadInput(f"{named} {error}. {WAYS_OUT.format(backbone)}.") from None
    # h5py raises these for damage that shows only when values are read.
    except (ValueError, OSError, KeyError, RuntimeError, TypeError) as error:
        told = f"{named} is damaged ({words(error)}). {WAYS_OUT.format(backbone)}."
        raise BadInput(told) from None
