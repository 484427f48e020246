"""Pretrained weights are pinned by what is in them, and loaded or refused."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import foreign_models as foreign
import keras
import numpy as np
import pytest
import tiny_network as tiny
import weights_file
from random_network import RANDOM, network

from skin_pipeline.config import Settings
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import FolderStore, folder
from skin_pipeline.storage.digests import check_named
from skin_pipeline.training import networks, pretrained
from skin_pipeline.training.backbone import Network


def test_a_missing_weight_file_names_both_ways_out(store: FolderStore) -> None:
    settings = Settings(weights="/no/such/resnet50.h5")
    with pytest.raises(BadInput, match=r"no file .*resnet50.h5.*weights=FILE.*weights=imagenet"):
        pretrained.pin_weights(settings, store)


def small_network(path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(path)


def another_resnet(path: Path) -> None:
    keras.applications.ResNet50V2(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    ).save_weights(path)


@pytest.mark.parametrize("write", [small_network, another_resnet])
def test_a_weight_file_of_another_network_names_both_ways_out(
    store: FolderStore, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "other.weights.h5"
    write(path)
    pinned = pretrained.pin_weights(Settings(weights=str(path)), store)
    with pytest.raises(BadInput, match=r"weights: .*ResNet50.*weights=FILE.*weights=imagenet"):
        network(pretrained.trunk_of("ResNet50", pinned), store)


def test_pinned_weights_are_named_by_their_digest_and_load(
    store: FolderStore, tmp_path: Path
) -> None:
    mine = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    mine.save_weights(tmp_path / "mine.weights.h5")
    settings = Settings(weights=str(tmp_path / "mine.weights.h5"))
    pinned = pretrained.pin_weights(settings, store)
    assert pinned == pretrained.pin_weights(settings, store)
    assert pretrained.trunk_of("ResNet50", pinned).digest in pinned
    loaded = network(pretrained.trunk_of("ResNet50", pinned), store)
    np.testing.assert_array_equal(loaded.whole.get_weights()[0], mine.get_weights()[0])


def test_weights_that_are_exchanged_between_check_and_copy_are_not_loaded(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tiny.network().whole
    mine.save_weights(tmp_path / "mine.weights.h5")
    pinned = pretrained.pin_weights(Settings(weights=str(tmp_path / "mine.weights.h5")), store)
    tiny.network(seed=2).whole.save_weights(tmp_path / "theirs.weights.h5")

    def exchanging(store: FolderStore, key: str, file: BinaryIO) -> None:
        check_named(store, key, file)
        path = store.root / key
        path.write_bytes((tmp_path / "theirs.weights.h5").read_bytes())

    monkeypatch.setattr(folder, "check_named", exchanging)
    with pytest.raises(BadInput, match="is not what it was"):
        pretrained.load_weights(keras, mine, pretrained.trunk_of("ResNet50", pinned), store)


def test_weights_of_imagenet_and_random_ones_need_no_file(store: FolderStore) -> None:
    assert pretrained.pin_weights(Settings(weights="imagenet"), store) == "imagenet"
    assert pretrained.pin_weights(Settings(data="demo", weights="none"), store) == "none"
    assert store.list("") == []


def test_weights_are_known_by_what_is_in_the_file_and_not_by_its_name(
    store: FolderStore, tmp_path: Path
) -> None:
    def pinned(folder: str, value: Any, name: str = "resnet50.weights.h5") -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        weights_file.written(tmp_path / folder / name, value)
        return pretrained.pin_weights(Settings(weights=str(tmp_path / folder / name)), store)

    first = pinned("a", 1)
    assert pinned("b", 2) != first
    assert pinned("c", 1, "other.h5") == first
    assert store.read(first) == (tmp_path / "a/resnet50.weights.h5").read_bytes()
    digests = {pretrained.trunk_of("ResNet50", key).digest for key in (first, pinned("b", b"two"))}
    assert len(digests) == 2


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Keras's ResNet50 in small: without weights it is random, with its own all of them are 3. What
    it was asked for is kept."""
    asked = []

    def build(
        include_top: bool = True,
        weights: str | None = "imagenet",
        input_shape: tuple[int, int, int] | None = None,
    ) -> Any:
        asked.append((include_top, weights, input_shape))
        made = tiny.network().whole
        if weights == "imagenet":
            made.set_weights([np.full_like(array, 3) for array in made.get_weights()])
        return made

    monkeypatch.setattr(keras.applications, "ResNet50", build)
    monkeypatch.setitem(networks.BACKBONES, "ResNet50", tiny.SPEC)
    return asked


def test_imagenet_weights_are_those_that_keras_downloads(
    downloads: list[Any], store: FolderStore
) -> None:
    loaded = Network.load(keras, pretrained.trunk_of("ResNet50", "imagenet"), tiny.SIZE, store)
    assert loaded.whole.count_params() == tiny.network().whole.count_params()
    for array in loaded.whole.get_weights():
        np.testing.assert_array_equal(array, 3)
    assert (False, "imagenet", (tiny.SIZE, tiny.SIZE, 3)) in downloads


