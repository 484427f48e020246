from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput
from skin_pipeline.training import cache
from skin_pipeline.training.cache import FeatureCache, ids_of
from skin_pipeline.training.features import BATCH, compute
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


def test_activations_of_other_weights_are_others(store, tmp_path):
    computed(store, IMAGES, tmp_path / "f")
    ids = ids_of(IMAGES)
    other = FeatureCache(store, TRUNK.model_copy(update={"digest": "other"}), 16, ids)
    assert len(other.missing("pooled", 0, ids)) == len(IMAGES)


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


def test_activations_that_take_more_than_is_allowed_are_refused(store):
    with pytest.raises(BadInput, match=r"3\.0 GiB.*SKIN_FEATURES_GIB allows 2"):
        cache.check_disk(store, 3 * cache.GIB, 2)
    cache.check_disk(store, cache.GIB // 1024, 2)
