"""What a run trains: models in training and models that score are the same models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tiny_network as tiny
from random_network import IMAGES, loaded

from skin_pipeline.config import Settings
from skin_pipeline.training import strategies
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.strategies import CACHED, KNOBS, STRATEGIES, Training


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_what_is_trained_is_a_copy_with_batch_normalisation_left_as_it_was(strategy: str) -> None:
    network = loaded()
    network.stages()
    model = STRATEGIES[strategy].model(network, "run", Training())
    names = [variable.path for variable in model.trainable_variables]
    assert any("conv5_block3_3_conv" in name for name in names)
    assert not any("_bn" in name for name in names)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_model_in_training_and_one_that_scores_have_the_same_weights_and_scores(
    strategy: str,
) -> None:
    network, made = loaded(), STRATEGIES[strategy]
    trained, scoring = (
        made.model(network, "run", Training(l2=0.1, jitter=0.2)),
        made.model(network, "run"),
    )
    paths = [[weight.path for weight in model.weights] for model in (trained, scoring)]
    assert [path.split("/")[-2:] for path in paths[0]] == [
        path.split("/")[-2:] for path in paths[1]
    ]
    kernel = np.random.default_rng(0).normal(0, 1e-3, (network.channels, 1))
    trained.get_layer("logit").set_weights([kernel, np.zeros(1)])
    scoring.set_weights(trained.get_weights())
    read = made.stem(network)(IMAGES)
    np.testing.assert_allclose(trained(read, training=False), scoring(read), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_strategy_depends_on_settings_that_there_are_and_reads_what_is_cached(
    strategy: str,
) -> None:
    assert set(KNOBS[strategy]) <= set(Settings.model_fields)
    assert {"strategy", "seed", "learning_rate"} <= set(KNOBS[strategy])
    assert "pooled" in CACHED[strategy]  # of which every run trains its first head


def test_colours_that_vary_while_training_stay_about_as_bright_as_they_were() -> None:
    image = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    varied = keras.Model(image, strategies._augmented(keras, image, 0.2))
    grey = np.full((64, tiny.SIZE, tiny.SIZE, 3), 128.0, np.float32)
    seen = np.asarray(varied(grey, training=True)).mean(axis=(1, 2, 3))
    assert seen.min() > 128 * 0.5
    assert seen.max() < 255
    assert seen.std() > 5
    np.testing.assert_array_equal(varied(grey, training=False), grey)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_what_explains_a_model_gives_its_very_logit(strategy: str) -> None:
    _explains(tiny.network(), strategy)


@pytest.mark.parametrize("stages", [1, 2])
def test_what_explains_a_head_of_fewer_stages_gives_its_very_logit(stages: int) -> None:
    _explains(tiny.network().reading(stages), "head")


def _explains(network: Network, strategy: str) -> None:
    made = STRATEGIES[strategy]
    model = made.model(network, "explained")
    drawn = np.random.default_rng(1)
    model.set_weights([drawn.uniform(0.1, 1, array.shape) for array in model.get_weights()])
    squares = tiny.squares(3).astype(np.float32)
    ends, logit = made.explained(network, model)
    expected = model(made.stem(network)(squares))
    np.testing.assert_allclose(logit(ends(squares)), expected, rtol=1e-4)
