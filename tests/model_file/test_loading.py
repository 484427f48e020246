"""What is loaded as a model: a network of ours with a stranger's weights, and nothing else."""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import logging
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import keras
import model_files as files
import numpy as np
import pytest
from random_network import marks_of, size_of

from skin_pipeline.errors import BadInput
from skin_pipeline.model_file import loading
from skin_pipeline.model_file.building import released_model
from skin_pipeline.model_file.loading import check, load
from skin_pipeline.training import networks, runtime
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.pixels import Pixels
from skin_pipeline.training.strategies import STRATEGIES

Write = Callable[[bytes], Path]
Change = Callable[[Any], object]

PIXELS = np.random.default_rng(4).integers(0, 255, (2, 30, 41, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def tiny_backbone() -> Iterator[None]:
    with files.tiny_backbone():
        yield


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Writes bytes as a model file."""

    def write(data: bytes) -> Path:
        path = tmp_path / "model.keras"
        path.write_bytes(data)
        return path

    return write


def by_plain_keras(path: Path) -> Any:
    """The README's lines, for somebody who has only the file."""
    return keras.saving.load_model(path)


# --- models of ours -------------------------------------------------------------------------------

SHAPES = [
    *({"strategy": strategy} for strategy in STRATEGIES),
    {"stages": 1},
    {"stages": 2, "views": 1},
    {"runs": 1, "views": 1},
    {"runs": 3, "views": 8, "field_of_view": 1.0, "temperature": 20.0},
    {"field_of_view": 0.5, "temperature": 0.05},
    {"regions": 1, "views": 4},
]


@pytest.mark.parametrize("how", SHAPES, ids=str)
def test_a_released_model_scores_as_plain_keras_has_it(how: dict[str, Any], written: Write) -> None:
    path = written(files.file_of(**how))
    ours, theirs = load(path, threads=1), by_plain_keras(path)
    assert len(set(np.asarray(theirs(PIXELS)).ravel())) == len(PIXELS)
    np.testing.assert_array_equal(ours(PIXELS), theirs(PIXELS))


@pytest.mark.parametrize("how", SHAPES, ids=str)
def test_an_earlier_model_is_still_one_of_ours(how: dict[str, Any], written: Write) -> None:
    with files.as_before():
        path = written(files.file_of.__wrapped__(**how))
    np.testing.assert_array_equal(load(path, threads=1)(PIXELS), by_plain_keras(path)(PIXELS))


def test_a_model_gives_the_same_probabilities_within_a_graph(written: Write) -> None:
    model = by_plain_keras(written(files.file_of(regions=1)))
    usual, in_a_graph = np.asarray(model(PIXELS)), model.predict(PIXELS, verbose=0)
    np.testing.assert_allclose(in_a_graph, usual, atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_model_scales_pixels_as_its_weights_want_them(strategy: str, written: Write) -> None:
    pixels = Pixels((0.028, 0.026, 0.023), (-5.4, -3.6, -3.3))
    path = written(files.file_of(strategy=strategy, pixels=pixels))
    ours, theirs = load(path, threads=1), by_plain_keras(path)
    np.testing.assert_array_equal(ours(PIXELS), theirs(PIXELS))
    usual = load(written(files.file_of(strategy=strategy)), threads=1)
    assert not np.array_equal(ours(PIXELS), usual(PIXELS))


def test_a_model_is_loaded_whatever_was_built_before(written: Write) -> None:
    path = written(files.file_of())
    for _ in range(2):  # Keras numbers what has no name of its own
        files.released(seed=2)
        np.testing.assert_array_equal(load(path, 1)(PIXELS), by_plain_keras(path)(PIXELS))


def test_loading_draws_nothing_from_the_random_numbers_of_others(written: Write) -> None:
    path = written(files.file_of())
    np.random.seed(3)
    expected = np.random.RandomState(3).random()
    load(path, threads=1)
    assert np.random.random() == expected


# Of each way to recognise a network, one in `make test`. Of all others, one strategy each,
# in turn: networks of one family are built in the same way, and differ in their sizes.
QUICK = {("Xception", "fine_tune"), ("EfficientNetB0", "head"), ("ResNet50V2", "head")}
IN_TURN = zip(networks.BACKBONES, itertools.cycle(STRATEGIES), strict=False)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        pytest.param(*pair, marks=[] if pair in QUICK else marks_of(pair[0]))
        for pair in sorted({*IN_TURN, *QUICK})
    ],
)
def test_a_model_of_each_network_is_built_again(name: str, strategy: str, tmp_path: Path) -> None:
    gc.collect()  # networks refer to themselves, and some take gigabytes
    network = Network.untrained(keras, name, size_of(name))
    # Several runs and views are the same for all networks; see `SHAPES`.
    runs = [STRATEGIES[strategy].model(network, "run").get_weights()]
    path = tmp_path / "model.keras"
    released_model(network, strategy, runs, 0.8).save(path)
    ours, theirs = load(path, threads=1), by_plain_keras(path)
    for found, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(ours(PIXELS), theirs(PIXELS))


# --- files of another Keras -----------------------------------------------------------------------


def by_version(data: bytes, version: str, change: Change = lambda config: None) -> bytes:
    """The model file as another Keras would have saved it."""
    said = json.dumps({"keras_version": version, "date_saved": "2024-01-01@12:00:00"})
    members = files.members_of(files.with_config(data, change))
    return files.bundled({**members, "metadata.json": said.encode()})


def of_an_older_kind(config: Any) -> None:
    config["module"] = "keras.src.engine.functional"


def with_an_unknown_setting(config: Any) -> None:
    files.layer(config, "probability")["config"]["unknown_to_this_keras"] = 1


def without_a_setting(config: Any) -> None:
    del files.layer(config, "centre_square")["config"]["pad_to_aspect_ratio"]


@pytest.mark.parametrize("change", [with_an_unknown_setting, without_a_setting])
def test_a_model_that_another_keras_saved_is_compared_in_what_both_say(
    change: Change, written: Write, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(by_version(files.file_of(), "3.14.0", change))
    with caplog.at_level(logging.WARNING):
        model = load(path, threads=1)
    np.testing.assert_array_equal(model(PIXELS), by_plain_keras(written(files.file_of()))(PIXELS))
    assert f"saved_by=3.14.0 here={keras.__version__}" in caplog.text
    with pytest.raises(BadInput, match=r"its config\S+ (says|does not say) '"):
        load(written(by_version(files.file_of(), keras.__version__, change)), threads=1)


def test_a_model_that_another_keras_saved_otherwise_is_refused_with_both_versions(
    written: Write,
) -> None:
    path = written(by_version(files.file_of(), "2.15.0", of_an_older_kind))
    said = f"saved by Keras 2.15.0, and here is Keras {re.escape(keras.__version__)}"
    with pytest.raises(BadInput, match=rf"config\.module is 'keras.src.engine.functional'.*{said}"):
        load(path, threads=1)


def test_a_model_that_this_keras_saved_is_refused_without_a_word_of_versions(
    written: Write,
) -> None:
    path = written(files.with_config(files.file_of(), of_an_older_kind))
    with pytest.raises(BadInput, match="engine") as caught:
        load(path, threads=1)
    assert "saved by" not in str(caught.value)


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"{}", b"\xff", b'{"keras_version": "3", "date_saved": 1}', b'{"a": "b"}']
)
def test_a_model_that_does_not_say_who_saved_it_is_refused(said: bytes, written: Write) -> None:
    members = files.members_of(files.file_of())
    with pytest.raises(BadInput, match=r"metadata\.json"):
        check(written(files.bundled({**members, "metadata.json": said})))


