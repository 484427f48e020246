"""Whether the images that a version scores have moved away from its reference, day by day.

    course = follow(rows, reference, alarm=600)
    course.drifting, course.moved

All of it is computed anew from the log of scores each time: a run that is repeated counts nothing
twice, and there is no state that could be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from skin_pipeline.contracts import Band, Moved, WatchedDay
from skin_pipeline.monitoring import watched
from skin_pipeline.monitoring.evidence import Feature, Floats, Watch
from skin_pipeline.monitoring.reference import Reference
from skin_pipeline.monitoring.wording import Change, told
from skin_pipeline.progress import reported

# An alarm by mistake within a month of thirty days with images: 30 / ALARM, which is 5 %, at most.
ALARM = 600.0
ENOUGH = 200  # images without an alarm, after which a drift is over that was acknowledged
MOST_MOVED = 6  # things that are named
EXAMPLES = 5  # images that are named for each
PART = 0.02  # of the evidence: what has less is not named


@dataclass(frozen=True)
class Course:
    """What was found in the images of a version, until now.

    Attributes:
        days: The days with images, in order.
        images: How many images count as evidence.
        evidence: What there is now.
        drifting: Whether there is an alarm.
        raised_on: The day on which it was raised; "" if there is none.
        was_raised: Whether there has been an alarm, which may have ended.
        moved: What moved, the clearest first; empty while there is no alarm.
    """

    days: tuple[WatchedDay, ...]
    images: int
    evidence: float
    drifting: bool
    raised_on: str
    was_raised: bool
    moved: tuple[Moved, ...]

    @property
    def returned(self) -> bool:
        """Whether enough images were seen without an alarm to say that there is no drift."""
        return not self.drifting and (self.was_raised or self.images >= ENOUGH)


class _Day(NamedTuple):
    """The images of a day, with what is watched of them (features, n)."""

    day: str
    rows: pd.DataFrame
    values: Floats


def follow(
    rows: pd.DataFrame, reference: Reference, *, anew: str = "", alarm: float = ALARM
) -> Course:
    """Follows the images of a version, from the first to the last.

    Args:
        rows: Rows of the log, of one version, in any order; an image that is there twice counts
            once.
        reference: The reference of the version.
        anew: From when on evidence is counted; "" for all of it.
        alarm: The evidence from which there is an alarm.
    """
    features = watched.features(reference)
    watch, counted, days, raised_on, was = Watch(features, alarm), [], [], "", False
    dimensions = reference.embedding.shape[1]
    for day in _days(ordered(rows), features, dimensions):
        new = _after(day, anew)
        highest = float("nan")
        if len(new.rows):
            course = watch.add(new.values, _ties(new, len(features)))
            highest = float(course.max(initial=0.0))
            counted.append(new)
        raised_on = (raised_on or day.day) if watch.raised else ""
        was = was or watch.raised
        days.append(_figures(day, features, highest))
    images = sum(len(day.rows) for day in counted)
    moved = _moved(watch, counted, reference) if watch.raised else ()
    return Course(tuple(days), images, watch.evidence, watch.raised, raised_on, was, moved)


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows by day, those of one day in the order of their digests; no image twice.

    Within a day, the order in which images were scored says nothing. By digest, images of one
    patient do not follow each other.
    """
    name = rows["digest"].where(rows["digest"].fillna("") != "", rows["image"]).fillna("")
    made = rows.assign(name=name, day=rows["scored_at"].dt.strftime("%Y-%m-%d"))
    made = made.sort_values(["scored_at", "name"], kind="stable").drop_duplicates("name")
    return made.sort_values(["day", "name"], kind="stable", ignore_index=True)


def _days(rows: pd.DataFrame, features: list[Feature], dimensions: int) -> Iterator[_Day]:
    days = rows.groupby("day", sort=True)
    for day, part in reported(days, "days judged", len(days)):
        found = watched.values_of(part, dimensions)
        yield _Day(str(day), part, np.stack([found[feature.name] for feature in features]))


def _after(day: _Day, anew: str) -> _Day:
    if not anew:
        return day
    later = (day.rows["scored_at"] > pd.Timestamp(anew)).to_numpy()
    return _Day(day.day, day.rows[later], day.values[:, later])


def _ties(day: _Day, count: int) -> Floats:
    return watched.ties(day.rows["name"].tolist(), count)


def _figures(day: _Day, features: list[Feature], evidence: float) -> WatchedDay:
    scored = day.rows["probability"].notna()
    means = {
        feature.name: float(values[np.isfinite(values)].mean())
        for feature, values in zip(features, day.values, strict=True)
        if feature.ranked and np.isfinite(values).any()
    }
    return WatchedDay(
        day=day.day,
        images=len(day.rows),
        unreadable=int((~scored).sum()),
        abstained=int((day.rows["abstained"].fillna(False).astype(bool) & scored).sum()),
        malignant=int((day.rows["label"] == "malignant").sum()),
        means=means,
        evidence=evidence,
    )


def bands(reference: Reference) -> dict[str, Band]:
    """Returns where each thing that is watched lies in the reference."""
    found = {item.name: item.reference for item in watched.features(reference) if item.ranked}
    return {name: _band(values) for name, values in found.items()}


def _band(values: Floats) -> Band:
    low, high = np.quantile(values, [0.025, 0.975])
    return Band(mean=float(values.mean()), low=float(low), high=float(high))


# --- what moved ----------------------------------------------------------------------------------


def _moved(watch: Watch, days: list[_Day], reference: Reference) -> tuple[Moved, ...]:
    """Returns what moved, the clearest first."""
    parts = watch.of_features
    order = [int(n) for n in np.argsort(-parts) if parts[n] >= PART * parts.sum()]
    return tuple(_one(watch, number, days, reference) for number in order[:MOST_MOVED])


def _one(watch: Watch, number: int, days: list[_Day], reference: Reference) -> Moved:
    feature = watch.features[number]
    since = days[watch.since(number) :]
    values = np.concatenate([day.values[number] for day in since])
    names = np.concatenate([day.rows["image"].to_numpy(object) for day in since])
    there = np.isfinite(values)
    values, names = values[there], names[there]
    threshold = reference.threshold if feature.name == "malignant" else None
    change = Change.between(feature.name, feature.reference, values, threshold)
    return Moved(
        name=feature.name,
        text=told(change),
        evidence=float(watch.of_features[number]),
        since=since[0].day,
        images=len(values),
        reference=change.before,
        now=change.now,
        examples=tuple(str(name) for name in names[_clearest(change, values)]),
    )


def _clearest(change: Change, values: Floats) -> list[int]:
    """Returns the places of the images that show a change most."""
    shown = np.abs(values - change.before) if change.wider else change.direction * values
    return [int(place) for place in np.argsort(-shown, kind="stable")[:EXAMPLES]]
