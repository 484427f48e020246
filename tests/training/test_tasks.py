"""From documents to documents: what the tasks of features and training leave in the store, held
against the same figures worked out here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import documents
import numpy as np
import pandas as pd
import pytest
import tiny_network as tiny
from hard_run import Hard
from numpy.typing import NDArray

from skin_pipeline import steps, tables
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import RESULT, Dataset, Features, Split, TrainedRun, Views, dump, load
from skin_pipeline.data import manifest
from skin_pipeline.intervals import auc
from skin_pipeline.job import Job, Work
from skin_pipeline.seeds import run_seed
from skin_pipeline.storage import Store
from skin_pipeline.training import cache, models, resources, tasks
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.cache import ids_of
from skin_pipeline.training.inputs import Activations, Ints, Source
from skin_pipeline.training.models import read_weights
from skin_pipeline.training.strategies import STRATEGIES
from skin_pipeline.training.views import View, dihedral

# --- on the run that is hard to get right --------------------------------------------------------


def features_of(hard: Hard) -> NDArray[Any]:
    """Pooled features (views, n, channels), read from the documents alone."""
    store, parts = hard.job.store, []
    for key in hard.features:
        document = load(store, key, Features)
        blocks = [np.load(store.local(block)) for block in document.blocks["pooled"]]
        places = np.load(store.local(document.places["pooled"]))
        parts.append(np.array([[blocks[block][row] for block, row in view] for view in places]))
    return np.concatenate(parts, axis=1)


@pytest.fixture(scope="module")
def features(hard: Hard) -> NDArray[Any]:
    return features_of(hard)


@pytest.fixture(scope="module")
def table(hard: Hard) -> pd.DataFrame:
    return manifest.read_readable(hard.job.store, load(hard.job.store, hard.split, Split).table)


@pytest.fixture(scope="module", params=range(3), ids=lambda run: f"run {run}")
def trained(hard: Hard, request: pytest.FixtureRequest) -> TrainedRun:
    return load(hard.job.store, hard.trained[request.param], TrainedRun)


def head_of(store: Store, run: TrainedRun) -> tuple[Any, Any, Any, Any]:
    mean, variance, kernel, bias = read_weights(store.local(run.weights))
    return mean, variance, kernel[:, 0], bias[0]


def side(table: pd.DataFrame, run: TrainedRun, name: str) -> Ints:
    return np.flatnonzero(table[f"run_{run.run}"] == name)


def test_a_run_scores_the_images_that_validate_it_and_is_as_good_as_its_best_epoch_says(
    hard: Hard, features: NDArray[Any], table: pd.DataFrame, trained: TrainedRun
) -> None:
    rows = side(table, trained, "validation")
    mean, variance, kernel, bias = head_of(hard.job.store, trained)
    expected = (features[0, rows] - mean) / np.sqrt(variance + 1e-12) @ kernel + bias
    held_out = np.load(hard.job.store.local(trained.held_out))
    np.testing.assert_allclose(held_out, expected, rtol=1e-3, atol=1e-3)
    labels = manifest.labels(table)[rows]
    assert auc(held_out.astype(float), labels) == pytest.approx(trained.best.validation_auc)
    assert trained.best.validation_auc == max(line.validation_auc for line in trained.history)
    assert trained.best.validation_auc > trained.history[-1].validation_auc


def test_a_run_learns_from_all_views_of_its_own_training_images(
    hard: Hard, features: NDArray[Any], table: pd.DataFrame, trained: TrainedRun
) -> None:
    rows = side(table, trained, "train")
    mean, _, kernel, bias = head_of(hard.job.store, trained)
    np.testing.assert_allclose(mean, features[:, rows].mean((0, 1)), rtol=1e-3, atol=1e-4)
    labels = manifest.labels(table)[rows]
    assert np.bincount(labels)[0] == np.bincount(labels)[1]  # undersampled
    logits = (features - mean) @ (kernel / np.sqrt(head_of(hard.job.store, trained)[1]))
    learned, unseen = (
        auc(logits[0, those].astype(float) + bias, manifest.labels(table)[those])
        for those in (rows, side(table, trained, "validation"))
    )
    assert learned > unseen + 0.05


def test_a_run_keeps_what_it_was_made_from_and_its_history(hard: Hard, trained: TrainedRun) -> None:
    assert trained.seed == run_seed(hard.job.settings.seed, trained.run)
    assert (trained.split, trained.features) == (hard.split, hard.index)
    assert trained.strategy == "head"
    written = pd.read_csv(hard.job.store.local(trained.table))
    assert list(written["loss"]) == pytest.approx([line.loss for line in trained.history])
    assert [line.epoch for line in trained.history] == list(range(1, len(trained.history) + 1))
    assert trained.best.epoch + hard.job.settings.patience == len(trained.history)


def test_features_are_of_the_images_and_views_that_they_stand_for(
    hard: Hard, features: NDArray[Any]
) -> None:
    store = hard.job.store
    dataset, document = (
        load(store, hard.dataset, Dataset),
        load(store, hard.features[0], Features),
    )
    network = models.network_on(hard.job, dataset, document.trunk)
    stem = STRATEGIES["head"].stem(network)
    images = np.concatenate([np.load(store.local(key)) for key in dataset.shards])
    rows = [0, 100, 255, 256, len(images) - 1]  # of both shards
    kinds = ("light", "jpeg")
    shown = [View(0), View(0, (), 1), View(1), View(1, (), 1), View(0, kinds)]
    assert len(features) == len(shown)
    for number, view in enumerate(shown):
        seen = stem(view.of(images[rows]).astype(np.float32))
        np.testing.assert_allclose(features[number, rows], seen, rtol=1e-2, atol=1e-2)
    for one, other in combinations(features, 2):
        assert not np.allclose(one, other)


# --- with a network of three layers --------------------------------------------------------------

LABELS = np.array([0, 1, 0] * 12)
ROWS = len(LABELS)
ORDER = np.random.default_rng(4).permutation(ROWS)
SIDES = {
    f"run_{run}": list(np.array(["train"] * 20 + ["validation"] * 12 + ["test"] * 4)[order])
    for run, order in enumerate((ORDER, np.roll(ORDER, 7)))
}
KNOBS = {
    "data": "demo",
    "weights": "none",
    "regions": "centre",
    "views": 2,
    "corrupted": 0,
    "epochs": 3,
    "tune_epochs": 2,
    "batch_size": 8,
    "tune_batch_size": 8,
    "learning_rate": 0.05,
    "tune_learning_rate": 0.01,
    "balance": "none",
    "runs": 2,
    "min_runs": 2,
}


Small = Callable[..., tuple[Job, Source, Network]]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A job on a few images, whose network is a small one; and the key of its split."""
    network = tiny.network()
    table = tiny.table(LABELS, readable=[True] * ROWS, **SIDES)
    source = tiny.source(tmp_path, table, views=2, made=network)
    store = source.store
    dataset = documents.dataset("ingest/1", shards=tuple(source.shards), image_size=tiny.SIZE)
    store.put(f"ingest/1/{RESULT}", dump(dataset))
    tables.write(store, "split/1/manifest.parquet", source.table)
    split = Split(
        dataset="ingest/1",
        table="split/1/manifest.parquet",
        runs=2,
        counts={},
        stratification={},
        checks=(),
        docs="",
    )
    store.put(f"split/1/{RESULT}", dump(split))
    monkeypatch.setattr(models, "network_on", lambda job, dataset, trunk: network)

    def make(**changes: Any) -> tuple[Job, Source, Network]:
        deployment = Deployment(store=store.url, threads=1)
        return Job(Settings(**{**KNOBS, **changes}), deployment, store), source, network

    return make


