"""Where steps run: queues and executors, each by the name of a step."""

from __future__ import annotations

import pytest

from skin_pipeline.config import placement, read_deployment
from skin_pipeline.config.environment import pairs
from skin_pipeline.errors import BadInput

STEPS = ("ingest", "features", "train", "gate")


def placed(step: str, queues: str = "", executors: str = "") -> dict[str, str]:
    return placement(step, queues, executors, STEPS)


@pytest.mark.parametrize(
    ("step", "queues", "executors", "where"),
    [
        ("train", "", "", {}),
        ("train", "train=gpu", "", {"queue": "gpu"}),
        ("gate", "train=gpu", "", {}),
        ("gate", "train=gpu, *=small", "", {"queue": "small"}),
        ("train", "*=small, train=gpu", "", {"queue": "gpu"}),
        ("train", "", "train=KubernetesExecutor", {"executor": "KubernetesExecutor"}),
        ("train", " train = gpu ", "*=Celery", {"queue": "gpu", "executor": "Celery"}),
        ("train", 'train="a,b"', "", {"queue": "a,b"}),
    ],
)
def test_a_step_runs_where_it_is_named_or_where_all_others_do(
    step: str, queues: str, executors: str, where: dict[str, str]
) -> None:
    assert placed(step, queues, executors) == where


@pytest.mark.parametrize("setting", ["queues", "executors"])
def test_a_step_that_there_is_not_is_refused_with_those_there_are(setting: str) -> None:
    with pytest.raises(BadInput, match=rf"SKIN_{setting.upper()} names 'trian'.*ingest, features"):
        placed("gate", **{setting: "trian=gpu"})


@pytest.mark.parametrize("text", ["gpu", "train=", "=gpu", "train=a, train=b", 'train="a'])
@pytest.mark.parametrize("name", ["queues", "executors"])
def test_what_is_no_list_of_steps_is_refused(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SKIN_{name.upper()}", text)
    with pytest.raises(BadInput, match=name):
        read_deployment()


def test_an_empty_setting_gives_nothing_to_any_step() -> None:
    assert pairs("") == {}
