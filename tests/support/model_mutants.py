"""Damaged and hostile model files by number: the same number gives the same file, for ever.

    mutant = Mutants(data).make(17)  # bytes

A third each changes the configuration, the zip, and the HDF5 file within. What stands in a place
comes from elsewhere in the file, from its neighbourhood, or from what once got through.
"""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import model_files as files
import numpy as np

SEED = 14
NOWHERE = Path("ran")  # that code in a mutant would write, where it is run
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**19, 0.0, -0.5, 1e308, 1e-300, float("nan")),
    *("", "linear", "softmax", "Lambda", "keras.layers", "../../x", "\0", "run_0", "a" * 300),
    *([], {}, [[[]]], [None, None, None, 3], {"class_name": "function"}),
]
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63, 2**64 - 1)


class Mutants:
    """The mutants of a released model's file."""

    def __init__(self, data: bytes, seed: int = SEED) -> None:
        self._data, self._seed = data, seed
        self._members = files.members_of(data)
        self._payloads = list(files.payloads(NOWHERE).values())

    def make(self, number: int) -> bytes:
        draw = random.Random(f"{self._seed}-{number}")
        change = (self._config, self._zip, self._weights)[number % 3]
        return change(draw)

    def _bundled(self, name: str, content: bytes) -> bytes:
        return files.bundled({**self._members, name: content})

    # --- the configuration ---

    def _config(self, draw: random.Random) -> bytes:
        if draw.random() < 0.2:
            return self._bundled(files.CONFIG, _bytes_changed(self._members[files.CONFIG], draw))
        config = json.loads(self._members[files.CONFIG])
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            self._change_somewhere(config, draw)
        name = draw.choice((files.CONFIG,) * 9 + (files.METADATA,))
        text = json.dumps(config)
        if draw.random() < 0.1:  # a key twice
            text = text.replace('"name": ', f'"name": {json.dumps(draw.choice(ODD))}, "name": ', 1)
        return self._bundled(name, text.encode())

    def _change_somewhere(self, config: Any, draw: random.Random) -> None:
        holder, key = _place(config, draw)
        other, other_key = _place(config, draw)
        what = draw.randrange(7)
        if what == 0:
            holder[key] = copy.deepcopy(draw.choice(self._payloads))
        elif what == 1:
            holder[key] = {"shared_object_id": copy.deepcopy(draw.choice(self._payloads))}
        elif what == 2:
            holder[key] = copy.deepcopy(draw.choice(ODD))
        elif what == 3:
            del holder[key]
        elif what == 4:
            holder[key] = copy.deepcopy(other[other_key])
        elif what == 5 and isinstance(holder, dict):
            new = draw.choice(("shared_object_id", "fn", "module", "spec_name"))
            holder[new] = copy.deepcopy(draw.choice(self._payloads))
        elif isinstance(holder[key], int | float):
            holder[key] = holder[key] * draw.choice((-1, 2, 0.5, 1e9)) + draw.choice((-1, 0, 1))

    # --- the zip ---

    def _zip(self, draw: random.Random) -> bytes:
        ways = (self._zip_bytes, self._zip_anew, self._renamed, self._spliced, self._same_otherwise)
        return draw.choice(ways)(draw)

    def _zip_bytes(self, draw: random.Random) -> bytes:
        """Changes within the headers, which are a small part of the file."""
        data = self._data
        places = [at for magic in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for at in _all(data, magic)]
        at = draw.choice(places) + draw.randrange(60)
        size = draw.choice((1, 2, 4, 8))
        number: int = draw.choice(NUMBERS) % 256**size
        return data[:at] + number.to_bytes(size, "little") + data[at + size :]

    def _zip_anew(self, draw: random.Random) -> bytes:
        names = [*self._members, *draw.choices(list(self._members), k=draw.randrange(2))]
        draw.shuffle(names)
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as bundle, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of names that stand twice
            for name in names:
                info = zipfile.ZipInfo(draw.choice((name, name, name, f"./{name}", "assets/x")))
                info.compress_type = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
                info.extra = draw.choice((b"", struct.pack("<HHQ", 1, 8, 5)))
                info.external_attr = draw.choice((0, 0o600 << 16, 0o120777 << 16))
                bundle.writestr(info, self._members[name])
            bundle.comment = draw.choice((b"", b"x"))
        return sink.getvalue()

    def _renamed(self, draw: random.Random) -> bytes:
        one, other = draw.sample(list(self._members), 2)
        return files.renamed_in_the_list(self._data, {one: other, other: one})

    def _spliced(self, draw: random.Random) -> bytes:
        data, at = self._data, draw.choice((0, len(self._data), draw.randrange(len(self._data))))
        return data[:at] + draw.choice((b"x", self._data, b"PK\5\6" + bytes(18))) + data[at:]

    def _same_otherwise(self, draw: random.Random) -> bytes:
        """What Keras could have written as well: nothing is wrong with it."""
        names = list(self._members)
        draw.shuffle(names)
        return files.bundled({name: self._members[name] for name in names})

    # --- the weights ---

    def _weights(self, draw: random.Random) -> bytes:
        content = self._members[files.WEIGHTS]
        if draw.random() < 0.6:
            return self._bundled(files.WEIGHTS, _bytes_changed(content, draw))
        sink = io.BytesIO(content)
        with h5py.File(sink, "r+") as weights:
            path = draw.choice(files.arrays(weights))
            draw.choice(WAYS)(weights, path, draw)
        return self._bundled(files.WEIGHTS, sink.getvalue())


