"""The settings of daily operation: schedules, approval, budget, scoring and monitoring."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from skin_pipeline.config.environment import Environment
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown

STARTERS = ("data", "drift", "labels")


class OperationsKnobs(Environment):
    """How an installation is operated. `Deployment` has these fields too."""

    schedule: str = Field(
        "@weekly",
        description="When Airflow starts `skin_training`: a cron expression, a preset, "
        "or empty for never.",
    )
    retrain_on: str = Field(
        "",
        description="What else starts `skin_training`, beside the schedule: some of `data` (new "
        "data was announced), `drift` (monitoring raised an alarm) and `labels` (labels came "
        "back), as `drift, labels`. What is not one of these starts nothing, and the page of the "
        "DAG says so.",
    )
    deadline_hours: float = Field(
        24,
        ge=0,
        le=10_000,
        description="Hours after which a run of `skin_training` that has not ended is reported as "
        "late; 0 for never.",
    )
    approval: Literal["never", "always", "first"] = Field(
        "never",
        description="Whether a person must approve a model that passed the gate before it is "
        "promoted: `never`, `always`, or `first` for the first version of a model only.",
    )
    approvers: str = Field(
        "",
        description="Users of Airflow who may approve, as `alice, bob`. Empty: all who may answer "
        "required actions of the DAG.",
    )
    approval_hours: float = Field(
        72,
        gt=0,
        le=10_000,
        description="Hours after which a model that nobody approved is rejected.",
    )
    budget_core_hours: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Core-hours that a run may be expected to take before a person is asked; 0 for "
        "no limit.",
    )
    scoring_source: str = Field(
        "",
        description="Folder or `s3://BUCKET/PREFIX` whose new images `skin_scoring` scores.",
    )
    scoring_site: str = Field(
        "",
        description="Site that these images are from, whose profile `skin_scoring` then uses; see "
        "`skin_site`. Empty: the version as it is.",
    )
    scoring_schedule: str = Field(
        "",
        description="When Airflow starts `skin_scoring`, like `SKIN_SCHEDULE`; empty for never.",
    )
    labels_source: str = Field(
        "",
        description="Folder or `s3://BUCKET/PREFIX` with the CSV files of labels that come back, "
        "which `skin_labels` reads.",
    )
    labels_schedule: str = Field(
        "",
        description="When Airflow starts `skin_labels`, like `SKIN_SCHEDULE`; empty for never.",
    )
    monitoring_schedule: str = Field(
        "@daily",
        description="When Airflow starts `skin_monitoring`, like `SKIN_SCHEDULE`.",
    )
    monitoring_share: float = Field(
        0,
        ge=0,
        lt=1,
        description="Share of malignant images among those that are scored, as far as it is known, "
        "such as 0.02; monitoring compares with validation images in this proportion. 0: with all "
        "of them.",
    )
    watch_schedule: str = Field(
        "@daily",
        description="When Airflow starts `skin_watch`, which verifies what all aliases name and "
        "sends alerts again that could not be sent; like `SKIN_SCHEDULE`.",
    )


class Retraining(NamedTuple):
    """What `SKIN_RETRAIN_ON` says: the known starters, each once, and what else it contains."""

    kinds: tuple[str, ...]
    unknown: tuple[str, ...]

    def check(self) -> None:
        """Raises `BadInput` if something is not known."""
        if self.unknown:
            raise BadInput(
                f"SKIN_RETRAIN_ON names {', '.join(map(shown, self.unknown))}, which starts "
                f"nothing. Give some of {', '.join(STARTERS)}, or nothing; what holds now: "
                f"{', '.join(self.kinds) or 'nothing'}"
            )


def retraining(text: str) -> Retraining:
    """Returns what the setting `retrain_on` means, in a fixed order."""
    words = dict.fromkeys(word.strip().casefold() for word in text.split(",") if word.strip())
    return Retraining(
        tuple(kind for kind in STARTERS if kind in words),
        tuple(word for word in words if word not in STARTERS),
    )
