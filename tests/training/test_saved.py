"""The layers of a file are found with their names, and nothing of it is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import foreign_models as foreign
import h5py
import keras
import model_files as files
import numpy as np
import pytest

from skin_pipeline.training import saved
from skin_pipeline.training.container import Foreign

NAMES = {
    *("block1_conv1", "block2_sepconv1", "block2_sepconv1_bn", "conv2d", "conv2d_1"),
    *("batch_normalization", "batch_normalization_1", "batch_normalization_2", "dense"),
}


@pytest.fixture(autouse=True)
def numbering() -> None:
    """Keras numbers layers as in a process in which nothing was built before."""
    keras.backend.clear_session()


@pytest.mark.parametrize("shape", ["within another", "flat", "behind augmentation", "trained"])
@pytest.mark.parametrize("form", [form for form in foreign.FORMATS if "without" not in form])
def test_all_layers_are_found_by_name(shape: str, form: str, tmp_path: Path) -> None:
    foreign.FORMATS[form](foreign.SHAPES[shape](1), tmp_path / "model")
    with saved.opened(tmp_path / "model") as file:
        assert {layer.name for layer in file.layers} == NAMES
        assert len(file.layers) == len(NAMES)


def test_without_names_layers_are_known_by_class_and_number(tmp_path: Path) -> None:
    foreign.as_weights_without_names(foreign.network(), tmp_path / "model")
    with saved.opened(tmp_path / "model") as file:
        assert {(layer.name, layer.kind, layer.number) for layer in file.layers} == {
            *(("", "conv2d", number) for number in range(3)),
            *(("", "batch_normalization", number) for number in range(3)),
            ("", "separable_conv2d", 0),
        }


@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_the_configuration_of_each_network_is_known(form: str, tmp_path: Path) -> None:
    foreign.FORMATS[form](foreign.nested(foreign.network()), tmp_path / "model")
    with saved.opened(tmp_path / "model") as file:
        inner = [m["config"]["name"] for m in file.models.values()]
        scopes = {layer.path.rpartition("/")[0] for layer in file.layers}
    assert "small" in inner
    assert form == ".h5" or scopes == set(file.models)


def test_a_configuration_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "MOST_TEXT", 5000)
    for form, said in ((".keras", "bytes of config.json; 5000"), (".h5", "of model_config; 5000")):
        foreign.FORMATS[form](foreign.network(), tmp_path / "model")
        with pytest.raises(Foreign, match=said), saved.opened(tmp_path / "model"):
            pass


@pytest.mark.parametrize("config", [b"[]", b"{}", b'{"config": {"layers": [{}, 3, {"name": 1}]}}'])
def test_a_configuration_of_no_network_leaves_the_names_in_the_weights(
    config: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    foreign.as_keras(foreign.network(), path)
    members = files.members_of(path.read_bytes())
    path.write_bytes(files.bundled({**members, "config.json": config}))
    with saved.opened(path) as file:
        assert {layer.name for layer in file.layers} < NAMES
        assert file.models == {}


def test_the_names_of_the_configuration_go_before_those_in_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "model"
    foreign.as_keras(foreign.network(), path)
    text = json.dumps(foreign.config_of(path)).replace("block1_conv1", "other")
    members = files.members_of(path.read_bytes())
    path.write_bytes(files.bundled({**members, "config.json": text.encode()}))
    with saved.opened(path) as file:
        assert "other" in {layer.name for layer in file.layers}


def test_only_finite_floats_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as content:
        content["layers/dense/vars/0"] = np.array([1.5], np.float64)
        content["layers/dense/vars/1"] = np.array([1])
    with saved.opened(tmp_path / "x.h5") as file:
        values = file.read("layers/dense/vars/0")
        assert values.dtype == np.float32
        assert values.tolist() == [1.5]
        with pytest.raises(Foreign, match="of the type int64"):
            file.read("layers/dense/vars/1")


def with_slashes(path: Path, form: str) -> None:
    """A file whose first layer is called `block1/conv`, as some networks of Keras 2 had it."""
    foreign.FORMATS[form](foreign.network(), path)
    if form == ".keras":
        foreign.with_config(path, lambda c: _renamed(c, "block1_conv1", "block1/conv"))
        return
    with h5py.File(path, "r+") as content:
        said = json.loads(content.attrs["model_config"])
        _renamed(said, "block1_conv1", "block1/conv")
        content.attrs["model_config"] = json.dumps(said)
        content["model_weights/block1/conv/block1/conv"] = content[
            "model_weights/block1_conv1/block1_conv1"
        ]
        del content["model_weights/block1_conv1"]


def _renamed(config: Any, old: str, new: str) -> None:
    layer = files.layer(config, old)
    layer["name"] = layer["config"]["name"] = new


@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_a_name_with_slashes_is_one_name(form: str, tmp_path: Path) -> None:
    with_slashes(tmp_path / "model", form)
    with saved.opened(tmp_path / "model") as file:
        names = {layer.name for layer in file.layers}
    assert names == (NAMES - {"block1_conv1", "batch_normalization_2", "dense"}) | {"block1_conv"}


@pytest.mark.parametrize(
    ("path", "known", "name"),
    [
        ("model_weights/conv1/bn/conv1/bn", set(), "conv1_bn"),
        ("conv1/bn/conv1/bn", set(), "conv1_bn"),
        ("bn/bn", set(), "bn"),
        ("densenet/conv1/bn", {"conv1_bn", "bn"}, "conv1_bn"),
        ("densenet/bn", {"conv1_bn", "bn"}, "bn"),
        ("densenet/other", {"bn"}, "other"),
        ("bn", set(), "bn"),
    ],
)
def test_the_name_of_a_layer_is_found_in_its_path(path: str, known: set[str], name: str) -> None:
    assert saved._name_at(path, known) == name
