"""The manifest of a version, what an alias names, and a model's history."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from skin_pipeline.contracts.document import Contract, Interval

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


class Release(Contract):
    """Result of `promote`: the manifest of an immutable version, which aliases may name.

    `files` maps each file to its SHA-256. An image is classified as `labels[1]` if the model gives
    it a probability of at least `threshold`. `published_at` is empty in versions from before it was
    recorded.
    """

    model: ModelName
    version: Version
    verdict: Key
    synthetic: bool
    content_digest: Hex
    labels: tuple[Literal["benign"], Literal["malignant"]]  # which are `LABELS`
    threshold: float = Field(ge=0, le=1, allow_inf_nan=False)
    files: dict[FileName, Hex]
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
