"""Classes are balanced in the way that a setting names, and in training only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_network as tiny
from numpy.typing import NDArray

from skin_pipeline.errors import BadInput
from skin_pipeline.training.balance import balanced
from skin_pipeline.training.inputs import Ints
from skin_pipeline.training.stages import Examples

LABELS = np.array([0] * 30 + [1] * 10)


VIEWS = np.random.RandomState(0).normal(size=(2, 40, 5)).astype(np.float32)


ROWS = np.arange(40)


class Cached:
    views = 2

    def take(self, rows: Ints, views: Ints) -> tuple[NDArray[np.float32]]:
        return (VIEWS[views, rows],)


def balance(how: str, labels: Ints = LABELS) -> Examples:
    return balanced(Cached(), ROWS, labels, how, seed=0)


def test_class_weights_give_each_class_half_of_the_loss() -> None:
    made = balance("class_weights")
    assert made.weights is not None
    assert made.weights[made.labels == 1].sum() == pytest.approx(made.weights.sum() / 2)
    assert np.array_equal(made.rows, ROWS)


@pytest.mark.parametrize("how", ["undersample", "none"])
def test_what_the_split_did_or_nobody_wants_changes_nothing(how: str) -> None:
    made = balance(how)
    assert made.weights is None
    assert list(made.labels) == list(LABELS)


def test_oversampling_repeats_images_of_the_smaller_class() -> None:
    made = balance("oversample")
    assert list(np.bincount(made.labels)) == [30, 30]
    assert set(made.rows) == set(range(40))


def test_images_that_are_repeated_are_those_of_the_run_with_their_own_labels() -> None:
    rows = np.arange(40) * 3 + 100  # of a table that also has the images of the other sides
    made = balanced(Cached(), rows, LABELS, "oversample", seed=0)
    assert set(made.rows) == set(rows)
    assert list(made.labels) == list(LABELS[(made.rows - 100) // 3])


def test_smote_keeps_all_images_and_makes_new_ones_between_those_of_the_smaller_class() -> None:
    made = balance("smote")
    assert list(np.bincount(made.labels)) == [60, 60]
    (features,) = made.inputs.take(made.rows, made.rows * 0)
    for view, part in zip(VIEWS, np.split(features, 2), strict=True):
        assert np.array_equal(part[:40], view)
        low, high = view[LABELS == 1].min(0), view[LABELS == 1].max(0)
        assert ((part[40:] >= low - 1e-6) & (part[40:] <= high + 1e-6)).all()


def test_smote_makes_do_with_few_images_and_refuses_a_single_one() -> None:
    few = np.array([0] * 37 + [1] * 3)
    assert list(np.bincount(balance("smote", few).labels)) == [74, 74]
    with pytest.raises(BadInput, match=r"balance=smote needs two images.*Received: 1 of one"):
        balance("smote", np.array([0] * 39 + [1]))


def test_views_to_balance_are_those_of_the_activations_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    pooled = tiny.source(tmp_path, tiny.table(LABELS), views=4).pooled()
    rows = np.arange(12)
    assert balanced(pooled, rows, LABELS[rows], "none", 0).views == 4
    assert balanced(pooled, rows, LABELS[rows], "none", 0, views=2).views == 2
