"""The models of runs give images the logits that their weights say."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import hand_made
import keras
import numpy as np
import pytest
import tiny_network as tiny
from telling import Told, telling

from skin_pipeline.contracts import TrainedRun, load
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import models
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.inputs import Source
from skin_pipeline.training.models import logits_of, read_weights, weights_of, write_weights


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> list[hand_made.Network]:
    return hand_made.score_linearly(monkeypatch)


def images() -> hand_made.Drawn:
    """Images whose views disagree, with what five models say of them."""
    made = hand_made.drawn(4, patients=90, models=5, views=4)
    made.logits[:, 2:] *= -1
    return made


def runs_of(store: FolderStore, keys: list[str]) -> list[TrainedRun]:
    return [load(store, key, TrainedRun) for key in sorted(keys, reverse=True)]


def test_weights_read_back_in_their_order(tmp_path: Path) -> None:
    weights = [np.full(2, number, np.float32) for number in range(12)]
    write_weights(tmp_path / "weights.npz", weights)
    assert [int(array[0]) for array in read_weights(tmp_path / "weights.npz")] == list(range(12))


def test_the_network_is_built_once_for_all_runs_of_a_process(
    monkeypatch: pytest.MonkeyPatch, store: FolderStore
) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(Network, "load", lambda *about: next(numbers))
    models._loaded.cache_clear()
    try:
        first = models._loaded(keras, tiny.TRUNK, 16, store)
        assert models._loaded(keras, tiny.TRUNK, 16, store) is first
        other = tiny.TRUNK.model_copy(update={"digest": "other"})
        assert models._loaded(keras, other, 16, store) is not first
        assert models._loaded(keras, tiny.TRUNK, 32, store) is not first
    finally:
        models._loaded.cache_clear()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("count", [0, 1, models.SCORED, 2 * models.SCORED + 5])
@pytest.mark.parametrize("views", [1, 2, 8])
def test_a_score_is_the_mean_over_the_views_of_each_row_in_order(
    parts: int, count: int, views: int
) -> None:
    rows = np.random.default_rng(0).permutation(100)[:count]
    scores = models.scorer(telling(parts), jit=False)(Told(parts), rows, views)
    sign = 1 if parts == 1 else -1
    assert scores == pytest.approx(sign * (rows + 1000 * np.arange(views).mean()))
    assert scores.dtype == np.float32


def test_a_row_is_scored_in_its_own_view_unless_more_are_asked_for() -> None:
    assert models.scorer(telling(), jit=False)(Told(), np.array([7])) == pytest.approx([7])


def test_each_run_scores_its_own_rows_by_its_own_weights_and_says_nothing_of_others(
    store: FolderStore, linear: Any
) -> None:
    made = images()
    features = hand_made.put_images(store, "any", made)
    runs = runs_of(store, hand_made.put_runs(store, "any", features, {0: 2, 1: 0}))
    source = Source(store, made.table, features, ())
    wanted = [np.array([5, 1]), np.array([0, 5, len(made.table) - 1])]
    weights = [weights_of(store, run) for run in runs]
    network: Any = hand_made.Network(224, hand_made.TRUNK)
    logits = logits_of(lambda: network, source, runs, weights, wanted, 3)
    assert logits.shape == (2, len(made.table))
    for line, rows, channel in zip(logits, wanted, (2, 0), strict=True):
        np.testing.assert_allclose(
            line[rows], made.logits[channel, :3, rows].mean(axis=1), rtol=1e-5
        )
        assert set(np.flatnonzero(np.isfinite(line))) == set(rows)


@pytest.mark.parametrize(
    ("strategy", "can", "compiled"),
    [("full", True, True), ("full", False, False)],
)
def test_only_a_network_that_can_be_is_compiled(
    store: FolderStore,
    linear: Any,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    can: bool,
    compiled: bool,
) -> None:
    asked = []

    def scorer(model: Any, jit: bool) -> Any:
        asked.append(jit)
        return lambda inputs, rows, views: np.zeros(len(rows))

    monkeypatch.setattr(models, "STRATEGIES", {strategy: hand_made.Strategy()})
    monkeypatch.setattr(models, "scorer", scorer)
    made = images()
    features = hand_made.put_images(store, "any", made)
    (run,) = runs_of(store, hand_made.put_runs(store, "any", features, {0: 2}))
    run = run.model_copy(update={"strategy": strategy})
    source = Source(store, made.table, features, ("images/any-0.npy", "images/any-1.npy"))
    network: Any = hand_made.Network(224, hand_made.TRUNK, jit=can)
    weights = [weights_of(store, run)]
    logits_of(lambda: network, source, [run], weights, [np.array([], int)], 1)
    assert asked == [compiled]
