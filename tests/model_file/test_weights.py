"""Weights files that do what no weights need are refused before a value is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import model_files as files
import numpy as np
import pytest

from skin_pipeline.model_file.weights import Weights, fill, inspected
from skin_pipeline.training.container import Foreign

Change = Callable[[h5py.File], object]

PATH = "layers/dense/vars/0"


@pytest.fixture(scope="module")
def model() -> Any:
    """Of two layers of one class, one of them within another model."""
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    image = keras.Input((2,))
    return keras.Model(image, keras.layers.Dense(2)(inner(keras.layers.Dense(2)(image))))


@pytest.fixture(scope="module")
def saved(model: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "a.weights.h5"
    model.save_weights(path)
    return path.read_bytes()


def changed(data: bytes, change: Change) -> bytes:
    sink = io.BytesIO(data)
    with h5py.File(sink, "r+") as weights:
        change(weights)
    return sink.getvalue()


def look(data: bytes) -> Weights:
    """As it lies within a larger file."""
    return inspected(io.BytesIO(b"before" + data + b"behind"), 6, len(data))


def test_weights_are_put_into_the_model_whose_they_are(model: Any, saved: bytes) -> None:
    expected = model.get_weights()
    model.set_weights([array * 0 for array in expected])
    fill(model, look(saved))
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def stored(*, dtype: Any = "f4", **options: Any) -> Change:
    """An array of the same shape that is stored in another way."""

    def change(weights: h5py.File) -> None:
        values = np.array(weights[PATH])
        del weights[PATH]
        made = weights.create_dataset(PATH, values.shape, dtype, **options)
        if not {"external", "fillvalue"} & options.keys():
            made[...] = values

    return change


def typed(dtype: Any) -> Change:
    def change(weights: h5py.File) -> None:
        del weights[PATH]
        weights.create_dataset(PATH, (2, 2), dtype)

    return change


def never_written(weights: h5py.File) -> None:
    del weights[PATH]
    weights.create_dataset(PATH, (2, 2), "f4")


def huge_and_never_written(weights: h5py.File) -> None:
    del weights[PATH]
    weights.create_dataset(PATH, (2**20, 2**20), "f4")


def compact(weights: h5py.File) -> None:
    """Its values stand in its header."""
    del weights[PATH]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((2, 2))
    made = h5py.h5d.create(
        weights["layers/dense/vars"].id, b"0", h5py.h5t.IEEE_F32LE, space, dcpl=plan
    )
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((2, 2), "f4"))


def virtual(weights: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 2), "f4")
    layout[...] = h5py.VirtualSource(".", "layers/dense_1/vars/0", (2, 2))
    del weights[PATH]
    weights.create_virtual_dataset(PATH, layout)


def linked(link: Any) -> Change:
    def change(weights: h5py.File) -> None:
        del weights[PATH]
        weights[PATH] = link

    return change


def the_same_twice(weights: h5py.File) -> None:
    weights["layers/dense/vars/2"] = weights[PATH]


def in_a_circle(weights: h5py.File) -> None:
    weights["layers/dense/vars/again"] = weights["layers"]


def noted(place: str, name: str, value: Any) -> Change:
    return lambda weights: weights[place].attrs.create(name, value)


def a_type(weights: h5py.File) -> None:
    weights["layers/dense/vars/type"] = np.dtype("f8")


def deep(weights: h5py.File) -> None:
    weights.create_group("layers/" + "x/" * 30)


def long_name(weights: h5py.File) -> None:
    weights.create_group("layers/" + "x" * 300)


ODD = {
    "filled with a value": stored(fillvalue=1.0),
    "never written": never_written,
    "huge and never written": huge_and_never_written,
    "in chunks": stored(chunks=(1, 2)),
    "packed": stored(chunks=(1, 2), compression="gzip"),
    "with checksums": stored(chunks=(1, 2), fletcher32=True),
    "able to grow": stored(chunks=(1, 2), maxshape=(None, 2)),
    "in its header": compact,
    "virtual": virtual,
    "in another file": stored(external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]),
    "doubles": stored(dtype="f8"),
    "whole numbers": stored(dtype="i4"),
    "the other way round": stored(dtype=">f4"),
    "halves": stored(dtype="f2"),
    "records": linked(np.zeros(3, [("a", "f4")])),
    "texts": linked(np.array([b"a" * 9])),
    "references": typed(h5py.ref_dtype),
    "of changing length": typed(h5py.vlen_dtype("f4")),
    "empty": linked(h5py.Empty("f4")),
    "without an item": linked(np.zeros((0, 3), "f4")),
    "a soft link": linked(h5py.SoftLink("/layers/dense_1/vars/0")),
    "a link into another file": linked(h5py.ExternalLink("/etc/hostname", "/")),
    "the same array twice": the_same_twice,
    "in a circle": in_a_circle,
    "a type": a_type,
    "a note beside an array": noted(PATH, "dtype", "bfloat16"),
    "a note beside a group": noted("layers", "name", "x"),
    "another note": noted("layers/dense/vars", "x", 1.0),
    "too deep": deep,
    "a long name": long_name,
}


@pytest.mark.parametrize("change", ODD.values(), ids=list(ODD))
def test_an_array_that_keras_does_not_write_is_refused(change: Change, saved: bytes) -> None:
    with pytest.raises(Foreign, match=r"has weights (that Keras does not write|of too many)"):
        look(changed(saved, change))


def test_arrays_that_share_bytes_are_refused(saved: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As only a file has that was written by hand."""
    found = look(saved)
    one, other = (found.arrays[f"layers/dense{end}/vars/0"] for end in ("", "_1"))
    data = saved.replace(
        (one.start - 6).to_bytes(8, "little"), (other.start - 2).to_bytes(8, "little")
    )
    assert data != saved
    with pytest.raises(Foreign, match="stored over another array"):
        look(data)