def index_of(job: Job, source: Source) -> str:
    return steps.index(job, source.features)


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
@pytest.mark.parametrize("run", [0, 1])
def test_a_tuned_run_scores_the_images_that_validate_it_with_the_weights_that_it_keeps(
    small: Small, strategy: str, run: int
) -> None:
    job, source, network = small(strategy=strategy)
    made = load(job.store, steps.train(job, "split/1", index_of(job, source), run), TrainedRun)
    assert [line.stage for line in made.history] == ["head"] * 3 + [strategy] * 2
    rows = np.flatnonzero(np.array(SIDES[f"run_{run}"]) == "validation")
    held_out = np.load(job.store.local(made.held_out))
    labels = LABELS[rows]
    assert auc(held_out.astype(float), labels) == pytest.approx(made.best.validation_auc)
    assert len(held_out) == len(rows)
    model = STRATEGIES[strategy].model(network, "again")
    model.set_weights(read_weights(job.store.local(made.weights)))
    read = source.inputs(strategy, network).take(rows, rows * 0)
    scores = model(list(read) if len(read) > 1 else read[0])
    np.testing.assert_allclose(np.asarray(scores)[:, 0], held_out, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_tuning_begins_where_the_best_epoch_of_the_head_was(small: Small, strategy: str) -> None:
    job, source, _ = small(
        strategy=strategy, tune_learning_rate=1e-9, epochs=100, patience=2, jitter=0.0
    )
    made = load(job.store, steps.train(job, "split/1", index_of(job, source), 0), TrainedRun)
    head = [line for line in made.history if line.stage == "head"]
    best = max(head, key=lambda line: line.validation_auc)
    assert best is not head[-1]
    for line in made.history[len(head) :]:
        assert line.validation_loss == pytest.approx(best.validation_loss, rel=0.01)
        assert line.validation_loss != pytest.approx(head[-1].validation_loss, rel=0.01)


def test_runs_have_sides_and_seeds_and_results_of_their_own(small: Small) -> None:
    job, source, network = small(strategy="head")
    features = tiny.seen(network, tiny.squares(ROWS), 2)["pooled"]
    made = [
        load(job.store, steps.train(job, "split/1", index_of(job, source), run), TrainedRun)
        for run in range(2)
    ]
    assert [run.seed for run in made] == [run_seed(0, 0), run_seed(0, 1)]
    means = [read_weights(job.store.local(run.weights))[0] for run in made]
    for run, mean in enumerate(means):
        rows = np.flatnonzero(np.array(SIDES[f"run_{run}"]) == "train")
        np.testing.assert_allclose(mean, features[:, rows].mean((0, 1)), rtol=1e-3)


def test_a_run_with_another_seed_goes_another_way_over_the_same_images(small: Small) -> None:
    one, source, _ = small(strategy="head")
    other, _, _ = small(strategy="head", seed=1)
    losses = [
        [line.loss for line in load(job.store, key, TrainedRun).history]
        for job in (one, other)
        for key in [steps.train(job, "split/1", index_of(job, source), 0)]
    ]
    assert losses[0] != losses[1]


def test_a_run_that_has_its_result_leaves_no_checkpoint(small: Small) -> None:
    job, source, _ = small(strategy="head")
    key = steps.train(job, "split/1", index_of(job, source), 0)
    job.store.put(f"{key}/checkpoints/000001.npz", b"left by one that was killed at the end")
    assert steps.train(job, "split/1", index_of(job, source), 0) == key
    assert not [key for key in job.store.list("train") if "checkpoints" in key]


@pytest.mark.parametrize(("strategy", "batch"), [("fine_tune", 6), ("full", 6)])
def test_the_memory_that_is_asked_for_is_that_of_the_last_stage(
    small: Small, monkeypatch: pytest.MonkeyPatch, strategy: str, batch: int
) -> None:
    job, source, _ = small(strategy=strategy, tune_batch_size=6)
    asked = []

    def counted(model: Any, batch: int, row_bytes: int) -> float:
        asked.append(([tensor.name for tensor in model.inputs], batch, row_bytes))
        return 1.0

    monkeypatch.setattr(resources, "bytes_to_train", counted)
    steps.train(job, "split/1", index_of(job, source), 0)
    names = {"fine_tune": 2, "full": 1}
    ((inputs, size, row),) = asked
    assert (len(inputs), size, row) == (names[strategy], batch, source.row_bytes(strategy))


def test_a_head_asks_for_the_memory_of_its_features(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, source, _ = small(strategy="head")
    asked = []
    monkeypatch.setattr(resources, "check_memory", lambda job, needed, *about: asked.append(needed))
    steps.train(job, "split/1", index_of(job, source), 0)
    assert asked == [resources.bytes_to_train_head(8, source.row_bytes("head"))]


# --- features ------------------------------------------------------------------------------------


def shard_of(job: Job, number: int, pixels: NDArray[np.uint8], folder: Path) -> Dataset:
    np.save(folder / "shard.npy", pixels)
    job.store.put_file(f"shards/own-{number}.npy", folder / "shard.npy")
    return documents.dataset("ingest/2", shards=(f"shards/own-{number}.npy",), image_size=tiny.SIZE)


@pytest.mark.parametrize("kinds", [("pooled",), ("pooled", "maps")])
def test_a_shard_of_which_some_images_are_known_has_the_activations_of_all(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture, kinds: Sequence[str]
) -> None:
    job, _, network = small()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 16, 16, 3), dtype=np.uint8)
    old = shard_of(job, 0, pixels[[5, 2, 2, 7]], tmp_path)
    tasks.features(Work(job, "features/old"), old, 0, tiny.TRUNK, ("pooled",), Views(dihedral=1))
    new = shard_of(job, 1, pixels, tmp_path)
    with caplog.at_level(logging.INFO):
        made = tasks.features(
            Work(job, "features/new"), new, 0, tiny.TRUNK, kinds, Views(dihedral=2)
        )
    missing = 9 * 2 * len(kinds) - 3
    assert f"images=9 activations={18 * len(kinds)} missing={missing}" in caplog.text
    assert (made.shard, made.views, made.trunk) == (
        "shards/own-1.npy",
        Views(dihedral=2),
        tiny.TRUNK,
    )
    job.store.put(f"features/new/{RESULT}", dump(made))
    rows, stages = np.arange(9), network.stages()
    for view in range(2):
        ends = [np.asarray(end) for end in stages(dihedral(pixels, view).astype(np.float32))]
        expected = {
            "pooled": np.concatenate([end.mean((1, 2)) for end in ends], axis=1),
            "maps": ends[1],
        }
        for kind in kinds:
            found = Activations(job.store, ["features/new"], kind)
            assert (len(found), found.views) == (9, 2)
            (read,) = found.take(rows, np.full(9, view))
            np.testing.assert_allclose(read, expected[kind], rtol=1e-2, atol=0.3)
    assert len(ids_of(pixels)) == 9


