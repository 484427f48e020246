"""Activations are computed once, for every image and view in its place."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
from numpy.typing import NDArray
from seeing import IMAGES, TRUNK, Seeing, computed
from small_disk import find_no_room

from skin_pipeline.contracts import Views
from skin_pipeline.errors import Unavailable
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import cache
from skin_pipeline.training.cache import FeatureCache, Ids, ids_of
from skin_pipeline.training.features import BATCH, bytes_of, compute, forward_of
from skin_pipeline.training.views import dihedral, views_of

MANY = np.random.default_rng(2).integers(0, 255, (1000, 16, 16, 3), dtype=np.uint8)
VIEWS = views_of(Views(dihedral=2))


@pytest.mark.parametrize("views", [1, 4])
def test_every_image_of_every_view_keeps_its_place(
    store: FolderStore, tmp_path: Path, views: int
) -> None:
    _, places = computed(store, IMAGES, tmp_path / "f", views)
    for view, found in enumerate(places):
        pixels = dihedral(IMAGES, view).astype(np.float32)
        rows = [np.load(store.local(block))[row] for block, row in found]
        expected = pixels.mean(axis=(1, 2)) + pixels[:, 0, 0] / 7
        np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_what_is_known_is_not_computed_again_wherever_it_stands(
    store: FolderStore, tmp_path: Path
) -> None:
    computed(store, IMAGES, tmp_path / "f")
    assert computed(store, IMAGES[::-1], tmp_path / "f")[0] == 0
    new = np.random.default_rng(1).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    shown, _ = computed(store, np.concatenate([new, IMAGES]), tmp_path / "f")
    assert shown == BATCH  # one padded batch for both views


def test_an_image_that_comes_twice_is_computed_once(store: FolderStore, tmp_path: Path) -> None:
    _, (places,) = computed(store, IMAGES[[0, 1, 0]], tmp_path / "f", views=1)
    assert places[0] == places[2] != places[1]


def test_the_next_batch_is_turned_while_the_network_sees_one(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned: list[int] = []
    another = threading.Condition()

    def of(view: Any, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with another:
            turned.append(len(images))
            another.notify_all()
        return images

    class Waiting(Seeing):
        def __call__(self, batch: NDArray[np.uint8]) -> dict[str, Any]:
            wanted = min(self.shown // BATCH + 2, 3)
            with another:
                assert another.wait_for(lambda: len(turned) >= wanted, 30)
            return super().__call__(batch)

    monkeypatch.setattr("skin_pipeline.training.views.View.of", of)
    images, ids = MANY[: 3 * BATCH], ids_of(MANY[: 3 * BATCH])
    known = FeatureCache(store, TRUNK, 16)
    compute(Waiting(), images, ids, known, kinds=["pooled"], views=VIEWS[:1], folder=tmp_path)
    assert turned == [BATCH] * 3


@pytest.mark.parametrize("view", range(3))
def test_a_view_that_cannot_be_kept_stops_the_task(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: int
) -> None:
    """Views are kept while the next one is computed; the last one too must not fail in silence."""
    add = FeatureCache.add

    def full(self: FeatureCache, kind: str, number: str, ids: Ids, path: Path) -> None:
        if number == str(view):
            raise Unavailable("no space left")
        add(self, kind, number, ids, path)

    monkeypatch.setattr(FeatureCache, "add", full)
    with pytest.raises(Unavailable, match="no space left"):
        computed(store, IMAGES, tmp_path / "f", views=3)


def test_a_full_disk_is_an_error_and_no_signal(store: FolderStore, tmp_path: Path) -> None:
    """As it would be for a file that is mapped and has holes."""
    find_no_room(tmp_path / "disk", lambda folder: computed(store, MANY, folder))


# --- a shard of which some is there already ------------------------------------------------------


class Both(Seeing):
    """Gives maps too: half of the picture's first row."""

    def __call__(self, batch: NDArray[np.uint8]) -> dict[str, Any]:
        made = super().__call__(batch)
        return {**made, "maps": batch[:, :1, ::2].astype(np.float16)}


KINDS = ("pooled", "maps")


def read(store: FolderStore, known: FeatureCache, kind: str, view: int, ids: Ids) -> NDArray[Any]:
    return np.stack([
        np.load(store.local(block))[row] for block, row in known.find(kind, str(view), ids)
    ])


