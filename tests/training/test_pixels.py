"""A scaling of pixels is read from the settings of layers, and none of their code is run."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from skin_pipeline.training.container import Foreign
from skin_pipeline.training.pixels import Pixels, scaled_by

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3)).astype(np.float32)


def config_of(layer: Any) -> dict[str, Any]:
    found: dict[str, Any] = keras.saving.serialize_keras_object(layer)
    return found


def nothing(name: str) -> list[Any]:
    return []


LAYERS = {
    "a factor": [keras.layers.Rescaling(1 / 255)],
    "both": [keras.layers.Rescaling(1 / 127.5, offset=-1.0)],
    "of each channel": [keras.layers.Rescaling([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])],
    "two": [keras.layers.Rescaling(1 / 255, 0.1), keras.layers.Rescaling([2.0, 3.0, 4.0], -0.5)],
    "known means": [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.05, 0.04, 0.03]),
    ],
    "one mean": [keras.layers.Normalization(mean=128.0, variance=900.0)],
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_pixels_are_scaled_as_keras_scales_them(layers: list[Any]) -> None:
    found = scaled_by(map(config_of, layers), nothing)
    assert found
    expected = IMAGE
    for layer in layers:
        expected = layer(expected)
    np.testing.assert_allclose(IMAGE * found.factors + found.addends, expected, atol=1e-4)


def test_learned_means_are_read_from_the_arrays() -> None:
    layer = {"class_name": "Normalization", "name": "n", "config": {"mean": None}}
    means, variances = np.array([10.0, 20.0, 30.0]), np.array([4.0, 9.0, 16.0])
    found = scaled_by([layer], {"n": [means, variances]}.__getitem__)
    assert found
    assert found.factors == pytest.approx((1 / 2, 1 / 3, 1 / 4))
    assert found.addends == pytest.approx((-5, -20 / 3, -7.5))


def test_layers_that_change_only_places_or_only_training_are_passed() -> None:
    layers = [keras.layers.RandomFlip(), keras.layers.Resizing(8, 8), keras.layers.Rescaling(0.1)]
    found = scaled_by(map(config_of, layers), nothing)
    assert found == Pixels((0.1,) * 3, (0.0,) * 3)
    assert scaled_by(map(config_of, layers[:2]), nothing) is None
    assert scaled_by([], nothing) is None


@pytest.mark.parametrize("kind", ["Lambda", "TrueDivide", "Conv2D", "GetItem", "OfTheClinic", None])
def test_a_layer_that_cannot_be_followed_is_named_in_a_warning(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    known = config_of(keras.layers.Rescaling(1 / 255))
    layer = {"class_name": kind, "name": "theirs", "config": {}}
    assert scaled_by([known, layer], nothing) is None
    assert f"pixels_unknown layer=theirs class={kind}" in caplog.text


@pytest.mark.parametrize(
    "config",
    [
        {"scale": [1.0, 2.0]},
        {"scale": "many"},
        {"scale": {"a": 1}},
        {"scale": 0.1, "offset": [1.0, 2.0, 3.0, 4.0]},
    ],
)
def test_what_does_not_scale_three_channels_is_refused(config: Any) -> None:
    with pytest.raises(Foreign, match="'odd' that does not scale 3 channels"):
        scaled_by([{"class_name": "Rescaling", "name": "odd", "config": config}], nothing)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 20.0, 1e300])
def test_a_scaling_of_pixels_in_another_range_is_refused(scale: float) -> None:
    layer = {"class_name": "Rescaling", "name": "r", "config": {"scale": scale}}
    with pytest.raises(Foreign, match="trained on pixels in another range"):
        scaled_by([layer], nothing)


@pytest.mark.parametrize("arrays", [[], [np.ones(3)], [np.ones(2), np.ones(2)]])
def test_a_normalisation_without_its_arrays_is_refused(arrays: list[Any]) -> None:
    layer = {"class_name": "Normalization", "name": "n", "config": {"mean": None}}
    with pytest.raises(Foreign):
        scaled_by([layer], lambda _: arrays)


def test_scalings_are_alike_but_for_rounding() -> None:
    usual = Pixels((1 / 127.5,) * 3, (-1.0,) * 3)
    assert usual.is_like(Pixels((0.0078431,) * 3, (-1.0, -1.0, -1.00001)))
    assert not usual.is_like(Pixels((1 / 255,) * 3, (-1.0,) * 3))
    assert not usual.is_like(Pixels((1 / 127.5,) * 3, (0.0,) * 3))
