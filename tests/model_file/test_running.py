"""A released model gives by each engine what Keras gives; one that does not agree is not used."""

from __future__ import annotations

import logging
from typing import Any

import keras
import model_files
import numpy as np
import pytest
from tiny_network import SIZE

from skin_pipeline.errors import BadInput
from skin_pipeline.model_file import looking, running
from skin_pipeline.model_file.running import BATCH, TOLERANCE, TRIED
from skin_pipeline.training import engines, runtime

ENGINES = ["tensorflow", "openvino"]


def squares_of(model: Any, count: int = BATCH) -> Any:
    shape = (count, *looking.seen(model).shape[1:])
    return np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)


def by_keras(model: Any, squares: Any) -> Any:
    after = keras.Model(looking.seen(model), model.output)
    return np.asarray(after(squares.astype(np.float32), training=False))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
@pytest.mark.parametrize("regions", [1, 2])
def test_each_engine_gives_what_keras_gives_to_any_number_of_images(
    engine: str, strategy: str, regions: int
) -> None:
    model = model_files.released(strategy=strategy, regions=regions)
    run = running.of(model, 1, engine)
    for count in (BATCH, 1, 5):
        squares = squares_of(model, count)
        expected = by_keras(model, squares)
        assert expected.std() > 0 or count == 1
        np.testing.assert_allclose(run.forward(squares), expected, atol=0.004)
        if run.seeing:
            np.testing.assert_allclose(run.seeing(squares)[0], expected, atol=0.004)


@pytest.mark.parametrize("strategy", ["head", "fine_tune"])
def test_both_engines_see_the_same_features(strategy: str) -> None:
    model = model_files.released(strategy=strategy)
    squares, found = squares_of(model), []
    for engine in ENGINES:
        run = running.of(model, 1, engine)
        assert run.seeing
        features = np.asarray(run.seeing(squares)[1], np.float64)
        assert len(features) >= len(squares)
        found.append(features)
    spread = found[0].std(axis=0).max()
    assert np.abs(found[0] - found[1]).max() < 0.05 * spread


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_whose_runs_share_no_trunk_has_no_features(engine: str) -> None:
    assert running.of(model_files.released(strategy="full"), 1, engine).seeing is None


# --- which engine ---------------------------------------------------------------------------------

HALF = ["float32", "bfloat16"]


@pytest.mark.parametrize(
    ("engine", "least", "here", "gpus", "expected"),
    [
        ("auto", SIZE, HALF, (), "bfloat16"),
        ("auto", SIZE + 1, HALF, (), ""),  # small squares are computed soon
        ("auto", SIZE, HALF, ("GPU:0",), ""),  # which is quicker than any processor
        ("auto", SIZE, ["float32"], (), ""),  # where TensorFlow is about as quick
        ("auto", SIZE, [], (), ""),
        ("tensorflow", SIZE, HALF, (), ""),
        ("openvino", SIZE + 1, HALF, (), "bfloat16"),
        ("openvino", SIZE, ["float32"], (), "float32"),
        ("openvino", SIZE, HALF, ("GPU:0",), "bfloat16"),
    ],
)
def test_half_precision_is_used_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    least: int,
    here: list[str],
    gpus: Any,
    expected: str,
) -> None:
    used: list[str] = []

    def by_openvino(network: Any, precision: str, threads: int) -> Any:
        used.append(precision)
        return network

    monkeypatch.setattr(engines, "frozen", lambda network, shape: network)
    monkeypatch.setattr(engines, "by_openvino", by_openvino)
    monkeypatch.setattr(engines, "installed", lambda: "2026.4" if here else "")
    monkeypatch.setattr(engines, "precisions", lambda: here)
    monkeypatch.setattr(running, "WORTH_FROM", least)
    monkeypatch.setattr(runtime, "gpus", lambda: gpus)
    running.of(model_files.released(), 1, engine)
    assert used == ([expected] if expected else [])


def test_an_engine_that_is_asked_for_and_not_here_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "installed", lambda: "")
    with pytest.raises(BadInput, match=r"SKIN_SCORING_ENGINE=openvino.*requirements-openvino\.txt"):
        running.of(model_files.released(), 1, "openvino")


# --- agreement ------------------------------------------------------------------------------------


class Converted:
    """An OpenVINO whose probabilities differ by so much."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, apart: float) -> None:
        self.apart = apart
        self.batches: list[int] = []
        monkeypatch.setattr(running, "WORTH_FROM", SIZE)
        monkeypatch.setattr(engines, "installed", lambda: "2026.4")
        monkeypatch.setattr(engines, "precisions", lambda: HALF)
        monkeypatch.setattr(engines, "frozen", lambda network, shape: network)
        monkeypatch.setattr(engines, "by_openvino", self.by_openvino)

    def by_openvino(self, network: Any, precision: str, threads: int) -> Any:
        def run(squares: Any) -> Any:
            self.batches.append(len(squares))
            return [np.asarray(part) + self.apart for part in network(squares)]

        return run


@pytest.mark.parametrize(
    ("apart", "used"),
    [(0.0, True), (0.9 * TOLERANCE, True), (1.1 * TOLERANCE, False), (np.nan, False)],
)
def test_what_does_not_agree_with_keras_on_the_first_images_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    apart: float,
    used: bool,
) -> None:
    model = model_files.released()
    converted, squares = Converted(monkeypatch, apart), squares_of(model)
    run = running.of(model, 1)
    with caplog.at_level(logging.INFO):
        found = [np.asarray(run.forward(squares)) for _ in range(2)]
    expected = by_keras(model, squares) + (apart if used else 0)
    for one in found:
        np.testing.assert_allclose(one, expected, atol=1e-5)
    # It is tried once, on a few images.
    assert converted.batches == [TRIED, *([BATCH, BATCH] if used else [])]
    assert ("scoring_engine_agrees" in caplog.text) == used
    assert ("scoring_engine_differs" in caplog.text) != used
