"""The space of the trunk's features: white, and with a column for what it cannot show."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from skin_pipeline.evaluation import space

Floats = NDArray[np.float32]


def features(images: int, seed: int) -> Floats:
    """Forty features that vary in five directions, on very different scales."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(5, 40))
    made = random.normal(size=(images, 5)) @ mixing + 0.1 * random.normal(size=(images, 40))
    return (made * np.logspace(-3, 3, 40)).astype(np.float32)


def test_new_images_of_the_same_kind_are_white() -> None:
    made = space.fitted(features(2000, 1), most=5)
    seen = made.embed(features(2000, 2))
    assert seen.shape == (2000, 6)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(np.cov(seen[:, :5].T), np.eye(5), atol=0.15)
    np.testing.assert_allclose(seen[:, :5].mean(axis=0), 0, atol=0.15)


def test_the_last_column_is_high_where_something_new_is_seen() -> None:
    made = space.fitted(features(500, 1), most=5)
    usual = features(100, 2)
    unseen = usual + np.random.default_rng(3).normal(size=40).astype(np.float32) * usual.std(0)
    assert made.embed(unseen)[:, -1].min() > made.embed(usual)[:, -1].max()


def test_it_has_no_more_directions_than_the_images_allow() -> None:
    assert space.fitted(features(4, 1)).embed(features(2, 2)).shape == (2, 4)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    constant = features(50, 1)
    constant[:, 3] = 7
    assert np.isfinite(space.fitted(constant).embed(constant)).all()


def test_features_of_another_trunk_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(n, 40\). Received: shape=\(1, 39\)"):
        space.fitted(features(50, 1)).embed(np.zeros((1, 39), np.float32))


def test_without_a_trunk_there_is_no_dimension() -> None:
    assert space.nowhere().embed(np.zeros((3, 8), np.float32)).shape == (3, 0)
