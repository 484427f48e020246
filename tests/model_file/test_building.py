"""The self-contained model does to an image what its runs were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny_network as tiny
from numpy.typing import NDArray
from PIL import Image
from random_network import IMAGES, loaded

from skin_pipeline.arrays import Arrays
from skin_pipeline.contracts import Views
from skin_pipeline.data.images import working_squares
from skin_pipeline.geometry import Geometry
from skin_pipeline.model_file.building import (
    Recipe,
    fewest_parameters,
    rebuilt,
    released_model,
    seen_as,
)
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.strategies import STRATEGIES
from skin_pipeline.training.views import dihedral, views_of


def head_weights(count: int, seed: int = 0) -> list[Arrays]:
    rng = np.random.default_rng(seed)
    model = STRATEGIES["head"].model(loaded(), "run")
    shapes = {weight.shape: weight for weight in model.get_weights()}
    assert set(shapes) == {(3584,), (3584, 1), (1,)}
    runs = []
    for _ in range(count):
        kernel = rng.normal(0, 1e-4, (3584, 1)).astype(np.float32)
        model.get_layer("logit").set_weights([kernel, np.zeros(1, np.float32)])
        runs.append(model.get_weights())
    return runs


def test_the_released_model_averages_the_logits_of_its_runs() -> None:
    network, runs = loaded(), head_weights(3)
    model = released_model(network, "head", runs, 1.0)
    square = IMAGES[:1].astype(np.uint8)
    alone, trunk = STRATEGIES["head"].model(network, "run"), STRATEGIES["head"].stem(network)
    features, logits = trunk(square.astype(np.float32)), []
    for weights in runs:
        alone.set_weights(weights)
        logits.append(float(alone(features)[0, 0]))
    expected = 1 / (1 + np.exp(-np.mean(logits)))
    assert float(model(square)[0, 0]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("views", [2, 8])
def test_the_released_model_averages_the_logits_of_its_views_and_calibrates_them(
    views: int,
) -> None:
    network, runs = loaded(), head_weights(1)
    model = released_model(network, "head", runs, 1.0, views=views, temperature=0.5)
    dark, light = IMAGES[0] / 4, 255 - IMAGES[1] / 8
    dark[:20] = 255  # so that the views differ
    squares = np.stack([dark, light]).astype(np.uint8)
    alone, trunk = STRATEGIES["head"].model(network, "run"), STRATEGIES["head"].stem(network)
    alone.set_weights(runs[0])
    seen = [dihedral(squares, view).astype(np.float32) for view in range(views)]
    logits = np.mean([alone(trunk(each)) for each in seen], axis=0)
    assert abs(logits[0] - logits[1]) > 0.015  # several times the tolerance
    np.testing.assert_allclose(model(squares), 1 / (1 + np.exp(-logits / 0.5)), atol=1e-3)


def test_the_logit_is_the_mean_over_both_squares_in_every_view() -> None:
    network, runs = loaded(), head_weights(1)
    runs[0] = [20 * array if array.shape == (3584, 1) else array for array in runs[0]]
    model = released_model(network, "head", runs, 0.8, regions=2, views=2)
    images = np.stack([lesion((300, 400), (180, 230)), lesion((300, 400), (120, 180))])
    packed = np.stack([
        working_squares(Image.fromarray(image), Geometry(64, 0.8, 2)) for image in images
    ])
    alone, trunk = STRATEGIES["head"].model(network, "run"), STRATEGIES["head"].stem(network)
    alone.set_weights(runs[0])
    shown = [view.of(packed).astype(np.float32) for view in views_of(Views(dihedral=2, regions=2))]
    each = np.array([alone(trunk(squares)) for squares in shown])
    assert np.ptp(each, axis=0).min() > 0.1  # many times the tolerance
    expected = 1 / (1 + np.exp(-each.mean(axis=0)))
    np.testing.assert_allclose(model(images), expected, atol=4e-3)


def lesion(size: tuple[int, int], middle: tuple[int, int]) -> NDArray[np.uint8]:
    image = np.full((*size, 3), (210, 160, 140), np.uint8)
    rows, columns = np.mgrid[: size[0], : size[1]]
    near = np.hypot(rows - middle[0], columns - middle[1])
    image[near < 50] = (90, 60, 50)
    image[near < 20] = (40, 20, 90)
    return image


@pytest.mark.parametrize("view", range(8))
def test_a_view_in_the_model_is_the_view_that_features_are_of(view: int) -> None:
    square = IMAGES.astype(np.uint8)
    np.testing.assert_array_equal(seen_as(keras, square, view), dihedral(square, view))


@pytest.mark.parametrize("regions", [1, 2])
@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_the_released_model_loads_in_safe_mode_and_takes_any_size(
    strategy: str, regions: int, tmp_path: Path
) -> None:
    network = loaded()
    runs = [STRATEGIES[strategy].model(network, "run").get_weights()] * 2
    made = released_model(network, strategy, runs, 0.8, regions=regions, views=2)
    made.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    for size in ((64, 64), (90, 200), (300, 70)):
        probability = model(np.zeros((1, *size, 3), np.uint8))
        assert probability.shape == (1, 1)
        assert 0 <= float(probability[0, 0]) <= 1


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_network_with_dropout_gives_an_image_one_probability(strategy: str) -> None:
    # Called as anyone calls a model of Keras, without a word about training.
    network, rng = loaded("EfficientNetV2B0"), np.random.default_rng(0)
    head = STRATEGIES[strategy].model(network, "run")
    kernel = head.get_layer("logit").kernel
    kernel.assign(rng.normal(size=kernel.shape))
    model = released_model(network, strategy, [head.get_weights()], 1.0)
    found = np.asarray(model(np.repeat(IMAGES[:1].astype(np.uint8), 32, axis=0)))
    np.testing.assert_allclose(found, np.full_like(found, found[0]), atol=1e-3)


RECIPE = Recipe("Tiny", "head", 2, tiny.SIZE, 20, 2, 1 / 1.3)


@pytest.mark.parametrize("regions", [1, 2])
@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_model_that_is_rebuilt_from_its_recipe_differs_in_its_weights_only(
    strategy: str, regions: int
) -> None:
    network = tiny.network()
    shapes = STRATEGIES[strategy].model(network, "run").get_weights()
    runs: list[Arrays] = [[array + number for array in shapes] for number in range(2)]
    about: Any = {"regions": regions, "views": 2, "temperature": 1.3}
    released = released_model(network, strategy, runs, 0.8, **about)
    recipe = RECIPE._replace(strategy=strategy, regions=regions)
    again = rebuilt(tiny.network(seed=2), recipe)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 30, 41, 3), dtype=np.uint8)
    assert not np.array_equal(again(pixels), released(pixels))
    again.set_weights(released.get_weights())
    np.testing.assert_array_equal(again(pixels), released(pixels))


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.parametrize("runs", [1, 3])
def test_a_model_has_no_fewer_weights_than_are_counted_before_it_is_built(
    strategy: str, runs: int
) -> None:
    network: Network = tiny.network()
    recipe = RECIPE._replace(strategy=strategy, runs=runs)
    heads = runs * (3 * sum(tiny.CHANNELS) + 1)  # mean, variance and kernel, and a bias
    counted = fewest_parameters(network, recipe)
    assert rebuilt(network, recipe).count_params() == counted + heads
