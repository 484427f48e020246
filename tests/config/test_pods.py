"""What the pod of a step is given: the setting as text, and what is refused."""

from __future__ import annotations

import pytest

from skin_pipeline.config import Pod, pod_of, read_deployment
from skin_pipeline.config.pods import WORDS, pods
from skin_pipeline.errors import BadInput

STEPS = ("ingest", "features", "train", "gate")
EVERY = "*=cpu:1 memory:4Gi disk:20Gi"


def test_a_step_gets_its_own_words_and_the_rest_from_all_others() -> None:
    given = f"train=gpu:1 memory:16Gi node:pool=gpu tolerate:gpu tolerate:owner=skin, {EVERY}"
    assert pod_of("train", given, STEPS) == Pod(
        cpu="1",
        memory="16Gi",
        disk="20Gi",
        gpu=1,
        nodes=(("pool", "gpu"),),
        tolerations=(("gpu", ""), ("owner", "skin")),
    )
    assert pod_of("gate", given, STEPS) == Pod(cpu="1", memory="4Gi", disk="20Gi")


def test_a_step_that_nothing_is_set_for_has_none() -> None:
    assert pod_of("gate", "", STEPS) is None
    assert pod_of("gate", "train=node:pool=big", STEPS) is None


def test_an_image_and_nodes_can_be_set_without_amounts() -> None:
    image = "registry.example.org:5000/skin:gpu@sha256:0a"
    given = f"train=image:{image} node:topology.kubernetes.io/zone=a"
    assert pods(given)["train"] == Pod(
        image=image,
        nodes=(("topology.kubernetes.io/zone", "a"),),
    )


@pytest.mark.parametrize("cpu", ["1", "16", "0.5", "0.25", "1.5", "500m"])
def test_cores_can_be_written_in_every_usual_way(cpu: str) -> None:
    assert pods(f"train=cpu:{cpu} memory:900Mi disk:1Ti")["train"].cpu == cpu


@pytest.mark.parametrize(
    "wrong",
    [
        *("cpu:0", "cpu:0m", "cpu:0.0", "cpu:-1", "cpu:two", "cpu", "cpu:"),
        *("memory:8GB", "memory:8G", "memory:0Gi", "memory:8", "disk:1.5Gi"),
        *("gpu:0", "gpu:1.5", "gpu:nvidia", "gpus:1", "image:", "image:-x"),
        *("node:pool", "node:=a", "node:pool=a=b", "tolerate:", "tolerate:-gpu", "zone=a"),
    ],
)
def test_what_is_no_amount_is_refused_with_step_value_and_what_is_allowed(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIN_RESOURCES", f"train={wrong}, {EVERY}")
    with pytest.raises(BadInput) as failed:
        read_deployment()
    said = str(failed.value)
    assert f"'{wrong}' of 'train' is none of" in said
    for word in WORDS.values():
        assert word.example in said


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("train=gpu:1", "no cpu and no memory and no disk"),
        ("train=memory:8Gi", "no cpu and no disk"),
        ("train=cpu:1 memory:8Gi, *=node:pool=big", "no disk"),
    ],
)
def test_a_pod_without_a_bound_is_refused(given: str, missing: str) -> None:
    with pytest.raises(ValueError, match=rf"'train' has {missing}, which must be set.*\*=cpu:1"):
        pods(given)


def test_an_amount_is_set_once() -> None:
    with pytest.raises(ValueError, match="memory of 'train' is set twice"):
        pods("train=memory:8Gi memory:9Gi")


def test_a_step_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"SKIN_RESOURCES names 'trian'.*ingest, features"):
        pod_of("gate", f"trian=gpu:1, {EVERY}", STEPS)
