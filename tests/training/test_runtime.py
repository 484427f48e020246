"""Keras and TensorFlow are set up as models need them, whatever a machine says."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import keras
import pytest

from skin_pipeline.errors import BadInput
from skin_pipeline.training import runtime

ROOT = Path(__file__).parents[2]


def test_tensorflow_is_held_to_the_threads_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    held = {}
    for kind in ("intra", "inter"):
        monkeypatch.setattr(
            tf.config.threading,
            f"set_{kind}_op_parallelism_threads",
            lambda number, kind=kind: held.update({kind: number}),
        )
    assert runtime.keras_on(3) is keras
    assert held == {"intra": 3, "inter": 1}


@pytest.mark.parametrize("fails", [False, True])
def test_mixed_precision_ends_with_what_was_built_in_it(fails: bool) -> None:
    before = keras.config.dtype_policy().name
    with suppress(ZeroDivisionError), runtime.spread_over(keras, ["CPU:0"]):
        assert keras.config.dtype_policy().name == "mixed_float16"
        _ = 1 / (0 if fails else 1)
    assert keras.config.dtype_policy().name == before
    with runtime.spread_over(keras, []):
        assert keras.config.dtype_policy().name == before


# --- what Keras draws -----------------------------------------------------------------------------


def drawn(seed: int) -> list[int]:
    """The seeds that layers take, as other code of the process draws beside them."""
    with runtime.seeded(keras, seed):
        taken = []
        for _ in range(3):
            random.random()
            taken.append(int(keras.random.SeedGenerator().state[0]))
        return taken


def test_what_is_built_depends_on_its_seed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    as_usual = drawn(1)
    assert drawn(2) != as_usual
    monkeypatch.setattr(random, "random", lambda: None)  # nobody else draws this time
    assert drawn(1) == as_usual


def test_keras_draws_as_before_after_what_is_seeded() -> None:
    random.seed(5)
    with suppress(ZeroDivisionError), runtime.seeded(keras, 1):
        _ = 1 / 0
    random.seed(5)
    once = keras.random.SeedGenerator().state[0]
    assert keras.random.SeedGenerator().state[0] != once
    random.seed(5)
    assert keras.random.SeedGenerator().state[0] == once


# --- settings of Keras that are not ours ----------------------------------------------------------

SEEN = """
import json, os
from skin_pipeline.training.runtime import keras_on
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


def keras_with(
    home: Path, settings: str, code: str = SEEN, **environment: str
) -> subprocess.CompletedProcess[str]:
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


def test_whatever_keras_is_set_to_on_a_machine_it_is_set_to_what_models_need(
    tmp_path: Path,
) -> None:
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
from skin_pipeline.training.runtime import keras_on
try:
    keras_on(1)
except BadInput as error:
    print("REFUSED", error)
"""


@pytest.mark.parametrize("settings", ['{"floatx": "float8"}', "[1]", '{"epsilon": 1}'])
def test_a_keras_json_that_keras_cannot_read_is_refused_in_one_line(
    tmp_path: Path, settings: str
) -> None:
    run = keras_with(tmp_path / "keras", settings, REFUSED)
    (said,) = run.stdout.splitlines() or [run.stderr]
    assert said.startswith("REFUSED Keras cannot be imported: ")
    assert "remove keras.json" in said


def test_keras_that_already_runs_on_another_backend_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(BadInput, match=r"already runs on torch .* Set KERAS_BACKEND=tensorflow"):
        runtime.keras_on(1)


def test_a_policy_that_other_code_has_set_does_not_reach_our_models() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_image_data_format("channels_first")
    try:
        runtime.keras_on(1)
        assert keras.config.dtype_policy().name == "float32"
        assert keras.config.image_data_format() == "channels_last"
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")


def test_a_flag_that_ends_the_process_is_named_before_it_does(tmp_path: Path) -> None:
    code = "import logging; logging.basicConfig(level='INFO')\n" + SEEN
    run = keras_with(tmp_path / "keras", "{}", code, TF_XLA_FLAGS="--no_such_flag=1")
    assert run.returncode != 0
    assert "tensorflow_flags TF_XLA_FLAGS=--no_such_flag=1 (an unknown one ends" in run.stderr
    assert "SEEN" not in run.stdout
