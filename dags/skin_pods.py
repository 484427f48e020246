"""What the pod of a task is given, where Airflow's KubernetesExecutor runs it.

    pod_options("train", "KubernetesExecutor", deployment)
    # {"executor_config": {"pod_override": V1Pod(...)}}, from SKIN_RESOURCES

The rest of a pod is the pod template's: user, volumes, service account.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

from airflow.sdk.configuration import conf

from skin_pipeline import timing
from skin_pipeline.config import Deployment, Pod, pod_of

log = logging.getLogger(__name__)

CONTAINER = "base"  # Airflow's own name of the container in which a task runs
GPU = "nvidia.com/gpu"


def pod_options(name: str, executor: str, deployment: Deployment) -> dict[str, Any]:
    """Returns what is set for the pod of a task, as options of the task.

    Args:
        name: The task.
        executor: The executor that is set for it; empty for Airflow's first one.
        deployment: The settings of the installation.
    """
    pod = pod_of(name, deployment.resources, timing.LONGEST_HOURS)
    if pod is None or not makes_pods(executor):
        return {}
    if find_spec("kubernetes") is None:
        # Only the scheduler starts pods, and it does not start at all without this package.
        log.warning("resources_not_used task=%s missing=kubernetes", name)
        return {}
    return {"executor_config": {"pod_override": pod_override(pod)}}


def makes_pods(executor: str = "") -> bool:
    """Returns whether an executor is Airflow's for Kubernetes; `conf` may give it another name.

    Args:
        executor: A name, an alias or a path; empty for Airflow's first one.
    """
    configured: str = conf.get("core", "executor")
    installed = [entry.strip() for entry in configured.split(",")]
    name = executor or installed[0]
    # An entry is a name, a path, or NAME:PATH.
    entry = next((entry for entry in installed if name in entry.split(":")), name)
    return entry.rpartition(".")[2].rpartition(":")[2] == "KubernetesExecutor"


def pod_override(pod: Pod) -> Any:
    """Returns what is set for a pod, as the part of a pod that Airflow lays over its template."""
    from kubernetes.client import models as k8s

    container = k8s.V1Container(name=CONTAINER, image=pod.image or None, resources=_resources(pod))
    tolerations = [
        k8s.V1Toleration(key=key, operator="Equal" if value else "Exists", value=value or None)
        for key, value in pod.tolerations
    ]
    return k8s.V1Pod(
        spec=k8s.V1PodSpec(
            containers=[container],
            node_selector=dict(pod.nodes) or None,
            tolerations=tolerations or None,
        )
    )


def _resources(pod: Pod) -> Any:
    """Returns amounts that are both asked for and the most: nothing that a neighbour uses up."""
    from kubernetes.client import models as k8s

    if not pod.memory:
        return None
    amounts = {"cpu": pod.cpu, "memory": pod.memory, "ephemeral-storage": pod.disk}
    if pod.gpu:
        amounts[GPU] = str(pod.gpu)
    return k8s.V1ResourceRequirements(requests=dict(amounts), limits=dict(amounts))
