from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_network as tiny

from skin_pipeline.contracts import RESULT, Features, Trunk, dump
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.training import cache, inputs
from skin_pipeline.training.cache import FeatureCache, ids_of
from skin_pipeline.training.features import BATCH, bytes_of, compute, forward_of
from skin_pipeline.training.inputs import dihedral

IMAGES = np.random.default_rng(0).integers(0, 255, (BATCH + 3, 16, 16, 3), dtype=np.uint8)
TRUNK = Trunk(backbone="ResNet50", source="none", digest="none")


def test_the_eight_views_are_the_symmetries_of_the_square():
    square = IMAGES[:1]
    views = {dihedral(square, view).tobytes() for view in range(8)}
    assert len(views) == 8
    turned = {np.rot90(square, k, axes=(1, 2)).tobytes() for k in range(4)}
    mirrored = {np.rot90(square[:, :, ::-1], k, axes=(1, 2)).tobytes() for k in range(4)}
    assert views == turned | mirrored


def test_the_first_view_is_the_image_itself():
    assert dihedral(IMAGES, 0) is IMAGES


class Seeing:
    """Stands for a network: mean colours, and a note of how many images it was shown."""

    shown = 0

    def __call__(self, batch):
        self.shown += len(batch)
        pixels = batch.astype(np.float32)
        return {"pooled": pixels.mean(axis=(1, 2)) + pixels[:, 0, 0] / 7}


def computed(store, images, folder, views=2):
    ids = ids_of(images)
    seeing, known = Seeing(), FeatureCache(store, TRUNK, 16, ids)
    folder.mkdir(exist_ok=True)
    compute(seeing, images, ids, known, kinds=["pooled"], views=views, folder=folder)
    return seeing.shown, [known.find("pooled", view, ids) for view in range(views)]


@pytest.mark.parametrize("views", [1, 4])
def test_every_image_of_every_view_keeps_its_place(store, tmp_path, views):
    _, places = computed(store, IMAGES, tmp_path / "f", views)
    for view, found in enumerate(places):
        pixels = dihedral(IMAGES, view).astype(np.float32)
        rows = [np.load(store.local(block))[row] for block, row in found]
        expected = pixels.mean(axis=(1, 2)) + pixels[:, 0, 0] / 7
        np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_what_is_known_is_not_computed_again_wherever_it_stands(store, tmp_path):
    computed(store, IMAGES, tmp_path / "f")
    assert computed(store, IMAGES[::-1], tmp_path / "f")[0] == 0
    new = np.random.default_rng(1).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    shown, _ = computed(store, np.concatenate([new, IMAGES]), tmp_path / "f")
    assert shown == 2 * BATCH  # one padded batch for each view


def test_an_image_that_comes_twice_is_computed_once(store, tmp_path):
    _, (places,) = computed(store, IMAGES[[0, 1, 0]], tmp_path / "f", views=1)
    assert places[0] == places[2] != places[1]


def test_a_task_knows_its_own_images_only_however_many_are_cached(store, tmp_path):
    everything = np.array([f"{number:032}" for number in range(60_000)], "S32")
    for block in np.array_split(everything, 12):
        np.save(tmp_path / "block.npy", np.zeros((len(block), 1), np.float32))
        FeatureCache(store, TRUNK, 16, block).add("pooled", 0, block, tmp_path / "block.npy")
    ours = everything[::1000]
    tracemalloc.start()
    known = FeatureCache(store, TRUNK, 16, ours)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not len(known.missing("pooled", 0, ours))
    assert peak < 4 * 2**20  # all of them take five times as much


@pytest.mark.parametrize(
    "other",
    [
        {"digest": "other"},
        {"source": "imagenet"},
        {"backbone": "ResNet50V2"},
        {"image_size": 32},
        {"version": cache.VERSION + 1},
        {"view": 1},
        {"kind": "maps"},
    ],
)
def test_activations_made_in_another_way_are_others(store, tmp_path, monkeypatch, other):
    computed(store, IMAGES, tmp_path / "f", views=1)
    wanted = {"kind": "pooled", "view": 0, "image_size": 16, "version": cache.VERSION, **other}
    ids = ids_of(IMAGES)
    assert len(FeatureCache(store, TRUNK, 16).missing("pooled", 0, ids)) == 0
    monkeypatch.setattr(cache, "VERSION", wanted["version"])
    trunk = TRUNK.model_copy(update={k: v for k, v in other.items() if k in Trunk.model_fields})
    known = FeatureCache(store, trunk, wanted["image_size"])
    assert len(known.missing(wanted["kind"], wanted["view"], ids)) == len(IMAGES)


