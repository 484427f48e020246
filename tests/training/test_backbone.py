from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Trunk
from skin_pipeline.data.images import working_square
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.training import backbone

RANDOM = Trunk(source="none", digest="none")
IMAGES = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def trunk():
    return backbone.pooled_trunk(keras, RANDOM, 64, store=None)


def test_random_weights_are_the_same_on_every_worker(trunk):
    again = backbone.pooled_trunk(keras, RANDOM, 64, store=None)
    np.testing.assert_array_equal(trunk(IMAGES), again(IMAGES))


def test_the_last_features_are_those_of_keras_with_its_own_preprocessing(trunk):
    keras.utils.set_random_seed(backbone.RANDOM_SEED)
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg"
    )
    expected = network(keras.applications.resnet.preprocess_input(IMAGES.copy()))
    np.testing.assert_allclose(trunk(IMAGES)[:, -2048:], expected, rtol=1e-4, atol=1e-3)


def test_nothing_of_the_trunk_is_trained(trunk):
    assert trunk.trainable_weights == []


def heads(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(0, 1e-4, (3584, 1)).astype(np.float32), np.zeros(1, np.float32))
        for _ in range(count)
    ]


def test_the_released_model_averages_the_logits_of_its_runs(trunk):
    weights = heads(3)
    model = backbone.released_model(keras, trunk, weights, 64, 1.0)
    square = IMAGES[:1].astype(np.uint8)
    pooled = np.asarray(trunk(square.astype(np.float32)))
    logit = np.mean([pooled @ kernel + bias for kernel, bias in weights])
    assert float(model(square)[0, 0]) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)


def test_the_released_model_loads_in_safe_mode_and_takes_any_size(trunk, tmp_path):
    backbone.released_model(keras, trunk, heads(2), 64, 0.8).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    for size in ((64, 64), (90, 200), (300, 70)):
        probability = model(np.zeros((1, *size, 3), np.uint8))
        assert probability.shape == (1, 1)
        assert 0 <= float(probability[0, 0]) <= 1


@pytest.mark.parametrize("size", [(64, 64), (200, 150), (151, 199), (600, 450), (50, 40), (80, 81)])
@pytest.mark.parametrize("field_of_view", [0.8, 1.0])
def test_the_model_cuts_an_image_as_the_packed_images_were_cut(size, field_of_view):
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = coarse.resize(size, Image.Resampling.BICUBIC)
    square = backbone.geometry(keras, np.asarray(image, np.float32)[None], 64, field_of_view)
    packed = working_square(image, 64, field_of_view)
    # Pillow rounds to whole grey levels after each of its two passes.
    assert np.abs(np.asarray(square)[0] - packed).max() <= 1.01


def test_a_missing_weight_file_names_both_ways_out(store):
    settings = Settings(weights="/no/such/resnet50.h5")
    with pytest.raises(BadInput, match=r"no file .*resnet50.h5.*weights=FILE.*weights=imagenet"):
        backbone.pin_weights(settings, store)


def small_network(path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(path)


def another_resnet(path):
    keras.applications.ResNet50V2(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    ).save_weights(path)


@pytest.mark.parametrize(
    "write", [small_network, another_resnet, lambda path: path.write_bytes(b"not HDF5")]
)
def test_a_weight_file_of_another_network_names_both_ways_out(store, tmp_path, write):
    path = tmp_path / "other.weights.h5"
    write(path)
    pinned = backbone.pin_weights(Settings(weights=str(path)), store)
    with pytest.raises(BadInput, match=r"weights: .*ResNet50.*weights=FILE.*weights=imagenet"):
        backbone.pooled_trunk(keras, backbone.trunk_of(pinned), 64, store)


def test_pinned_weights_are_named_by_their_digest_and_load(store, tmp_path):
    network = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    network.save_weights(tmp_path / "mine.weights.h5")
    settings = Settings(weights=str(tmp_path / "mine.weights.h5"))
    pinned = backbone.pin_weights(settings, store)
    assert pinned == backbone.pin_weights(settings, store)
    assert backbone.trunk_of(pinned).digest in pinned
    trunk = backbone.pooled_trunk(keras, backbone.trunk_of(pinned), 64, store)
    first = next(layer for layer in trunk.layers if isinstance(layer, keras.Model))
    np.testing.assert_array_equal(first.get_weights()[0], network.get_weights()[0])


def test_imagenet_weights_that_cannot_be_downloaded_may_be_tried_again(monkeypatch, tmp_path):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    with pytest.raises(Unavailable, match=r"could not be downloaded.*weights=FILE.*imagenet"):
        backbone.pooled_trunk(keras, backbone.trunk_of("imagenet"), 64, store=None)
