"""When a task has a pod of its own; tests/kubernetes shows which pods Airflow makes of it."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import pytest
import skin_pods

from skin_pipeline.config import Deployment
from skin_pipeline.errors import BadInput

PATH = "airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor"


def options(
    monkeypatch: pytest.MonkeyPatch, installed: str, executor: str = "", **given: Any
) -> dict[str, Any]:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", installed)
    deployment = Deployment(**{"resources": "train=cpu:2 memory:8Gi disk:20Gi", **given})
    return skin_pods.pod_options("train", executor, deployment)


@pytest.mark.parametrize(
    ("installed", "executor"),
    [
        ("KubernetesExecutor", ""),
        (PATH, ""),
        (f"pods:{PATH}", ""),
        ("CeleryExecutor, KubernetesExecutor", "KubernetesExecutor"),
        (f"CeleryExecutor,{PATH}", PATH),
        (f"CeleryExecutor,pods:{PATH}", "pods"),
    ],
)
def test_a_task_that_kubernetes_runs_gets_what_is_set_for_its_pod(
    monkeypatch: pytest.MonkeyPatch, installed: str, executor: str
) -> None:
    found = options(monkeypatch, installed, executor)
    pod = found["executor_config"]["pod_override"]
    (container,) = pod.spec.containers
    assert container.name == "base"
    assert container.resources.limits == container.resources.requests
    assert container.resources.limits == {
        "cpu": "2",
        "memory": "8Gi",
        "ephemeral-storage": "20Gi",
    }


@pytest.mark.parametrize(
    ("installed", "executor"),
    [
        ("LocalExecutor", ""),
        ("CeleryExecutor,KubernetesExecutor", ""),
        ("KubernetesExecutor,CeleryExecutor", "CeleryExecutor"),
        (f"CeleryExecutor,pods:{PATH}", ""),
    ],
)
def test_a_task_that_another_executor_runs_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, installed: str, executor: str
) -> None:
    assert options(monkeypatch, installed, executor) == {}


def test_nothing_is_set_for_a_task_that_the_setting_does_not_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert options(monkeypatch, "KubernetesExecutor", resources="gate=node:pool=a") == {}


def test_a_misspelt_step_is_an_error_under_every_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="SKIN_RESOURCES names 'trian'"):
        options(monkeypatch, "LocalExecutor", resources="trian=node:pool=a")


def test_without_the_package_nothing_is_set_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        skin_pods, "find_spec", lambda name: None if name == "kubernetes" else real(name)
    )
    with caplog.at_level(logging.WARNING):
        assert options(monkeypatch, "KubernetesExecutor") == {}
    assert "resources_not_used task=train missing=kubernetes" in caplog.text


def test_the_gpus_are_those_that_tensorflow_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    found = options(
        monkeypatch,
        "KubernetesExecutor",
        resources="train=gpu:2 cpu:4 memory:8Gi disk:9Gi tolerate:a=b tolerate:c",
    )
    spec = found["executor_config"]["pod_override"].spec
    assert spec.containers[0].resources.limits["nvidia.com/gpu"] == "2"
    assert [(one.key, one.operator, one.value) for one in spec.tolerations] == [
        ("a", "Equal", "b"),
        ("c", "Exists", None),
    ]
