"""Whether a version is worse in use than what it was released for: the alerts about performance.

for alarm in alarms(store, "skin-resnet50", deployment):
    alarm.subject, alarm.headline, alarm.text
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import expit, logit, ndtri
from scipy.stats import binomtest

from skin_pipeline.config import Deployment
from skin_pipeline.contracts import Interval, Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import UPPER, proportion
from skin_pipeline.monitoring.decisions import joined
from skin_pipeline.monitoring.performance import Real, measured
from skin_pipeline.release import Registry
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# An alarm is looked for again and again, so each look must be surer than one interval of 95 % is.
SURE = 0.999
FEWEST = 10  # images of a class with a label, before a version is judged by them


@dataclass(frozen=True)
class Alarm:
    """A version that is worse than what it was released for: the text of an alert."""

    subject: str
    model: str
    version: str
    headline: str
    text: tuple[str, ...]


def alarms(store: Store, model: str, deployment: Deployment) -> list[Alarm]:
    """Returns the versions whose sensitivity or specificity is surely below what they had to show.

    All labels of a version count together. The bound is the one of the gate (`min_sensitivity`,
    `min_specificity`) that the version was released by.
    """
    rows = joined(store, model)
    found = (_alarm(store, model, part, deployment) for _, part in rows.groupby("version"))
    return [alarm for alarm in found if alarm]


def watched(store: Store, model: str) -> list[str]:
    """Returns the subjects that an alarm may have, so that the others can be ended."""
    versions = joined(store, model)["version"].unique()
    return [subject_of(model, str(version)) for version in versions]


def subject_of(model: str, version: str) -> str:
    """Returns what an alarm about a version is about, always in the same words."""
    return f"performance {model} {version[:12]}"


def _alarm(store: Store, model: str, rows: pd.DataFrame, deployment: Deployment) -> Alarm | None:
    now, version = measured(rows), str(rows["version"].iloc[0])
    bounds = released_bounds(store, model, version, deployment)
    lines = [
        line
        for name, hits, total, adjusted in _judged(now)
        if (line := _below(name, hits, total, adjusted, bounds.get(f"min_{name}")))
    ]
    if not lines:
        return None
    return Alarm(
        subject=subject_of(model, version),
        model=model,
        version=version,
        headline=f"{model}: version {version[:12]} is worse in use than it had to be",
        text=(*lines, now.selection),
    )


def _judged(now: Real) -> Iterator[tuple[str, int, int, Interval]]:
    malignant = now.positive.malignant + now.negative.malignant
    benign = now.positive.benign + now.negative.benign
    yield "sensitivity", now.positive.malignant, malignant, now.adjusted_sensitivity
    yield "specificity", now.negative.benign, benign, now.adjusted_specificity


def _below(name: str, hits: int, total: int, adjusted: Interval, bound: float | None) -> str:
    """Returns in words that a figure is surely below its bound; "" if it is not sure."""
    if bound is None or total < FEWEST:
        return ""
    measured = binomtest(hits, total).proportion_ci(2 * SURE - 1, method="wilson")
    if min(float(measured.high), _highest(adjusted)) >= bound:
        return ""
    return (
        f"{name}: {proportion(hits, total)} of the images with a label, {adjusted} adjusted for "
        f"those without, where the release had to show {bound:.3f}"
    )


def _highest(figure: Interval) -> float:
    """Returns the upper end of a figure's interval for `SURE`, from its interval of 95 %."""
    if not math.isfinite(figure.high) or not 0 < figure.value < 1:
        return 1.0
    wider = ndtri(SURE) / ndtri(UPPER)
    value = logit(figure.value)
    return float(expit(value + wider * (logit(figure.high) - value)))


def released_bounds(
    store: Store, model: str, version: str, deployment: Deployment
) -> dict[str, float | None]:
    """Returns the bounds of the gate that a version was released by; none if it is gone."""
    try:
        release = Registry.of(store, deployment).model(model).unverified.release(version)
        settings = load(store, release.verdict, Verdict).settings
    except BadInput as problem:
        log.warning('bounds_not_known model=%s version=%s problem="%s"', model, version, problem)
        return {}
    return {name: settings.get(name) for name in ("min_sensitivity", "min_specificity")}