def _place(value: Any, draw: random.Random) -> Any:
    """Some key of an object or place of a list, with what holds it: mostly deep within."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw.choice(keys)
        inner = value[key]
        if not (isinstance(inner, dict | list) and inner) or draw.random() < 0.05:
            return value, key
        value = inner


def _all(data: bytes, magic: bytes) -> list[int]:
    places, at = [], data.find(magic)
    while at >= 0:
        places.append(at)
        at = data.find(magic, at + 1)
    return places


def _bytes_changed(data: bytes, draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        size = draw.choice((1, 2, 4, 8))
        at = draw.randrange(len(made) - size)
        number = draw.choice((draw.getrandbits(8 * size), draw.choice(NUMBERS))) % 256**size
        made[at : at + size] = number.to_bytes(size, "little")
    return bytes(made[: draw.randrange(len(made))]) if draw.random() < 0.03 else bytes(made)


def _replaced(**options: Any) -> Callable[[h5py.File, str, random.Random], None]:
    """An array of the same shape that is stored in another way."""

    def change(weights: h5py.File, path: str, draw: random.Random) -> None:
        shape = weights[path].shape
        del weights[path]
        weights.create_dataset(path, shape, **{"dtype": "f4", **options})

    return change


def _linked(link: Any) -> Callable[[h5py.File, str, random.Random], None]:
    def change(weights: h5py.File, path: str, draw: random.Random) -> None:
        del weights[path]
        weights[path] = link

    return change


def _same(weights: h5py.File, path: str, draw: random.Random) -> None:
    other = draw.choice(files.arrays(weights))
    data = weights[other]
    del weights[path]
    weights[path] = data if other != path else np.zeros(3, "f4")


def _other_shape(weights: h5py.File, path: str, draw: random.Random) -> None:
    shape = tuple(draw.choice((0, 1, 3, 12)) for _ in range(draw.randrange(5)))
    del weights[path]
    weights[path] = np.ones(shape, draw.choice(("f4", "f4", "f8", "i4", ">f4")))


def _noted(weights: h5py.File, path: str, draw: random.Random) -> None:
    weights[draw.choice((path, path.rpartition("/")[0], "/"))].attrs[
        draw.choice(("name", "dtype", "x"))
    ] = draw.choice((1, "bfloat16", np.zeros(1000)))


def _values(weights: h5py.File, path: str, draw: random.Random) -> None:
    weights[path][...] = draw.choice((0, 1, float("nan"), 1e30))


def _gone(weights: h5py.File, path: str, draw: random.Random) -> None:
    del weights[draw.choice((path, path.rpartition("/")[0]))]


def _more(weights: h5py.File, path: str, draw: random.Random) -> None:
    weights[f"{path.rpartition('/')[0]}/{draw.randrange(9, 99)}"] = np.ones(3, "f4")


WAYS = [
    _replaced(fillvalue=1.0),
    _replaced(chunks=True, compression="gzip"),
    _replaced(maxshape=None, chunks=True),
    _replaced(external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]),
    _linked(h5py.SoftLink("/layers")),
    _linked(h5py.ExternalLink("/etc/hostname", "/")),
    _linked(h5py.Empty("f4")),
    *(_same, _other_shape, _noted, _values, _values, _gone, _more),
]