def test_an_image_that_differs_in_one_pixel_is_another():
    other = IMAGES[:1].copy()
    other[0, 5, 5, 1] ^= 1
    assert ids_of(other)[0] != ids_of(IMAGES[:1])[0]


@pytest.mark.parametrize(("free", "fits"), [(2 * cache.GIB, True), (2 * cache.GIB - 1, False)])
def test_activations_that_the_disk_has_no_room_for_may_be_tried_again(
    store, monkeypatch, free, fits
):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    if fits:
        cache.check_disk(store, 2 * cache.GIB, 50)
    else:
        with pytest.raises(Unavailable, match=r"take 2\.0 GiB, and .* has 2\.0 GiB left"):
            cache.check_disk(store, 2 * cache.GIB, 50)


@pytest.mark.parametrize("view", range(3))
def test_a_view_that_cannot_be_kept_stops_the_task(store, tmp_path, monkeypatch, view):
    """Views are kept while the next one is computed; the last one too must not fail in silence."""
    add = FeatureCache.add

    def full(self, kind, number, ids, path):
        if number == view:
            raise Unavailable("no space left")
        add(self, kind, number, ids, path)

    monkeypatch.setattr(FeatureCache, "add", full)
    with pytest.raises(Unavailable, match="no space left"):
        computed(store, IMAGES, tmp_path / "f", views=3)


# --- a shard of which some is there already ------------------------------------------------------


class Both(Seeing):
    """Gives maps too: half of the picture's first row."""

    def __call__(self, batch):
        made = super().__call__(batch)
        return {**made, "maps": batch[:, :1, ::2].astype(np.float16)}


KINDS = ("pooled", "maps")


def read(store, known, kind, view, ids):
    return np.stack([
        np.load(store.local(block))[row] for block, row in known.find(kind, view, ids)
    ])


def test_a_shard_that_is_cached_in_part_is_completed_and_nothing_stands_twice(store, tmp_path):
    images, ids = IMAGES[:10], ids_of(IMAGES[:10])
    known = FeatureCache(store, TRUNK, 16)
    # Of some images one kind of one view is there, as after a run of `head` on older images.
    compute(Seeing(), images[3:7], ids[3:7], known, kinds=["pooled"], views=1, folder=tmp_path)
    before = store.list("")
    seeing = Both()
    compute(seeing, images, ids, known, kinds=KINDS, views=2, folder=tmp_path)
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


def test_what_is_missing_of_one_kind_only_is_computed_for_these_images_alone(store, tmp_path):
    ids, known = ids_of(IMAGES[:6]), FeatureCache(store, TRUNK, 16)
    compute(Both(), IMAGES[:6], ids, known, kinds=KINDS, views=1, folder=tmp_path)
    assert list(known.missing("pooled", 0, ids_of(IMAGES[4:9]))) == list(ids_of(IMAGES[6:9]))
    seeing = Both()
    compute(seeing, IMAGES[:6], ids, known, kinds=KINDS, views=1, folder=tmp_path)
    assert seeing.shown == 0


def test_an_activation_whose_names_were_not_written_counts_for_nothing(store, tmp_path):
    computed(store, IMAGES, tmp_path / "f", views=1)
    (names,) = [key for key in store.list("activations") if key.endswith(cache.IDS)]
    store.remove(names)
    assert len(FeatureCache(store, TRUNK, 16).missing("pooled", 0, ids_of(IMAGES))) == len(IMAGES)


# --- what a network gives ------------------------------------------------------------------------


