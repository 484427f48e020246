"""A run learns what can be learned, keeps its best epoch, and goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tiny_network as tiny
from telling import Told

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Epoch
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import auc
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import runs
from skin_pipeline.training.checkpoints import Checkpoints, State
from skin_pipeline.training.heads import Head
from skin_pipeline.training.inputs import Made, Source
from skin_pipeline.training.learners import KerasLearner
from skin_pipeline.training.runs import Trained, is_over, train_run
from skin_pipeline.training.stages import Examples, Run, Stage


def examples(count: int, seed: int, noise: float = 0.6) -> Examples:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    features = rng.normal(0, 1, (count, 20)) * noise
    features[:, 0] += 2.0 * labels
    return Examples(Made((features * 10 + 100).astype(np.float32)), np.arange(count), labels)


def model(rate: float = 0.0) -> Any:
    features = keras.Input((20,))
    standard = keras.layers.BatchNormalization(
        center=False, scale=False, trainable=False, name="standardise"
    )
    logit = keras.layers.Dense(1, kernel_initializer="zeros", name="logit")
    made = keras.Model(features, logit(standard(features, training=False)))
    made.get_layer("standardise").set_weights([np.full(20, 100.0), np.full(20, 100.0)])
    return made


def a_head() -> Head:
    return Head(np.full(20, 100.0, np.float32), np.full(20, 100.0, np.float32))


def stage(**changes: Any) -> Stage:
    name = changes.get("name", "head")
    values = {
        "name": name,
        "build": a_head if name == "head" else model,
        "train": examples(200, 0),
        "validation": examples(100, 1),
        "epochs": 6,
        "patience": 6,
        "batch_size": 32,
        "rate": 0.01,
        "rate_setting": "learning_rate",
        "every_view": True,
    }
    return Stage(**{**values, **changes})


def both_stages() -> list[Stage]:
    return [stage(), stage(name="fine_tune", epochs=4, falling=True, every_view=False)]


def train(
    store: FolderStore, stages: list[Stage] | None = None, seed: int = 3, key: str = "train/a"
) -> Trained:
    run = Run(tiny.network, Source(store, pd.DataFrame(), (), ()), Settings(), 0, seed)
    return train_run(run, stages or [stage()], Checkpoints(store, key))


def held_out_auc(trained: Trained, validation: Examples) -> float:
    return auc(trained.held_out.astype(float), validation.labels)


def test_a_run_learns_what_can_be_learned(store: FolderStore) -> None:
    trained = train(store, [stage(epochs=30, patience=30)])
    assert trained.best.validation_auc > 0.9
    assert held_out_auc(trained, examples(100, 1)) == pytest.approx(
        trained.best.validation_auc, abs=1e-6
    )


def overfitting(**changes: Any) -> Stage:
    """A stage that learns few images with much noise by heart: its AUC peaks early and falls."""
    values = {
        "train": examples(24, 0, noise=2.0),
        "validation": examples(100, 1, noise=1.5),
        "epochs": 20,
        "patience": 20,
        "batch_size": 8,
        "rate": 0.3,
    }
    return stage(**{**values, **changes})


def test_the_weights_of_the_best_epoch_are_kept_and_not_those_of_the_last(
    store: FolderStore,
) -> None:
    trained = train(store, [overfitting()])
    best, last = trained.best, trained.history[-1]
    assert best.epoch < last.epoch
    assert best.validation_auc > last.validation_auc + 0.02
    assert held_out_auc(trained, overfitting().validation) == pytest.approx(
        best.validation_auc, abs=1e-6
    )
    scoring = model()
    scoring.set_weights(trained.weights)
    data = overfitting().validation
    (read,) = data.inputs.take(data.rows, data.rows * 0)
    np.testing.assert_allclose(scoring(read)[:, 0], trained.held_out, rtol=1e-4, atol=1e-4)


def test_the_best_epoch_is_the_first_with_the_highest_auc(store: FolderStore) -> None:
    trained = train(store, both_stages())
    values = [line.validation_auc for line in trained.history]
    assert trained.best is trained.history[values.index(max(values))]


def test_a_run_ends_when_it_stops_getting_better(store: FolderStore) -> None:
    trained = train(store, [stage(epochs=200, patience=2)])
    assert len(trained.history) == trained.best.epoch + 2 < 200


def still(**changes: Any) -> Stage:
    """A second stage that changes nothing, so that it shows what was handed to it."""
    return overfitting(**{"name": "fine_tune", "epochs": 2, "rate": 1e-12, **changes})


def test_the_next_stage_begins_with_the_best_head_and_not_with_the_last_one(
    store: FolderStore,
) -> None:
    trained = train(store, [overfitting(), still()])
    first, second = (
        [line for line in trained.history if line.stage == name] for name in ("head", "fine_tune")
    )
    best = max(line.validation_auc for line in first)
    assert first[-1].validation_auc < best - 0.02
    assert [line.validation_auc for line in second] == pytest.approx([best] * 2, abs=1e-6)
    assert trained.best is first[[line.validation_auc for line in first].index(best)]
    assert held_out_auc(trained, overfitting().validation) == pytest.approx(best, abs=1e-6)


def test_a_stage_that_makes_it_worse_leaves_the_weights_of_the_stage_before(
    store: FolderStore,
) -> None:
    worse = overfitting(
        name="fine_tune",
        epochs=2,
        train=dataclasses.replace(examples(40, 0), labels=1 - examples(40, 0).labels),
    )
    trained = train(store, [stage(), worse])
    assert (trained.best.stage, trained.history[-1].stage) == ("head", "fine_tune")
    assert trained.history[-1].validation_auc < trained.best.validation_auc
    assert held_out_auc(trained, worse.validation) > 0.5


def test_a_run_that_was_stopped_between_two_stages_hands_on_the_best_head(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(store, [overfitting(), still()], key="train/whole")

    def killed(self: KerasLearner, head: Any) -> None:
        raise Killed

    monkeypatch.setattr(KerasLearner, "take_head", killed)
    with pytest.raises(Killed):
        train(store, [overfitting(), still()], key="train/cut")
    monkeypatch.undo()
    resumed = train(store, [overfitting(), still()], key="train/cut")
    figures = [[line.validation_auc for line in made.history] for made in (whole, resumed)]
    assert figures[0] == figures[1]


def test_images_that_weigh_nothing_teach_nothing(store: FolderStore) -> None:
    """Half of the labels are wrong; without weights nothing could be learned."""
    data = examples(200, 0)
    wrong = np.arange(200) % 2 == 1
    labels = np.where(wrong, 1 - data.labels, data.labels)
    weights = np.where(wrong, 0.0, 2.0).astype(np.float32)
    weighed = dataclasses.replace(data, labels=labels, weights=weights)
    trained = train(store, [stage(train=weighed, epochs=20, patience=20)])
    assert trained.best.validation_auc > 0.8
    assert trained.history[-1].validation_auc > 0.8


def test_the_pace_of_an_epoch_is_that_of_its_images(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=2.0)
    ticking = SimpleNamespace(monotonic=lambda: float(next(clock)))  # for no other thread
    monkeypatch.setattr("skin_pipeline.training.runs.time", ticking)
    (line,) = train(store, [stage(epochs=1, train=examples(100, 0), batch_size=32)]).history
    assert (line.seconds, line.images_per_second) == (2.0, 96 / 2)


def test_a_stage_is_trained_at_its_own_rate(store: FolderStore) -> None:
    """Adam's first step moves a weight by about the rate, whatever the gradient."""
    one = stage(rate=0.003, batch_size=200, epochs=1)
    moved = np.abs(train(store, [one]).weights[-2])
    assert moved.max() == pytest.approx(0.003, rel=0.01)


