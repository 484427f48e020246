"""A run gets the quickest engine that agrees, the same for all its steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import documents
import numpy as np
import pytest
import tiny_network as tiny
from hand_made import put_array

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Dataset, EngineProbe, load
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import engines, graphs, pretrained, probing, runtime
from skin_pipeline.training.features import BATCH
from skin_pipeline.training.probing import AGREEMENT, Candidate, agreeing, with_engine

ALL = [
    Candidate("tensorflow", "float32"),
    Candidate("openvino", "float32"),
    Candidate("openvino", "bfloat16"),
]
HALF = Candidate("tensorflow", "bfloat16")


class Machine:
    """A machine on which engines have rates, and errors in what they give."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = dict(zip([*ALL, HALF], (4.0, 2.0, 1.0, 0.5), strict=True))
        self.error = dict.fromkeys(self.seconds, 0.0)
        self.asked: list[Candidate] = []
        self.now = 0.0
        monkeypatch.setattr(graphs, "runner_of", self.runner_of)
        monkeypatch.setattr(engines, "precisions", lambda: ["float32", "bfloat16"])
        monkeypatch.setattr(engines, "installed", lambda: "2026.4")
        monkeypatch.setattr(runtime, "has_gpu", lambda: False)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(probing, "WORTH", 0)

    def runner_of(self, work: Any, dataset: Any, trunk: Any, kinds: Any) -> graphs.Runner:
        return graphs.Runner(0, 0, lambda: self.forward_of(trunk))

    def forward_of(self, trunk: Any) -> Any:
        one = Candidate(trunk.engine, trunk.precision)
        self.asked.append(one)
        started: list[int] = []

        def forward(batch: Any) -> Any:
            self.now += self.seconds[one] + (0 if started else 1000)  # compiled with the first
            started.append(1)
            assert batch.shape == (BATCH, 16, 16, 3)  # a square, and not both of an image
            means = batch.astype(np.float64).mean(axis=(1, 2))
            return {"pooled": means + self.error[one] * means.std() * np.sign(means - means.mean())}

        return forward


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def job_of(store: FolderStore, **settings: Any) -> Job:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 32, 16, 3), dtype=np.uint8)
    put_array(store, "shards/0.npy", pixels)
    documents_of = documents.dataset("ingest/1", shards=("shards/0.npy",), image_size=tiny.SIZE)
    store.put("ingest/1/result.json", documents_of.model_dump_json().encode())
    known: dict[str, Any] = {"data": "demo", "weights": "none"}
    return Job(Settings(**known, **settings), Deployment(store=store.url, threads=1), store)


def test_the_quickest_engine_is_taken(
    store: FolderStore, machine: Machine, told: Callable[[], set[str]]
) -> None:
    assert with_engine(job_of(store), "ingest/1", "none") == "openvino:bfloat16:none"
    assert "engines tried" in told()


def test_an_engine_that_does_not_agree_is_not_taken(store: FolderStore, machine: Machine) -> None:
    machine.error[ALL[2]] = 0.2
    assert with_engine(job_of(store), "ingest/1", "none") == "openvino:float32:none"


def test_single_precision_is_tried_where_half_precision_does_not_agree(
    store: FolderStore, machine: Machine
) -> None:
    with_engine(job_of(store), "ingest/1", "none")
    assert machine.asked == [ALL[0], ALL[2]]
    machine.error[ALL[2]] = 0.2
    with_engine(job_of(store, image_size=65), "ingest/1", "none")
    assert machine.asked[2:] == [ALL[0], ALL[2], ALL[1]]


def test_an_engine_that_is_asked_for_and_does_not_agree_is_refused(
    store: FolderStore, machine: Machine
) -> None:
    machine.error[ALL[2]], machine.error[ALL[1]] = 0.2, np.nan
    with pytest.raises(
        BadInput, match=r"0\.0000 for openvino:float32.*at least 0\.998.*engine=auto"
    ):
        with_engine(job_of(store, engine="openvino"), "ingest/1", "none")


