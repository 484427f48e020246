from __future__ import annotations

import dataclasses
import logging

import keras
import numpy as np
import pytest

from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import auc
from skin_pipeline.training import plan
from skin_pipeline.training.checkpoints import Checkpoints
from skin_pipeline.training.inputs import Made
from skin_pipeline.training.runs import Examples, Stage, train_run


def examples(count, seed, noise=0.6):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    features = rng.normal(0, 1, (count, 20)) * noise
    features[:, 0] += 2.0 * labels
    return Examples(Made((features * 10 + 100).astype(np.float32)), np.arange(count), labels)


def model(rate=0.0):
    features = keras.Input((20,))
    standard = keras.layers.BatchNormalization(
        center=False, scale=False, trainable=False, name="standardise"
    )
    logit = keras.layers.Dense(1, kernel_initializer="zeros", name="logit")
    made = keras.Model(features, logit(standard(features, training=False)))
    made.get_layer("standardise").set_weights([np.full(20, 100.0), np.full(20, 100.0)])
    return made


def stage(**changes):
    values = {
        "name": "head",
        "build": model,
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


def both_stages():
    return [stage(), stage(name="fine_tune", epochs=4, falling=True, every_view=False)]


def train(store, stages=None, seed=3, key="train/a"):
    return train_run(keras, stages or [stage()], 0, seed, Checkpoints(store, key))


def test_a_run_learns_what_can_be_learned(store):
    trained = train(store, [stage(epochs=30, patience=30)])
    assert trained.best.validation_auc > 0.9
    assert auc(trained.held_out.astype(float), examples(100, 1).labels) == pytest.approx(
        trained.best.validation_auc, abs=1e-6
    )


def test_the_best_epoch_is_the_first_with_the_highest_auc(store):
    trained = train(store, both_stages())
    values = [line.validation_auc for line in trained.history]
    assert trained.best is trained.history[values.index(max(values))]


def test_a_run_ends_when_it_stops_getting_better(store):
    trained = train(store, [stage(epochs=200, patience=2)])
    assert len(trained.history) <= trained.best.epoch + 2


def test_a_seed_gives_the_same_weights_bit_for_bit(store):
    one, two = train(store, key="train/a"), train(store, key="train/b")
    other = train(store, seed=4, key="train/c")
    assert all(map(np.array_equal, one.weights, two.weights))
    assert not all(map(np.array_equal, one.weights, other.weights))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the run catches it."""


@pytest.mark.parametrize("epochs", range(1, 10))
def test_a_run_that_was_stopped_after_any_epoch_ends_with_the_same_weights(
    store, monkeypatch, epochs
):
    whole = train(store, both_stages(), key="train/whole")
    keep, kept = Checkpoints.save, []

    def cut(self, state):
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


def test_an_unreadable_checkpoint_is_told_and_the_run_begins_again(store, caplog):
    whole = train(store, key="train/whole")
    store.put("train/a/checkpoints/000009.npz", b"not a zip")
    again = train(store)
    assert all(map(np.array_equal, whole.weights, again.weights))
    assert any("checkpoint_unreadable" in record.getMessage() for record in caplog.records)


def test_only_the_newest_checkpoint_is_kept_and_clearing_leaves_none(store):
    train(store)
    assert len(store.list("train/a/checkpoints")) == 1
    Checkpoints(store, "train/a").clear()
    assert store.list("train/a/checkpoints") == []


def spoiled(value):
    data = examples(200, 0)
    features = data.inputs.take(data.rows, data.rows * 0)[0].copy()
    features[3, 3] = value
    return dataclasses.replace(data, inputs=Made(features))


def test_a_run_that_diverges_says_so_and_what_to_do(store):
    with pytest.raises(BadInput, match=r"run 0 diverged in epoch 1 of head.*learning_rate"):
        train(store, [stage(train=spoiled(np.nan))])


def test_a_rate_that_is_far_too_high_is_refused(store):
    with pytest.raises(BadInput, match=r"diverged.*Lower learning_rate \(received: 1000\)"):
        train(store, [stage(rate=1000.0)])


def test_a_run_that_gives_every_image_the_same_score_is_refused(store):
    same = Examples(Made(np.full((100, 20), 100, np.float32)), np.arange(100), np.arange(100) % 2)
    with pytest.raises(BadInput, match=r"run 0 gives all 100 validation images the same score"):
        train(store, [stage(validation=same)])


def test_each_epoch_is_one_line_with_its_figures(store, caplog):
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

LABELS = np.array([0] * 30 + [1] * 10)
VIEWS = np.random.RandomState(0).normal(size=(2, 40, 5)).astype(np.float32)
ROWS = np.arange(40)


class Cached:
    views = 2

    def take(self, rows, views):
        return (VIEWS[views, rows],)


def balance(how, labels=LABELS):
    return plan.balanced(Cached(), ROWS, labels, how, seed=0)


def test_class_weights_give_each_class_half_of_the_loss():
    made = balance("class_weights")
    assert made.weights[made.labels == 1].sum() == pytest.approx(made.weights.sum() / 2)
    assert np.array_equal(made.rows, ROWS)


@pytest.mark.parametrize("how", ["undersample", "none"])
def test_what_the_split_did_or_nobody_wants_changes_nothing(how):
    made = balance(how)
    assert made.weights is None
    assert list(made.labels) == list(LABELS)


def test_oversampling_repeats_images_of_the_smaller_class():
    made = balance("oversample")
    assert list(np.bincount(made.labels)) == [30, 30]
    assert set(made.rows) == set(range(40))


def test_smote_keeps_all_images_and_makes_new_ones_between_those_of_the_smaller_class():
    made = balance("smote")
    assert list(np.bincount(made.labels)) == [60, 60]
    (features,) = made.inputs.take(made.rows, made.rows * 0)
    for view, part in zip(VIEWS, np.split(features, 2), strict=True):
        assert np.array_equal(part[:40], view)
        low, high = view[LABELS == 1].min(0), view[LABELS == 1].max(0)
        assert ((part[40:] >= low - 1e-6) & (part[40:] <= high + 1e-6)).all()


def test_smote_makes_do_with_few_images_and_refuses_a_single_one():
    few = np.array([0] * 37 + [1] * 3)
    assert list(np.bincount(balance("smote", few).labels)) == [74, 74]
    with pytest.raises(BadInput, match=r"balance=smote needs two images.*Received: 1 of one"):
        balance("smote", np.array([0] * 39 + [1]))
