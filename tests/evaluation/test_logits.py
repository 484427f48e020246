"""What trained runs say of images, some shards at a time: who scores what, and where it goes.

The models are linear, on features that the test wrote (`hand_made`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import hand_made
import judged_run
import numpy as np
import pytest
from hand_made import Drawn

from skin_pipeline.contracts import Logits, load
from skin_pipeline.data import manifest
from skin_pipeline.evaluation import logits
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import FolderStore

VIEWS, SCORED = 4, 2
CHANNELS = {0: 2, 2: 0, 3: 1}  # which channel of the features each run reads
GOLDEN = 3  # images from the first on


class World(NamedTuple):
    """Images in two shards, with three runs."""

    job: Job
    images: Drawn
    features: list[str]
    runs: tuple[str, ...]

    def parts(self, split: str = "split/now") -> list[str]:
        return hand_made.put_logits(self.job, split, self.runs, self.features, SCORED)

    def all(self, keys: list[str]) -> Any:
        return logits.of_all(Work(self.job, "evaluate/1"), keys, len(self.images.table))


@pytest.fixture
def world(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> World:
    hand_made.score_linearly(monkeypatch)
    images = hand_made.drawn(0, patients=120, models=3, views=VIEWS)
    images.logits[:, SCORED:] *= -1  # views that are not to be scored
    golden = {key: f"images/{key}" for key in images.table["key"][:GOLDEN]}
    features = hand_made.put_images(store, "now", images, golden=golden)
    runs = tuple(hand_made.put_runs(store, "now", features, CHANNELS))
    return World(hand_made.job(store, views=VIEWS), images, features, runs)


def test_a_run_scores_the_images_that_it_was_not_trained_on_and_the_golden_ones(
    world: World,
) -> None:
    found = world.all(world.parts())
    golden = np.arange(len(world.images.table)) < GOLDEN
    for run, line in zip(CHANNELS, found, strict=True):
        wanted = world.images.is_test | world.images.on(run, "validation") | golden
        assert (np.isfinite(line) == wanted).all()
        assert not wanted.all()


def test_parts_put_together_are_what_each_run_says_of_the_views_that_are_scored(
    world: World,
) -> None:
    found = world.all(world.parts())
    expected = world.images.logits[list(CHANNELS.values()), :SCORED].mean(axis=1)
    scored = np.isfinite(found)
    np.testing.assert_allclose(found[scored], expected[scored], rtol=1e-5)


def test_a_part_says_which_images_it_is_of(world: World) -> None:
    first, second = (load(world.job.store, key, Logits) for key in world.parts())
    half = len(world.images.table) - len(world.images.table) // 2
    assert (first.first, first.images, second.first) == (0, half, half)
    assert (first.runs, first.views, first.split) == (world.runs, SCORED, "split/now")


def test_one_part_of_all_shards_says_the_same_as_several(world: World) -> None:
    whole = logits.of_shards(
        Work(world.job, "logits/whole"), "split/now", world.runs, [0, 1], world.features, SCORED
    )
    judged_run.put(world.job.store, "logits/whole", whole)
    np.testing.assert_array_equal(world.all(["logits/whole"]), world.all(world.parts()))


def test_the_runs_of_a_champion_score_the_test_images_only(
    world: World, store: FolderStore
) -> None:
    """Validation images of its own split say nothing here, and may be training images."""
    later = hand_made.drawn(3, patients=80, models=3, views=VIEWS)
    golden = {later.table["key"][0]: "images/any"}
    features = hand_made.put_images(store, "later", later, golden=golden)
    keys = hand_made.put_logits(world.job, "split/later", world.runs, features, SCORED)
    found = logits.of_all(Work(world.job, "champion/1"), keys, len(later.table))
    assert (np.isfinite(found) == later.is_test).all()


def external(world: World, shards: list[int], key: str = "logits/there") -> Logits:
    """A part of the same images as an external set; it is put as the result `key`."""
    features, work = [world.features[shard] for shard in shards], Work(world.job, key)
    made = logits.of_external(work, "ingest/now", world.runs, shards, features, SCORED)
    judged_run.put(world.job.store, key, made)
    return made


def test_of_an_external_set_every_run_scores_every_image(world: World) -> None:
    """None of them was trained on it, and the golden images are others."""
    external(world, [0, 1])
    expected = world.images.logits[list(CHANNELS.values()), :SCORED].mean(axis=1)
    np.testing.assert_allclose(world.all(["logits/there"]), expected, rtol=1e-5)


def test_parts_of_an_external_set_say_the_same_as_one_and_of_which_images(world: World) -> None:
    external(world, [0, 1], "logits/whole")
    first, second = (external(world, [shard], f"logits/{shard}") for shard in (0, 1))
    np.testing.assert_array_equal(world.all(["logits/0", "logits/1"]), world.all(["logits/whole"]))
    assert (first.first, second.first) == (0, first.images)
    assert (first.split, first.dataset, first.runs) == ("", "ingest/now", world.runs)


def test_a_part_of_an_external_set_reads_its_own_shards_and_no_text_of_the_table(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its memory does not grow with what is known of the images of the whole set."""
    read: list[Any] = []
    usual = manifest.read
    monkeypatch.setattr(
        manifest,
        "read",
        lambda store, key, *columns: read.append(columns) or usual(store, key, *columns),
    )
    world.job.store.remove(f"{world.features[1]}/block.npy")
    assert external(world, [0]).first == 0
    assert read == [(["shard", "readable"],)]


def test_parts_that_are_not_all_of_the_images_are_not_taken_for_them(world: World) -> None:
    with pytest.raises(AssertionError):
        world.all(world.parts()[:1])


def test_runs_stand_in_the_order_of_their_numbers(world: World) -> None:
    assert list(world.runs) != [f"train/now-{9 - run}" for run in CHANNELS]  # as names they do not
    work = Work(world.job, "any/1")
    assert [run.run for run in logits.runs_of(work, world.runs)] == [0, 2, 3]


def test_only_the_features_of_its_own_shards_are_read(world: World) -> None:
    """A worker that makes one part fetches nothing of the others."""
    world.job.store.remove(f"{world.features[1]}/block.npy")
    work = Work(world.job, "logits/first")
    made = logits.of_shards(work, "split/now", world.runs, [0], world.features[:1], SCORED)
    assert made.first == 0
