"""The manifest of a version, what an alias names, a model's history, and profiles of sites."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from skin_pipeline.contracts.document import Address, Contract, Interval, SafeText
from skin_pipeline.contracts.evaluation import Abstention

CHAMPION = "champion"  # the alias that names the version in use

# An attacker who can write to the store may put a manifest there, beside another model. So each
# field of a manifest has a pattern that no markup, formula or line feed matches.
SHA256 = r"^(?:[0-9a-f]{64})?$"


def _like(pattern: str) -> Any:
    return Field(pattern=rf"^(?:{pattern})$")


Key = Annotated[str, _like(r"[0-9A-Za-z][0-9A-Za-z_./-]{0,500}")]


ModelName = Annotated[str, _like(r"[a-z0-9][a-z0-9-]{0,99}")]


Version = Annotated[str, _like(r"[0-9a-f]{0,64}")]  # empty until it is known


Hex = Annotated[str, _like(r"[0-9a-f]{1,64}")]


FileName = Annotated[str, _like(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,99}")]


Moment = Annotated[str, _like(r"[0-9TZ:.+-]{0,40}")]


SITE_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,48}$"


SiteName = Annotated[str, Field(pattern=SITE_PATTERN)]


class Release(Contract):
    """Result of `promote`: the manifest of an immutable version, which aliases may name.

    `files` maps each file to its SHA-256. An image is classified as `labels[1]` if the model gives
    it a probability of at least `threshold`, unless the model abstains. `published_at` is empty in
    versions from before it was recorded.
    """

    model: ModelName
    version: Version
    verdict: Key
    synthetic: bool
    content_digest: Hex
    labels: tuple[Literal["benign"], Literal["malignant"]]  # which are `LABELS`
    threshold: float = Field(ge=0, le=1, allow_inf_nan=False)
    files: dict[FileName, Hex]
    abstention: Abstention = Abstention()
    published_at: Moment = ""


class Pointer(Contract):
    """The document of an alias: `models/<name>/<alias>.json`, of which `champion.json` is one.

    It names a version, and describes the move that made it:

    - `previous` is the version before, and `rollback` is true if a person moved the alias back.
    - `number` counts the alias's moves from 1; it is 0 for moves from before they were counted.
    - `previous_sha256` is the digest of the document of the move before. It is empty in the first
      move, and in moves from before they were chained.
    - `history_sha256`, where it is not empty, is the digest of all moves before this one: the
      signature of this one then covers them, too.
    - `signature` is that of this document without its signature, in hex. `store` is then the name
      of the store that it was made for, so that it is worth nothing in another one.
    """

    model: str
    version: str
    previous: str | None
    moved_at: str
    by: str
    reason: str
    alias: str = CHAMPION
    number: int = Field(0, ge=0)
    rollback: bool = False
    previous_sha256: str = Field("", pattern=SHA256)
    history_sha256: str = Field("", pattern=SHA256)
    store: str = Field("", pattern=r"^[0-9a-f]{0,64}$")
    signature: str = Field("", pattern=r"^[0-9a-f]{0,512}$")


class Judgement(Contract):
    """One line of a model's history: a run that ended with a verdict."""

    model: str
    run: str
    judged_at: str
    approved: bool
    version: str | None
    reasons: tuple[str, ...]
    accuracy: Interval
    sensitivity: Interval
    auc: Interval
    report: str
    docs: str = ""


class SiteScores(Contract):
    """What a version says of labelled images of a site, before any profile is fitted to it.

    - `dataset` is the key of the images, and `scores` that of a CSV: `key`, `label`, `group`,
      `sha256`, `probability`. An image's group is its patient, or else its lesion, or else itself.
    - `unreadable` images were quarantined, and `known` ones left out, since the version's own data
      contains them, too.
    - `images_sha256` is the digest of the images, labels and groups that are in the table.
    """

    model: ModelName
    version: Version
    model_sha256: Hex
    source: Address
    dataset: Key
    scores: Key
    images: int = Field(ge=0)
    unreadable: int = Field(ge=0)
    known: int = Field(ge=0)
    images_sha256: Hex


class SiteFigures(Contract):
    """What is reached on new images of a site, with 95 % intervals; all in 0…1."""

    sensitivity: Interval
    specificity: Interval
    brier: Interval
    calibration_error: Interval


class SiteProfile(Contract):
    """The operating point of a version at one site, from labelled images of it.

    The probability there is `expit(intercept + slope * logit(p))` of the version's probability p,
    and an image is classified as malignant from `threshold` on.

    - `number` counts the profiles of the site from 1, and `previous_sha256` is the digest of the
      one before; a new one never replaces its document.
    - `target_sensitivity` and `threshold_by` say how the threshold was set.
    - `malignant` and `benign` count images, `malignant_patients` and `benign_patients` the patients
      that have such images (or lesions, or images, where patients are not known).
    - `after` is what the profile will reach on new images of the site, and `before` what the
      version reaches there with its own probabilities and threshold.
    - `needed_malignant` and `needed_benign` are about how many patients it takes until sensitivity
      and specificity are known to `width` in both directions.
    - `scores` is the key of the `SiteScores` that it was fitted to.
    - `signature` is that of this document without its signature, in hex, and `store` the name of
      the store that it was made for, as in `Pointer`.
    """

    model: ModelName
    version: Version
    model_sha256: Hex
    site: SiteName
    number: int = Field(ge=1)
    previous_sha256: str = Field("", pattern=SHA256)
    intercept: float = Field(allow_inf_nan=False)
    slope: float = Field(gt=0, allow_inf_nan=False)
    threshold: float = Field(ge=0, le=1, allow_inf_nan=False)
    target_sensitivity: float = Field(gt=0, lt=1)
    threshold_by: Literal["point", "lower_bound", "guaranteed"]
    malignant: int = Field(ge=0)
    benign: int = Field(ge=0)
    malignant_patients: int = Field(ge=0)
    benign_patients: int = Field(ge=0)
    unreadable: int = Field(ge=0)
    known: int = Field(ge=0)
    auc: Interval
    before: SiteFigures
    after: SiteFigures
    width: float = Field(gt=0, lt=1)
    needed_malignant: int = Field(ge=0)
    needed_benign: int = Field(ge=0)
    source: Address
    dataset: Key
    scores: Key
    images_sha256: Hex
    made_at: Moment
    by: SafeText
    store: str = Field("", pattern=r"^[0-9a-f]{0,64}$")
    signature: str = Field("", pattern=r"^[0-9a-f]{0,512}$")

    @property
    def images(self) -> int:
        """How many labelled images it was fitted to."""
        return self.malignant + self.benign
