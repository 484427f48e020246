"""The reports of monitoring: one for each stream of images and state of its log of scores.

A stream is a model, or a model at a site, `MODEL@SITE`: what was scored with the profile of a site
is compared with the labelled images of that site.

    key, report = make(store, registry.model("skin-resnet50"))
    key, report = make(store, registry.model("skin-resnet50"), "clinic-b")
    latest(store, "skin-resnet50@clinic-b")          # what the page shows

```
monitoring/<model>/reports/<time of the last image>-<digest>.json
monitoring/<model>/current                              the key of the report that was made last
monitoring/<model>/current-<site>                       the same at a site
monitoring/<model>/retraining/<version>-<day>.json      retraining was asked for, once an alarm
```

A report is named by what it is made from, so making it again gives the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pandas as pd

from skin_pipeline import progress
from skin_pipeline.contracts import (
    CHAMPION,
    Batch,
    DriftReport,
    RetrainingAsked,
    address,
    dump,
    parse,
    stamp,
    stream_of,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.monitoring import drift, score_log, site_reference, watched
from skin_pipeline.monitoring import reference as references
from skin_pipeline.monitoring.reference import FOLDER, Reference
from skin_pipeline.release import Model, sites
from skin_pipeline.storage import Store, update

log = logging.getLogger(__name__)

CURRENT = "current"
VERSION = 1  # raised when the same log gives another report


def models(store: Store) -> list[str]:
    """Returns the names of all models that scored anything, sorted."""
    return sorted({key.split("/")[1] for key in store.list(score_log.FOLDER)})


def streams(store: Store) -> list[str]:
    """Returns all streams that were scored, sorted: `MODEL`, `MODEL@SITE`.

    A model whose log is damaged is one of them, so that `make` reports it.
    """
    return sorted(stream for model in models(store) for stream in _streams_of(store, model))


def _streams_of(store: Store, model: str) -> set[str]:
    try:
        scored = {batch.site for batch in score_log.batches(store, model)}
    except BadInput:
        return {model}
    return {stream_of(model, site) for site in scored or {""}}


def reported(store: Store) -> list[str]:
    """Returns the streams that have a report, sorted; no batch is read for it."""
    found = []
    for key in store.list(FOLDER):
        _, model, name, *below = key.split("/")
        if not below and name.startswith(CURRENT):
            _, _, site = name.partition("-")
            found.append(stream_of(model, site))
    return sorted(found)


def parted(stream: str) -> tuple[str, str]:
    """Returns the model and the site of a stream; the site is "" without one."""
    model, _, site = stream.partition("@")
    return model, site


def make(
    store: Store,
    model: Model,
    site: str = "",
    *,
    anew: str = "",
    share: float = 0.0,
    alarm: float = drift.ALARM,
) -> tuple[str, DriftReport] | None:
    """Makes and writes the report of a stream. Returns its key and itself; None without scores.

    Args:
        store: The store.
        model: A model of the registry, whose keys say what must be signed.
        site: The site with whose profile images were scored; "" for those without.
        anew: When the last alarm was acknowledged; "" if none was.
        share: The share of malignant images that is expected; 0 for that of the reference.
        alarm: The evidence from which there is an alarm.

    Raises:
        BadInput: The log or the reference is damaged.
    """
    batches = [batch for batch in score_log.batches(store, model.name) if batch.site == site]
    if not batches:
        return None
    version = _version(model, batches)
    mine = [batch for batch in batches if batch.version == version]
    profile = max(batch.profile for batch in mine)
    mine = [batch for batch in mine if batch.profile == profile]
    rows = _rows(store, mine)
    if rows.empty:
        return None
    until = rows["scored_at"].max().isoformat()
    since = anew if anew and pd.Timestamp(anew) >= rows["scored_at"].min() else ""
    made_of = {
        **{"version": version, "code": VERSION, "anew": since, "share": share, "alarm": alarm},
        "scores": sorted(key for batch in mine for key in batch.scores),
        **({"site": site, "profile": profile} if site else {}),
    }
    key = f"{_folder(model.name)}/{stamp(until)}-{address(made_of)}.json"
    found = store.tagged(key)
    if found is None:
        about = {"version": version, "until": until, "alarm": alarm}
        about |= {"model": model.name, "site": site, "profile": profile}
        report = _report(store, model, about, rows, since, share)
        store.put(key, dump(report))
        found = dump(report), ""
    _point(store, stream_of(model.name, site), key)
    return key, parse(found[0], DriftReport, key)


def latest(store: Store, stream: str) -> DriftReport | None:
    """Returns the report that was made last of a stream; None if there is none.

    Raises:
        BadInput: It is damaged.
    """
    found = store.tagged(_current(stream))
    if found is None:
        return None
    key = found[0].decode()
    return parse(store.read(key), DriftReport, key)


def _point(store: Store, stream: str, key: str) -> None:
    """Remembers which report was made last. On one image, reports differ by what they ask."""
    named = key.encode()
    update(store, _current(stream), lambda now: None if now == named else named)


def _current(stream: str) -> str:
    model, site = parted(stream)
    return f"{FOLDER}/{model}/{CURRENT}{f'-{site}' if site else ''}"


def asks(store: Store, report: DriftReport, run: str, at: str) -> bool:
    """Returns whether a run asks for retraining: the first one that sees an alarm does.

    Each try of this run asks, since an earlier try may have failed before anybody heard of it.
    """
    if not report.drifting:
        return False
    place = f"-{report.site}" if report.site else ""
    name = f"{report.version}-{report.raised_on}{place}.json"
    key = f"{FOLDER}/{report.model}/retraining/{name}"
    about = {"model": report.model, "version": report.version, "raised_on": report.raised_on}
    store.put(key, dump(RetrainingAsked(**about, run=run, at=at)))
    return parse(store.read(key), RetrainingAsked, key).run == run


def said(report: DriftReport) -> str:
    """Returns the outcome in a sentence, for the last line of a log and the head of an alert."""
    if report.problem:
        return f"nothing was compared: {report.problem}"
    about = f"evidence {report.evidence:.3g} of {report.alarm:g} after {report.images} images"
    if not report.drifting:
        return f"no drift of {report.stream}: {about}"
    what = "; ".join(item.text for item in report.moved[:2])
    return f"drift of {report.stream} since {report.moved[0].since}: {what} ({about})"


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
    told = progress.reported(keys, "tables read", len(keys))
    parts = [score_log.read(store, key) for key in told]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _report(
    store: Store,
    model: Model,
    about: dict[str, Any],
    rows: pd.DataFrame,
    anew: str,
    share: float,
) -> DriftReport:
    try:
        reference = watched.at_share(_reference(store, model, about), share)
    except BadInput as error:
        log.warning("reference_missing model=%s version=%s", model.name, about["version"])
        return _without_reference(about, rows, str(error))
    course = drift.follow(rows, reference, anew=anew, alarm=about["alarm"])
    return DriftReport(
        **about,
        anew=anew,
        images=course.images,
        reference_images=len(reference),
        evidence=course.evidence,
        drifting=course.drifting,
        returned=course.returned,
        raised_on=course.raised_on,
        moved=course.moved,
        days=course.days,
        bands=drift.bands(reference),
        malignant_share=_malignant_share(reference),
    )


def _reference(store: Store, model: Model, about: dict[str, Any]) -> Reference:
    """Returns what images are compared with: of the version, or of the profile of a site."""
    if not about["site"]:
        return references.of(store, model, about["version"])
    known = sites.Profiles.of(model, about["version"])
    return site_reference.of(store, model, known.read(about["site"], about["profile"]))


def _malignant_share(reference: Reference) -> float:
    return float((reference.probability >= reference.threshold).mean())


def _without_reference(about: dict[str, Any], rows: pd.DataFrame, problem: str) -> DriftReport:
    nothing = float("nan")
    return DriftReport(
        **about,
        images=len(rows),
        reference_images=0,
        evidence=nothing,
        drifting=False,
        returned=False,
        moved=(),
        days=(),
        bands={},
        malignant_share=nothing,
        problem=problem,
    )
