"""Figures of daily operation, sent where Airflow sends its own metrics: OpenTelemetry or StatsD.

    skin_metrics.result(job, key, cost)             # each result of a step; see `Job.observe`
    skin_metrics.scored(store, batch)               # the key of each batch of scoring
    skin_metrics.drift("skin-resnet50", {"blur": 0.2}, alarm=False)
    skin_metrics.alert("drift")

`METRICS` lists all of them; docs/operating.md says what they mean. Without `[metrics]` in Airflow's
configuration nothing is counted. A metric that cannot be sent fails nothing.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

from airflow.sdk.configuration import conf

from skin_pipeline.foreign import guard, line

if TYPE_CHECKING:
    from skin_pipeline.contracts import Cost, Verdict
    from skin_pipeline.job import Job
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

Given = ParamSpec("Given")
COUNTER, GAUGE = "counter", "gauge"
FIGURES = ("accuracy", "sensitivity", "specificity", "auc")


class Metric(NamedTuple):
    """What a metric is: its kind, its labels, and what it says."""

    kind: str
    labels: tuple[str, ...]
    about: str


# Names and labels stay as they are: dashboards and alarms of others depend on them.
METRICS = {
    "skin.results": Metric(
        COUNTER, ("step", "origin"), "Results of steps: `made`, or `found` from an earlier run."
    ),
    "skin.step.wall_milliseconds": Metric(COUNTER, ("step",), "Wall time of what was made."),
    "skin.step.core_milliseconds": Metric(COUNTER, ("step",), "CPU time of what was made."),
    "skin.step.memory_mib": Metric(GAUGE, ("step",), "Most memory of the last result's process."),
    "skin.store.read_bytes": Metric(COUNTER, ("step",), "Bytes that were read from the store."),
    "skin.store.written_bytes": Metric(COUNTER, ("step",), "Bytes that were written to the store."),
    "skin.activations": Metric(
        COUNTER, ("origin",), "Activations: `cached`, or `computed` because they were not."
    ),
    "skin.data.images": Metric(GAUGE, ("model", "kind"), "Images: `benign`, `malignant`."),
    "skin.data.unreadable": Metric(GAUGE, ("model",), "Images that were quarantined."),
    "skin.data.failed_checks": Metric(
        GAUGE, ("model", "severity"), "Checks of the data that failed, by severity."
    ),
    "skin.verdicts": Metric(COUNTER, ("model", "verdict"), "Verdicts: `approved`, `refused`."),
    "skin.judged.figure": Metric(
        GAUGE,
        ("model", "figure", "end"),
        f"Figures of the last judged run: {', '.join(f'`{name}`' for name in FIGURES)}; `end` is "
        "`value`, `low` or `high`.",
    ),
    "skin.run.core_seconds": Metric(GAUGE, ("model",), "CPU time of the last run to its verdict."),
    "skin.versions.promoted": Metric(COUNTER, ("model",), "Versions that became the champion."),
    "skin.scoring.images": Metric(
        COUNTER, ("model", "alias", "outcome"), "Images: `scored`, `unreadable`, `known`."
    ),
    "skin.drift.evidence": Metric(
        GAUGE, ("model", "signal"), "Evidence for drift; an alarm is raised at 1."
    ),
    "skin.drift.alarm": Metric(GAUGE, ("model",), "1 while there is an alarm, else 0."),
    "skin.alerts": Metric(COUNTER, ("kind",), "Alerts, by kind of event."),
}


def quietly(function: Callable[Given, None]) -> Callable[Given, None]:
    """Logs what a function raises, instead of failing the task that calls it."""

    @functools.wraps(function)
    def tried(*args: Given.args, **values: Given.kwargs) -> None:
        try:
            function(*args, **values)
        except Exception as error:  # of a library that is not ours, such as a full socket
            log.warning('unobserved what=%s error="%s"', function.__name__, line(str(error)))

    return tried


def metered(function: Callable[Given, None]) -> Callable[Given, None]:
    """Calls a function only where Airflow has somewhere to send metrics, and `quietly`."""

    @functools.wraps(function)
    def sent(*args: Given.args, **values: Given.kwargs) -> None:
        if is_on():
            quietly(function)(*args, **values)

    return sent


def is_on() -> bool:
    """Returns whether Airflow is configured to send metrics."""
    names = ("otel_on", "statsd_on", "statsd_datadog_enabled")
    return any(conf.getboolean("metrics", name, fallback=False) for name in names)


@metered
def result(job: Job, key: str, cost: Cost | None) -> None:
    """Sends what a result took, and what it says if it is a verdict or about the data.

    Args:
        job: The run.
        key: Key of the result.
        cost: What it took; None if it was found from an earlier run.
    """
    step = key.split("/")[0]
    send("skin.results", 1, step=step, origin="made" if cost else "found")
    if cost:
        _cost(step, cost)
    if about := {"ingest": _data, "validate": _checks, "gate": _judged}.get(step):
        about(job, key, cost is not None)


def _cost(step: str, cost: Cost) -> None:
    send("skin.step.wall_milliseconds", round(1000 * cost.seconds), step=step)
    send("skin.step.core_milliseconds", round(1000 * (cost.core_seconds or 0)), step=step)
    send("skin.step.memory_mib", cost.peak_mib, step=step)
    send("skin.store.read_bytes", cost.bytes_read, step=step)
    send("skin.store.written_bytes", cost.bytes_written, step=step)
    if step == "features":
        send("skin.activations", cost.found, origin="cached")
        send("skin.activations", cost.computed, origin="computed")


def _data(job: Job, key: str, made: bool) -> None:
    from skin_pipeline.contracts import Dataset

    dataset, model = job.load(key, Dataset), job.settings.released_as
    for kind, images in dataset.classes.items():
        send("skin.data.images", images, model=model, kind=kind)
    send("skin.data.unreadable", dataset.unreadable, model=model)


def _checks(job: Job, key: str, made: bool) -> None:
    from skin_pipeline.contracts import Validation

    failed = [check.severity for check in job.load(key, Validation).checks if not check.passed]
    for severity in ("critical", "warning"):
        number = failed.count(severity)
        send("skin.data.failed_checks", number, model=job.settings.released_as, severity=severity)


def _judged(job: Job, key: str, made: bool) -> None:
    from skin_pipeline.contracts import Evaluation, Verdict

    verdict = job.load(key, Verdict)
    model = verdict.released_as
    if made:  # a verdict that was found is not another one
        word = "approved" if verdict.approved else "refused"
        send("skin.verdicts", 1, model=model, verdict=word)
    figures = job.load(verdict.evaluation, Evaluation).ensemble
    for name in FIGURES:
        interval = getattr(figures, name)
        for end in ("value", "low", "high"):
            send("skin.judged.figure", getattr(interval, end), model=model, figure=name, end=end)
    send("skin.run.core_seconds", _core_seconds(verdict) if made else 0, model=model)


def _core_seconds(verdict: Verdict) -> float:
    return sum(cost.core_seconds for cost in verdict.costs.values())


@metered
def promoted(model: str) -> None:
    """Sends that a version became the champion."""
    send("skin.versions.promoted", 1, model=model)


@metered
def scored(store: Store, key: str) -> None:
    """Sends how many images a batch of scoring had; `key` is that of its `Batch`."""
    from skin_pipeline.contracts import Batch, parse

    batch = parse(store.read(key), Batch, key)
    labels = {"model": batch.model, "alias": batch.alias}
    outcomes = {"scored": batch.images, "unreadable": batch.unreadable, "known": batch.known}
    for outcome, images in outcomes.items():
        send("skin.scoring.images", images, **labels, outcome=outcome)


@metered
def drift(model: str, evidence: Mapping[str, float], *, alarm: bool) -> None:
    """Sends the evidence for drift by signal, `all` being the sum; an alarm is raised at 1."""
    for signal, share in evidence.items():
        send("skin.drift.evidence", share, model=model, signal=signal)
    send("skin.drift.alarm", int(alarm), model=model)


@metered
def alert(kind: str) -> None:
    """Sends that there is an alert of a kind."""
    send("skin.alerts", 1, kind=kind)


def send(name: str, value: float, **labels: str) -> None:
    """Sends a figure of `METRICS` to where Airflow sends its own."""
    stats, metric = _stats(), METRICS[name]
    if set(labels) != set(metric.labels):
        raise ValueError(f"{name} has the labels {metric.labels}, not {tuple(labels)}")
    if math.isnan(value):  # a figure that is not defined
        return
    if metric.kind == COUNTER:
        stats.incr(name, int(value), tags=labels)
    else:
        stats.gauge(name, value, tags=labels)


@functools.cache
def _stats() -> Any:
    """Returns Airflow's functions for metrics; tasks have prepared them, other processes not."""
    from airflow.sdk._shared.observability.metrics import stats as shared
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    if getattr(shared, "_factory", None) is None:
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    return stats