def test_an_engine_that_gives_no_numbers_is_not_taken(store: FolderStore, machine: Machine) -> None:
    machine.error[ALL[2]] = machine.error[ALL[1]] = np.nan
    assert with_engine(job_of(store), "ingest/1", "none") == "none"


def test_where_tensorflow_is_the_quickest_the_weights_stand_alone(
    store: FolderStore, machine: Machine
) -> None:
    machine.seconds[ALL[0]] = 0.5
    assert with_engine(job_of(store), "ingest/1", "weights/1.h5") == "weights/1.h5"


@pytest.mark.parametrize(
    ("engine", "precision", "expected", "tried"),
    [
        ("auto", "float32", "openvino:float32:none", {ALL[0], ALL[1]}),
        ("auto", "bfloat16", "openvino:bfloat16:none", set()),
        ("openvino", "auto", "openvino:bfloat16:none", {ALL[0], ALL[2]}),
        ("openvino", "float32", "openvino:float32:none", set()),
        ("openvino", "bfloat16", "openvino:bfloat16:none", set()),
        ("tensorflow", "auto", "none", set()),
        ("tensorflow", "float32", "none", set()),
        ("tensorflow", "bfloat16", "tensorflow:bfloat16:none", set()),
    ],
)
def test_only_what_the_settings_allow_is_tried_and_nothing_where_there_is_one_choice(
    store: FolderStore,
    machine: Machine,
    engine: str,
    precision: str,
    expected: str,
    tried: set[Candidate],
) -> None:
    job = job_of(store, engine=engine, precision=precision)
    assert with_engine(job, "ingest/1", "none") == expected
    assert set(machine.asked) == tried


@pytest.mark.parametrize(("factor", "tried"), [(0.99, False), (1.01, True)])
def test_a_small_data_set_is_not_worth_the_measuring(
    store: FolderStore,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    tried: bool,
) -> None:
    job = job_of(store, image_size=112, views=2, corrupted=1)
    images = job.load("ingest/1", Dataset).images
    # Two views of two squares, and a copy; each has a quarter of the pixels of a square of 224.
    monkeypatch.setattr(probing, "WORTH", images * 5 / 4 / factor)
    assert with_engine(job, "ingest/1", "none") == ("openvino:bfloat16:none" if tried else "none")
    assert bool(machine.asked) is tried


def test_an_engine_that_is_asked_for_is_measured_however_few_the_images_are(
    store: FolderStore, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "WORTH", 1e9)
    job = job_of(store, engine="openvino")
    assert with_engine(job, "ingest/1", "none") == "openvino:bfloat16:none"


def test_without_openvino_nothing_is_tried(
    store: FolderStore, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "installed", lambda: "")
    monkeypatch.setattr(engines, "precisions", lambda: [])
    assert with_engine(job_of(store), "ingest/1", "none") == "none"
    half = with_engine(job_of(store, precision="bfloat16"), "ingest/1", "none")
    assert half == "tensorflow:bfloat16:none"
    assert not machine.asked
    with pytest.raises(BadInput, match=r"engine=openvino.*not installed.*engine=tensorflow"):
        with_engine(job_of(store, engine="openvino"), "ingest/1", "none")


@pytest.mark.parametrize(
    ("asked", "expected", "tried"),
    [
        ({}, "tensorflow:bfloat16:none", {ALL[0], ALL[2], HALF}),
        ({"engine": "tensorflow"}, "tensorflow:bfloat16:none", {ALL[0], HALF}),
        ({"precision": "float32"}, "openvino:float32:none", {ALL[0], ALL[1]}),
        ({"precision": "bfloat16"}, "tensorflow:bfloat16:none", {ALL[0], ALL[2], HALF}),
        ({"engine": "openvino"}, "openvino:bfloat16:none", {ALL[0], ALL[2]}),
    ],
)
def test_with_a_gpu_half_precision_of_tensorflow_is_tried_too(
    store: FolderStore,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    asked: Any,
    expected: str,
    tried: set[Candidate],
) -> None:
    monkeypatch.setattr(runtime, "has_gpu", lambda: True)
    assert with_engine(job_of(store, **asked), "ingest/1", "none") == expected
    assert set(machine.asked) == tried