def test_features_are_the_means_of_the_stages_and_the_maps_what_the_third_one_reads():
    network = tiny.network()
    batch = np.random.default_rng(2).integers(0, 255, (BATCH, 16, 16, 3), dtype=np.uint8)
    made = forward_of(network, KINDS)(batch)
    ends = network.stages()(batch.astype(np.float32))
    means = np.concatenate([np.asarray(end).mean((1, 2)) for end in ends], axis=1)
    np.testing.assert_allclose(made["pooled"], means, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(made["maps"], ends[1], rtol=1e-2, atol=1e-2)
    assert (made["pooled"].dtype, made["maps"].dtype) == ("float32", "float16")
    assert list(forward_of(network, ["pooled"])(batch)) == ["pooled"]


def test_maps_that_are_too_large_for_half_precision_stay_finite():
    network = tiny.network()
    network.whole.get_layer("second").set_weights([
        array * 1e6 for array in network.whole.get_layer("second").get_weights()
    ])
    maps = np.asarray(forward_of(network, ["maps"])(IMAGES[:BATCH])["maps"])
    assert np.isfinite(maps).all()
    assert np.abs(maps).max() == np.finfo(np.float16).max


def test_what_activations_take_is_counted_before_they_are_computed():
    network = tiny.network()
    pooled, maps = 4 * sum(tiny.CHANNELS), 2 * int(np.prod(tiny.MAP))
    assert bytes_of(network, ["pooled"], 4, 10) == 40 * pooled
    assert bytes_of(network, KINDS, 1, 3) == 3 * (pooled + maps)


def test_activations_that_take_more_than_is_allowed_are_refused(store):
    with pytest.raises(BadInput, match=r"3\.0 GiB.*SKIN_FEATURES_GIB allows 2"):
        cache.check_disk(store, 3 * cache.GIB, 2)
    cache.check_disk(store, cache.GIB // 1024, 2)


# --- reading them --------------------------------------------------------------------------------


def test_rows_are_read_right_before_and_after_memory_is_given_back(store, tmp_path, monkeypatch):
    arrays = [np.random.default_rng(n).normal(size=(50, 8)).astype(np.float32) for n in range(2)]
    for number, array in enumerate(arrays):
        np.save(tmp_path / "array.npy", array)
        store.put_file(f"{number}.npy", tmp_path / "array.npy")
    mapped, given = inputs.Mapped(store, ["0.npy", "1.npy"]), []
    back = inputs.Mapped._give_back
    monkeypatch.setattr(inputs, "WINDOW", 3 * 4 * (32 + inputs.AROUND))  # three reads of four rows
    monkeypatch.setattr(inputs.Mapped, "_give_back", lambda self: given.append(1) or back(self))
    rng, after = np.random.default_rng(3), []
    for _ in range(9):
        which, rows = rng.integers(2, size=4), rng.integers(50, size=4)
        expected = np.stack([arrays[w][row] for w, row in zip(which, rows, strict=True)])
        np.testing.assert_array_equal(mapped.take(which, rows), expected)
        after.append(len(given))
    assert after == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert (mapped.shape, mapped.sizes, mapped.row_bytes) == ((8,), [50, 50], 32)


def test_features_of_shards_stand_in_the_order_of_the_shards(store, tmp_path):
    """Shards share blocks where they share images, in whatever order these were computed."""
    known, keys = FeatureCache(store, TRUNK, 16), []
    for number, rows in enumerate(([3, 1, 4], [1, 5, 9, 2], [6, 3])):
        images = IMAGES[rows]
        ids = ids_of(images)
        compute(Seeing(), images, ids, known, kinds=["pooled"], views=2, folder=tmp_path)
        blocks, places = cache.index_of([known.find("pooled", view, ids) for view in range(2)])
        np.save(tmp_path / "places.npy", places)
        store.put_file(f"features/{number}/pooled.npy", tmp_path / "places.npy")
        document = Features(
            shard=f"shards/{number}.npy",
            trunk=TRUNK,
            views=2,
            blocks={"pooled": blocks},
            places={"pooled": f"features/{number}/pooled.npy"},
        )
        store.put(f"features/{number}/{RESULT}", dump(document))
        keys.append(f"features/{number}")
    found = inputs.Activations(store, keys, "pooled")
    order = [3, 1, 4, 1, 5, 9, 2, 6, 3]
    assert (len(found), found.views) == (9, 2)
    for view in range(2):
        (read,) = found.take(np.arange(9), np.full(9, view))
        expected = Seeing()(dihedral(IMAGES[order], view))["pooled"]
        np.testing.assert_allclose(read, expected, rtol=1e-5)


def test_activations_are_known_only_once_they_are_there(store, tmp_path, monkeypatch):
    """Whatever stops the writing between a block and its names."""
    ids = ids_of(IMAGES[:2])
    np.save(tmp_path / "block.npy", np.zeros((2, 4), np.float32))
    written, put = [], store.put_file

    def put_one(key, path):
        if written:
            raise OSError("stopped")
        written.append(key)
        put(key, path)

    monkeypatch.setattr(store, "put_file", put_one)
    with pytest.raises(OSError, match="stopped"):
        FeatureCache(store, TRUNK, 16).add("pooled", 0, ids, tmp_path / "block.npy")
    assert len(FeatureCache(store, TRUNK, 16).missing("pooled", 0, ids)) == len(ids)
