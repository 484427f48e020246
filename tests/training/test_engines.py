"""Another engine gives the features that TensorFlow gives, or says that it is not here."""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_network as tiny
from random_network import FAMILIES, QUICK, images_of, loaded, marks_of, trunk_named

from skin_pipeline.contracts import Trunk
from skin_pipeline.errors import BadInput
from skin_pipeline.training import engines
from skin_pipeline.training.engines import forward_of
from skin_pipeline.training.features import BATCH, MOST
from skin_pipeline.training.probing import agreeing

KINDS = ["pooled", "maps"]
OPENVINO = tiny.TRUNK.model_copy(update={"engine": "openvino"})


def squares(images: Any) -> Any:
    return np.resize(images.astype(np.uint8), (BATCH, *images.shape[1:]))


def both(network: Any, trunk: Trunk, kinds: Any, batch: Any) -> tuple[Any, Any]:
    """What OpenVINO gives, and what TensorFlow gives."""
    theirs = trunk.model_copy(update={"engine": "openvino"})
    found, expected = (forward_of(network, kinds, one, threads=1)(batch) for one in (theirs, trunk))
    return found, expected


def pooled(found: Any) -> Any:
    return np.asarray(found["pooled"], np.float64)


@pytest.mark.parametrize("kinds", [["pooled"], ["maps"], KINDS, KINDS[::-1]])
def test_openvino_gives_what_tensorflow_gives(kinds: list[str]) -> None:
    batch = np.random.default_rng(1).integers(0, 255, (BATCH, 16, 16, 3), dtype=np.uint8)
    found, expected = both(tiny.network(), tiny.TRUNK, kinds, batch)
    assert list(found) == kinds
    for kind in kinds:
        wanted = np.asarray(expected[kind])
        assert found[kind].dtype == wanted.dtype
        np.testing.assert_allclose(found[kind], wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says where a thread may run")
@pytest.mark.parametrize("threads", [1, 2])
def test_tasks_of_one_machine_are_not_bound_to_the_same_cores(threads: int) -> None:
    forward = forward_of(tiny.network(), ["pooled"], OPENVINO, threads)
    batch = np.zeros((BATCH, 16, 16, 3), np.uint8)
    allowed, ended, bound = os.sched_getaffinity(0), threading.Event(), set[int]()

    def compute() -> None:
        while not ended.is_set():
            forward(batch)

    with ThreadPoolExecutor(1) as beside:
        computing = beside.submit(compute)
        for _ in range(300):
            threads_here = Path("/proc/self/task").iterdir()
            bound |= {len(allowed - cores_of(int(thread.name))) for thread in threads_here}
        ended.set()
        computing.result()
    assert bound == {0}


def cores_of(thread: int) -> set[int]:
    """The cores that a thread may run on; all if it ended meanwhile."""
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:
        return os.sched_getaffinity(0)


def test_what_is_too_large_for_half_precision_stays_finite() -> None:
    network = tiny.network()
    second = network.whole.get_layer("second")
    second.set_weights([1e6 * array for array in second.get_weights()])
    batch = np.full((BATCH, 16, 16, 3), 255, np.uint8)
    maps = forward_of(network, ["maps"], OPENVINO, threads=1)(batch)["maps"]
    assert np.isfinite(maps).all()
    assert np.abs(maps).max() == MOST


SLOWER = (*FAMILIES, "InceptionResNetV2")


@pytest.mark.parametrize(
    "name", [*sorted(QUICK), *(pytest.param(name, marks=marks_of(name)) for name in SLOWER)]
)
def test_a_network_of_each_family_is_computed_by_openvino(name: str) -> None:
    network = loaded(name)
    batch = squares(np.concatenate([images_of(name), 255 - images_of(name)]))
    made = both(network, trunk_named(name), ["pooled"], batch)
    found, expected = (pooled(one) for one in made)
    assert agreeing(found, expected) > 0.9999


def test_half_precision_agrees_and_is_no_single_precision() -> None:
    batch = squares(np.concatenate([images_of("ResNet50"), 255 - images_of("ResNet50")]))
    single, half = (
        forward_of(
            loaded(),
            ["pooled"],
            trunk_named("ResNet50").model_copy(update={"engine": "openvino", "precision": name}),
            threads=1,
        )(batch)
        for name in ("float32", "bfloat16")
    )
    if "bfloat16" in engines.precisions():
        assert not np.array_equal(pooled(single), pooled(half))
    assert agreeing(pooled(half), pooled(single)) > 0.99


def test_tensorflow_computes_in_half_precision_and_gives_single() -> None:
    batch = squares(np.concatenate([images_of("ResNet50"), 255 - images_of("ResNet50")]))
    single, half = (
        forward_of(
            loaded(),
            KINDS,
            trunk_named("ResNet50").model_copy(update={"precision": name}),
            threads=1,
        )(batch)
        for name in ("float32", "bfloat16")
    )
    for kind in KINDS:
        assert np.asarray(half[kind]).dtype == np.asarray(single[kind]).dtype
    assert not np.array_equal(pooled(single), pooled(half))
    assert agreeing(pooled(half), pooled(single)) > 0.99
    assert loaded().whole.dtype_policy.name == "float32"  # the network that others use


def test_the_features_of_another_engine_have_keys_of_their_own() -> None:
    half = [one.model_copy(update={"precision": "bfloat16"}) for one in (OPENVINO, tiny.TRUNK)]
    recipes = [str(one.recipe) for one in (tiny.TRUNK, OPENVINO, *half)]
    assert len(set(recipes)) == 4
    assert "engine" not in recipes[0]


def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)


def test_a_run_whose_engine_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    engines.need(OPENVINO)
    missing(monkeypatch)
    engines.need(tiny.TRUNK)
    with pytest.raises(BadInput, match=r"openvino.*requirements-openvino\.txt.*engine=tensorflow"):
        engines.need(OPENVINO)


def test_an_earlier_model_whose_engine_is_not_here_is_computed_by_tensorflow_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert engines.here(OPENVINO) == OPENVINO
    missing(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert engines.here(tiny.TRUNK) == tiny.TRUNK
        assert not caplog.records
        assert engines.here(OPENVINO) == tiny.TRUNK
    assert "engine_missing engine=openvino instead=tensorflow" in caplog.text