def test_a_shard_that_is_cached_in_part_is_completed_and_nothing_stands_twice(
    store: FolderStore, tmp_path: Path
) -> None:
    images, ids = IMAGES[:10], ids_of(IMAGES[:10])
    known = FeatureCache(store, TRUNK, 16)
    # Of some images one kind of one view is there, as after a run of `head` on older images.
    compute(
        Seeing(), images[3:7], ids[3:7], known, kinds=["pooled"], views=VIEWS[:1], folder=tmp_path
    )
    before = store.list("")
    seeing = Both()
    compute(seeing, images, ids, known, kinds=KINDS, views=VIEWS, folder=tmp_path)
    for cached in (known, FeatureCache(store, TRUNK, 16)):
        for view in range(2):
            expected = Both()(dihedral(images, view))
            for kind in KINDS:
                np.testing.assert_allclose(
                    read(store, cached, kind, view, ids), expected[kind], rtol=1e-5
                )
    assert set(before) <= set(store.list(""))
    rows = {
        (kind, view): sum(
            len(np.load(store.local(key)))
            for key in store.list("activations")
            if f"/{kind}-{view}/" in key and not key.endswith(cache.IDS)
        )
        for kind in KINDS
        for view in range(2)
    }
    assert set(rows.values()) == {10}
    assert seeing.shown == 2 * BATCH
    left = [path.name for path in tmp_path.iterdir() if not path.name.endswith(cache.IDS)]
    assert left == ["store"]


def test_what_is_missing_of_one_kind_only_is_computed_for_these_images_alone(
    store: FolderStore, tmp_path: Path
) -> None:
    ids, known = ids_of(IMAGES[:6]), FeatureCache(store, TRUNK, 16)
    compute(Both(), IMAGES[:6], ids, known, kinds=KINDS, views=VIEWS[:1], folder=tmp_path)
    assert list(known.missing("pooled", "0", ids_of(IMAGES[4:9]))) == list(ids_of(IMAGES[6:9]))
    seeing = Both()
    compute(seeing, IMAGES[:6], ids, known, kinds=KINDS, views=VIEWS[:1], folder=tmp_path)
    assert seeing.shown == 0


# --- what a network gives ------------------------------------------------------------------------


def test_features_are_the_means_of_the_stages_and_the_maps_what_the_third_one_reads() -> None:
    network = tiny.network()
    batch = np.random.default_rng(2).integers(0, 255, (BATCH, 16, 16, 3), dtype=np.uint8)
    made = forward_of(network, KINDS)(batch)
    ends = network.stages()(batch.astype(np.float32))
    means = np.concatenate([np.asarray(end).mean((1, 2)) for end in ends], axis=1)
    np.testing.assert_allclose(made["pooled"], means, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(made["maps"], ends[1], rtol=1e-2, atol=1e-2)
    assert (made["pooled"].dtype, made["maps"].dtype) == ("float32", "float16")
    assert list(forward_of(network, ["pooled"])(batch)) == ["pooled"]


@pytest.mark.parametrize("stages", [1, 2])
def test_of_a_network_that_is_read_in_part_the_rest_is_not_computed(stages: int) -> None:
    whole, part = tiny.network(), tiny.network().reading(stages)
    assert part.channels == sum(tiny.CHANNELS[:stages])
    assert bytes_of(part, ["pooled"], 1, 1) == 4 * part.channels
    batch = IMAGES[:BATCH]
    every, found = (forward_of(one, ["pooled"])(batch)["pooled"] for one in (whole, part))
    np.testing.assert_array_equal(found, np.asarray(every)[:, : part.channels])
    inside = part.stages().get_layer(index=-1)
    assert [layer.name for layer in inside.layers][-1] == ("first", "second")[stages - 1]


def test_maps_that_are_too_large_for_half_precision_stay_finite() -> None:
    network = tiny.network()
    network.whole.get_layer("second").set_weights([
        array * 1e6 for array in network.whole.get_layer("second").get_weights()
    ])
    maps = np.asarray(forward_of(network, ["maps"])(IMAGES[:BATCH])["maps"])
    assert np.isfinite(maps).all()
    assert np.abs(maps).max() == np.finfo(np.float16).max


def test_what_activations_take_is_counted_before_they_are_computed() -> None:
    network = tiny.network()
    pooled, maps = 4 * sum(tiny.CHANNELS), 2 * int(np.prod(tiny.MAP))
    assert bytes_of(network, ["pooled"], 4, 10) == 40 * pooled
    assert bytes_of(network, KINDS, 1, 3) == 3 * (pooled + maps)
