"""Where tasks run: the queue and the executor of each step.

placement("train", queues="train=gpu", executors="", known=["train", "gate"])
# {"queue": "gpu"}
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import Field, field_validator

from skin_pipeline.config.environment import parts
from skin_pipeline.config.operations import OperationsKnobs
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown

EVERY = "*"  # stands for the steps that are not named


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

    @field_validator("queues", "executors")
    @classmethod
    def _name_steps(cls, text: str) -> str:
        pairs(text)
        return text


def pairs(text: str) -> dict[str, str]:
    """Returns what a setting such as `train=gpu, *=default` gives to each step.

    Raises:
        ValueError: A part is not of the form `STEP=NAME`, or a step is named twice.
    """
    found: dict[str, str] = {}
    for part in parts(text):
        step, sign, name = (piece.strip() for piece in part.partition("="))
        if not (step and sign and name):
            raise ValueError(f"each part must be STEP=NAME, which {part!r} is not")
        if step in found:
            raise ValueError(f"the step {step!r} is named twice")
        found[step] = name
    return found


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
        if unknown := [name for name in given if name not in known and name != EVERY]:
            raise BadInput(
                f"{setting} names {', '.join(map(shown, unknown))}, which is no step. There are: "
                f"{', '.join(known)}"
            )
        if name := given.get(step, given.get(EVERY, "")):
            found[option] = name
    return found