def test_nothing_is_downloaded_for_random_weights_or_those_of_a_file(
    downloads: list[Any], store: FolderStore, tmp_path: Path
) -> None:
    mine = tiny.network(seed=9).whole
    mine.save_weights(tmp_path / "mine.weights.h5")
    pinned = pretrained.pin_weights(Settings(weights=str(tmp_path / "mine.weights.h5")), store)
    loaded = Network.load(keras, pretrained.trunk_of("ResNet50", pinned), tiny.SIZE, store)
    assert all(map(np.array_equal, loaded.whole.get_weights(), mine.get_weights()))
    Network.load(keras, RANDOM, tiny.SIZE, store)
    assert {weights for _, weights, _ in downloads} == {None}


def test_imagenet_weights_that_cannot_be_downloaded_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    with pytest.raises(Unavailable, match=r"could not be downloaded.*weights=FILE.*imagenet"):
        network(pretrained.trunk_of("ResNet50", "imagenet"))


# --- models of others -----------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that name a small network of keras.applications; it can be built."""
    monkeypatch.setitem(networks.BACKBONES, "ResNet50", foreign.SPEC)
    monkeypatch.setattr(
        keras.applications, "ResNet50", lambda **_: foreign.network(seed=9), raising=True
    )
    keras.backend.clear_session()
    return Settings()


@pytest.mark.parametrize("form", foreign.FORMATS)
def test_a_model_of_others_is_pinned_whole_and_gives_its_network(
    form: str, small: Settings, store: FolderStore, tmp_path: Path
) -> None:
    path = tmp_path / "clinic"
    foreign.FORMATS[form](foreign.nested(foreign.network(3)), path)
    pinned = pretrained.pin_weights(small.model_copy(update={"weights": str(path)}), store)
    assert store.read(pinned) == path.read_bytes()
    assert pinned.endswith(".keras" if "keras" in form else ".weights.h5")
    trunk = pretrained.trunk_of("ResNet50", pinned)
    assert trunk.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = Network.load(keras, trunk, foreign.SIDE, store)
    assert all(map(np.array_equal, loaded.whole.get_weights(), foreign.network(3).get_weights()))


@pytest.mark.parametrize(
    ("scaled", "factor"), [((1 / 127.5, -1.0), None), ((1 / 255, 0.0), 1 / 255)]
)
def test_pixels_are_scaled_as_the_model_of_others_scales_them(
    scaled: tuple[float, float],
    factor: float | None,
    small: Settings,
    store: FolderStore,
    tmp_path: Path,
) -> None:
    model = foreign.nested(foreign.network(3), keras.layers.Rescaling(*scaled))
    foreign.as_keras(model, tmp_path / "clinic")
    settings = small.model_copy(update={"weights": str(tmp_path / "clinic")})
    trunk = pretrained.trunk_of("ResNet50", pretrained.pin_weights(settings, store))
    loaded = Network.load(keras, trunk, foreign.SIDE, store)
    assert (loaded.pixels and loaded.pixels.factors[0]) == (factor and pytest.approx(factor))
    image = np.random.default_rng(0).uniform(0, 255, (1, foreign.SIDE, foreign.SIDE, 3))
    expected = foreign.network(3)(image * scaled[0] + scaled[1])
    made = keras.Model(loaded.whole.input, loaded.whole.output)(loaded._scaled(image))
    np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-3)


def test_a_model_of_another_network_is_refused_before_anything_is_kept(
    small: Settings, store: FolderStore, tmp_path: Path
) -> None:
    path = tmp_path / "clinic"
    foreign.as_keras(foreign.nested(foreign.network()), path)
    settings = Settings(backbone="VGG16", weights=str(path))
    said = r"clinic does not contain VGG16. It seems to contain ResNet50: set backbone to that"
    with pytest.raises(BadInput, match=said):
        pretrained.pin_weights(settings, store)
    foreign.as_keras(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), path)
    with pytest.raises(BadInput, match=r"No network of keras\.applications .* was found in it"):
        pretrained.pin_weights(settings, store)
    assert store.list("") == []


def test_a_network_that_is_only_named_alike_is_refused_where_it_is_built(
    small: Settings, store: FolderStore, tmp_path: Path
) -> None:
    path = tmp_path / "clinic"
    foreign.as_keras(foreign.network(activation="relu"), path)
    pinned = pretrained.pin_weights(small.model_copy(update={"weights": str(path)}), store)
    with pytest.raises(BadInput, match=r"weights: the file has another ResNet50 than keras"):
        Network.load(keras, pretrained.trunk_of("ResNet50", pinned), foreign.SIDE, store)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.tflite", b"\x1c\0\0\0TFL3" + b"\0" * 64, "TensorFlow Lite file"),
        ("m.pt", b"\x80\x02\x8a\nl\xfc\x9c", "is a pickle"),
    ],
)
def test_models_of_other_formats_say_what_to_do(
    name: str, content: bytes, said: str, store: FolderStore, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=rf"{said}.*Nothing of it was read.*save.*mine\.keras"):
        pretrained.pin_weights(Settings(weights=str(tmp_path / name)), store)


def test_zips_and_folders_of_other_libraries_say_what_to_do(
    store: FolderStore, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as bundle:
        bundle.writestr("archive/data.pkl", b"\x80\x02")
    with pytest.raises(BadInput, match=r"is a PyTorch file, which can run code.*mine\.keras"):
        pretrained.pin_weights(Settings(weights=str(tmp_path / "m.pt")), store)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").write_bytes(b"")
    with pytest.raises(BadInput, match=r"is a SavedModel folder.*mine\.keras"):
        pretrained.pin_weights(Settings(weights=str(tmp_path / "saved")), store)
