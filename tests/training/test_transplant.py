"""A network's layers are found in what others saved; what is not that network is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_models as foreign
import h5py
import keras
import model_files as files
import numpy as np
import pytest

from skin_pipeline.training import backbone, networks, saved, transplant
from skin_pipeline.training.container import Foreign

layers = keras.layers


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.BACKBONES, foreign.NAME, foreign.SPEC)


@pytest.fixture(autouse=True)
def numbering() -> None:
    """Keras numbers layers as in a process in which nothing was built before."""
    keras.backend.clear_session()


def taken(path: Path) -> Any:
    """A network with random weights of its own, after the file's were put into it."""
    made = foreign.network(seed=9)
    with saved.opened(path) as file:
        transplant.fill(made, file, foreign.NAME)
    return made


def refused(path: Path) -> str:
    made = foreign.network(seed=9)
    before = made.get_weights()
    with saved.opened(path) as file, pytest.raises(Foreign) as caught:
        transplant.fill(made, file, foreign.NAME)
    assert all(map(np.array_equal, made.get_weights(), before))
    return str(caught.value)


# Without names, layers are known by their class and number only: here, those of the branch stand
# between those of the network.
UNCLEAR = {("flat beside metadata", ".weights.h5 without names")}


@pytest.mark.parametrize("form", foreign.FORMATS)
@pytest.mark.parametrize("shape", foreign.SHAPES)
def test_a_network_is_found_in_every_shape_and_format(
    shape: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    foreign.FORMATS[form](foreign.SHAPES[shape](3), path)
    if (shape, form) in UNCLEAR:
        assert "does not contain Small" in refused(path)
        return
    for found, expected in zip(
        taken(path).get_weights(), foreign.network(3).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_what_was_taken_and_what_was_left_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    foreign.as_keras(foreign.nested(foreign.network()), tmp_path / "model")
    with caplog.at_level(logging.INFO):
        taken(tmp_path / "model")
    (said,) = [r.getMessage() for r in caplog.records if "weights_taken" in r.getMessage()]
    assert said == "weights_taken backbone=Small layers=7 left=2: batch_normalization_2, dense"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", foreign.FORMATS)
def test_a_file_without_the_network_says_what_is_missing(form: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten()])
    foreign.FORMATS[form](model, tmp_path / "model")
    assert "does not contain Small: 7 of its 7 layers" in refused(tmp_path / "model")


def test_a_file_with_another_network_names_the_setting_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = foreign.SPEC._replace(stages=("first", "second", "third"))
    monkeypatch.setitem(networks.BACKBONES, "Other", other)
    image = x = keras.Input((foreign.SIDE, foreign.SIDE, 3))
    for name in ("first", "second", "third"):
        x = layers.Conv2D(3, 1, name=name)(x)
    foreign.as_keras(foreign.nested(keras.Model(image, x)), tmp_path / "model")
    assert "It seems to contain Other: set backbone to that" in refused(tmp_path / "model")


@pytest.mark.parametrize("form", [".keras", ".weights.h5", ".h5"])
def test_two_networks_in_one_file_are_refused(form: str, tmp_path: Path) -> None:
    image = keras.Input((foreign.SIDE, foreign.SIDE, 3))
    both = [foreign.network(seed, name=f"small_{seed}")(image) for seed in (1, 2)]
    foreign.FORMATS[form](keras.Model(image, layers.Add()(both)), tmp_path / "model")
    assert "contains several Small" in refused(tmp_path / "model")


def longer() -> Any:
    """A network with more of the same: it has all layers of ours, by name and shape."""
    inner = foreign.network()
    x = layers.Conv2D(4, 1, name="block3_conv1")(inner.get_layer("block1_conv1").output)
    beside, pool = inner.layers[2], inner.get_layer("block2_pool")
    rest = [layer for layer in inner.layers if layer.name in {"conv2d_1", "end"}]
    y = inner.get_layer("block2_sepconv1")(x)
    y = pool(inner.get_layer("block2_sepconv1_bn")(y))
    named = {layer.name: layer for layer in inner.layers}
    y = layers.Add()([y, named["batch_normalization"](named["conv2d"](x))])
    y = rest[-1](named["batch_normalization_1"](named["conv2d_1"](y)))
    assert beside
    return keras.Model(inner.input, y)


@pytest.mark.parametrize("form", [".keras", ".weights.h5", ".h5"])
def test_a_network_with_more_layers_of_the_same_is_refused(form: str, tmp_path: Path) -> None:
    foreign.FORMATS[form](longer(), tmp_path / "model")
    said = refused(tmp_path / "model")
    assert "has another Small" in said or "has convolutions among those of Small" in said


@pytest.mark.parametrize(
    "other", [{"strides": 1}, {"activation": "relu"}, {"dilation_rate": 2, "strides": 1}]
)
@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_a_network_that_computes_otherwise_is_refused(
    other: dict[str, Any], form: str, tmp_path: Path
) -> None:
    foreign.as_keras(foreign.network(), tmp_path / "model")
    path = tmp_path / "model"

    def change(config: Any) -> None:
        files.layer(config, "conv2d")["config"].update(other)

    if form == ".keras":
        foreign.with_config(path, change)
    else:
        foreign.as_h5(foreign.network(**({} if "strides" in other else other)), path)
        if "strides" in other:
            return
    assert "has another Small than keras.applications: it has Conv2D(" in refused(path)


def test_code_within_the_network_is_refused_and_never_run(tmp_path: Path) -> None:
    target, path = tmp_path / "ran", tmp_path / "model"
    foreign.as_keras(foreign.nested(foreign.network()), path)
    payload = files.payloads(target)["Lambda"]

    def change(config: Any) -> None:
        layer = files.layer(config, "block2_pool")
        layer.update({**payload, "name": "block2_pool", "inbound_nodes": layer["inbound_nodes"]})
        layer["config"]["name"] = "block2_pool"

    foreign.with_config(path, change)
    assert "it has Lambda" in refused(path)
    assert not target.exists()


@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_code_around_the_network_is_left_and_never_run(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "ran"
    scaled = keras.layers.Lambda(lambda x: x / 255, name="prepared")
    foreign.FORMATS[form](foreign.nested(foreign.network(3), scaled), tmp_path / "model")
    with caplog.at_level(logging.WARNING):
        made = taken(tmp_path / "model")
    assert "pixels_unknown layer=prepared class=Lambda" in caplog.text
    assert all(map(np.array_equal, made.get_weights(), foreign.network(3).get_weights()))
    assert not target.exists()


def changed(path: Path, change: Callable[[h5py.File], object]) -> None:
    path.write_bytes(files.with_weights(path.read_bytes(), change))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.full((3, 3, 3, 4), np.nan, np.float32), "no numbers"),
        (np.full((3, 3, 3, 4), np.inf, np.float32), "no numbers"),
        (np.zeros((3, 3, 3, 4), np.int32), "type int32"),
        (np.zeros((3, 3, 3, 5), np.float32), "does not contain Small: 1 of its 7 layers"),
    ],
)
def test_values_that_are_no_weights_of_the_network_are_refused(
    value: Any, said: str, tmp_path: Path
) -> None:
    foreign.as_keras(foreign.network(), tmp_path / "model")

    def change(content: h5py.File) -> None:
        del content["layers/conv2d/vars/0"]
        content["layers/conv2d/vars/0"] = value

    changed(tmp_path / "model", change)
    assert said in refused(tmp_path / "model")


