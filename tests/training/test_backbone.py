from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tiny_network as tiny
import weights_file
from PIL import Image

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Trunk
from skin_pipeline.data.images import working_square
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.geometry import Geometry
from skin_pipeline.model_file.building import geometry, released_model, seen_as
from skin_pipeline.training import backbone
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.inputs import dihedral
from skin_pipeline.training.strategies import STRATEGIES, Training

ROOT = Path(__file__).parents[2]
RANDOM = Trunk(backbone="ResNet50", source="none", digest="none")
IMAGES = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.float32)


def network(trunk=RANDOM, store=None):
    return Network.load(keras, trunk, 64, store)


@pytest.fixture(scope="module")
def loaded():
    """The network with random weights, of which models only take copies."""
    return network()


def pooled(loaded):
    return STRATEGIES["head"].stem(loaded)


@pytest.fixture(scope="module")
def trunk(loaded):
    return pooled(loaded)


def test_random_weights_are_the_same_on_every_worker(trunk):
    again = pooled(network())
    np.testing.assert_array_equal(trunk(IMAGES), again(IMAGES))


def test_the_last_features_are_those_of_keras_with_its_own_preprocessing(trunk):
    keras.utils.set_random_seed(backbone.RANDOM_SEED)
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg"
    )
    expected = network(keras.applications.resnet.preprocess_input(IMAGES.copy()))
    np.testing.assert_allclose(trunk(IMAGES)[:, -2048:], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("residual", "ends"), [(False, ("a", "b", "c")), (True, ("sum a", "sum b", "c"))]
)
def test_a_stage_ends_with_the_sum_behind_its_layer_where_the_network_says_so(residual, ends):
    operations = [
        SimpleNamespace(name=name, output=name) for name in ("a", "sum a", "b", "sum b", "c", "d")
    ]
    spec = backbone.Spec(("a", "b", "c"), "inside", residual=residual)
    made = backbone.Network(keras, spec, SimpleNamespace(operations=operations), 64)
    assert made.ends == ends


def test_nothing_of_the_trunk_is_trained(trunk):
    assert trunk.trainable_weights == []


def head_weights(loaded, count, seed=0):
    rng = np.random.default_rng(seed)
    model = STRATEGIES["head"].model(loaded, "run")
    shapes = {weight.shape: weight for weight in model.get_weights()}
    assert set(shapes) == {(3584,), (3584, 1), (1,)}
    runs = []
    for _ in range(count):
        kernel = rng.normal(0, 1e-4, (3584, 1)).astype(np.float32)
        model.get_layer("logit").set_weights([kernel, np.zeros(1, np.float32)])
        runs.append(model.get_weights())
    return runs


