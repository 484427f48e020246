from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skin_pipeline.contracts import Trunk
from skin_pipeline.evaluation import saliency
from skin_pipeline.training import runtime
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.strategies import STRATEGIES


@pytest.fixture(scope="module")
def network() -> Any:
    trunk = Trunk(backbone="ResNet50", source="none", digest="none")
    return Network.load(runtime.keras_on(2), trunk, 64, None)  # type: ignore[arg-type]


def weights_of(network: Any, strategy: str, seed: Any) -> Any:
    """A run whose head looks at everything a little."""
    model = STRATEGIES[strategy].model(network, "run")
    weights = model.get_weights()
    size = weights[-2].shape
    weights[-2] = np.random.default_rng(seed).normal(0, 0.1, size).astype(np.float32)
    place = next(i for i, array in enumerate(weights) if array.shape == size[:1])
    weights[place] = np.full(size[0], 0.1, np.float32)  # the features' mean
    return weights


SQUARES = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_every_strategy_tells_where_its_logit_comes_from(network: Any, strategy: str) -> None:
    seen = saliency.saliency(network, strategy, [weights_of(network, strategy, 0)], SQUARES)
    assert seen.shape == (2, 64, 64)
    assert np.isfinite(seen).all()
    assert np.ptp(seen) > 0
    assert not np.allclose(seen[0], seen[1])


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_places_of_a_head_add_up_to_its_logit(network: Any, stages: int) -> None:
    network = network.reading(stages)
    weights = weights_of(network, "head", 0)
    model = STRATEGIES["head"].model(network, "run")
    model.set_weights(weights)
    features = STRATEGIES["head"].stem(network)(SQUARES.astype(np.float32))
    logits = np.asarray(model(features))[:, 0]
    seen = saliency.saliency(network, "head", [weights], SQUARES)
    # Resizing moves a little between places.
    np.testing.assert_allclose(seen.sum(axis=(1, 2)), logits, rtol=0.15)


def test_several_runs_are_averaged(network: Any, told: Callable[[], set[str]]) -> None:
    one, two = (weights_of(network, "head", seed) for seed in (0, 1))
    single = [saliency.saliency(network, "head", [each], SQUARES) for each in (one, two)]
    both = saliency.saliency(network, "head", [one, two], SQUARES)
    np.testing.assert_allclose(both, np.mean(single, axis=0), atol=1e-6)
    assert "runs explained" in told()


def predictions() -> pd.DataFrame:
    return pd.DataFrame({
        "key": list("abcdefgh"),
        "label": ["malignant"] * 4 + ["benign"] * 4,
        "group": list("abcdeefg"),
        "test": [True, True, True, False, True, True, True, True],
        "probability": [0.1, 0.4, 0.9, 0.0, 0.95, 0.6, 0.2, np.nan],
    })


@pytest.mark.parametrize(("strategy", "times"), [("head", 1), ("fine_tune", 1), ("full", 2)])
def test_what_no_run_has_trained_sees_the_images_once_for_all_runs(
    network: Any, monkeypatch: pytest.MonkeyPatch, strategy: str, times: int
) -> None:
    calls: list[str] = []
    explained = STRATEGIES[strategy].explained

    def counted(*about: Any) -> Any:
        ends, logit = explained(*about)

        def seen(squares: Any) -> Any:
            calls.append(strategy)
            return ends(squares)

        return seen, logit

    monkeypatch.setattr(STRATEGIES[strategy], "explained", counted)
    runs = [weights_of(network, strategy, seed) for seed in (0, 1)]
    saliency.saliency(network, strategy, runs, SQUARES)
    assert len(calls) == times


def test_the_most_confident_mistakes_come_first_one_of_each_group_of_the_test_set() -> None:
    assert list(saliency.most_confident(predictions(), 0.5)["key"]) == ["a", "b", "e"]


def test_an_image_at_the_threshold_was_called_malignant() -> None:
    rows = pd.DataFrame({
        "key": ["benign", "malignant"],
        "label": ["benign", "malignant"],
        "group": ["a", "b"],
        "test": True,
        "probability": 0.5,
    })
    assert list(saliency.most_confident(rows, 0.5)["key"]) == ["benign"]


def test_four_of_each_kind_are_shown_the_most_confident_first() -> None:
    rows = pd.DataFrame({
        "key": [f"missed{i}" for i in range(9)] + [f"alarm{i}" for i in range(9)],
        "label": ["malignant"] * 9 + ["benign"] * 9,
        "group": [f"g{i}" for i in range(18)],
        "test": True,
        "probability": np.r_[np.arange(9) / 20, 0.55 + np.arange(9) / 20],
    }).sample(frac=1, random_state=0)
    assert list(saliency.most_confident(rows, 0.5)["key"]) == [
        *("missed0", "missed1", "missed2", "missed3"),
        *("alarm8", "alarm7", "alarm6", "alarm5"),
    ]


@pytest.mark.parametrize(("label", "probabilities"), [("malignant", 0.1), ("benign", 0.9)])
def test_of_several_pictures_of_one_lesion_the_most_confident_mistake_is_shown(
    label: str, probabilities: float
) -> None:
    away = np.array([0.05, 0.0, -0.05]) * (1 if label == "malignant" else -1)
    rows = pd.DataFrame({
        "key": ["sure", "surer", "surest"],
        "label": label,
        "group": "lesion_id:7",
        "test": True,
        "probability": probabilities + away,
    })
    assert list(saliency.most_confident(rows, 0.5)["key"]) == ["surest"]


def test_a_model_without_mistakes_has_none_to_show() -> None:
    rows = predictions()[2:4]
    assert saliency.most_confident(rows, 0.5).empty


def test_what_spoke_for_the_call_is_laid_over_and_the_rest_is_left() -> None:
    spoke = np.full((64, 64), -1.0, np.float32)
    spoke[:32] = 1.0
    seen = saliency.overlay(SQUARES[0], spoke)
    assert (seen[32:] == SQUARES[0][32:]).all()
    expected = 0.25 * SQUARES[0][:32] + 0.75 * np.array(saliency.COLOUR)
    np.testing.assert_allclose(seen[:32], expected, atol=1)


def test_an_overlay_of_nothing_is_the_picture_and_pictures_are_jpeg() -> None:
    nothing = saliency.overlay(SQUARES[0], np.zeros((64, 64), np.float32))
    assert (nothing == SQUARES[0]).all()
    with Image.open(io.BytesIO(saliency.jpeg(nothing))) as image:
        assert (image.format, image.size) == ("JPEG", (64, 64))


def test_each_stage_is_compared_with_the_usual_values_of_its_own_features() -> None:
    import tensorflow as tf

    ends = [tf.fill((1, 2, 2, 1), 3.0), tf.fill((1, 1, 1, 2), 5.0)]

    def logit(ends: Any) -> Any:
        return tf.reduce_mean(ends[0]) + tf.reduce_sum(ends[1])

    spoke = saliency._gradients(ends, logit, np.array([1, 2, 4], np.float32), 2)
    # (3 - 1) / 4 at each place, and a quarter of (5 - 2) + (5 - 4).
    np.testing.assert_allclose(spoke, np.full((1, 2, 2), 0.5 + 1.0), atol=1e-6)
