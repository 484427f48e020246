"""Where tasks run: the queue, the executor and the pod of each step.

placement("train", queues="train=gpu", executors="", known=["train", "gate"])
# {"queue": "gpu"}
pod_of("train", resources="train=gpu:1, *=cpu:1 memory:4Gi disk:20Gi", known=["train", "gate"]).gpu
# 1
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field, field_validator

from skin_pipeline.config.environment import EVERY, pairs
from skin_pipeline.config.operations import OperationsKnobs
from skin_pipeline.config.pods import Pod, pods
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown


class PlacementKnobs(OperationsKnobs):
    """Where the tasks of an installation run. `Deployment` has these fields too."""

    queues: str = Field(
        "",
        description="Celery queues of steps, as `features=gpu, train=gpu, *=default`; `*` is for "
        "the steps that are not named. A queue needs a worker that listens to it (`airflow celery "
        "worker --queues gpu`). Empty: Airflow's default queue for all.",
    )
    executors: str = Field(
        "",
        description="Airflow executors of steps, as `train=KubernetesExecutor`, where "
        "`AIRFLOW__CORE__EXECUTOR` names several. Empty: the first of them for all.",
    )

    resources: str = Field(
        "",
        description="What the pods of steps get where the KubernetesExecutor runs them, as "
        "`features=gpu:1 node:pool=gpu tolerate:nvidia.com/gpu, *=cpu:1 memory:4Gi disk:20Gi`: "
        "`cpu`, `memory`, `disk` (each both asked for and the most), `gpu`, `image`, and as often "
        "as needed `node:LABEL=VALUE` and `tolerate:TAINT`. What a step does not name it gets from "
        "`*`. Empty: what the pod template says.",
    )

    @field_validator("queues", "executors")
    @classmethod
    def _name_steps(cls, text: str) -> str:
        pairs(text)
        return text

    @field_validator("resources")
    @classmethod
    def _bound_pods(cls, text: str) -> str:
        pods(text)
        return text


def placement(step: str, queues: str, executors: str, known: Collection[str]) -> dict[str, str]:
    """Returns where a step runs, as options of Airflow's `@task`; without what nothing is set for.

    Args:
        step: The step.
        queues: The setting of this name.
        executors: The setting of this name.
        known: The names of all steps there are.

    Raises:
        BadInput: A setting names a step that there is not; it may be misspelt.
    """
    found = {}
    for option, setting, text in (
        ("queue", "SKIN_QUEUES", queues),
        ("executor", "SKIN_EXECUTORS", executors),
    ):
        given = pairs(text)
        _check(setting, given, known)
        if name := given.get(step, given.get(EVERY, "")):
            found[option] = name
    return found


def pod_of(step: str, resources: str, known: Collection[str]) -> Pod | None:
    """Returns what the pod of a step is given, or None where nothing is set for it.

    Args:
        step: The step.
        resources: The setting of this name.
        known: The names of all steps there are.

    Raises:
        BadInput: The setting names a step that there is not; it may be misspelt.
    """
    given = pods(resources)
    _check("SKIN_RESOURCES", given, known)
    return given.get(step, given.get(EVERY))


def _check(setting: str, given: Collection[str], known: Collection[str]) -> None:
    if unknown := [name for name in given if name not in known and name != EVERY]:
        raise BadInput(
            f"{setting} names {', '.join(map(shown, unknown))}, which is no step. There are: "
            f"{', '.join(known)}"
        )