def test_values_of_half_precision_are_taken(tmp_path: Path) -> None:
    foreign.as_keras(foreign.network(3), tmp_path / "model")

    def change(content: h5py.File) -> None:
        half = content["layers/conv2d/vars/0"][()].astype(np.float16)
        del content["layers/conv2d/vars/0"]
        content["layers/conv2d/vars/0"] = half

    changed(tmp_path / "model", change)
    expected = foreign.network(3).get_weights()[0]
    np.testing.assert_allclose(taken(tmp_path / "model").get_weights()[0], expected, rtol=1e-3)


# --- pixels ---------------------------------------------------------------------------------------

MEANS, DEVIATIONS = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
OF_PIXELS = np.array([194.0, 139.0, 144.0]), np.array([36.0, 39.0, 43.0]) ** 2


def normalised(means: Any, variances: Any, *before: Any) -> Any:
    """What scales pixels in front of a network: some layers, and then a learned normalisation."""
    scaling = layers.Normalization()

    def scaled(image: Any) -> Any:
        for layer in before:
            image = layer(image)
        image = scaling(image)
        scaling.load_own_variables({"0": means, "1": variances, "2": np.array(0)})
        return image

    return scaled


def pixels_of(path: Path, network: Any = None) -> Any:
    with saved.opened(path) as file:
        return transplant.fill(network or foreign.network(seed=9), file, foreign.NAME)


