"""Activations are found by what an image shows, and only if they are complete."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from seeing import IMAGES, TRUNK, computed

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import cache
from skin_pipeline.training.cache import FeatureCache, ids_of


def test_a_task_knows_its_own_images_only_however_many_are_cached(
    store: FolderStore, tmp_path: Path
) -> None:
    everything = np.array([f"{number:032}" for number in range(60_000)], "S32")
    for block in np.array_split(everything, 12):
        np.save(tmp_path / "block.npy", np.zeros((len(block), 1), np.float32))
        FeatureCache(store, TRUNK, 16, block).add("pooled", "0", block, tmp_path / "block.npy")
    ours = everything[::1000]
    tracemalloc.start()
    try:
        known = FeatureCache(store, TRUNK, 16, ours)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not len(known.missing("pooled", "0", ours))
    assert peak < 4 * 2**20  # all of them take five times as much


@pytest.mark.parametrize(
    "other",
    [
        {"digest": "other"},
        {"source": "imagenet"},
        {"backbone": "ResNet50V2"},
        {"image_size": 32},
        {"version": cache.VERSION + 1},
        {"view": "1"},
        {"view": "blur-0"},
        {"kind": "maps"},
    ],
)
def test_activations_made_in_another_way_are_others(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    computed(store, IMAGES, tmp_path / "f", views=1)
    wanted = {"kind": "pooled", "view": "0", "image_size": 16, "version": cache.VERSION, **other}
    ids = ids_of(IMAGES)
    assert len(FeatureCache(store, TRUNK, 16).missing("pooled", "0", ids)) == 0
    monkeypatch.setattr(cache, "VERSION", wanted["version"])
    trunk = TRUNK.model_copy(update={k: v for k, v in other.items() if k in Trunk.model_fields})
    known = FeatureCache(store, trunk, wanted["image_size"])
    assert len(known.missing(wanted["kind"], wanted["view"], ids)) == len(IMAGES)


def test_an_image_that_differs_in_one_pixel_is_another() -> None:
    other = IMAGES[:1].copy()
    other[0, 5, 5, 1] ^= 1
    assert ids_of(other)[0] != ids_of(IMAGES[:1])[0]


def test_an_activation_whose_names_were_not_written_counts_for_nothing(
    store: FolderStore, tmp_path: Path
) -> None:
    computed(store, IMAGES, tmp_path / "f", views=1)
    (names,) = [key for key in store.list("activations") if key.endswith(cache.IDS)]
    store.remove(names)
    assert len(FeatureCache(store, TRUNK, 16).missing("pooled", "0", ids_of(IMAGES))) == len(IMAGES)


def test_activations_are_known_only_once_they_are_there(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops the writing between a block and its names."""
    ids = ids_of(IMAGES[:2])
    np.save(tmp_path / "block.npy", np.zeros((2, 4), np.float32))
    written: list[str] = []
    put = store.put_file

    def put_one(key: str, path: Path) -> None:
        if written:
            raise OSError("stopped")
        written.append(key)
        put(key, path)

    monkeypatch.setattr(store, "put_file", put_one)
    with pytest.raises(OSError, match="stopped"):
        FeatureCache(store, TRUNK, 16).add("pooled", "0", ids, tmp_path / "block.npy")
    assert len(FeatureCache(store, TRUNK, 16).missing("pooled", "0", ids)) == len(ids)


@pytest.mark.parametrize(("free", "fits"), [(2 * cache.GIB, True), (2 * cache.GIB - 1, False)])
def test_activations_that_the_disk_has_no_room_for_may_be_tried_again(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    if fits:
        cache.check_disk(store, 2 * cache.GIB, 50)
    else:
        with pytest.raises(Unavailable, match=r"take 2\.0 GiB, and .* has 2\.0 GiB left"):
            cache.check_disk(store, 2 * cache.GIB, 50)


def test_activations_that_take_more_than_is_allowed_are_refused(store: FolderStore) -> None:
    with pytest.raises(BadInput, match=r"3\.0 GiB.*SKIN_FEATURES_GIB allows 2"):
        cache.check_disk(store, 3 * cache.GIB, 2)
    cache.check_disk(store, cache.GIB // 1024, 2)