def test_a_shard_that_is_known_is_not_computed_again(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _, _ = small()
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    first = shard_of(job, 0, pixels, tmp_path)
    tasks.features(Work(job, "features/1"), first, 0, tiny.TRUNK, ["pooled"], Views(dihedral=2))

    def build(*about: Any) -> None:
        raise AssertionError("the network was built although nothing is missing")

    monkeypatch.setattr(models, "network_on", build)
    again = shard_of(job, 1, pixels[::-1], tmp_path)
    for views in (1, 2):
        work = Work(job, f"features/{views + 1}")
        tasks.features(work, again, 0, tiny.TRUNK, ["pooled"], Views(dihedral=views))


@pytest.mark.parametrize("views", [1, 4])
def test_what_all_images_of_the_data_set_take_is_looked_at_before_the_first_is_computed(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int
) -> None:
    job, _, _ = small()
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    dataset = shard_of(job, 0, pixels, tmp_path)
    asked = []
    monkeypatch.setattr(cache, "check_disk", lambda *about: asked.append(about))
    kinds = ("pooled", "maps")
    tasks.features(Work(job, "features/1"), dataset, 0, tiny.TRUNK, kinds, Views(dihedral=views))
    images = sum(dataset.classes.values())
    each = 4 * sum(tiny.CHANNELS) + 2 * int(np.prod(tiny.MAP))
    assert asked == [(job.store, images * views * each, job.deployment.features_gib)]
