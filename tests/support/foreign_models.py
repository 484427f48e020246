"""Models that others train on a network of keras.applications, in every shape that they save."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import model_files as files
import numpy as np

from skin_pipeline.training.networks import Spec

layers = keras.layers
SIDE = 16
NAME = "Small"
SPEC = Spec(("block1_conv1", "block2_sepconv1_bn", "end"), "tf", (4, 10, 20), least=8)
Save = Callable[[Any, Path], None]


def stacked(image: Any, **other: Any) -> Any:
    """The layers that those of keras.applications have: some with names of their own, some that
    Keras named, a sum; `other` are settings of the second convolution."""
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="block1_conv1")(image)
    beside = layers.Conv2D(6, 1, **{"strides": 2, "padding": "same", **other})(x)
    beside = layers.BatchNormalization()(beside)
    x = layers.SeparableConv2D(6, 3, padding="same", use_bias=False, name="block2_sepconv1")(x)
    x = layers.BatchNormalization(name="block2_sepconv1_bn")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="block2_pool")(x)
    x = layers.Add()([x, beside])
    x = layers.Conv2D(4, 1)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation("relu", name="end")(x)


def network(seed: int = 1, name: str = "small", top: bool = False, **other: Any) -> Any:
    image = keras.Input((SIDE, SIDE, 3))
    x = stacked(image, **other)
    if top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(9, name="predictions")(x)
    made = keras.Model(image, x, name=name)
    for layer in made.layers:
        if layer.name != "predictions":
            drawn(layer, seed)
    return made


def drawn(layer: Any, seed: int) -> None:
    """Gives a layer weights that its own are known by."""
    draw = np.random.default_rng([seed, layer.count_params()])
    layer.set_weights([draw.uniform(0.1, 1, array.shape) for array in layer.get_weights()])


def headed(features: Any) -> Any:
    """A head with layers of the same classes as the network has, which Keras names."""
    pooled = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(features))
    return layers.Dense(2, activation="softmax")(layers.Dropout(0.3)(pooled))


def nested(inner: Any, scaled: Any = None) -> Any:
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(image, headed(inner(scaled(image) if scaled else image)))


def flat(seed: int) -> Any:
    image = keras.Input((SIDE, SIDE, 3))
    end = stacked(layers.Rescaling(1 / 127.5, offset=-1)(image))
    return _with_weights(keras.Model(image, headed(end)), seed)


def _with_weights(model: Any, seed: int) -> Any:
    for layer in model.layers:
        drawn(layer, seed)
    return model


def beside_metadata(seed: int) -> Any:
    """Flat, and beside it a branch whose layers stand between those of the network."""
    image, said = keras.Input((SIDE, SIDE, 3)), keras.Input((5,))
    end = stacked(image)
    other = layers.BatchNormalization()(layers.Dense(3)(layers.Normalization()(said)))
    other = layers.BatchNormalization()(layers.Dense(4)(layers.Dense(4)(other)))
    both = layers.Concatenate()([layers.GlobalAveragePooling2D()(end), other])
    return _with_weights(keras.Model([image, said], layers.Dense(1)(both)), seed)


def augmented(seed: int) -> Any:
    """A network behind models of their own, which have no weights or only random states."""
    image = keras.Input((SIDE, SIDE, 3))
    plain = keras.Sequential([layers.Rescaling(1 / 255)])
    varied = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    return keras.Model(image, headed(network(seed)(varied(plain(image)))))


def trained(seed: int) -> Any:
    """A compiled model with the state of its optimizer."""
    model = nested(network(seed))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def in_half_precision(seed: int) -> Any:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return nested(network(seed))
    finally:
        keras.config.set_dtype_policy("float32")


def renamed(seed: int) -> Any:
    """Every layer's name has got a number, as where two networks are put into one model."""

    def numbered(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, "name": f"{layer.name}_1"})

    inner = network(seed)
    copy = keras.models.clone_model(inner, clone_function=numbered)
    copy.set_weights(inner.get_weights())
    return nested(copy)


def in_sequence(seed: int) -> Any:
    return keras.Sequential([
        network(seed),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
        layers.Dense(1),
    ])


def within_one_within_one(seed: int) -> Any:
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), nested(network(seed))])


SHAPES: dict[str, Callable[[int], Any]] = {
    "by itself": network,
    "with its top": lambda seed: network(seed, top=True),
    "within another": lambda seed: nested(network(seed)),
    "under a name of its own": lambda seed: nested(network(seed, name="trunk_of_the_clinic")),
    "in a sequence": in_sequence,
    "within one within one": within_one_within_one,
    "flat": flat,
    "flat beside metadata": beside_metadata,
    "behind augmentation": augmented,
    "trained": trained,
    "in half precision": in_half_precision,
    "renamed": renamed,
}


# --- formats --------------------------------------------------------------------------------------


def as_keras(model: Any, path: Path) -> None:
    model.save(path.with_suffix(".keras"))
    path.with_suffix(".keras").rename(path)


def as_weights(model: Any, path: Path) -> None:
    model.save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


def as_weights_without_names(model: Any, path: Path) -> None:
    """As versions of Keras before 3.7 wrote it."""
    as_weights(model, path)
    with h5py.File(path, "r+") as content:
        _unname(content)


def _unname(content: h5py.File) -> None:
    def unname(_: str, item: Any) -> None:
        item.attrs.pop("name", None)

    content.visititems(unname)


def as_keras_of_old(model: Any, path: Path) -> None:
    """As Keras 2.12 wrote it: without names, and layers below another name."""

    def aged(content: h5py.File) -> None:
        _unname(content)
        places: list[str] = []
        content.visit(lambda name: places.append(name) if name.endswith("layers") else None)
        for place in sorted(places, key=len, reverse=True):
            content.move(place, f"{place[:-6]}_layer_checkpoint_dependencies")

    as_keras(model, path)
    path.write_bytes(files.with_weights(path.read_bytes(), aged))


def as_h5(model: Any, path: Path) -> None:
    model.save(path.with_suffix(".h5"))
    path.with_suffix(".h5").rename(path)


FORMATS: dict[str, Save] = {
    ".keras": as_keras,
    ".keras of old": as_keras_of_old,
    ".weights.h5": as_weights,
    ".weights.h5 without names": as_weights_without_names,
    ".h5": as_h5,
}


def with_config(path: Path, change: Callable[[Any], object]) -> None:
    """Changes the configuration in a `.keras` file."""
    path.write_bytes(files.with_config(path.read_bytes(), change))


def config_of(path: Path) -> Any:
    return json.loads(files.members_of(path.read_bytes())["config.json"])
