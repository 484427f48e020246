"""Small model files as the pipeline releases them, and what a stranger could do to them."""

from __future__ import annotations

import functools
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import keras
import numpy as np
import tiny_network as tiny

from skin_pipeline.model_file import looking
from skin_pipeline.model_file.building import released_model
from skin_pipeline.training import networks
from skin_pipeline.training.strategies import STRATEGIES

TINY = "Tiny"  # a backbone that only tests know
METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
USUAL = {
    **{"strategy": "head", "runs": 2, "temperature": 1.3},
    **{"field_of_view": 0.8, "regions": 2, "views": 2},
}
Members = dict[str, bytes]


@contextmanager
def tiny_backbone() -> Generator[None, None, None]:
    """Within, the tiny network is one of those that the pipeline knows."""
    with (
        mock.patch.dict(networks.BACKBONES, {TINY: tiny.SPEC}),
        mock.patch.object(keras.applications, TINY, tiny.whole, create=True),
    ):
        yield


@contextmanager
def as_before() -> Generator[None, None, None]:
    """Within, models are built as before their scaled image had grey levels in every graph."""
    before = functools.partial(looking.squares, scaled="float32")
    with mock.patch.object(looking, "squares", before):
        yield


def released(seed: int = 1, **how: Any) -> Any:
    """A model of the tiny network, as `evaluate` makes it."""
    told = {**USUAL, **how}
    network = tiny.network(seed).seeing(told.get("pixels")).reading(told.get("stages", 3))
    draw = np.random.default_rng(seed)
    shapes = [w.shape for w in STRATEGIES[told["strategy"]].model(network, "run").get_weights()]
    # The heads' weights are small: a probability of 1.0 would hide what led to it.
    runs = [
        [draw.uniform(0.1, 1, shape) * (1e-4 if shape[1:] == (1,) else 1) for shape in shapes]
        for _ in range(told["runs"])
    ]
    known = {name: told[name] for name in ("regions", "views", "temperature")}
    return released_model(network, told["strategy"], runs, told["field_of_view"], **known)


@functools.cache
def file_of(**how: Any) -> bytes:
    """The bytes of a released model's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        released(**how).save(path)
        return path.read_bytes()


def members_of(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def bundled(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    """A file of these members, written as Keras does."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    return sink.getvalue()


def with_config(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The model file after `change` of its configuration."""
    members = members_of(data)
    config = json.loads(members[CONFIG])
    change(config)
    return bundled({**members, CONFIG: json.dumps(config).encode()})


def with_weights(data: bytes, change: Callable[[h5py.File], object]) -> bytes:
    """The model file after `change` of its weights file."""
    members = members_of(data)
    sink = io.BytesIO(members[WEIGHTS])
    with h5py.File(sink, "r+") as weights:
        change(weights)
    return bundled({**members, WEIGHTS: sink.getvalue()})


def layer(config: Any, name: str) -> Any:
    """A layer's configuration, wherever it stands in a model's."""
    found = [item for item in layers(config) if item["name"] == name]
    return found[0]


def layers(config: Any) -> Iterator[Any]:
    """All layers of a model's configuration, and of the models in it."""
    for item in config["config"].get("layers", ()):
        yield item
        yield from layers(item)


def arrays(weights: h5py.File) -> list[str]:
    """The paths of all arrays of a weights file."""
    found: list[str] = []
    weights.visititems(lambda path, item: found.extend([path] * isinstance(item, h5py.Dataset)))
    return found


# --- code in a configuration ----------------------------------------------------------------------


def lambda_that_writes(target: Path) -> Any:
    """A layer that writes a file when it is called."""
    name = str(target)
    return keras.layers.Lambda(lambda x: (__import__("pathlib").Path(name).write_text("ran"), x)[1])


def serialised(item: Any) -> Any:
    return json.loads(json.dumps(keras.saving.serialize_keras_object(item)))


def payloads(target: Path) -> dict[str, Any]:
    """What Keras would build, look up or load if it came upon it, wherever it stands."""
    return {
        "Lambda": serialised(lambda_that_writes(target)),
        "function": {
            "module": "keras.utils",
            "class_name": "function",
            "config": "get_file",
            "registered_name": "get_file",
        },
        "TFSMLayer": {
            "module": "keras.layers",
            "class_name": "TFSMLayer",
            "config": {"filepath": str(target), "call_endpoint": "serve"},
            "registered_name": None,
        },
        "TFSMLayer as a function": {
            "module": "keras.layers",
            "class_name": "function",
            "config": "TFSMLayer",
            "registered_name": "TFSMLayer",
        },
        "type": {"class_name": "__typespec__", "spec_name": "TensorSpec", "config": [1]},
    }


def hidden_in_a_node(payload: Any) -> Callable[[Any], None]:
    """Puts something below a key `shared_object_id` of a node's keyword arguments."""

    def change(config: Any) -> None:
        node = layer(config, "field_of_view")["inbound_nodes"][0]
        node["kwargs"]["training"] = {"shared_object_id": payload}

    return change


# --- two readings of one zip ----------------------------------------------------------------------


def unicode_path(name: str, other: str) -> bytes:
    """The extra field by which a zip gives an entry another name: Python 3.12 and later follow."""
    raw = other.encode()
    body = struct.pack("<BL", 1, zlib.crc32(name.encode())) + raw
    return struct.pack("<HH", 0x7075, len(body)) + body


def renamed_in_the_list(data: bytes, swapped: dict[str, str]) -> bytes:
    """The zip with extra fields in its list that give entries other names."""
    at = data.rindex(b"PK\5\6")
    (place,) = struct.unpack_from("<L", data, at + 16)
    made = b""
    start = place
    while data[place : place + 4] == b"PK\1\2":
        name_size, extra_size, comment_size = struct.unpack_from("<3H", data, place + 28)
        header = bytearray(data[place : place + 46])
        name = data[place + 46 : place + 46 + name_size].decode()
        extra = data[place + 46 + name_size : place + 46 + name_size + extra_size]
        if name in swapped:
            extra += unicode_path(name, swapped[name])
        struct.pack_into("<H", header, 30, len(extra))
        made += bytes(header) + name.encode() + extra
        place += 46 + name_size + extra_size + comment_size
    end = bytearray(data[at:])
    struct.pack_into("<L", end, 12, len(made))
    return data[:start] + made + bytes(end)
