"""What monitoring found out: the report of a model and a day."""

from __future__ import annotations

from pydantic import Field

from skin_pipeline.contracts.document import Contract, SafeText


def stream_of(model: str, site: str) -> str:
    """Returns what images are watched as: `MODEL`, or `MODEL@SITE` with the profile of a site."""
    return f"{model}@{site}" if site else model


class Band(Contract):
    """Where a value is in the reference: its mean, and the range of the middle 95 % of images."""

    mean: float
    low: float
    high: float


class WatchedDay(Contract):
    """The images that were scored on one day (in UTC).

    `malignant` counts those that were classified as malignant, `unreadable` those that have no
    probability, and `abstained` those with a probability and no decision. `means` are of the
    images with a probability, by the name of what is watched. `evidence` is the highest of the day:
    NaN for days before the evidence began anew.
    """

    day: str = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    images: int = Field(ge=0)
    unreadable: int = Field(ge=0)
    abstained: int = Field(ge=0)
    malignant: int = Field(ge=0)
    means: dict[str, float]
    evidence: float


class Moved(Contract):
    """Something that moved away from the reference.

    - `text` says in words what moved, and by how much.
    - `evidence` is its part in the evidence of all.
    - `since` is the day on which the change seems to have begun.
    - `images` were scored since then; `examples` are those that show the change most.
    """

    name: str
    text: SafeText
    evidence: float
    since: str
    images: int
    reference: float
    now: float
    examples: tuple[SafeText, ...]


class DriftReport(Contract):
    """Whether the images that a version scores are still like those that it was judged on.

    - `until` is when the last of the images was scored. `anew` is when an alarm was acknowledged,
      from when on evidence is counted; empty if from the version's first image.
    - `images` counts the images since then, and `reference_images` those of the reference.
    - `evidence` is what there is now, and `alarm` the bound; see `monitoring.evidence`.
    - `drifting` says whether there is an alarm, and `raised_on` on which day it was raised.
      `returned` says that there is none, and that enough images were seen to say so.
    - `site` is the site whose profile scored them, and `profile` its number; empty and 0 without.
    - `malignant_share` is the share of the reference that the version classifies as malignant.
    - `problem` is why nothing could be compared; empty if it could.
    """

    model: str
    version: str
    until: str
    anew: str = ""
    images: int = Field(ge=0)
    reference_images: int = Field(ge=0)
    evidence: float
    alarm: float
    drifting: bool
    returned: bool
    raised_on: str = ""
    moved: tuple[Moved, ...]
    days: tuple[WatchedDay, ...]
    bands: dict[str, Band]
    malignant_share: float
    problem: SafeText = ""
    site: str = ""
    profile: int = Field(0, ge=0)

    @property
    def stream(self) -> str:
        """What is watched: `MODEL`, or `MODEL@SITE`."""
        return stream_of(self.model, self.site)


class RetrainingAsked(Contract):
    """That monitoring asked for retraining, once for each alarm; `run` is the DAG run that did."""

    model: str
    version: str
    raised_on: str
    run: str
    at: str
