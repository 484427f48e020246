"""What the acting pages show of a version before an alias moves: figures, times, signature."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from skin_pipeline.contracts import Figures, Pointer
    from skin_pipeline.release import Model

log = logging.getLogger(__name__)
guard(__name__)


@dataclass(frozen=True)
class Standing:
    """A version, seen before an alias moves away from it or to it.

    Attributes:
        version: Its name.
        figures: Its figures on its test set; None if they cannot be read.
        report: The key of its report.
        periods: When the alias named it, newest first: from, and until ("" if it does now).
        signature: What is known of its signature.
        problem: Why it cannot be read.
    """

    version: str
    figures: Figures | None = None
    report: str = ""
    periods: tuple[tuple[str, str], ...] = ()
    signature: str = ""
    problem: str = ""


def standing(model: Model, version: str, moves: Sequence[Pointer]) -> Standing:
    """Returns what is known of a version.

    Args:
        model: Its model.
        version: Its name.
        moves: The moves of the alias, newest first.
    """
    from skin_pipeline.contracts import Evaluation, Verdict, load
    from skin_pipeline.errors import BadInput

    seen = {"periods": periods(version, moves), "signature": signature(model, version)}
    try:
        release = model.unverified.release(version)
        verdict = load(model.store, release.verdict, Verdict)
        evaluation = load(model.store, verdict.evaluation, Evaluation)
    except BadInput as error:
        return Standing(version, problem=str(error), **seen)  # type: ignore[arg-type]
    return Standing(version, evaluation.ensemble, verdict.report, **seen)  # type: ignore[arg-type]


def periods(version: str, moves: Sequence[Pointer]) -> tuple[tuple[str, str], ...]:
    """Returns when an alias named a version, newest first: from, and until ("" if it does now)."""
    found, until = [], ""
    for move in moves:
        if move.version == version:
            found.append((move.moved_at, until))
        until = move.moved_at
    return tuple(found)


def signature(model: Model, version: str) -> str:
    """Returns what is known of the signature of a version, in words."""
    from skin_pipeline.errors import BadInput
    from skin_pipeline.provenance import PUBLIC_KEY

    if not model.keys.public:
        signed = "signed" if model.is_signed(version) else "not signed"
        return f"{signed}; not verified, as {PUBLIC_KEY} is not set here"
    try:
        model.release(version)
    except BadInput as error:
        return str(error)
    return "signed with the trusted key"
