"""What a stage trains begins with its seed, learns at its rate, and is NumPy's for a head."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import Any

import keras
import numpy as np
import pytest
from telling import Told

from skin_pipeline.training import learners
from skin_pipeline.training.batches import Order
from skin_pipeline.training.heads import Head
from skin_pipeline.training.learners import HeadLearner, KerasLearner, learner_of
from skin_pipeline.training.stages import Examples, Stage

COUNT = 100


def head() -> Head:
    return Head(np.zeros(2, np.float32), np.ones(2, np.float32))


def dense() -> Any:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def stage(**changes: Any) -> Stage:
    data = Examples(Told(), np.arange(COUNT), np.arange(COUNT) % 2)
    values = {
        **{"name": "full", "build": dense, "train": data, "validation": data, "epochs": 4},
        **{"patience": 4, "batch_size": 32, "rate": 0.02, "rate_setting": "tune_learning_rate"},
    }
    return Stage(**{**values, **changes})


def by_keras(seed: int = 0, **changes: Any) -> KerasLearner:
    return KerasLearner(stage(**changes), keras, seed)


def test_what_a_model_begins_with_follows_the_seed_of_the_run() -> None:
    one, same, other = (by_keras(seed).weights()[0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_a_model_begins_with_ignores_what_other_threads_draw() -> None:
    def build() -> Any:
        random.random()  # as a thread does that sends metrics and waits at random
        return dense()

    alone = by_keras(1).weights()[0]
    assert np.array_equal(by_keras(1, build=build).weights()[0], alone)


def losses(monkeypatch: pytest.MonkeyPatch, learner: Any) -> list[Any]:
    """Lets a learner give three losses; the batches that it is given."""
    given, batches = iter((1.0, 5.0, 3.0)), []

    def learned(*batch: Any, **_: Any) -> float:
        batches.append(batch)
        return next(given)

    inner, name = {
        HeadLearner: ("_head", "learn"),
        KerasLearner: ("_model", "train_on_batch"),
    }[type(learner)]
    monkeypatch.setattr(getattr(learner, inner), name, learned)
    return batches


@pytest.mark.parametrize(("name", "build"), [("head", head), ("full", dense)])
def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(
    monkeypatch: pytest.MonkeyPatch, name: str, build: Any
) -> None:
    one = stage(name=name, build=build)
    learner = learner_of(one, lambda: keras, 0)
    batches, drawn = losses(monkeypatch, learner), Order(one, 0, 0, 1)
    assert learner.learn(drawn) == pytest.approx(3.0)
    assert len(batches) == len(drawn) == 3
    for number, (read, labels) in enumerate(batches):
        rows = drawn[number][0]
        assert np.array_equal(read, one.train.inputs.take(rows, drawn[number][1])[0])
        assert np.array_equal(np.ravel(labels), one.train.labels[rows])


def test_a_head_is_told_the_weights_of_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.linspace(0, 1, COUNT, dtype=np.float32)
    data = Examples(Told(), np.arange(COUNT), np.arange(COUNT) % 2, weights=weights)
    one = stage(name="head", build=head, train=data)
    learner = HeadLearner(one)
    batches, drawn = losses(monkeypatch, learner), Order(one, 0, 0, 1)
    learner.learn(drawn)
    for number, (_, _, own) in enumerate(batches):
        assert np.array_equal(own, weights[drawn[number][0]])


def test_the_rate_falls_to_nothing_over_all_epochs_of_a_stage_that_asks_for_it() -> None:
    optimizer = by_keras(falling=True)._model.optimizer
    steps, seen = 4 * 3, []  # a batch that is not full is left to another epoch
    for step in (0, steps // 2, steps):
        optimizer.iterations.assign(step)
        seen.append(float(optimizer.learning_rate))
    assert seen == pytest.approx([0.02, 0.01, 0.0], abs=1e-8)


def test_the_rate_stays_as_it_was_set_where_it_does_not_fall() -> None:
    optimizer = by_keras()._model.optimizer
    optimizer.iterations.assign(1000)
    assert float(optimizer.learning_rate) == pytest.approx(0.02)


def test_a_model_of_keras_goes_on_from_its_variables_bit_for_bit() -> None:
    whole, order = by_keras(1), Order(stage(), 0, 0, 1)
    whole.learn(order)
    resumed = by_keras(2)
    resumed.restore(whole.variables())
    for learner in (whole, resumed):
        learner.learn(order)
    assert all(map(np.array_equal, whole.variables(), resumed.variables()))


CODE = """
import sys
import threading
import numpy as np
from skin_pipeline.training import left_out, plan, runs, tasks
from skin_pipeline.training.batches import Order
from skin_pipeline.training.heads import Head
from skin_pipeline.training.inputs import Made
from skin_pipeline.training.learners import HeadLearner
from skin_pipeline.training.stages import Examples, Stage
data = Examples(Made(np.eye(4, dtype=np.float32)), np.arange(4), np.arange(4) % 2)
head = Head(np.zeros(4, np.float32), np.ones(4, np.float32))
stage = Stage("head", lambda: head, data, data, 1, 1, 2, 0.1, "learning_rate")
HeadLearner(stage).learn(Order(stage, 0, 0, 1))
assert head.weights()[2].any()
assert not {"tensorflow", "keras", "sklearn", "scipy.stats"} & set(sys.modules), "imported"
"""


def test_a_head_is_trained_without_tensorflow_and_scikit_learn() -> None:
    def started() -> Any:
        pytest.fail("Keras was asked for")

    one = stage(name="head", build=head)
    assert isinstance(learner_of(one, started, 0), learners.HeadLearner)
    subprocess.run([sys.executable, "-c", CODE], check=True)


def varied() -> Any:
    layers = [keras.Input((2,)), keras.layers.Reshape((1, 1, 2)), keras.layers.RandomZoom(0.1)]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(1)])


@pytest.mark.parametrize(("build", "compiled"), [(dense, True), (varied, False)])
@pytest.mark.filterwarnings("error:Model doesn't support")
def test_xla_compiles_what_it_can(build: Any, compiled: bool) -> None:
    assert by_keras(build=build, jit=True)._model.jit_compile is compiled
    assert by_keras(build=build, jit=False)._model.jit_compile is False


class Slow(Told):
    """Inputs that tell which batch is read, and when."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events

    def take(self, rows: Any, views: Any) -> Any:
        self.events.append("read")
        return super().take(rows, views)


def test_the_next_batch_is_read_while_one_is_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    data = Examples(Slow(events), np.arange(COUNT), np.arange(COUNT) % 2)
    learner = by_keras(train=data)
    read_ahead = threading.Event()

    def learned(*batch: Any) -> float:
        # It ends only when another batch was read meanwhile, unless this is the last one.
        learned_from = events.count("learned") + 1
        while learned_from < 3 and events.count("read") <= learned_from:
            read_ahead.wait(0.001)
        events.append("learned")
        return 1.0

    monkeypatch.setattr(learner._model, "train_on_batch", learned)
    learner.learn(Order(learner._stage, 0, 0, 1))
    assert events.count("read") == events.count("learned") == 3