# --- code in a file -------------------------------------------------------------------------------


class Writes:
    """Unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "ran")


def small(*between: Any, outputs: int = 1) -> Any:
    """A model of the released one's shape, with some layers in its middle."""
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    seen = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    for item in between:
        seen = item(seen)
    return keras.Model(image, keras.layers.Dense(outputs, activation="sigmoid")(seen))


def lambda_layer(path: Path, target: Path) -> None:
    small(files.lambda_that_writes(target)).save(path)


def pickled(path: Path, target: Path) -> None:
    path.write_bytes(pickle.dumps(Writes(target)))


def hdf5(path: Path, target: Path) -> None:
    small(files.lambda_that_writes(target)).save(path.with_suffix(".h5"))
    path.with_suffix(".h5").rename(path)


CODE = [
    (lambda_layer, "is no model of ours: its configuration has no layer"),
    (pickled, "is a pickle"),
    (hdf5, r"is an HDF5 file"),
]


@pytest.mark.parametrize(("make", "message"), CODE, ids=[make.__name__ for make, _ in CODE])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_file_with_code_is_refused_before_the_code_runs(
    make: Callable[[Path, Path], None], message: str, tmp_path: Path
) -> None:
    target, path = tmp_path / "ran", tmp_path / "model.keras"
    make(path, target)
    target.unlink(missing_ok=True)  # some run while they are made
    with pytest.raises(BadInput, match=message):
        load(path, threads=1)
    assert not target.exists()


