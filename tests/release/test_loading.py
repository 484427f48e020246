"""What is loaded as a model, and what is refused before any of its code can run."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput
from skin_pipeline.release import loading
from skin_pipeline.release.loading import check, load
from skin_pipeline.training import backbone
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.released import released_model
from skin_pipeline.training.strategies import STRATEGIES

layers = keras.layers
WEIGHTS = "model.weights.h5"


def small(*between, dtype="uint8", outputs=1):
    """A model of the released one's shape, with some layers in its middle."""
    image = keras.Input((None, None, 3), dtype=dtype, name="image")
    seen = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    for layer in between:
        seen = layer(seen)
    return keras.Model(image, layers.Dense(outputs, activation="sigmoid")(seen))


def saved(path, model):
    model.save(path)
    return path


def repacked(path, method=zipfile.ZIP_STORED, **changed):
    """The model file with members exchanged, added, or (None) left out."""
    with zipfile.ZipFile(path) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    members |= {name.replace("__", "."): data for name, data in changed.items()}
    with zipfile.ZipFile(path, "w", method) as bundle:
        for name, data in members.items():
            if data is not None:
                bundle.writestr(name, data)
    return path


def with_config(path, change):
    """The model file after `change` of its configuration."""
    with zipfile.ZipFile(path) as bundle:
        config = json.loads(bundle.read("config.json"))
    change(config)
    return repacked(path, config__json=json.dumps(config).encode())


def test_a_model_of_ours_is_loaded_and_scores_an_image(tmp_path):
    model = small()
    loaded = load(saved(tmp_path / "model.keras", model), threads=1)
    image = np.full((1, 8, 9, 3), 100, np.uint8)
    np.testing.assert_array_equal(loaded(image), model(image))


def by_version(path, version, change=lambda config: None):
    """The model file as another Keras would have saved it."""
    said = json.dumps({"keras_version": version, "date_saved": "2024-01-01@12:00:00"})
    return repacked(with_config(path, change), metadata__json=said.encode())


def of_an_older_kind(config):
    config["module"] = "keras.src.engine.functional"


def with_an_unknown_setting(config):
    config["config"]["layers"][1]["config"]["unknown_to_this_keras"] = 1


@pytest.mark.parametrize("change", [of_an_older_kind, with_an_unknown_setting])
def test_a_model_that_another_keras_saved_is_refused_with_both_versions(tmp_path, change):
    path = by_version(saved(tmp_path / "model.keras", small()), "2.15.0", change)
    said = f"saved by Keras '2.15.0', and here is Keras {re.escape(keras.__version__)}"
    with pytest.raises(BadInput, match=said):
        load(path, threads=1)


def test_a_model_that_another_keras_saved_is_loaded_where_it_can_be(tmp_path):
    path = by_version(saved(tmp_path / "model.keras", small()), "3.14.0")
    assert load(path, threads=1).count_params()


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b"\xff"])
def test_a_model_that_does_not_say_who_saved_it_is_refused_as_such(tmp_path, said):
    path = with_config(saved(tmp_path / "model.keras", small()), of_an_older_kind)
    with pytest.raises(BadInput, match=r"asks for code.*saved by Keras 'unknown'"):
        check(repacked(path, metadata__json=said))


def test_a_model_that_this_keras_saved_is_refused_without_a_word_of_versions(tmp_path):
    path = with_config(saved(tmp_path / "model.keras", small()), of_an_older_kind)
    with pytest.raises(BadInput, match="asks for code") as caught:
        check(path)
    assert "saved by" not in str(caught.value)


def found_in(model):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    return list(loading._problems(config))


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_released_model_of_each_strategy_names_only_what_is_allowed(strategy):
    trunk = Trunk(backbone="ResNet50", source="none", digest="none")
    network = Network.load(keras, trunk, 64, None)
    runs = [STRATEGIES[strategy].model(network, "run").get_weights()] * 2
    assert found_in(released_model(network, strategy, runs, 0.8, views=8, temperature=1.3)) == []


