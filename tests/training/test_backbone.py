"""Networks are taken apart and put together again, and see images as their weights want them."""

from __future__ import annotations

import random
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tiny_network as tiny
from random_network import ALL, IMAGES, images_of, loaded, network, trunk_named

from skin_pipeline.training import backbone, configuration, networks
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.strategies import STRATEGIES, Training
from skin_pipeline.training.transplant import serialised

# Networks that begin in the same way: of the other one, nothing is read.
SAME_TO_THE_FIRST_END = {
    "ResNet101": "ResNet50",
    "ResNet101V2": "ResNet50V2",
    "DenseNet169": "DenseNet121",
    "DenseNet201": "DenseNet121",
}

# With random weights these are so deep that rounding decides what their last layers give. Their
# convolutions are computed as products like those of the smaller ones, which are compared.
CHAOTIC = {"EfficientNetV2M", "EfficientNetV2L"}


# One network after the other, so that each is built once for all that is asked of it.
each_network = pytest.mark.parametrize("name", ALL, scope="module")


def pooled(network: Network) -> Any:
    return STRATEGIES["head"].stem(network)


@pytest.fixture(scope="module")
def trunk() -> Any:
    return pooled(loaded())


def test_random_weights_are_the_same_on_every_worker(
    trunk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = networks.whole

    def beside_others(*arguments: Any) -> Any:
        random.random()  # as a thread of this worker does that sends metrics
        return whole(*arguments)

    monkeypatch.setattr(networks, "whole", beside_others)
    again = pooled(network())
    np.testing.assert_array_equal(trunk(IMAGES), again(IMAGES))


def test_the_last_features_are_those_of_keras_with_its_own_preprocessing(trunk: Any) -> None:
    keras.utils.set_random_seed(backbone.RANDOM_SEED)
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg"
    )
    expected = network(keras.applications.resnet.preprocess_input(IMAGES.copy()))
    np.testing.assert_allclose(trunk(IMAGES)[:, -2048:], expected, rtol=1e-4, atol=1e-3)


def test_nothing_of_the_trunk_is_trained(trunk: Any) -> None:
    assert trunk.trainable_weights == []


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("side", [1, 3])
def test_a_convolution_as_a_product_is_the_same_convolution(side: int, padding: str) -> None:
    image = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)
    options = {"padding": padding, "activation": "relu", "bias_initializer": "ones"}
    plain = keras.layers.Conv2D(7, side, **options)
    expected = plain(image)
    product = backbone.products(keras)(7, side, **options)
    product.build(image.shape)
    product.set_weights(plain.get_weights())
    np.testing.assert_allclose(product(image), expected, rtol=1e-4, atol=1e-5)


def prepared(name: str) -> Any:
    """Images as keras.applications itself prepares them for a network's weights."""
    if networks.BACKBONES[name].begin:  # it does so in layers that are left out
        return keras.applications.imagenet_utils.preprocess_input(images_of(name), mode="torch")
    module = sys.modules[getattr(keras.applications, name).__module__]
    return module.preprocess_input(images_of(name))


@each_network
def test_a_backbone_sees_images_as_its_weights_want_them(name: str) -> None:
    made = loaded(name)
    ends = keras.Model(made.whole.input, made.ends)
    expected = ends(prepared(name))
    for seen, wanted in zip(made.stages()(images_of(name)), expected, strict=True):
        spread = float(np.std(wanted))
        assert spread > 0
        np.testing.assert_allclose(seen, wanted, rtol=1e-3, atol=1e-3 * spread)


def test_what_is_left_out_of_an_efficientnet_is_the_scaling_of_its_imagenet_weights() -> None:
    complete = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    scaling = complete.get_layer(index=2)
    means, deviations = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    # Its file has the deviations where variances belong, and a layer divides by their root again.
    scaling.load_own_variables({"0": means, "1": deviations, "2": np.array(0)})
    scaled = keras.Model(complete.input, scaling.output)(IMAGES) / np.sqrt(deviations)
    np.testing.assert_allclose(loaded("EfficientNetB0")._scaled(IMAGES), scaled, atol=1e-4)


@each_network
def test_a_backbone_that_is_trained_sees_images_in_the_same_way(name: str) -> None:
    made = loaded(name)
    for seen, wanted in zip(
        made.trainable()(images_of(name)), made.stages()(images_of(name)), strict=True
    ):
        np.testing.assert_allclose(seen, wanted, rtol=1e-3, atol=1e-3 * float(np.std(wanted)))