@pytest.mark.parametrize(
    ("where", "measured"),
    [
        ({}, True),
        ({"queues": "features=gpu, train=gpu"}, False),
        ({"queues": "*=here"}, True),
        ({"queues": "gate=small"}, True),
        ({"executors": "features=KubernetesExecutor"}, False),
    ],
)
def test_what_other_workers_compute_is_left_to_tensorflow_since_they_cannot_be_measured_here(
    store: FolderStore, machine: Machine, where: Any, measured: bool
) -> None:
    job = job_of(store)
    job = replace(job, deployment=job.deployment.model_copy(update=where))
    expected = "openvino:bfloat16:none" if measured else "none"
    assert with_engine(job, "ingest/1", "none") == expected
    half = replace(job, settings=job.settings.model_copy(update={"precision": "bfloat16"}))
    engine = "openvino" if measured else "tensorflow"
    assert with_engine(half, "ingest/1", "none") == f"{engine}:bfloat16:none"
    asked = replace(job, settings=job.settings.model_copy(update={"engine": "openvino"}))
    assert with_engine(asked, "ingest/1", "none") == "openvino:bfloat16:none"


def test_a_machine_is_measured_once(
    store: FolderStore, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        first = with_engine(job_of(store), "ingest/1", "none")
    assert "engine_tried engine=openvino precision=bfloat16 images_per_second=16.0" in caplog.text
    assert "chosen=True" in caplog.text
    count = len(machine.asked)
    assert with_engine(job_of(store), "ingest/1", "none") == first
    assert len(machine.asked) == count
    with_engine(job_of(store), "ingest/1", "weights/2.h5")
    assert len(machine.asked) == 2 * count


def test_what_was_measured_is_kept(store: FolderStore, machine: Machine) -> None:
    machine.error[ALL[2]] = 0.2
    with_engine(job_of(store), "ingest/1", "none")
    (key,) = [key for key in store.list("engine") if key.endswith("result.json")]
    found = load(store, key.removesuffix("/result.json"), EngineProbe)
    assert found.rates == {str(one): BATCH / machine.seconds[one] for one in ALL}
    assert found.agreement[str(ALL[1])] == pytest.approx(1.0)
    assert found.agreement[str(ALL[2])] < AGREEMENT


def test_another_kind_of_machine_is_measured_anew(
    store: FolderStore, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engine(job_of(store), "ingest/1", "none")
    monkeypatch.setattr(engines, "precisions", lambda: ["float32"])
    assert with_engine(job_of(store), "ingest/1", "none") == "openvino:float32:none"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1])
def test_agreement_is_the_share_of_the_variance_that_is_the_same(share: float) -> None:
    random = np.random.default_rng(0)
    usual = random.normal(0, 10 ** np.arange(-3.0, 3.0), (4000, 6))
    found = usual + random.normal(0, np.sqrt(share) * usual.std(0), usual.shape)
    assert agreeing(found, usual) == pytest.approx(1 - share, abs=0.003)


def test_a_feature_that_never_varies_has_no_say() -> None:
    usual = np.stack([np.arange(9.0), np.ones(9)], axis=1)
    assert agreeing(usual + np.array([0, 0.1]), usual) == pytest.approx(1)
    assert agreeing(usual * np.nan, usual) == pytest.approx(0)
    assert agreeing(np.ones((3, 2)), np.ones((3, 2))) == pytest.approx(1)


def test_weights_behind_an_engine_make_a_trunk_that_it_computes() -> None:
    trunk = pretrained.trunk_of("ResNet50", "openvino:bfloat16:weights/ab12.weights.h5", 2)
    plain = pretrained.trunk_of("ResNet50", "weights/ab12.weights.h5", 2)
    assert (trunk.engine, trunk.precision) == ("openvino", "bfloat16")
    assert trunk.model_copy(update=engines.USUAL) == plain
    assert (plain.source, plain.digest) == ("weights/ab12.weights.h5", "ab12")