@pytest.mark.parametrize("name", list(backbone.BACKBONES))
def test_each_backbone_names_only_what_is_allowed(name):
    build = getattr(keras.applications, name)
    assert found_in(build(include_top=False, weights=None, input_shape=(64, 64, 3))) == []


# --- code in a file -------------------------------------------------------------------------------


class Writes:
    """Unpickled, it writes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.write_text, (self.target, "ran")


@keras.saving.register_keras_serializable("hostile")
class WritesWhenBuilt(layers.Layer):
    """Made from a file, it writes a file."""

    def __init__(self, target, **options):
        super().__init__(**options)
        self.target = target

    def get_config(self):
        return {**super().get_config(), "target": self.target}

    @classmethod
    def from_config(cls, config):
        Path(config["target"]).write_text("ran")
        return cls(**config)

    def call(self, inputs):
        return inputs


def lambda_that_writes(target):
    name = str(target)
    return layers.Lambda(lambda x: (__import__("pathlib").Path(name).write_text("ran"), x)[1])


def lambda_layer(path, target):
    return saved(path, small(lambda_that_writes(target)))


def lambda_in_a_model_in_the_model(path, target):
    return saved(path, small(keras.Sequential([keras.Input((3,)), lambda_that_writes(target)])))


def custom_class(path, target):
    return saved(path, small(WritesWhenBuilt(str(target))))


def custom_class_in_disguise(path, target):
    def change(config):
        found = next(
            item for item in config["config"]["layers"] if item["class_name"] == "WritesWhenBuilt"
        )
        found.update(class_name="Dense", module="keras.layers")

    return with_config(custom_class(path, target), change)


def pickled(path, target):
    path.write_bytes(pickle.dumps(Writes(target)))
    return path


def hdf5(path, target):
    saved(path.with_suffix(".h5"), small(lambda_that_writes(target)))
    return path.with_suffix(".h5")


def hdf5_in_disguise(path, target):
    return hdf5(path, target).rename(path)


CODE = [
    (lambda_layer, "code that no released model has: class_name 'Lambda'"),
    (lambda_in_a_model_in_the_model, "class_name 'Lambda'"),
    (custom_class, "class_name 'WritesWhenBuilt'"),
    (custom_class_in_disguise, "registered_name 'hostile>WritesWhenBuilt'"),
    (pickled, "is a pickle"),
    (hdf5, r"is an HDF5 file"),
    (hdf5_in_disguise, r"is an HDF5 file"),
]


@pytest.mark.parametrize(("make", "message"), CODE, ids=[make.__name__ for make, _ in CODE])
def test_a_file_with_code_is_refused_before_the_code_runs(make, message, tmp_path):
    target = tmp_path / "ran"
    path = make(tmp_path / "model.keras", target)
    target.unlink(missing_ok=True)  # some run while they are made
    with pytest.raises(BadInput, match=message):
        load(path, threads=1)
    assert not target.exists()


@pytest.mark.parametrize(
    ("make", "run"),
    [
        (lambda_layer, lambda path: keras.saving.load_model(path, safe_mode=False)),
        (custom_class, lambda path: keras.saving.load_model(path, safe_mode=True)),
        (custom_class_in_disguise, lambda path: keras.saving.load_model(path, safe_mode=True)),
        (pickled, lambda path: pickle.loads(path.read_bytes())),
    ],
)
def test_the_code_of_these_files_would_run_without_the_check(make, run, tmp_path):
    target = tmp_path / "ran"
    path = make(tmp_path / "model.keras", target)
    target.unlink(missing_ok=True)
    run(path)
    assert target.read_text() == "ran"


def test_a_hostile_file_is_refused_without_importing_keras(tmp_path):
    path = lambda_layer(tmp_path / "model.keras", tmp_path / "ran")
    script = (
        "import sys; from pathlib import Path; from skin_pipeline.release import loading\n"
        "try: loading.load(Path(sys.argv[1]), 1)\n"
        "except loading.BadInput: print(*{'keras', 'tensorflow'} & set(sys.modules), 'refused')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "refused"


# --- files that are no model of ours --------------------------------------------------------------


def overlarge_config(path):
    return repacked(path, config__json=b" " * loading.CONFIG_BYTES + b"{}")


def with_a_number(number):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = number

    return lambda path: with_config(path, change)


def tampered(path):
    data = bytearray(path.read_bytes())
    data[data.index(b'"class_name"') + 1] ^= 1
    path.write_bytes(data)
    return path


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-30])
    return path


def renamed(path):
    return path.rename(path.with_suffix(".zip"))


def compiled(path):
    return with_config(path, lambda config: config.update(compile_config={"loss": "mse"}))


OTHERS = {
    "cut short": (cut_short, "not a zip file, or a damaged one"),
    "tampered byte": (tampered, "damaged config.json .*CRC"),
    "another suffix": (renamed, "is not named .keras"),
    "no file": (lambda path: path.with_name("none.keras"), "there is no model file .*none.keras"),
    "no weights": (lambda path: repacked(path, **{WEIGHTS: None}), "instead of config.json"),
    "one member more": (lambda path: repacked(path, more__pkl=b""), "has 4 entries; 3 are"),
    "one member exchanged": (
        lambda path: repacked(path, more__pkl=b"", metadata__json=None),
        "holds 'config.json', 'model.weights.h5', 'more.pkl' instead of",
    ),
    "zip bomb": (
        lambda path: repacked(path, zipfile.ZIP_DEFLATED, **{WEIGHTS: bytes(10**8)}),
        "unpacks to over 1 times its packed size",
    ),
    "large config": (overlarge_config, "bytes of config.json; .* are allowed"),
    "deep config": (
        lambda path: repacked(path, config__json=b"[" * 10**6),
        "has a damaged config.json",
    ),
    "no JSON": (lambda path: repacked(path, config__json=b"\xff{"), "has a damaged config.json"),
    "huge layer": (with_a_number(10**9), r"asks for the number 1e\+09; 8192 is the largest"),
    "not a number": (with_a_number(float("nan")), "asks for the number nan"),
    "a list for a name": (
        lambda path: with_config(path, lambda config: config.update(class_name=["Dense"])),
        "asks for code that no released model has",
    ),
    "a type's own name": (
        lambda path: with_config(path, lambda config: config.update(spec_name="x")),
        "asks for code that no released model has: .*spec_name 'x'",
    ),
    "code of its training": (compiled, "has a configuration of its training"),
    "other weights": (
        lambda path: repacked(path, **{WEIGHTS: b"none"}),
        "cannot be loaded by Keras",
    ),
    "weights of another shape": (with_a_number(2), "cannot be loaded by Keras"),
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("ours") / "model.keras", small())


@pytest.mark.parametrize(("change", "message"), OTHERS.values(), ids=list(OTHERS))
def test_what_is_no_model_of_ours_is_refused_and_named(change, message, ours, tmp_path):
    path = change(Path(shutil.copy(ours, tmp_path)))
    with pytest.raises(BadInput, match=message):
        load(path, threads=1)


@pytest.mark.parametrize("shape", [{"dtype": "float32"}, {"outputs": 2}])
def test_a_model_of_another_shape_is_refused(shape, tmp_path):
    path = saved(tmp_path / "model.keras", small(**shape))
    with pytest.raises(BadInput, match=r"is not RGB uint8 .* Received: .*(float32|2)"):
        load(path, threads=1)


def test_an_oversized_model_is_refused(ours, monkeypatch):
    monkeypatch.setattr(loading, "LIMITS", replace(loading.LIMITS, entry_bytes=1000))
    with pytest.raises(BadInput, match=r"unpacks to \d+ bytes; 1000 are allowed"):
        check(ours)