@pytest.mark.parametrize("form", [".keras", ".keras of old", ".h5"])
def test_pixels_are_scaled_as_in_front_of_the_network_in_the_file(
    form: str, tmp_path: Path
) -> None:
    foreign.FORMATS[form](
        foreign.nested(foreign.network(), normalised(*OF_PIXELS)), tmp_path / "model"
    )
    found = pixels_of(tmp_path / "model")
    image = np.array([[[[0.0, 128.0, 255.0]]]])
    expected = (image - OF_PIXELS[0]) / np.sqrt(OF_PIXELS[1])
    np.testing.assert_allclose(image * found.factors + found.addends, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", ["by itself", "within another", "in a sequence", "with its top"])
@pytest.mark.parametrize("form", foreign.FORMATS)
def test_a_file_without_a_scaling_says_nothing_of_pixels(
    shape: str, form: str, tmp_path: Path
) -> None:
    foreign.FORMATS[form](foreign.SHAPES[shape](1), tmp_path / "model")
    assert pixels_of(tmp_path / "model") is None


@pytest.mark.parametrize("shape", ["flat", "behind augmentation"])
@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_a_scaling_is_found_wherever_it_stands(shape: str, form: str, tmp_path: Path) -> None:
    foreign.FORMATS[form](foreign.SHAPES[shape](1), tmp_path / "model")
    found = pixels_of(tmp_path / "model")
    factor, addend = (1 / 127.5, -1.0) if shape == "flat" else (1 / 255, 0.0)
    assert found.factors == pytest.approx((factor,) * 3)
    assert found.addends == pytest.approx((addend,) * 3)


def test_pixels_that_must_be_scaled_before_are_refused(tmp_path: Path) -> None:
    scaled = normalised(MEANS, DEVIATIONS**2)  # of pixels in 0…1
    foreign.as_keras(foreign.nested(foreign.network(), scaled), tmp_path / "model")
    assert "it was trained on pixels in another range, perhaps 0 to 1" in refused(
        tmp_path / "model"
    )


def of_an_efficientnet(means: Any, variances: Any) -> Any:
    image = keras.Input((foreign.SIDE, foreign.SIDE, 3))
    scaled = normalised(means, variances, layers.Rescaling(1 / 255))
    return keras.Model(image, foreign.stacked(scaled(image)))


@pytest.fixture
def beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network begins behind a scaling of its own, as those of EfficientNet."""
    spec = foreign.SPEC._replace(begin="block1_conv1")
    monkeypatch.setitem(networks.BACKBONES, foreign.NAME, spec)


@pytest.mark.parametrize("form", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("means", "variances"), [(MEANS, DEVIATIONS**2), (np.zeros(3), np.ones(3)), (MEANS, np.ones(3))]
)
def test_the_scaling_with_which_a_network_begins_is_followed(
    means: Any, variances: Any, form: str, tmp_path: Path, beginning: None
) -> None:
    foreign.FORMATS[form](of_an_efficientnet(means, variances), tmp_path / "model")
    found = pixels_of(tmp_path / "model")
    image = np.array([0.0, 128.0, 255.0])
    expected = (image / 255 - means) / np.sqrt(variances)
    np.testing.assert_allclose(image * found.factors + found.addends, expected, atol=1e-5)


@pytest.mark.parametrize("form", [".weights.h5", ".weights.h5 without names"])
@pytest.mark.parametrize(
    ("means", "variances", "fits"),
    [
        (MEANS, DEVIATIONS, True),  # as keras.applications has it for ImageNet
        (MEANS, DEVIATIONS**2, True),
        (np.zeros(3), np.ones(3), False),  # as without ImageNet's weights
        (MEANS, np.ones(3), False),
        (MEANS + 0.1, DEVIATIONS, False),
    ],
)
def test_weights_alone_of_a_network_with_another_scaling_are_refused(
    means: Any, variances: Any, fits: bool, form: str, tmp_path: Path, beginning: None
) -> None:
    foreign.FORMATS[form](of_an_efficientnet(means, variances), tmp_path / "model")
    if fits:
        assert pixels_of(tmp_path / "model") is None
    else:
        said = refused(tmp_path / "model")
        assert "that was trained on other pixels than ImageNet's" in said
        assert "Save it as a .keras file" in said


def test_a_network_that_lacks_its_own_scaling_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.as_keras(foreign.network(), tmp_path / "model")
    image = keras.Input((foreign.SIDE, foreign.SIDE, 3))
    ours = keras.Model(image, foreign.stacked(layers.Rescaling(1 / 255)(image)))
    with pytest.raises(Foreign, match="a Small that begins otherwise"):
        pixels_of(tmp_path / "model", ours)


def test_an_efficientnet_with_its_top_is_taken_from_behind_its_scaling(tmp_path: Path) -> None:
    theirs = keras.applications.EfficientNetB0(weights=None, input_shape=(64, 64, 3))
    scaling = next(layer for layer in theirs.layers if isinstance(layer, layers.Normalization))
    scaling.load_own_variables({"0": MEANS, "1": DEVIATIONS**2, "2": np.array(0)})
    theirs.save(tmp_path / "model.keras")
    made = networks.whole(keras, "EfficientNetB0", 64)
    with saved.opened(tmp_path / "model.keras") as file:
        found = transplant.fill(made, file, "EfficientNetB0")
    assert found
    assert backbone.USUAL["torch"].is_like(found)
    for name in ("stem_conv", "block5c_project_bn", "top_conv"):
        for values, expected in zip(
            made.get_layer(name).get_weights(), theirs.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(values, expected)