def test_the_released_model_averages_the_logits_of_its_runs(loaded, trunk):
    runs = head_weights(loaded, 3)
    model = released_model(loaded, "head", runs, 1.0)
    square = IMAGES[:1].astype(np.uint8)
    alone = STRATEGIES["head"].model(loaded, "run")
    features, logits = trunk(square.astype(np.float32)), []
    for weights in runs:
        alone.set_weights(weights)
        logits.append(float(alone(features)[0, 0]))
    expected = 1 / (1 + np.exp(-np.mean(logits)))
    assert float(model(square)[0, 0]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("views", [2, 8])
def test_the_released_model_averages_the_logits_of_its_views_and_calibrates_them(
    loaded, trunk, views
):
    runs = head_weights(loaded, 1)
    model = released_model(loaded, "head", runs, 1.0, views=views, temperature=0.5)
    dark, light = IMAGES[0] / 4, 255 - IMAGES[1] / 8
    dark[:20] = 255  # so that the views differ
    squares = np.stack([dark, light]).astype(np.uint8)
    alone = STRATEGIES["head"].model(loaded, "run")
    alone.set_weights(runs[0])
    seen = [dihedral(squares, view).astype(np.float32) for view in range(views)]
    logits = np.mean([alone(trunk(each)) for each in seen], axis=0)
    assert abs(logits[0] - logits[1]) > 0.015  # several times the tolerance
    np.testing.assert_allclose(model(squares), 1 / (1 + np.exp(-logits / 0.5)), atol=1e-3)


@pytest.mark.parametrize("view", range(8))
def test_a_view_in_the_model_is_the_view_that_features_are_of(view):
    square = IMAGES.astype(np.uint8)
    np.testing.assert_array_equal(seen_as(keras, square, view), dihedral(square, view))


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_the_released_model_loads_in_safe_mode_and_takes_any_size(loaded, strategy, tmp_path):
    runs = [STRATEGIES[strategy].model(loaded, "run").get_weights()] * 2
    released_model(loaded, strategy, runs, 0.8, views=4).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    for size in ((64, 64), (90, 200), (300, 70)):
        probability = model(np.zeros((1, *size, 3), np.uint8))
        assert probability.shape == (1, 1)
        assert 0 <= float(probability[0, 0]) <= 1


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_what_is_trained_is_a_copy_with_batch_normalisation_left_as_it_was(loaded, strategy):
    loaded.stages()
    model = STRATEGIES[strategy].model(loaded, "run", Training())
    names = [variable.path for variable in model.trainable_variables]
    assert any("conv5_block3_3_conv" in name for name in names)
    assert not any("_bn" in name for name in names)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_model_in_training_and_one_that_scores_have_the_same_weights_and_scores(loaded, strategy):
    made = STRATEGIES[strategy]
    trained, scoring = (
        made.model(loaded, "run", Training(l2=0.1, jitter=0.2)),
        made.model(loaded, "run"),
    )
    paths = [[weight.path for weight in model.weights] for model in (trained, scoring)]
    assert [path.split("/")[-2:] for path in paths[0]] == [
        path.split("/")[-2:] for path in paths[1]
    ]
    kernel = np.random.default_rng(0).normal(0, 1e-3, (loaded.channels, 1))
    trained.get_layer("logit").set_weights([kernel, np.zeros(1)])
    scoring.set_weights(trained.get_weights())
    read = made.stem(loaded)(IMAGES)
    np.testing.assert_allclose(trained(read, training=False), scoring(read), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("side", [1, 3])
def test_a_convolution_as_a_product_is_the_same_convolution(side, padding):
    image = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)
    options = {"padding": padding, "activation": "relu", "bias_initializer": "ones"}
    plain = keras.layers.Conv2D(7, side, **options)
    expected = plain(image)
    product = backbone.products(keras)(7, side, **options)
    product.build(image.shape)
    product.set_weights(plain.get_weights())
    np.testing.assert_allclose(product(image), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def each():
    """Every backbone by its name, built once."""

    @lru_cache
    def load(name):
        return network(Trunk(backbone=name, source="none", digest="none"))

    return load


# How keras.applications itself prepares images for its weights.
PREPARED = {
    "ResNet50": keras.applications.resnet.preprocess_input,
    "ResNet50V2": keras.applications.resnet_v2.preprocess_input,
    "EfficientNetV2B0": keras.applications.efficientnet_v2.preprocess_input,
    "ConvNeXtTiny": keras.applications.convnext.preprocess_input,
}


def test_every_backbone_has_a_preprocessing_to_compare_with():
    assert PREPARED.keys() == backbone.BACKBONES.keys()


@pytest.mark.parametrize("name", list(backbone.BACKBONES))
def test_a_backbone_sees_images_as_its_weights_want_them(each, name):
    loaded = each(name)
    ends = keras.Model(loaded.whole.input, loaded.ends)
    expected = ends(PREPARED[name](IMAGES.copy()))
    for seen, wanted in zip(loaded.stages()(IMAGES), expected, strict=True):
        spread = float(np.std(wanted))
        assert spread > 0
        np.testing.assert_allclose(seen, wanted, rtol=1e-3, atol=1e-3 * spread)


@pytest.mark.parametrize("name", list(backbone.BACKBONES))
def test_a_backbone_that_is_trained_sees_images_in_the_same_way(each, name):
    loaded = each(name)
    for seen, wanted in zip(loaded.trainable()(IMAGES), loaded.stages()(IMAGES), strict=True):
        np.testing.assert_allclose(seen, wanted, rtol=1e-3, atol=1e-3 * float(np.std(wanted)))


@pytest.mark.parametrize("name", list(backbone.BACKBONES))
def test_every_backbone_is_taken_apart_and_put_together_again(each, name):
    loaded = each(name)
    ends = loaded.stages()(IMAGES)
    deep = loaded.last_stage(training=True)(loaded.read_of(ends[1]), training=False)
    np.testing.assert_allclose(deep, ends[2], rtol=1e-3, atol=1e-3)
    assert loaded.channels == sum(end.shape[-1] for end in ends)


def test_a_backbone_is_taken_apart_whatever_was_built_before():
    convnext = Trunk(backbone="ConvNeXtTiny", source="none", digest="none")
    shapes = [[end.shape for end in network(convnext).ends] for _ in range(2)]
    assert shapes[0] == shapes[1]


def test_a_backbone_with_sums_is_trained_end_to_end():
    convnext = network(Trunk(backbone="ConvNeXtTiny", source="none", digest="none"))
    model = STRATEGIES["full"].model(convnext, "run", Training())
    assert model(IMAGES).shape == (2, 1)


@pytest.mark.parametrize("size", [(64, 64), (200, 150), (151, 199), (600, 450), (50, 40), (80, 81)])
@pytest.mark.parametrize("field_of_view", [0.8, 1.0])
def test_the_model_cuts_an_image_as_the_packed_images_were_cut(size, field_of_view):
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = coarse.resize(size, Image.Resampling.BICUBIC)
    square = geometry(keras, np.asarray(image, np.float32)[None], 64, field_of_view)
    packed = working_square(image, Geometry(64, field_of_view))
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


@pytest.mark.parametrize("write", [small_network, another_resnet])
def test_a_weight_file_of_another_network_names_both_ways_out(store, tmp_path, write):
    path = tmp_path / "other.weights.h5"
    write(path)
    pinned = backbone.pin_weights(Settings(weights=str(path)), store)
    with pytest.raises(BadInput, match=r"weights: .*ResNet50.*weights=FILE.*weights=imagenet"):
        network(backbone.trunk_of("ResNet50", pinned), store)


def test_pinned_weights_are_named_by_their_digest_and_load(store, tmp_path):
    mine = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    mine.save_weights(tmp_path / "mine.weights.h5")
    settings = Settings(weights=str(tmp_path / "mine.weights.h5"))
    pinned = backbone.pin_weights(settings, store)
    assert pinned == backbone.pin_weights(settings, store)
    assert backbone.trunk_of("ResNet50", pinned).digest in pinned
    loaded = network(backbone.trunk_of("ResNet50", pinned), store)
    np.testing.assert_array_equal(loaded.whole.get_weights()[0], mine.get_weights()[0])


@pytest.fixture
def downloads(monkeypatch):
    """Keras's ResNet50 in small: without weights it is random, with its own all of them are 3. What
    it was asked for is kept."""
    asked = []

    def build(include_top=True, weights="imagenet", input_shape=None):
        asked.append((include_top, weights, input_shape))
        made = tiny.network().whole
        if weights == "imagenet":
            made.set_weights([np.full_like(array, 3) for array in made.get_weights()])
        return made

    monkeypatch.setattr(keras.applications, "ResNet50", build)
    return asked


def test_imagenet_weights_are_those_that_keras_downloads(downloads):
    loaded = Network.load(keras, backbone.trunk_of("ResNet50", "imagenet"), tiny.SIZE, None)
    assert loaded.whole.count_params() == tiny.network().whole.count_params()
    for array in loaded.whole.get_weights():
        np.testing.assert_array_equal(array, 3)
    assert (False, "imagenet", (tiny.SIZE, tiny.SIZE, 3)) in downloads


def test_nothing_is_downloaded_for_random_weights_or_those_of_a_file(downloads, store, tmp_path):
    mine = tiny.network(seed=9).whole
    mine.save_weights(tmp_path / "mine.weights.h5")
    pinned = backbone.pin_weights(Settings(weights=str(tmp_path / "mine.weights.h5")), store)
    loaded = Network.load(keras, backbone.trunk_of("ResNet50", pinned), tiny.SIZE, store)
    assert all(map(np.array_equal, loaded.whole.get_weights(), mine.get_weights()))
    Network.load(keras, RANDOM, tiny.SIZE, store)
    assert {weights for _, weights, _ in downloads} == {None}


def test_weights_of_imagenet_and_random_ones_need_no_file(store):
    assert backbone.pin_weights(Settings(weights="imagenet"), store) == "imagenet"
    assert backbone.pin_weights(Settings(data="demo", weights="none"), store) == "none"
    assert store.list("") == []


def test_the_maps_that_fine_tuning_starts_from_are_every_other_row_and_column(loaded):
    end = loaded.stages()(IMAGES)[1]
    assert loaded.map_shape == (2, 2, 1024)
    np.testing.assert_array_equal(loaded.read_of(end), np.asarray(end)[:, ::2, ::2])


@pytest.mark.parametrize(("size", "quick"), [(160, True), (159, False), (64, False)])
def test_xla_is_used_on_images_from_160_pixels_where_the_network_gains_by_it(size, quick):
    made = tiny.network()
    spec = tiny.SPEC._replace(jit=True)
    assert Network(keras, spec, made.whole, size).jit is quick
    assert Network(keras, spec._replace(jit=False), made.whole, size).jit is False


def test_the_channels_of_the_stages_are_counted():
    made = tiny.network()
    assert (made.shallow, made.channels) == (sum(tiny.CHANNELS[:2]), sum(tiny.CHANNELS))
    assert made.map_shape == tiny.MAP


def test_weights_are_known_by_what_is_in_the_file_and_not_by_its_name(store, tmp_path):
    def pinned(folder, value, name="resnet50.weights.h5"):
        (tmp_path / folder).mkdir(exist_ok=True)
        weights_file.written(tmp_path / folder / name, value)
        return backbone.pin_weights(Settings(weights=str(tmp_path / folder / name)), store)

    first = pinned("a", 1)
    assert pinned("b", 2) != first
    assert pinned("c", 1, "other.h5") == first
    assert store.read(first) == (tmp_path / "a/resnet50.weights.h5").read_bytes()
    digests = {backbone.trunk_of("ResNet50", key).digest for key in (first, pinned("b", b"two"))}
    assert len(digests) == 2


def test_tensorflow_is_held_to_the_threads_of_the_task(monkeypatch):
    import tensorflow as tf

    held = {}
    for kind in ("intra", "inter"):
        monkeypatch.setattr(
            tf.config.threading,
            f"set_{kind}_op_parallelism_threads",
            lambda number, kind=kind: held.update({kind: number}),
        )
    assert backbone.keras_on(3) is keras
    assert held == {"intra": 3, "inter": 1}


@pytest.mark.parametrize("fails", [False, True])
def test_mixed_precision_ends_with_what_was_built_in_it(fails):
    before = keras.config.dtype_policy().name
    with suppress(ZeroDivisionError), backbone.spread_over(keras, ["CPU:0"]):
        assert keras.config.dtype_policy().name == "mixed_float16"
        _ = 1 / (0 if fails else 1)
    assert keras.config.dtype_policy().name == before
    with backbone.spread_over(keras, []):
        assert keras.config.dtype_policy().name == before


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
def test_only_a_convolution_that_takes_every_pixel_is_made_a_product(changes, plain):
    assert backbone._is_plain({**PLAIN, **changes}) is plain


def with_layers(*names):
    """A released model in small: a network with layers of these names, within another model."""
    image = x = keras.Input((4,))
    for name in names:
        x = keras.layers.Activation("linear", name=name)(x)
    inner = keras.Model(image, x, name="trunk")
    return keras.Model(image, inner(image))


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
def test_a_released_model_is_compiled_where_its_network_gains_by_it(name, size, quick):
    model = with_layers(*backbone.BACKBONES[name].stages)
    assert backbone.quick_with_xla(model, size) is quick
    assert backbone.quick_with_xla(with_layers("first", "second"), size) is False


def test_imagenet_weights_that_cannot_be_downloaded_may_be_tried_again(monkeypatch, tmp_path):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    with pytest.raises(Unavailable, match=r"could not be downloaded.*weights=FILE.*imagenet"):
        network(backbone.trunk_of("ResNet50", "imagenet"))


# --- settings of Keras that are not ours ----------------------------------------------------------

SEEN = """
import json, os
from skin_pipeline.training.backbone import keras_on
keras = keras_on(1)
layer = keras.layers.Conv2D(2, 3, kernel_initializer=keras.initializers.Ones())
config = keras.config
print("SEEN", json.dumps({
    "backend": config.backend(), "floatx": config.floatx(), "epsilon": config.epsilon(),
    "policy": config.dtype_policy().name, "format": config.image_data_format(),
    "conv": list(layer(keras.ops.ones((1, 5, 6, 3))).shape), "dtype": layer.compute_dtype,
    "shortened": [name for name in os.environ if name.startswith("KERAS_MAX")],
}))
"""
AS_NEEDED = {
    "backend": "tensorflow",
    "floatx": "float32",
    "epsilon": 1e-7,
    "policy": "float32",
    "format": "channels_last",
    "conv": [1, 3, 4, 2],
    "dtype": "float32",
    "shortened": [],
}


def keras_with(home, settings, code=SEEN, **environment):
    """What a process says that starts with this `keras.json` and these variables."""
    home.mkdir(exist_ok=True)
    (home / "keras.json").write_text(settings)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_whatever_keras_is_set_to_on_a_machine_it_is_set_to_what_models_need(tmp_path):
    foreign = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float16"}
    run = keras_with(
        tmp_path / "keras",
        json.dumps({**foreign, "epsilon": 1e-2}),
        KERAS_BACKEND="torch",
        KERAS_MAX_EPOCHS="1",
        KERAS_MAX_STEPS_PER_EPOCH="often",
        TF_USE_LEGACY_KERAS="1",
    )
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("SEEN ")] or [run.stderr]
    assert json.loads(line.removeprefix("SEEN ")) == AS_NEEDED


REFUSED = """
from skin_pipeline.errors import BadInput
from skin_pipeline.training.backbone import keras_on
try:
    keras_on(1)
except BadInput as error:
    print("REFUSED", error)
"""


@pytest.mark.parametrize("settings", ['{"floatx": "float8"}', "[1]", '{"epsilon": 1}'])
def test_a_keras_json_that_keras_cannot_read_is_refused_in_one_line(tmp_path, settings):
    run = keras_with(tmp_path / "keras", settings, REFUSED)
    (said,) = run.stdout.splitlines() or [run.stderr]
    assert said.startswith("REFUSED Keras cannot be imported: ")
    assert "remove keras.json" in said


def test_keras_that_already_runs_on_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(BadInput, match=r"already runs on torch .* Set KERAS_BACKEND=tensorflow"):
        backbone.keras_on(1)


def test_a_policy_that_other_code_has_set_does_not_reach_our_models():
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_image_data_format("channels_first")
    try:
        backbone.keras_on(1)
        assert keras.config.dtype_policy().name == "float32"
        assert keras.config.image_data_format() == "channels_last"
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")


def test_a_flag_that_ends_the_process_is_named_before_it_does(tmp_path):
    code = "import logging; logging.basicConfig(level='INFO')\n" + SEEN
    run = keras_with(tmp_path / "keras", "{}", code, TF_XLA_FLAGS="--no_such_flag=1")
    assert run.returncode != 0
    assert "tensorflow_flags TF_XLA_FLAGS=--no_such_flag=1 (an unknown one ends" in run.stderr
    assert "SEEN" not in run.stdout