# --- when a stage is over ------------------------------------------------------------------------


def history(**aucs: list[float]) -> State:
    """A state with the epochs of some stages, by their validation AUC."""
    line = {"loss": 0.5, "validation_loss": 0.5, "images_per_second": 1.0, "seconds": 1.0}
    line |= {"validation_sensitivity": 0.5, "validation_specificity": 0.5}
    return State(
        0,
        [
            Epoch(stage=name, epoch=number, validation_auc=auc, **line)
            for name, values in aucs.items()
            for number, auc in enumerate(values, 1)
        ],
    )


@pytest.mark.parametrize(
    ("aucs", "over"),
    [
        ({"head": []}, False),
        ({"head": [0.6, 0.7]}, False),
        ({"head": [0.6, 0.7, 0.6, 0.6]}, False),
        ({"head": [0.6, 0.7, 0.6, 0.6, 0.6]}, True),
        ({"head": [0.7, 0.7, 0.7, 0.7]}, True),  # as good is no better
        ({"head": [0.1, 0.2, 0.3, 0.4, 0.5]}, False),
        ({"head": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}, True),
        # In the second stage, how long the first one got no better has no say in when it ends …
        ({"head": [0.9, 0.6, 0.6, 0.6], "tune": []}, False),
        ({"head": [0.9, 0.6, 0.6, 0.6], "tune": [0.5]}, False),
        ({"head": [0.6, 0.6, 0.6, 0.6, 0.9], "tune": [0.5, 0.5]}, False),
        # … but what the first one reached is what must be beaten.
        ({"head": [0.6, 0.6, 0.9], "tune": [0.5, 0.6, 0.7]}, True),
        ({"head": [0.6, 0.6, 0.6], "tune": [0.5, 0.7, 0.6, 0.6]}, False),
        ({"head": [0.6, 0.6, 0.6], "tune": [0.5, 0.7, 0.6, 0.6, 0.6]}, True),
        ({"head": [0.6] * 9, "tune": [0.7, 0.8, 0.81, 0.82, 0.83]}, False),
        ({"head": [0.6], "tune": [0.7, 0.8, 0.81, 0.82, 0.83, 0.84]}, True),
    ],
)
def test_a_stage_is_over_after_six_epochs_or_three_that_were_no_better(
    aucs: Any, over: bool
) -> None:
    assert is_over(history(**aucs), stage(name=list(aucs)[-1], epochs=6, patience=3)) is over


