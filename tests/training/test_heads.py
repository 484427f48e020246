"""A head in NumPy learns and scores as the model of Keras does that it stands for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import Told
from threadpoolctl import threadpool_info

from skin_pipeline.training import heads
from skin_pipeline.training.heads import Head, one_thread
from skin_pipeline.training.strategies import STRATEGIES, Training

CHANNELS, BATCH, L2 = 7, 16, 0.03


def drawn(seed: int) -> Any:
    """Moments of features, and features, labels and weights of batches."""
    random = np.random.default_rng(seed)
    mean, spread = random.normal(size=CHANNELS), 10 ** random.uniform(-4, 1, CHANNELS)
    features = random.normal(mean, spread, (5, BATCH, CHANNELS)).astype(np.float32)
    labels = random.integers(0, 2, (5, BATCH)).astype(np.float32)
    weights = random.uniform(0, 2, (5, BATCH)).astype(np.float32)
    return mean.astype(np.float32), (spread**2).astype(np.float32), features, labels, weights


def of_keras(mean: Any, variance: Any, l2: float, rate: float) -> Any:
    network: Any = type("Wide", (), {"keras": keras, "channels": CHANNELS})
    model = STRATEGIES["head"].model(network, "head", Training(l2))
    model.get_layer("standardise").set_weights([mean, variance])
    model.compile(keras.optimizers.Adam(rate), keras.losses.BinaryCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("l2", [0.0, L2])
@pytest.mark.parametrize("rate", [0.001, 0.1])
def test_it_learns_what_the_model_of_keras_learns(weighed: bool, l2: float, rate: float) -> None:
    mean, variance, features, labels, weights = drawn(3)
    head, model = Head(mean, variance, l2), of_keras(mean, variance, l2, rate)
    for step in range(20):
        batch = features[step % 5], labels[step % 5]
        own = (weights[step % 5],) if weighed else ()
        head.learn(*batch, *own, rate=rate)
        model.train_on_batch(batch[0], batch[1][:, None], *own)
    for found, expected in zip(head.weights(), model.get_weights(), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    logits = model(features[0])[:, 0]
    np.testing.assert_allclose(head.logits(features[0]), logits, rtol=1e-3, atol=1e-4)
    assert np.abs(logits).max() > 0.01


@pytest.mark.parametrize("weighed", [False, True])
def test_a_step_returns_the_loss_before_it(weighed: bool) -> None:
    mean, variance, features, labels, weights = drawn(4)
    head, model = Head(mean, variance, L2), of_keras(mean, variance, L2, 0.1)
    for batch in zip(features, labels, weights, strict=True):
        read, told, own = batch
        model.set_weights(head.weights())
        expected = model.test_on_batch(read, told[:, None], own if weighed else None)
        model.reset_metrics()
        assert head.learn(read, told, own if weighed else None, rate=0.1) == pytest.approx(
            float(expected), rel=1e-4
        )


def test_it_takes_the_weights_of_the_model_of_keras() -> None:
    mean, variance, features, *_ = drawn(5)
    model = of_keras(mean, variance, 0.0, 0.1)
    kernel = np.linspace(-1, 1, CHANNELS, dtype=np.float32)[:, None]
    model.get_layer("logit").set_weights([kernel, np.array([0.3], np.float32)])
    head = Head.of(model.get_weights())
    np.testing.assert_allclose(head.logits(features[0]), model(features[0])[:, 0], rtol=1e-4)
    for found, expected in zip(head.weights(), model.get_weights(), strict=True):
        assert np.array_equal(found, expected)


def test_it_begins_with_one_half_for_every_image() -> None:
    mean, variance, features, *_ = drawn(6)
    assert np.array_equal(Head(mean, variance).logits(features[0]), np.zeros(BATCH))


@given(st.integers(0, 1000), st.integers(0, 9))
@settings(max_examples=25)
def test_it_goes_on_from_its_variables_bit_for_bit(seed: int, cut: int) -> None:
    mean, variance, features, labels, _ = drawn(seed)
    whole = Head(mean, variance, L2)
    resumed = Head(np.zeros_like(mean), np.ones_like(mean), L2)
    for step in range(10):
        if step == cut:
            resumed.restore(whole.variables())
        for head in (whole, resumed) if step >= cut else (whole,):
            head.learn(features[step % 5], labels[step % 5], rate=0.05)
    assert all(map(np.array_equal, whole.variables(), resumed.variables()))


def test_what_it_gave_away_does_not_change_when_it_learns_on() -> None:
    mean, variance, features, labels, _ = drawn(7)
    head = Head(mean, variance)
    head.learn(features[0], labels[0], rate=0.1)
    before = [array.copy() for array in head.variables()]
    kept = head.variables()
    head.learn(features[1], labels[1], rate=0.1)
    assert all(map(np.array_equal, kept, before))
    assert not all(map(np.array_equal, kept, head.variables()))


def telling() -> Head:
    """A head whose logit is a thousand times the view, plus the row."""
    kernel = np.array([[1], [1000]], np.float32)
    return Head.of([
        np.zeros(2, np.float32),
        np.ones(2, np.float32),
        kernel,
        np.zeros(1, np.float32),
    ])


@pytest.mark.parametrize("count", [0, 1, heads.SCORED, heads.SCORED + 5])
@pytest.mark.parametrize("views", [1, 2, 8])
def test_a_score_is_the_mean_over_the_views_of_each_row_in_order(count: int, views: int) -> None:
    rows = np.random.default_rng(0).permutation(2000)[:count]
    scores = telling().score(Told(), rows, views)
    assert scores == pytest.approx(rows + 1000 * np.arange(views).mean())
    assert scores.dtype == np.float32


def test_a_row_is_scored_in_its_own_view_unless_more_are_asked_for() -> None:
    assert telling().score(Told(), np.array([7])) == pytest.approx([7])


def test_products_are_computed_by_one_thread() -> None:
    with one_thread():
        found = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert found
    assert set(found) == {1}


def test_confident_mistakes_cost_no_overflow() -> None:
    mean, variance = np.zeros(1, np.float32), np.ones(1, np.float32)
    kernel, bias = np.array([[1.0]], np.float32), np.zeros(1, np.float32)
    head = Head.of([mean, variance, kernel, bias])
    loss = head.learn(np.array([[1e4], [-1e4]], np.float32), np.array([0, 1], np.float32), rate=0.1)
    assert loss == pytest.approx(1e4, rel=1e-3)
    assert all(np.isfinite(array).all() for array in head.variables())
