"""The pods that Airflow makes of the pod template and SKIN_RESOURCES, and what none of them may."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pods
import pytest

from skin_pipeline.config import Settings
from skin_pipeline.config.pods import pods as read_resources
from skin_pipeline.operations import sizing

GPU = (
    "features=gpu:1 image:registry.example.org/skin:gpu node:pool=gpu tolerate:nvidia.com/gpu "
    "cpu:500m memory:3Gi disk:10Gi, train=gpu:2 memory:16Gi cpu:4 disk:9Gi, external=node:pool=big"
)


@pytest.fixture(scope="module")
def as_it_comes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The pod of each step with settings.yaml as it is."""
    return pods.made(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def with_gpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The pod of each step where two of them get GPUs."""
    return pods.made(tmp_path_factory.mktemp("gpu"), SKIN_RESOURCES=GPU, SKIN_APPROVAL="always")


def limits(pod: dict[str, Any]) -> Any:
    return pod["spec"]["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize("made", ["as_it_comes", "with_gpus"])
def test_every_pod_is_valid_and_may_nothing_that_it_need_not(
    made: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(made)
    assert {"ingest", "features", "train", "promote"} <= set(found)
    for name, pod in found.items():
        pods.check(pod)
        assert pods.violations(pod) == [], name
        (container,) = pod["spec"]["containers"]
        assert container["name"] == "base"
        assert container["args"] == ["python", "-m", "x"]
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
            *("/opt/airflow", "/tmp", "/scratch", "/state", "/run/signing")
        }


def test_a_pod_gets_what_is_set_for_its_step(with_gpus: dict[str, dict[str, Any]]) -> None:
    assert limits(with_gpus["features"]) == {
        **{"cpu": "500m", "memory": "3Gi", "ephemeral-storage": "10Gi"},
        "nvidia.com/gpu": "1",
    }
    assert limits(with_gpus["train"]) == {
        **{"cpu": "4", "memory": "16Gi", "ephemeral-storage": "9Gi"},
        "nvidia.com/gpu": "2",
    }
    features = with_gpus["features"]["spec"]
    assert features["nodeSelector"] == {"pool": "gpu"}
    assert features["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert features["containers"][0]["image"] == "registry.example.org/skin:gpu"
    train = with_gpus["train"]["spec"]
    assert "nodeSelector" not in train
    assert train["containers"][0]["image"] == "registry.example.org/skin-pipeline:1.0"


def test_a_step_gets_what_it_does_not_name_from_all_others(
    as_it_comes: dict[str, dict[str, Any]],
) -> None:
    every = limits(as_it_comes["gate"])
    assert limits(as_it_comes["train"]) == {**every, "memory": "12Gi"}
    (template,) = pods.documents("pod-template.yaml")
    assert every == limits(template)  # the two say the same


def test_a_pod_that_no_amount_is_set_for_gets_what_the_template_says(
    with_gpus: dict[str, dict[str, Any]],
) -> None:
    (template,) = pods.documents("pod-template.yaml")
    for name in ("gate", "external", "approve"):
        assert limits(with_gpus[name]) == limits(template), name
    assert with_gpus["external"]["spec"]["nodeSelector"] == {"pool": "big"}


def test_the_resources_of_the_settings_are_enough_for_ten_thousand_images() -> None:
    given = read_resources(pods.settings()["SKIN_RESOURCES"])
    for step in sizing.plan(Settings(), images=10_000, workers=2, cores=2).steps:
        memory = given.get(step.name, given["*"]).memory
        assert memory.endswith("Gi")
        assert step.memory <= int(memory.removesuffix("Gi")) * 2**30, step.name


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one field, which a path such as `spec.containers.0.image` names."""

    def apply(pod: dict[str, Any]) -> None:
        *steps, last = path.split(".")
        place: Any = pod
        for step in steps:
            place = place[int(step)] if step.isdigit() else place[step]
        place[int(last) if last.isdigit() else last] = value

    return apply


FIRST = "spec.containers.0"
MISTAKES = {
    "root": change("spec.securityContext.runAsUser", 0),
    "no seccomp": change("spec.securityContext.seccompProfile", {"type": "Unconfined"}),
    "account": change("spec.serviceAccountName", "default"),
    "token": change("spec.automountServiceAccountToken", True),
    "service links": change("spec.enableServiceLinks", None),
    "host": change("spec.hostNetwork", True),
    "volume": change("spec.volumes.0", {"name": "home", "hostPath": {"path": "/"}}),
    "endless volume": change("spec.volumes.0", {"name": "home", "emptyDir": {}}),
    "base: may gain rights": change(f"{FIRST}.securityContext.allowPrivilegeEscalation", True),
    "base: may write": change(f"{FIRST}.securityContext.readOnlyRootFilesystem", False),
    "base: capabilities": change(f"{FIRST}.securityContext.capabilities", {"add": ["SYS_ADMIN"]}),
    "base: privileged": change(f"{FIRST}.securityContext.privileged", True),
    "base: root": change(f"{FIRST}.securityContext.runAsUser", 0),
    "base: no limit of memory": change(f"{FIRST}.resources.limits.memory", ""),
    "base: memory unequal": change(f"{FIRST}.resources.requests.memory", "1Gi"),
    "base: secret in DB_PASSWORD": change(f"{FIRST}.env.0", {"name": "DB_PASSWORD", "value": "x"}),
    "base: secret in A": change(
        f"{FIRST}.env.0", {"name": "A", "value": "redis://:f00ba7f00ba7@skin-redis/0"}
    ),
    "base: secret in B": change(
        f"{FIRST}.env.0",
        {
            "name": "B",
            "valueFrom": {"secretKeyRef": {"name": "skin-database", "key": "connection"}},
        },
    ),
    "base: secret in envFrom": change(f"{FIRST}.envFrom.0", {"secretRef": {"name": "all"}}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(mistake: str, as_it_comes: dict[str, dict[str, Any]]) -> None:
    pod = copy.deepcopy(as_it_comes["train"])
    MISTAKES[mistake](pod)
    assert mistake in pods.violations(pod)


def test_a_field_that_kubernetes_does_not_know_is_noticed(
    as_it_comes: dict[str, dict[str, Any]],
) -> None:
    pod = copy.deepcopy(as_it_comes["train"])
    change(f"{FIRST}.securityContext.readOnlyRootFileSystem", True)(pod)
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFileSystem"):
        pods.check(pod)
