"""A network is frozen once for all tasks; the next ones read the graph, and start no TensorFlow."""

from __future__ import annotations

from typing import Any

import documents
import numpy as np
import pytest
import tiny_network as tiny

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import RESULT
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import graphs, models
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.features import BATCH, bytes_of
from skin_pipeline.training.resources import bytes_to_run

KINDS = ["pooled", "maps"]
OPENVINO = tiny.TRUNK.model_copy(update={"engine": "openvino"})
DATASET = documents.dataset("ingest/2", image_size=tiny.SIZE)
SQUARES = np.random.default_rng(2).integers(0, 255, (BATCH, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def job(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Job:
    network = tiny.network()
    monkeypatch.setattr(models, "network_on", lambda job, dataset, trunk: network)
    return Job(Settings(data="demo"), Deployment(store=store.url, threads=1), store)


def runner(job: Job, number: int, trunk: Any = OPENVINO, kinds: Any = KINDS) -> graphs.Runner:
    return graphs.runner_of(Work(job, f"features/{number}"), DATASET, trunk, kinds)


def no_network(*about: Any) -> Network:
    raise AssertionError("the network was built")


def made(job: Job) -> list[str]:
    return [key for key in job.store.list("graph") if key.endswith(f"/{RESULT}")]


def test_a_graph_gives_what_tensorflow_gives(job: Job) -> None:
    found, expected = (runner(job, 1, one).forward()(SQUARES) for one in (OPENVINO, tiny.TRUNK))
    for kind in KINDS:
        np.testing.assert_allclose(found[kind], expected[kind], rtol=1e-3, atol=1e-3)


def test_only_the_first_task_builds_the_network(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runner(job, 1).forward()(SQUARES)
    monkeypatch.setattr(models, "network_on", no_network)
    graphs._by_openvino.cache_clear()
    second = runner(job, 2).forward()(SQUARES)
    assert all(np.array_equal(first[kind], second[kind]) for kind in KINDS)


def test_all_precisions_read_one_graph_and_other_activations_have_their_own(job: Job) -> None:
    for precision in ("float32", "bfloat16"):
        runner(job, 1, OPENVINO.model_copy(update={"precision": precision}))
    assert len(made(job)) == 1
    runner(job, 1, kinds=["pooled"])
    assert len(made(job)) == 2


def test_tensorflow_needs_no_graph(job: Job) -> None:
    runner(job, 1, tiny.TRUNK)
    assert not made(job)


@pytest.mark.parametrize("trunk", [tiny.TRUNK, OPENVINO])
def test_what_a_task_takes_is_known_before_it_computes(job: Job, trunk: Any) -> None:
    network = tiny.network()
    wanted = bytes_of(network, KINDS, 1, 1), bytes_to_run(network.whole, BATCH)
    for number in range(2):
        assert runner(job, number, trunk)[:2] == wanted


def test_tensorflow_computes_in_the_precision_of_the_trunk(job: Job) -> None:
    half = tiny.TRUNK.model_copy(update={"precision": "bfloat16"})
    found, expected = (
        runner(job, 1, one).forward()(SQUARES)["pooled"] for one in (half, tiny.TRUNK)
    )
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.5)