def in_place_of(name: str, key: str) -> Callable[[Any], Change]:
    """Puts something in place of a setting of a layer."""

    def put(payload: Any) -> Change:
        return lambda config: files.layer(config, name)["config"].update({key: payload})

    return put


def as_a_layer(payload: Any) -> Change:
    def change(config: Any) -> None:
        files.layer(config, "standardise").update({
            key: payload.get(key) for key in ("module", "class_name", "registered_name")
        })

    return change


def beside_a_node(payload: Any) -> Change:
    return lambda config: files.layer(config, "ensemble")["inbound_nodes"][0].update(x=payload)


PLACES: dict[str, Callable[[Any], Change]] = {
    "below shared_object_id in a node": files.hidden_in_a_node,
    "as an activation": in_place_of("probability", "activation"),
    "as an initializer": in_place_of("logit", "kernel_initializer"),
    "as a constraint": in_place_of("logit", "kernel_constraint"),
    "as a policy": in_place_of("calibrated", "dtype"),
    "as a setting that there is not": in_place_of("ensemble", "function"),
    "as a layer": as_a_layer,
    "beside a node": beside_a_node,
    "as a way to compile": lambda payload: lambda config: config.update(compile_config=payload),
    "as what was built": lambda payload: lambda config: config.update(build_config=payload),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "payload", ["Lambda", "function", "TFSMLayer", "TFSMLayer as a function", "type"]
)
def test_code_is_refused_wherever_it_hides_in_the_configuration(
    place: str, payload: str, written: Write, tmp_path: Path
) -> None:
    target = tmp_path / "ran"
    found = files.payloads(target)[payload]
    path = written(files.with_config(files.file_of(), PLACES[place](found)))
    with pytest.raises(BadInput, match=r"is no model of ours: its config\S* (is|says) "):
        load(path, threads=1)
    assert not target.exists()