@each_network
def test_every_copy_that_is_trained_leaves_batch_normalisation_as_it_was(name: str) -> None:
    made = loaded(name)
    made.stages()  # which freezes the network that the copies are made of
    for copy in (made.trainable(), made.last_stage(training=True), made.last_stage(training=False)):
        learning = [variable.path for variable in copy.trainable_variables]
        assert any("kernel" in path for path in learning)
        assert not [path for path in learning if "/gamma" in path and "_bn" in path]
        assert not [path for path in learning if "/beta" in path and "_bn" in path]


@each_network
def test_every_backbone_is_taken_apart_and_put_together_again(name: str) -> None:
    made = loaded(name)
    ends = made.stages()(images_of(name))
    last = made.last_stage(training=name not in CHAOTIC)
    deep = last(made.read_of(ends[1]), training=False)
    np.testing.assert_allclose(deep, ends[2], rtol=1e-3, atol=1e-3)
    assert made.channels == sum(end.shape[-1] for end in ends)
    first, second, third = (end.shape[1] for end in ends)
    assert first >= second >= third


@pytest.mark.parametrize("stages", [1, 2, 3])
@each_network
def test_a_network_is_recognised_as_far_as_it_is_read(name: str, stages: int) -> None:
    made = loaded(name).reading(stages)
    assert len(made.ends) == stages
    trunk = serialised(keras.Model(made.whole.input, made.ends))
    same = SAME_TO_THE_FIRST_END.get(name, name) if stages == 1 else name
    assert networks.recognised(configuration.widths(trunk)) == (same, stages)


def test_a_backbone_is_taken_apart_whatever_was_built_before() -> None:
    convnext = trunk_named("ConvNeXtTiny")
    shapes = [[end.shape for end in network(convnext).ends] for _ in range(2)]
    assert shapes[0] == shapes[1]


def test_a_backbone_with_sums_is_trained_end_to_end() -> None:
    convnext = network(trunk_named("ConvNeXtTiny"))
    model = STRATEGIES["full"].model(convnext, "run", Training())
    assert model(IMAGES).shape == (2, 1)


def test_the_maps_that_fine_tuning_starts_from_are_every_other_row_and_column() -> None:
    made = loaded()
    end = made.stages()(IMAGES)[1]
    assert made.map_shape == (2, 2, 1024)
    np.testing.assert_array_equal(made.read_of(end), np.asarray(end)[:, ::2, ::2])


@pytest.mark.parametrize(("size", "quick"), [(160, True), (159, False), (64, False)])
def test_xla_is_used_on_images_from_160_pixels_where_the_network_gains_by_it(
    size: int, quick: bool
) -> None:
    made = tiny.network()
    spec = tiny.SPEC._replace(jit=True)
    assert Network(keras, spec, made.whole, size).jit is quick
    assert Network(keras, spec._replace(jit=False), made.whole, size).jit is False


def test_the_channels_of_the_stages_are_counted() -> None:
    made = tiny.network()
    assert (made.shallow, made.channels) == (sum(tiny.CHANNELS[:2]), sum(tiny.CHANNELS))
    assert made.map_shape == tiny.MAP


PLAIN = {
    "kernel_size": (3, 3),
    "padding": "same",
    "strides": (1, 1),
    "dilation_rate": (1, 1),
    "groups": 1,
}


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"kernel_size": (1, 1), "padding": "valid"}, True),
        ({"kernel_size": (2, 2), "padding": "valid"}, True),
        ({"kernel_size": (2, 2)}, False),  # its middle lies between pixels
        ({"kernel_size": (3, 2)}, False),
        ({"strides": (2, 2)}, False),
        ({"dilation_rate": (2, 2)}, False),
        ({"groups": 3}, False),
    ],
)
def test_only_a_convolution_that_takes_every_pixel_is_made_a_product(
    changes: dict[str, Any], plain: bool
) -> None:
    assert backbone._is_plain({**PLAIN, **changes}) is plain


def with_layers(*names: str) -> Any:
    """A released model in small: a network with layers of these names, within another model."""
    image = x = keras.Input((4,))
    for name in names:
        x = keras.layers.Activation("linear", name=name)(x)
    inner = keras.Model(image, x, name="trunk")
    return keras.Model(image, inner(image))


@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize(
    ("name", "size", "quick"),
    [
        ("ResNet50", 160, True),
        ("ResNet50", 159, False),
        ("ResNet50V2", 224, True),
        ("EfficientNetV2B0", 224, False),
        ("ConvNeXtTiny", 224, False),
    ],
)
def test_a_released_model_is_compiled_where_its_network_gains_by_it(
    name: str, size: int, quick: bool, stages: int
) -> None:
    spec = networks.BACKBONES[name]
    model = with_layers(spec.mark or "first", *spec.stages[:stages])
    assert backbone.quick_with_xla(model, size) is quick
    assert backbone.quick_with_xla(with_layers("first", "second"), size) is False


# --- settings of Keras that are not ours ----------------------------------------------------------
