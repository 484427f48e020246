"""The reports of monitoring: one for each model and state of its log of scores.

    key, report = make(store, registry.model("skin-resnet50"))
    latest(store, "skin-resnet50")          # what the page shows

```
monitoring/<model>/reports/<time of the last image>-<digest>.json
monitoring/<model>/current                              the key of the report that was made last
monitoring/<model>/retraining/<version>-<day>.json      retraining was asked for, once an alarm
```

A report is named by what it is made from, so making it again gives the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pandas as pd

from skin_pipeline.contracts import (
    CHAMPION,
    Batch,
    DriftReport,
    RetrainingAsked,
    address,
    dump,
    parse,
    stamp,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.monitoring import drift, score_log, watched
from skin_pipeline.monitoring import reference as references
from skin_pipeline.monitoring.reference import FOLDER, Reference
from skin_pipeline.release import Model
from skin_pipeline.storage import Store, update

log = logging.getLogger(__name__)

VERSION = 1  # raised when the same log gives another report


def models(store: Store) -> list[str]:
    """Returns the names of all models that scored anything, sorted."""
    return sorted({key.split("/")[1] for key in store.list(score_log.FOLDER)})


def make(
    store: Store,
    model: Model,
    *,
    anew: str = "",
    share: float = 0.0,
    alarm: float = drift.ALARM,
) -> tuple[str, DriftReport] | None:
    """Makes and writes the report of a model. Returns its key and itself; None without scores.

    Args:
        store: The store.
        model: A model of the registry, whose keys say what must be signed.
        anew: When the last alarm was acknowledged; "" if none was.
        share: The share of malignant images that is expected; 0 for that of the reference.
        alarm: The evidence from which there is an alarm.

    Raises:
        BadInput: The log or the reference is damaged.
    """
    batches = list(score_log.batches(store, model.name))
    if not batches:
        return None
    version = _version(model, batches)
    mine = [batch for batch in batches if batch.version == version]
    rows = _rows(store, mine)
    if rows.empty:
        return None
    until = rows["scored_at"].max().isoformat()
    since = anew if anew and pd.Timestamp(anew) >= rows["scored_at"].min() else ""
    made_of = {
        **{"version": version, "code": VERSION, "anew": since, "share": share, "alarm": alarm},
        "scores": sorted(key for batch in mine for key in batch.scores),
    }
    key = f"{_folder(model.name)}/{stamp(until)}-{address(made_of)}.json"
    found = store.tagged(key)
    if found is None:
        report = _report(store, model, version, rows, until, since, share, alarm)
        store.put(key, dump(report))
        found = dump(report), ""
    _point(store, model.name, key)
    return key, parse(found[0], DriftReport, key)


def latest(store: Store, model: str) -> DriftReport | None:
    """Returns the report that was made last of a model; None if there is none.

    Raises:
        BadInput: It is damaged.
    """
    found = store.tagged(_current(model))
    if found is None:
        return None
    key = found[0].decode()
    return parse(store.read(key), DriftReport, key)


def _point(store: Store, model: str, key: str) -> None:
    """Remembers which report was made last. On one image, reports differ by what they ask."""
    named = key.encode()
    update(store, _current(model), lambda now: None if now == named else named)


def _current(model: str) -> str:
    return f"{FOLDER}/{model}/current"


def asks(store: Store, report: DriftReport, run: str, at: str) -> bool:
    """Returns whether a run asks for retraining: the first one that sees an alarm does.

    Each try of this run asks, since an earlier try may have failed before anybody heard of it.
    """
    if not report.drifting:
        return False
    key = f"{FOLDER}/{report.model}/retraining/{report.version}-{report.raised_on}.json"
    about = {"model": report.model, "version": report.version, "raised_on": report.raised_on}
    store.put(key, dump(RetrainingAsked(**about, run=run, at=at)))
    return parse(store.read(key), RetrainingAsked, key).run == run


def said(report: DriftReport) -> str:
    """Returns the outcome in a sentence, for the last line of a log and the head of an alert."""
    if report.problem:
        return f"nothing was compared: {report.problem}"
    about = f"evidence {report.evidence:.3g} of {report.alarm:g} after {report.images} images"
    if not report.drifting:
        return f"no drift of {report.model}: {about}"
    what = "; ".join(item.text for item in report.moved[:2])
    return f"drift of {report.model} since {report.moved[0].since}: {what} ({about})"


def lines(report: DriftReport) -> Iterator[str]:
    """Yields what moved, a line each: since when, how sure it is, and examples."""
    for item in report.moved:
        yield (
            f"{item.text[0].upper()}{item.text[1:]}, since {item.since} ({item.images} images). "
            f"Examples: {', '.join(item.examples)}."
        )


def _folder(model: str) -> str:
    return f"{FOLDER}/{model}/reports"


def _version(model: Model, newest_first: list[Batch]) -> str:
    """Returns the version that is watched: the champion if it scored anything, else the one that
    scored last."""
    pointer = model.pointer(CHAMPION)
    scored = {batch.version for batch in newest_first}
    if pointer and pointer.version in scored:
        return pointer.version
    return newest_first[0].version


def _rows(store: Store, batches: list[Batch]) -> pd.DataFrame:
    keys = dict.fromkeys(key for batch in reversed(batches) for key in batch.scores)
    parts = [score_log.read(store, key) for key in keys]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _report(
    store: Store,
    model: Model,
    version: str,
    rows: pd.DataFrame,
    until: str,
    anew: str,
    share: float,
    alarm: float,
) -> DriftReport:
    try:
        reference = references.of(store, model, version)
    except BadInput as error:
        log.warning("reference_missing model=%s version=%s", model.name, version)
        return _without_reference(model.name, version, rows, until, alarm, str(error))
    reference = watched.at_share(reference, share)
    course = drift.follow(rows, reference, anew=anew, alarm=alarm)
    return DriftReport(
        model=model.name,
        version=version,
        until=until,
        anew=anew,
        images=course.images,
        reference_images=len(reference),
        evidence=course.evidence,
        alarm=alarm,
        drifting=course.drifting,
        returned=course.returned,
        raised_on=course.raised_on,
        moved=course.moved,
        days=course.days,
        bands=drift.bands(reference),
        malignant_share=_malignant_share(reference),
    )


def _malignant_share(reference: Reference) -> float:
    return float((reference.probability >= reference.threshold).mean())


def _without_reference(
    model: str, version: str, rows: pd.DataFrame, until: str, alarm: float, problem: str
) -> DriftReport:
    nothing = float("nan")
    return DriftReport(
        model=model,
        version=version,
        until=until,
        images=len(rows),
        reference_images=0,
        evidence=nothing,
        alarm=alarm,
        drifting=False,
        returned=False,
        moved=(),
        days=(),
        bands={},
        malignant_share=nothing,
        problem=problem,
    )
