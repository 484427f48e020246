"""The manifests below deploy/kubernetes, the pods that Airflow makes of them, and what no pod may.

settings()["SKIN_STORE"]                  # what settings.yaml tells every pod
violations(made(SKIN_RESOURCES="…")["train"])    # [] or what is wrong with it
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from skin_pipeline.foreign import holds_secret

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
VERSIONS = ("1.30", kubernetes_validate.latest_version())
VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
SECRET_NAMES = re.compile(r"(PASSWORD|SECRET|TOKEN|_KEY|CREDENTIALS|_CONN|_URL)$")
NOWHERE = "postgresql+psycopg2://none.invalid/none"
PATHS = {"SKIN_SIGNING_KEY", "SKIN_PUBLIC_KEY"}  # of files, not keys

PROBE = """
import json
from airflow.serialization.serialized_objects import DagSerialization
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from skin_training import dag_object

template = PodGenerator.deserialize_model_file(TEMPLATE)
dag = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag_object))))
pods = {}
for task in dag.tasks:
    mapped = task.is_mapped
    config = task.partial_kwargs.get("executor_config") if mapped else task.executor_config
    pod = PodGenerator.construct_pod(
        dag_id=dag.dag_id, task_id=task.task_id, pod_id=f"skin-{task.task_id}", try_number=1,
        kube_image="registry.example.org/skin-pipeline:1.0", date=None, args=["python", "-m", "x"],
        pod_override_object=PodGenerator.from_obj(config), base_worker_pod=template,
        namespace="skin", scheduler_job_id="1", run_id="weekly", map_index=0 if mapped else -1,
    )
    pods[task.task_id] = PodGenerator.serialize_pod(pod)
print("PODS " + json.dumps(pods))
"""


def documents(name: str) -> list[dict[str, Any]]:
    """Returns the documents of a file of the folder."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def settings() -> dict[str, str]:
    """Returns what settings.yaml tells every pod."""
    (found,) = documents("settings.yaml")
    given: dict[str, str] = found["data"]
    return given


def made(home: Path, **environment: str) -> dict[str, dict[str, Any]]:
    """Returns the pod that Airflow makes for each step of `skin_training`, by its own code."""
    template = str(FOLDER / "pod-template.yaml")
    done = subprocess.run(
        [sys.executable, "-c", PROBE.replace("TEMPLATE", repr(template))],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "dags",
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("SKIN_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__EXECUTOR": "KubernetesExecutor",
            "PYTHONPATH": f"{ROOT}/dags:{ROOT}/plugins:{ROOT}",
            **settings(),
            "AIRFLOW__LOGGING__REMOTE_LOGGING": "False",  # nothing is logged to S3 here
            **environment,
        },
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("PODS ")]
    pods: dict[str, dict[str, Any]] = json.loads(line.removeprefix("PODS "))
    return pods


def check(manifest: dict[str, Any]) -> None:
    """Raises `kubernetes_validate.ValidationError` if Kubernetes would not know a field."""
    for version in VERSIONS:
        kubernetes_validate.validate(copy.deepcopy(manifest), version, strict=True)


def violations(pod: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a pod that runs tasks, in a word or two each."""
    spec = pod["spec"]
    return [
        *_of_pod(spec),
        *(
            f"{container['name']}: {problem}"
            for container in (*spec["containers"], *spec.get("initContainers", []))
            for problem in (*_of_container(container), *_secrets(container), *_amounts(container))
        ),
    ]


def _of_pod(spec: dict[str, Any]) -> list[str]:
    user = spec.get("securityContext", {})
    rules = {
        "root": user.get("runAsNonRoot") is True and user.get("runAsUser", 0) > 0,
        "no seccomp": user.get("seccompProfile") == {"type": "RuntimeDefault"},
        "account": spec.get("serviceAccountName") == "skin-worker",
        "token": spec.get("automountServiceAccountToken") is False,
        "service links": spec.get("enableServiceLinks") is False,
        "host": not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(),
        "volume": all(set(volume) - {"name"} <= VOLUMES for volume in spec["volumes"]),
        "endless volume": all(
            "sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume
        ),
    }
    return [name for name, kept in rules.items() if not kept]


def _of_container(container: dict[str, Any]) -> list[str]:
    context = container.get("securityContext", {})
    rules = {
        "may gain rights": context.get("allowPrivilegeEscalation") is False,
        "may write": context.get("readOnlyRootFilesystem") is True,
        "capabilities": context.get("capabilities") == {"drop": ["ALL"]},
        "privileged": not context.get("privileged"),
        "root": context.get("runAsUser", 1) > 0,
    }
    return [name for name, kept in rules.items() if not kept]


def _secrets(container: dict[str, Any]) -> list[str]:
    given = container.get("env", [])
    found = [
        entry["name"] for entry in given if plain_secret(entry["name"], entry.get("value", ""))
    ]
    found += [entry["name"] for entry in given if "secretKeyRef" in entry.get("valueFrom", {})]
    found += ["envFrom" for source in container.get("envFrom", []) if "secretRef" in source]
    return [f"secret in {name}" for name in found]


def plain_secret(name: str, value: str) -> bool:
    """Returns whether a value is a secret, or stands where one is expected."""
    if holds_secret(value):
        return True
    expected = SECRET_NAMES.search(name) and name not in PATHS
    return bool(expected and value not in {"", NOWHERE} and not value.startswith("http://skin-"))


def _amounts(container: dict[str, Any]) -> list[str]:
    resources = container.get("resources", {})
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    missing = [name for name in ("cpu", "memory", "ephemeral-storage") if not limits.get(name)]
    unequal = [name for name in limits if requests.get(name) != limits[name]]
    return [f"no limit of {name}" for name in missing] + [f"{name} unequal" for name in unequal]
