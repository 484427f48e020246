"""What is in an HDF5 file is found step by step, and no link is followed."""

from __future__ import annotations

import io
from collections.abc import Callable

import h5py
import numpy as np
import pytest

from skin_pipeline.training import hdf5


def file_with(fill: Callable[[h5py.File], object]) -> h5py.File:
    """An HDF5 file in memory, open to be read."""
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        fill(file)
    return h5py.File(sink, "r")


def layers(file: h5py.File) -> None:
    file["layers/dense/vars/0"] = np.zeros(2)
    file["layers/dense/vars/1"] = np.zeros(3)
    file["top"] = np.zeros(1)


def test_groups_and_arrays_come_by_their_paths_each_group_before_its_content() -> None:
    with file_with(layers) as file:
        found = list(hdf5.parts(file.id))
    assert [(part.path, part.name, part.depth) for part in found] == [
        ("layers", b"layers", 0),
        ("layers/dense", b"dense", 1),
        ("layers/dense/vars", b"vars", 2),
        ("layers/dense/vars/0", b"0", 3),
        ("layers/dense/vars/1", b"1", 3),
        ("top", b"top", 0),
    ]
    kinds = [type(part.item) for part in found]
    assert kinds == [h5py.h5g.GroupID] * 3 + [h5py.h5d.DatasetID] * 3


@pytest.mark.parametrize(
    "link", [h5py.SoftLink("/top"), h5py.SoftLink("/none"), h5py.ExternalLink("/etc/hosts", "/")]
)
def test_a_link_is_named_and_not_followed(link: object) -> None:
    def linked(file: h5py.File) -> None:
        layers(file)
        file["layers/dense/link"] = link

    with file_with(linked) as file:
        (found,) = [part for part in hdf5.parts(file.id) if part.name == b"link"]
    assert (found.path, found.item) == ("layers/dense/link", None)


def test_a_circle_of_hard_links_ends() -> None:
    def circle(file: h5py.File) -> None:
        file.create_group("a")["b"] = file["/"]

    with file_with(circle) as file:
        found = list(hdf5.parts(file.id))
    assert len(found) == hdf5.DEEPEST + 2
    assert found[-1].item is None
    assert all(part.item is not None for part in found[:-1])


def test_nothing_of_a_group_is_read_before_the_caller_has_seen_it() -> None:
    """A caller can refuse a group for its size, and its million names are never listed."""
    listed: list[str] = []

    class Group:
        def __init__(self, name: str) -> None:
            self.name = name

        def __iter__(self) -> object:
            listed.append(self.name)
            return iter(())

    with file_with(layers) as file:
        walk = hdf5.parts(file.id)
        assert next(walk).path == "layers"
    walk = hdf5.parts(Group("root"))
    assert listed == []
    assert list(walk) == []
    assert listed == ["root"]


def test_a_name_that_is_no_text_has_a_path_all_the_same() -> None:
    def odd(file: h5py.File) -> None:
        file.id.links.create_soft(b"\xff\xfe", b"/none")

    with file_with(odd) as file:
        (found,) = hdf5.parts(file.id)
    assert (found.path, found.name) == ("\\xff\\xfe", b"\xff\xfe")