def test_no_object_of_a_configuration_is_ever_made(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("deserialised")

    for place in (keras.saving, keras.models, keras.layers, keras.Model, keras.layers.Layer):
        for name in ("deserialize_keras_object", "load_model", "deserialize", "from_config"):
            monkeypatch.setattr(place, name, never, raising=False)
    assert load(written(files.file_of()), threads=1).count_params()


def test_a_hostile_file_is_refused_without_importing_keras(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    lambda_layer(path, tmp_path / "ran")
    script = (
        "import sys; from pathlib import Path; from skin_pipeline.model_file import loading\n"
        "try: loading.load(Path(sys.argv[1]), 1)\n"
        "except loading.BadInput: print(*{'keras', 'tensorflow'} & set(sys.modules), 'refused')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "refused"


# --- another network than ours --------------------------------------------------------------------


def setting(name: str, key: str, value: Any) -> Change:
    return lambda config: files.layer(config, name)["config"].update({key: value})


def swapped_inputs(config: Any) -> None:
    node = files.layer(config, "ensemble")["inbound_nodes"][0]["args"][0]
    node[1] = node[0]


def one_run_less(config: Any) -> None:
    config["config"]["layers"] = [
        item for item in config["config"]["layers"] if item["name"] != "run_1"
    ]


def another_end(config: Any) -> None:
    config["config"]["output_layers"] = ["calibrated", 0, 0]


def true_for_one(config: Any) -> None:
    files.layer(config, "probability")["config"]["trainable"] = 1


OTHER_NETWORKS = {
    "the answer turned round": (
        setting("calibrated", "offset", 1.0),
        r"\.config\.offset is '1\.0' instead of '0\.0'",
    ),
    "the sign turned round": (setting("calibrated", "scale", -1.3), r"calibrated has '-1\.3'"),
    "another activation": (
        setting("probability", "activation", "tanh"),
        r"\.activation is 'tanh' instead of 'sigmoid'",
    ),
    "the image squashed": (
        setting("centre_square", "crop_to_aspect_ratio", False),
        r"crop_to_aspect_ratio is 'False' instead of 'True'",
    ),
    "no square": (setting("centre_square", "width", 21), r"width is '21' instead of '20'"),
    "an endless temperature": (setting("calibrated", "scale", 1e9), "calibrated has '1000000000"),
    "an image too large": (
        setting("field_of_view", "height", 513),
        "field_of_view has '513' for height; 8 to 512 is allowed",
    ),
    "a true for a number": (setting("field_of_view", "height", True), "field_of_view has 'True'"),
    "a fraction for a number": (setting("centre_square", "height", 20.0), "has '20.0' for height"),
    "the first run twice": (swapped_inputs, r"is 'run_0' instead of 'run_1'"),
    "one run less": (one_run_less, "the network has|weights|items"),
    "another end": (another_end, "is 'calibrated' instead of 'probability'"),
    "a number for true": (true_for_one, "trainable is '1' instead of 'True'"),
    "an earlier layer in a model of today": (
        lambda config: files.layer(config, "centre_square")["config"]["dtype"]["config"].update(
            name="float32"
        ),
        "of which ours says nothing",
    ),
    "a huge layer": (setting("logit", "units", 8192), "units is '8192' instead of '1'"),
}


@pytest.mark.parametrize(("change", "message"), OTHER_NETWORKS.values(), ids=list(OTHER_NETWORKS))
def test_another_network_than_ours_is_refused_by_its_first_difference(
    change: Change, message: str, written: Write
) -> None:
    path = written(files.with_config(files.file_of(), change))
    with pytest.raises(BadInput, match=message):
        load(path, threads=1)


@pytest.mark.parametrize("runs", [1, 3])
def test_another_number_of_runs_than_there_are_weights_is_refused(
    runs: int, written: Write
) -> None:
    config = files.members_of(files.file_of(runs=runs))["config.json"]
    members = {**files.members_of(files.file_of()), "config.json": config}
    with pytest.raises(BadInput, match=r"lacks weights of its network|has more weights"):
        load(written(files.bundled(members)), threads=1)


def test_a_configuration_that_asks_for_more_memory_than_its_weights_builds_little(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty runs of the deepest network are refused when one network is built."""
    config = files.members_of(files.file_of(strategy="full", runs=20))["config.json"]
    monkeypatch.setattr(loading, "rebuilt", lambda *_: pytest.fail("built"))
    members = {**files.members_of(files.file_of(runs=1)), "config.json": config}
    with pytest.raises(BadInput, match=r"has \d+ bytes of weights where .*runs=20.* needs \d+"):
        load(written(files.bundled(members)), threads=1)


# --- weights --------------------------------------------------------------------------------------


def test_weights_that_lack_a_layer_are_refused_and_not_left_at_random(written: Write) -> None:
    def change(weights: h5py.File) -> None:
        del weights[files.arrays(weights)[3]]

    with pytest.raises(BadInput, match=r"lacks weights of its network: 1, as 'layers/"):
        load(written(files.with_weights(files.file_of(), change)), threads=1)


def test_weights_of_one_layer_more_are_refused(written: Write) -> None:
    def change(weights: h5py.File) -> None:
        weights["layers/dense_99/vars/0"] = np.zeros(3, np.float32)

    with pytest.raises(BadInput, match=r"has more weights .*'layers/dense_99/vars/0'"):
        load(written(files.with_weights(files.file_of(), change)), threads=1)


def test_weights_of_another_shape_are_refused(written: Write) -> None:
    def change(weights: h5py.File) -> None:
        path = next(path for path in files.arrays(weights) if "dense" in path)
        data = np.array(weights[path])
        del weights[path]
        weights[path] = data.T

    with pytest.raises(BadInput, match=r"another shape: '.*dense.*' is \(1, 12\) instead of"):
        load(written(files.with_weights(files.file_of(), change)), threads=1)


def test_weights_that_are_not_stored_take_no_memory(written: Write) -> None:
    def change(weights: h5py.File) -> None:
        path = files.arrays(weights)[0]
        del weights[path]
        weights.create_dataset(path, (1300, 1000, 1000), "f4", fillvalue=1.0)  # 5 GB

    with pytest.raises(BadInput, match="weights that Keras does not write"):
        check(written(files.with_weights(files.file_of(), change)))


# --- the file itself ------------------------------------------------------------------------------


def tampered(data: bytes) -> bytes:
    place = data.index(b'"class_name"') + 1
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def member(name: str, content: bytes) -> Callable[[bytes], bytes]:
    return lambda data: files.bundled({**files.members_of(data), name: content})


def deep(data: bytes) -> bytes:
    return member("config.json", b"[" * 10**6)(data)


FILES = {
    "cut short": (lambda data: data[:-30], "is no zip, or a damaged one"),
    "a byte changed": (tampered, "damaged: the checksum"),
    "no zip": (
        lambda data: b"none of it",
        "contains nothing that it should instead of config.json",
    ),
    "large config": (
        member("config.json", b" " * loading.TEXT_BYTES["config.json"] + b"{}"),
        "bytes of config.json; 16777216 are allowed",
    ),
    "deep config": (deep, r"has a damaged config.json \(nested too deeply"),
    "no JSON": (member("config.json", b"\xff{"), "has a damaged config.json"),
    "no configuration": (member("config.json", b"[]"), "is no model of ours"),
    "other weights": (member("model.weights.h5", b"none"), "has damaged weights"),
}


@pytest.mark.parametrize(("change", "message"), FILES.values(), ids=list(FILES))
def test_a_damaged_file_is_refused_and_named(
    change: Callable[[bytes], bytes], message: str, written: Write
) -> None:
    path = written(change(files.file_of()))
    with pytest.raises(BadInput, match=rf"the model {path} .*{message}"):
        load(path, threads=1)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no model file .*none\.keras"):
        load(tmp_path / "none.keras", threads=1)


@pytest.mark.parametrize("chunk", [400, loading.CHUNK])
def test_an_oversized_file_is_refused_however_many_pieces_it_is_copied_in(
    written: Write, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(loading, "MOST_BYTES", 1000)
    monkeypatch.setattr(loading, "CHUNK", chunk)
    with pytest.raises(BadInput, match=r"has over 1000 bytes"):
        check(written(files.file_of()))


def test_names_that_an_extra_field_swaps_are_refused_by_every_python(written: Write) -> None:
    """Python 3.12 and later read such a file by the other names; earlier ones do not."""
    swapped = {"config.json": "metadata.json", "metadata.json": "config.json"}
    path = written(files.renamed_in_the_list(files.file_of(), swapped))
    with zipfile.ZipFile(path) as bundle:
        by_extra = [info.filename != info.orig_filename for info in bundle.infolist()]
    assert any(by_extra) == (sys.version_info >= (3, 12))
    with pytest.raises(BadInput, match="the list at its end says otherwise"):
        check(path)


def test_a_file_of_another_digest_is_not_looked_at(written: Write) -> None:
    path = written(files.file_of())
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    check(path, right)
    with pytest.raises(BadInput, match=rf"not the one that its manifest names.*{right}"):
        check(path, "0" * 64)


@pytest.mark.parametrize(
    ("module", "moment"),
    [(loading, "_inspected"), (runtime, "keras_on"), (loading, "_built")],
)
def test_what_is_loaded_is_what_was_checked_whatever_becomes_of_the_file(
    module: ModuleType, moment: str, written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is exchanged, and overwritten in place, between the check and the load."""
    ours, other = files.file_of(), files.file_of(seed=2)
    path, work = written(ours), getattr(module, moment)

    def exchanged(*arguments: Any) -> Any:
        with path.open("r+b") as file:  # the same file, so that an open one changes too
            file.write(other)
            file.truncate()
        return work(*arguments)

    monkeypatch.setattr(module, moment, exchanged)
    model = load(path, 1, hashlib.sha256(ours).hexdigest())
    np.testing.assert_array_equal(model(PIXELS), files.released()(PIXELS))
    assert path.read_bytes() == other


def test_the_copy_of_a_file_is_gone_afterwards(
    written: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = written(files.file_of())
    before = sorted(tmp_path.iterdir())
    load(path, threads=1)
    assert sorted(tmp_path.iterdir()) == before


def test_memory_that_runs_out_is_the_file_s_fault(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any) -> Any:
        return bytearray(2 * loading.MEMORY_BYTES)

    monkeypatch.setattr(loading, "rebuilt", greedy)
    with pytest.raises(BadInput, match="takes more memory than a model of its size needs"):
        load(written(files.file_of()), threads=1)
    assert len(bytearray(loading.MEMORY_BYTES))  # of the process again