def test_weights_of_too_many_objects_are_refused(
    saved: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skin_pipeline.model_file.weights.MOST_OBJECTS", 8)
    with pytest.raises(Foreign, match="too many objects"):
        look(saved)


@pytest.mark.parametrize("at", [0, 9, 50, 100])
def test_damaged_weights_are_refused(at: int, saved: bytes) -> None:
    with pytest.raises(Foreign, match=r"has (damaged )?weights"):
        look(saved[:at] + b"\xff" * 40 + saved[at + 40 :])


def gone(weights: h5py.File) -> None:
    del weights[PATH]


def one_more(weights: h5py.File) -> None:
    weights["layers/dense/vars/7"] = np.ones(3, "f4")


def empty_group(weights: h5py.File) -> None:
    weights.create_group("layers/conv2d/vars")


def another_shape(weights: h5py.File) -> None:
    del weights[PATH]
    weights[PATH] = np.ones((4, 1), "f4")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (gone, "lacks weights of its network: 1, as 'layers/dense/vars/0'"),
        (one_more, "has more weights than its network: 1, as 'layers/dense/vars/7'"),
        (empty_group, "has more weights than its network: 'layers/conv2d"),
        (another_shape, r"another shape: 'layers/dense/vars/0' is \(4, 1\) instead of \(2, 2\)"),
    ],
)
def test_weights_of_another_model_are_refused(
    change: Change, said: str, model: Any, saved: bytes
) -> None:
    before = model.get_weights()
    with pytest.raises(Foreign, match=said):
        fill(model, look(changed(saved, change)))
    for found, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_a_released_model_of_each_kind_saves_is_found(tmp_path: Path) -> None:
    """Named as Keras names it; the networks of keras.applications are in test_loading."""
    for strategy in ("head", "fine_tune", "full"):
        model = files.released(strategy=strategy)
        model.save_weights(tmp_path / "a.weights.h5")
        fill(model, look((tmp_path / "a.weights.h5").read_bytes()))
