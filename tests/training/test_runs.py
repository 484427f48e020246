from __future__ import annotations

import logging

import keras
import numpy as np
import pytest

from skin_pipeline.config import Settings
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import auc
from skin_pipeline.training import runs
from skin_pipeline.training.runs import Examples, train_head


def examples(count, seed, noise=0.6):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    features = rng.normal(0, 1, (count, 20)) * noise
    features[:, 0] += 2.0 * labels
    return Examples((features * 10 + 100).astype(np.float32), labels)


def train(settings=None, data=None, seed=3):
    settings = settings or Settings(epochs=12, patience=12)
    return train_head(keras, data or examples(200, 0), examples(100, 1), settings, 0, seed)


def test_a_head_learns_what_can_be_learned():
    head = train(Settings(epochs=40, patience=40, learning_rate=0.05))
    held_out = examples(500, 2)
    logits = (held_out.features @ head.kernel + head.bias)[:, 0]
    assert auc(logits, held_out.labels) > 0.85


def test_a_head_works_on_features_as_they_are():
    head = train()
    held_out = examples(100, 1)
    logits = (held_out.features @ head.kernel + head.bias)[:, 0]
    best = head.history[head.best_epoch - 1]
    assert auc(logits, held_out.labels) == pytest.approx(best.validation_auc, abs=1e-6)


def test_the_best_epoch_is_the_first_with_the_highest_auc():
    head = train()
    values = [line.validation_auc for line in head.history]
    assert head.best_epoch == values.index(max(values)) + 1


def test_a_run_ends_when_it_stops_getting_better():
    head = train(Settings(epochs=200, patience=2))
    assert len(head.history) < 200
    assert len(head.history) <= head.best_epoch + 2


def test_a_seed_gives_the_same_head_bit_for_bit():
    one, two, other = train(), train(), train(seed=4)
    np.testing.assert_array_equal(one.kernel, two.kernel)
    assert one.history == two.history
    assert (one.kernel != other.kernel).any()


def test_a_channel_that_is_constant_does_no_harm():
    data = examples(200, 0)
    data.features[:, 5] = 7.0
    assert np.isfinite(train(data=data).kernel).all()


def test_a_run_that_diverges_says_so_and_what_to_do():
    data = examples(200, 0)
    data.features[3, 3] = np.nan
    with pytest.raises(BadInput, match=r"run 0 diverged in epoch 1.*learning_rate"):
        train(data=data)


def test_each_epoch_is_one_line_with_its_figures(caplog):
    with caplog.at_level(logging.INFO, "skin_pipeline"):
        head = train()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(head.history)
    assert lines[0].startswith("epoch run=0 epoch=1/12 loss=")
    assert all("val_auc=" in line and "val_sensitivity=" in line for line in lines)


# --- balance -------------------------------------------------------------------------------------

LABELS = np.array([0] * 30 + [1] * 10)
VIEWS = np.random.RandomState(0).normal(size=(2, 40, 5)).astype(np.float32)


def test_class_weights_give_each_class_half_of_the_loss():
    made = runs.balanced(VIEWS, LABELS, "class_weights", seed=0)
    assert made.weights[made.labels == 1].sum() == pytest.approx(made.weights.sum() / 2)
    assert np.array_equal(made.features, VIEWS.reshape(80, 5))


@pytest.mark.parametrize("how", ["undersample", "none"])
def test_what_the_split_did_or_nobody_wants_changes_nothing(how):
    made = runs.balanced(VIEWS, LABELS, how, seed=0)
    assert made.weights is None
    assert list(made.labels) == [*LABELS, *LABELS]


def test_oversampling_repeats_images_of_the_smaller_class_alike_in_all_views():
    made = runs.balanced(VIEWS, LABELS, "oversample", seed=0)
    assert list(np.bincount(made.labels)) == [60, 60]
    first, second = made.features[:60], made.features[60:]
    rows = [int(np.flatnonzero((VIEWS[0] == row).all(1))[0]) for row in first]
    assert np.array_equal(second, VIEWS[1][rows])
    assert set(rows) == set(range(40))


def test_smote_keeps_all_images_and_makes_new_ones_between_those_of_the_smaller_class():
    made = runs.balanced(VIEWS, LABELS, "smote", seed=0)
    assert list(np.bincount(made.labels)) == [60, 60]
    assert made.features.dtype == np.float32
    for view, features in zip(VIEWS, np.split(made.features, 2), strict=True):
        assert np.array_equal(features[:40], view)
        low, high = view[LABELS == 1].min(0), view[LABELS == 1].max(0)
        assert ((features[40:] >= low - 1e-6) & (features[40:] <= high + 1e-6)).all()


def test_smote_makes_do_with_few_images_and_refuses_a_single_one():
    few = np.array([0] * 37 + [1] * 3)
    assert list(np.bincount(runs.balanced(VIEWS, few, "smote", 0).labels)) == [74, 74]
    with pytest.raises(BadInput, match=r"balance=smote needs two images.*Received: 1 of one"):
        runs.balanced(VIEWS, np.array([0] * 39 + [1]), "smote", 0)


@pytest.mark.parametrize("how", ["oversample", "smote"])
def test_balancing_repeats_itself_for_a_seed(how):
    one, two, other = (runs.balanced(VIEWS, LABELS, how, seed).features for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
