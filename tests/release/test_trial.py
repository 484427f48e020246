"""Models that are tried in a process of their own: what they say, and what becomes of bad ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.release import trial
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.released import released_model
from skin_pipeline.training.strategies import STRATEGIES

layers = keras.layers
SECRET = "planted-secret-5b1e"


def photo(grey):
    sink = io.BytesIO()
    Image.new("RGB", (100, 80), (grey, grey, grey)).save(sink, "PNG")
    return sink.getvalue()


IMAGES = {"dark": photo(10), "bright": photo(200)}


def model(*between):
    image = keras.Input((None, None, 3), dtype="uint8")
    seen = layers.Rescaling(1 / 255)(image)
    for layer in between:
        seen = layer(seen)
    seen = layers.GlobalAveragePooling2D()(seen)
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(seen))


def released():
    """A model as the pipeline makes it, of the smallest network that it knows."""
    trunk = Trunk(backbone="EfficientNetV2B0", source="none", digest="none")
    network = Network.load(keras, trunk, 64, None)
    head = STRATEGIES["head"].model(network, "run")
    kernel = head.get_layer("logit").kernel
    # Of the first stage: behind all layers, noise has become as large as what is seen.
    drawn = np.random.default_rng(1).normal(size=kernel.shape)
    kernel.assign(drawn * (np.arange(len(drawn)) < network.ends[0].shape[-1])[:, None])
    return released_model(network, "head", [head.get_weights()], 0.8)


def saved(path, made):
    made.save(path)
    return path


def ask(path, **how):
    return trial.ask(path, IMAGES, **{"threads": 1, **how})


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A model's file, and what plain Keras says of the images with it in this process."""
    path = saved(tmp_path_factory.mktemp("sound") / "model.keras", released())
    said = trial.probabilities(keras.saving.load_model(path), IMAGES.values())
    return path, dict(zip(IMAGES, said, strict=True))


def test_a_model_says_the_same_in_a_process_of_its_own(sound):
    path, said = sound
    assert len(set(said.values())) == 2
    assert ask(path) == pytest.approx(said, abs=1e-3)


@pytest.mark.parametrize("recorded", [0.5, float("nan")])
def test_a_model_that_says_another_thing_than_was_recorded_is_refused(recorded, sound, monkeypatch):
    path, said = sound
    monkeypatch.setattr(trial, "ask", lambda *_, **__: said)
    trial.agree(path, IMAGES, said, tolerance=0.0, threads=1)
    other = {**said, "bright": said["bright"] + recorded}
    with pytest.raises(BadInput, match=r"gives bright a probability of .* evaluate recorded"):
        trial.agree(path, IMAGES, other, tolerance=0.02, threads=1)


def test_a_probability_that_is_no_number_is_refused(sound, monkeypatch):
    path, said = sound
    monkeypatch.setattr(trial, "ask", lambda *_, **__: {**said, "dark": float("nan")})
    with pytest.raises(BadInput, match="gives dark a probability of nan"):
        trial.agree(path, IMAGES, said, tolerance=0.02, threads=1)


def with_lambda(path):
    return saved(path, model(layers.Lambda(lambda seen: seen)))


def as_pickle(path):
    path.write_bytes(pickle.dumps({"model": 1}))
    return path


def as_hdf5(path):
    made = path.with_suffix(".h5")
    model().save(made)
    return made.rename(path)


def with_huge_config(path):
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("metadata.json", "{}")
        bundle.writestr("config.json", b" " * (17 * 2**20))
        bundle.writestr("model.weights.h5", b"")
    return path


HOSTILE = {
    "Lambda": (with_lambda, "is no model of ours: its configuration has no layer"),
    "pickle": (as_pickle, "is a pickle; only .keras files are loaded"),
    "h5": (as_hdf5, "is an HDF5 file"),
    "oversized": (with_huge_config, "17825792 bytes of config.json"),
}


@pytest.mark.parametrize(("make", "said"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_hostile_model_is_refused(make, said, tmp_path):
    with pytest.raises(BadInput, match=said):
        ask(make(tmp_path / "model.keras"))


def test_a_model_that_takes_more_memory_than_is_allowed_is_refused(sound, monkeypatch):
    path, _ = sound
    tight = (
        "import sys; from skin_pipeline.release import trial\n"
        "trial.MEMORY_BYTES = 2**28; trial.main(*sys.argv[1:])"
    )
    run = subprocess.run
    monkeypatch.setattr(
        trial.subprocess,
        "run",
        lambda command, **how: run([sys.executable, "-c", tight, *command[3:]], **how),
    )
    with pytest.raises(BadInput, match=r"MiB of memory were allowed"):
        ask(path)


def test_a_model_that_takes_too_long_is_tried_again_later(sound):
    path, _ = sound
    with pytest.raises(Unavailable, match=r"gave no answer within 0.1 s"):
        ask(path, seconds=0.1)


def test_a_process_that_dies_of_a_signal_is_told(sound, monkeypatch):
    path, _ = sound
    fatal = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    run = subprocess.run
    monkeypatch.setattr(
        trial.subprocess, "run", lambda _, **how: run([sys.executable, "-c", fatal], **how)
    )
    with pytest.raises(BadInput, match=r"SIGSEGV.*it said nothing"):
        ask(path)


def test_the_process_knows_no_credentials_and_uses_no_gpu(monkeypatch, tmp_path):
    for name in ("AWS_SECRET_ACCESS_KEY", "KAGGLE_KEY", "SKIN_SIGNING_PASSWORD", "AIRFLOW_CONN_X"):
        monkeypatch.setenv(name, SECRET)
    given = trial._environment(tmp_path)
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    seen = subprocess.run(
        [sys.executable, "-c", show], env=given, capture_output=True, text=True, check=True
    )
    assert SECRET not in seen.stdout
    assert json.loads(seen.stdout)["CUDA_VISIBLE_DEVICES"] == "-1"
    assert SECRET in os.environ["KAGGLE_KEY"]
