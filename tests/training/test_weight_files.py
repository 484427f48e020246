"""What is taken for a file with weights, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import weights_file

from skin_pipeline.config import Settings
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import pretrained


def refused(store: FolderStore, path: Path | str) -> str:
    with pytest.raises(BadInput, match=r"weights: .*weights=FILE.*weights=imagenet") as caught:
        pretrained.pin_weights(Settings(weights=str(path)), store)
    assert not (store.root / "weights").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89HD",
        b'{"admin": "hunter2"}',
        b"-----BEGIN PRIVATE KEY-----\n",
        b"PK\x03\x04",
        b"\x80\x04",  # a pickle
        b"\x89HDF\r\n\x1a\n",  # the magic alone
        b"\x89HDF\r\n\x1a\n" + b"\0" * 4096,
        b" " * 512 + b"\x89HDF\r\n\x1a\n",  # where HDF5 would look for it, too
    ],
)
def test_only_files_of_keras_are_taken_for_weights(
    store: FolderStore, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.weights.h5").write_bytes(content)
    said = refused(store, tmp_path / "x.weights.h5")
    assert any(
        words in said
        for words in ("is not an HDF5 file", "is damaged", "is a zip, but", "is a pickle")
    )
    assert "hunter2" not in said


def test_what_is_no_file_is_neither_read_nor_waited_for(store: FolderStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.weights.h5")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.h5"))
        for path in (tmp_path / "pipe.weights.h5", tmp_path, "/dev/zero", tmp_path / "s.h5"):
            refused(store, path)


def external_link(file: h5py.File, other: Path) -> None:
    file["w"] = h5py.ExternalLink(str(other), "/")


def soft_link(file: h5py.File, _other: Path) -> None:
    file["w"] = h5py.SoftLink("/v")


def bytes_of_another_file(file: h5py.File, other: Path) -> None:
    file.create_dataset("w", (4,), "u1", external=[(str(other), 0, 4)])


def rows_of_another_file(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(str(other), "w", (4,))
    file.create_virtual_dataset("w", layout)


def far_more_than_there_is(file: h5py.File, _other: Path) -> None:
    file.create_dataset("w", (2**33,), "f4", fillvalue=1, chunks=(2**10,))


def a_circle(file: h5py.File, _other: Path) -> None:
    file.create_group("a")["b"] = file["/"]


def a_type(file: h5py.File, _other: Path) -> None:
    file["w"] = np.dtype("u1")


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        (external_link, "a link"),
        (soft_link, "a link"),
        (bytes_of_another_file, "from other files"),
        (rows_of_another_file, "from other files"),
        (far_more_than_there_is, "contains over"),
        (a_circle, "a link"),
        (a_type, "contains <HDF5 named type"),
    ],
)
def test_weights_that_reach_for_other_files_or_for_memory_are_refused(
    store: FolderStore, tmp_path: Path, inside: Callable[[h5py.File, Path], None], said: str
) -> None:
    other = tmp_path / "secrets.json"
    other.write_text("hunter2")
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file.create_group("layers")
        inside(file["layers"], other)
    assert said in refused(store, tmp_path / "x.weights.h5")


def test_a_weight_file_may_be_named_by_a_link(store: FolderStore, tmp_path: Path) -> None:
    content = weights_file.written(tmp_path / "x.weights.h5", 1)
    (tmp_path / "link").symlink_to(tmp_path / "x.weights.h5")
    pinned = pretrained.pin_weights(Settings(weights=str(tmp_path / "link")), store)
    assert store.read(pinned) == content