# --- the figures of an epoch ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "sensitivity", "specificity"),
    [
        ([1, 1, -1, -1, -1], 1.0, 1.0),
        ([1, -1, 1, -1, -1], 0.5, 2 / 3),
        ([0, -1, -1, 0, -1], 0.5, 2 / 3),
    ],
)
def test_a_line_of_the_history_has_the_figures_at_one_half(
    logits: list[float], sensitivity: float, specificity: float
) -> None:
    labels = np.array([1, 1, 0, 0, 0])
    judged = stage(validation=Examples(Told(), np.arange(5), labels))
    line = runs._line(judged, 1, 0.5, np.array(logits, np.float32), 40, 8.0)
    assert (line.stage, line.epoch, line.loss) == ("head", 1, 0.5)
    assert (line.images_per_second, line.seconds) == (5.0, 8.0)
    assert line.validation_sensitivity == pytest.approx(sensitivity)
    assert line.validation_specificity == pytest.approx(specificity)
    expected = [np.log1p(np.exp(-x if y else x)) for x, y in zip(logits, labels, strict=True)]
    assert line.validation_loss == pytest.approx(np.mean(expected))


def test_a_seed_gives_the_same_weights_bit_for_bit(store: FolderStore) -> None:
    one, two = train(store, key="train/a"), train(store, key="train/b")
    other = train(store, seed=4, key="train/c")
    assert all(map(np.array_equal, one.weights, two.weights))
    assert not all(map(np.array_equal, one.weights, other.weights))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run catches it."""


@pytest.mark.parametrize("epochs", range(1, 10))
def test_a_run_that_was_stopped_after_any_epoch_ends_with_the_same_weights(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    whole = train(store, both_stages(), key="train/whole")
    keep, kept = Checkpoints.save, []

    def cut(self: Checkpoints, state: State) -> None:
        keep(self, state)
        kept.append(state)
        if len(kept) == epochs:
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", cut)
    with pytest.raises(Killed):
        train(store, both_stages(), key="train/cut")
    monkeypatch.undo()
    resumed = train(store, both_stages(), key="train/cut")
    assert all(map(np.array_equal, whole.weights, resumed.weights))
    assert np.array_equal(whole.held_out, resumed.held_out)
    losses = [[line.loss for line in trained.history] for trained in (whole, resumed)]
    assert losses[0] == losses[1]


def test_an_unreadable_checkpoint_is_told_and_the_run_begins_again(
    store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train(store, key="train/whole")
    store.put("train/a/checkpoints/000009.npz", b"not a zip")
    again = train(store)
    assert all(map(np.array_equal, whole.weights, again.weights))
    assert any("checkpoint_unreadable" in record.getMessage() for record in caplog.records)


def test_only_the_newest_checkpoint_is_kept_and_clearing_leaves_none(store: FolderStore) -> None:
    train(store)
    assert len(store.list("train/a/checkpoints")) == 1
    Checkpoints(store, "train/a").clear()
    assert store.list("train/a/checkpoints") == []


def spoiled(value: float) -> Examples:
    data = examples(200, 0)
    features = data.inputs.take(data.rows, data.rows * 0)[0].copy()
    features[3, 3] = value
    return dataclasses.replace(data, inputs=Made(features))


def test_a_run_that_diverges_says_so_and_what_to_do(store: FolderStore) -> None:
    with pytest.raises(BadInput, match=r"run 0 diverged in epoch 1 of head.*learning_rate"):
        train(store, [stage(train=spoiled(np.nan))])


def test_a_rate_that_is_far_too_high_is_refused(store: FolderStore) -> None:
    with pytest.raises(BadInput, match=r"diverged.*Lower learning_rate \(received: 1000\)"):
        train(store, [stage(rate=1000.0)])


def test_a_run_that_gives_every_image_the_same_score_is_refused(store: FolderStore) -> None:
    same = Examples(Made(np.full((100, 20), 100, np.float32)), np.arange(100), np.arange(100) % 2)
    with pytest.raises(BadInput, match=r"run 0 gives all 100 validation images the same score"):
        train(store, [stage(validation=same)])


def test_each_epoch_is_one_line_with_its_figures(
    store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "skin_pipeline.training.runs"):
        trained = train(store)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("epoch ")]
    assert len(lines) == len(trained.history)
    for part in (
        "run=0",
        "stage=head",
        "epoch=1/6",
        "val_auc=",
        "images_per_second=",
        "seconds_left=",
    ):
        assert part in lines[0]


# --- balance -------------------------------------------------------------------------------------
