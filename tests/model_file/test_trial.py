"""Models that are tried in a process of their own: what they say, and what becomes of bad ones."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.model_file import looking, trial
from skin_pipeline.model_file.building import released_model
from skin_pipeline.storage import FolderStore
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.strategies import STRATEGIES

layers = keras.layers
Sound = tuple[Path, dict[str, float]]


def photo(grey: int) -> bytes:
    """A picture that looks another when it is scaled without being rounded."""
    sink = io.BytesIO()
    noise = np.random.default_rng(grey).integers(-9, 9, (80, 100, 3))
    Image.fromarray((grey + noise).astype(np.uint8)).save(sink, "PNG")
    return sink.getvalue()


IMAGES = {"dark": photo(10), "bright": photo(200)}


def model(*between: Any) -> Any:
    image = keras.Input((None, None, 3), dtype="uint8")
    seen = layers.Rescaling(1 / 255)(image)
    for layer in between:
        seen = layer(seen)
    seen = layers.GlobalAveragePooling2D()(seen)
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(seen))


def released() -> Any:
    """A model as the pipeline makes it, of the smallest network that it knows."""
    trunk = Trunk(backbone="EfficientNetV2B0", source="none", digest="none")
    network = Network.load(keras, trunk, 64, FolderStore(Path("unused")))
    head = STRATEGIES["head"].model(network, "run")
    kernel = head.get_layer("logit").kernel
    # Of the first stage: behind all layers, noise has become as large as what is seen.
    drawn = np.random.default_rng(1).normal(size=kernel.shape)
    kernel.assign(drawn * (np.arange(len(drawn)) < network.ends[0].shape[-1])[:, None])
    return released_model(network, "head", [head.get_weights()], 0.8)


def saved(path: Path, made: Any) -> Path:
    made.save(path)
    return path


def ask(path: Path, **how: Any) -> dict[str, float]:
    return trial.ask(path, IMAGES, **{"threads": 1, **how})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """A model's file, and what plain Keras says of the images with it in this process."""
    path = saved(tmp_path_factory.mktemp("sound") / "model.keras", released())
    model = keras.saving.load_model(path)
    pixels = {name: np.asarray(Image.open(io.BytesIO(data))) for name, data in IMAGES.items()}
    return path, {name: float(model(image[None])[0, 0]) for name, image in pixels.items()}


def test_a_model_says_the_same_in_a_process_of_its_own(sound: Sound) -> None:
    path, said = sound
    assert len(set(said.values())) == 2
    assert ask(path) == pytest.approx(said, abs=1e-6)


def test_the_network_is_shown_whole_grey_levels_as_where_somebody_calls_the_model() -> None:
    image = keras.Input((None, None, 3), dtype="uint8")
    squares = looking.squares(keras, image, 48, 60, 1)
    between = keras.ops.abs(squares - keras.ops.round(squares))
    model = keras.Model(image, keras.ops.max(between, axis=(1, 2))[:, :1])
    assert trial.probabilities(model, IMAGES.values()) == [0.0, 0.0]


@pytest.mark.parametrize("recorded", [0.5, float("nan")])
def test_a_model_that_says_another_thing_than_was_recorded_is_refused(
    recorded: float, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = sound
    monkeypatch.setattr(trial, "ask", lambda *_, **__: said)
    trial.agree(path, IMAGES, said, tolerance=0.0, threads=1)
    other = {**said, "bright": said["bright"] + recorded}
    with pytest.raises(BadInput, match=r"gives bright a probability of .* evaluate recorded"):
        trial.agree(path, IMAGES, other, tolerance=0.02, threads=1)


def test_a_probability_that_is_no_number_is_refused(
    sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = sound
    monkeypatch.setattr(trial, "ask", lambda *_, **__: {**said, "dark": float("nan")})
    with pytest.raises(BadInput, match="gives dark a probability of nan"):
        trial.agree(path, IMAGES, said, tolerance=0.02, threads=1)


def with_lambda(path: Path) -> Path:
    return saved(path, model(layers.Lambda(lambda seen: seen)))


def as_pickle(path: Path) -> Path:
    path.write_bytes(pickle.dumps({"model": 1}))
    return path


def as_hdf5(path: Path) -> Path:
    made = path.with_suffix(".h5")
    model().save(made)
    return made.rename(path)


def with_huge_config(path: Path) -> Path:
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
def test_a_hostile_model_is_refused(
    make: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=said):
        ask(make(tmp_path / "model.keras"))


def test_a_model_that_takes_more_memory_than_is_allowed_is_refused(
    sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = sound
    monkeypatch.setattr(trial, "MEMORY_BYTES", 2**28)
    with pytest.raises(BadInput, match=r"MiB of memory were allowed"):
        ask(path)


def test_a_model_that_takes_too_long_is_tried_again_later(sound: Sound) -> None:
    path, _ = sound
    with pytest.raises(Unavailable, match=r"gave no answer within 0.1 s"):
        ask(path, seconds=0.1)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[0.5, 0.5]",
        b'{"probabilities": [0.5, 0.5]} {}',
        b'{"probabilities": [0.5, 0.5], "refused": "no"}',
        b'{"probabilities": [0.5]}',
        b'{"probabilities": [0.5, 0.5, 0.5]}',
        b'{"probabilities": {"0": 0.5, "1": 0.5}}',
        b'{"probabilities": [0.5, "0.5"]}',
        b'{"probabilities": [0.5, null]}',
        b'{"probabilities": [0.5, true]}',
        b'{"probabilities": [0.5, 1]}',
        b'{"probabilities": [0.5, 1.0000001]}',
        b'{"probabilities": [0.5, -1e-9]}',
        b'{"probabilities": [0.5, NaN]}',
        b'{"probabilities": [0.5, Infinity]}',
        b'{"probabilities": [0.5, 1e999]}',
        b'{"probabilities": [0.5, [0.5]]}',
        b'{"refused": ["a list"]}',
        b'{"refused": null}',
        b'{"probabilities": [0.5, 1' + b"0" * 5000 + b"]}",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_an_answer_that_is_not_just_the_probabilities_is_refused(
    answer: bytes, tmp_path: Path
) -> None:
    """The process may be a stranger's by then."""
    with pytest.raises(BadInput, match="did not answer with 2 probabilities from 0 to 1") as said:
        trial._understood(answer, tmp_path / "model.keras", 2)
    assert len(str(said.value)) < 1000
    assert "model.keras" in str(said.value)


def test_probabilities_from_0_to_1_are_understood(tmp_path: Path) -> None:
    answer = b'{"probabilities": [0.0, 1.0, 5e-324]}'
    assert trial._understood(answer, tmp_path, 3) == [0.0, 1.0, 5e-324]


def test_a_model_that_is_not_there_is_told_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"there is no model file {tmp_path}/gone.keras"):
        ask(tmp_path / "gone.keras")


def test_what_the_model_is_called_is_told_when_it_is_refused(tmp_path: Path) -> None:
    path = as_pickle(tmp_path / "mine.keras")
    with pytest.raises(BadInput, match=f"the model {path} is a pickle"):
        ask(path)
