"""Where a version comes from: data set, validation, split, runs, evaluation, verdict.

    origin = origin_of(store, release)
    origin.evaluation, origin.problems["split"]      # documents; and why one cannot be read
    stages(origin)                                   # the same as a graph, for people

A document that is damaged or gone is a problem of its own stage. Of what only it names, nothing is
known then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from skin_pipeline.contracts import (
    RESULT,
    Contract,
    Dataset,
    Evaluation,
    Release,
    Split,
    TrainedRun,
    Validation,
    Verdict,
    load,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store

C = TypeVar("C", bound=Contract)


@dataclass
class Origin:
    """The documents that a version was made from; None where one cannot be read.

    Attributes:
        release: The version's manifest.
        keys: The key of each result, by its step; "" where it is not known.
        problems: Why a result cannot be read, by its key.
        runs: The trained runs by their keys.
    """

    release: Release
    keys: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    verdict: Verdict | None = None
    evaluation: Evaluation | None = None
    validation: Validation | None = None
    split: Split | None = None
    dataset: Dataset | None = None
    runs: dict[str, TrainedRun | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A result in the graph.

    Attributes:
        title: What it is.
        key: Its key; "" if it is not known.
        facts: What people want to know of it, in a few words each.
        page: Key of its report or its Data Docs; "" for none.
        document: Key of its JSON document; "" for none.
        problem: Why it cannot be shown.
    """

    title: str
    key: str
    facts: tuple[str, ...] = ()
    page: str = ""
    document: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Stage:
    """Results of one step, which the next stage was made from."""

    name: str
    nodes: tuple[Node, ...]


def origin_of(store: Store, release: Release, *, with_runs: bool = False) -> Origin:
    """Returns what a version was made from.

    Args:
        store: The store.
        release: The version's manifest.
        with_runs: Whether to read the documents of the runs, too.
    """
    origin = Origin(release)
    origin.verdict = _read(store, origin, "verdict", release.verdict, Verdict)
    judged = origin.verdict
    model = judged.evaluation if judged else ""
    origin.evaluation = _read(store, origin, "evaluation", model, Evaluation)
    checked = judged.validation if judged else ""
    origin.validation = _read(store, origin, "validation", checked, Validation)
    made = origin.evaluation
    origin.split = _read(store, origin, "split", made.split if made else "", Split)
    data = made or origin.validation
    origin.dataset = _read(store, origin, "dataset", data.dataset if data else "", Dataset)
    if made and with_runs:
        for key in made.runs:
            origin.runs[key] = _read(store, origin, f"run {key}", key, TrainedRun)
    return origin


def _read(store: Store, origin: Origin, step: str, key: str, kind: type[C]) -> C | None:
    origin.keys[step] = key
    if not key:
        return None
    try:
        return load(store, key, kind)
    except BadInput as error:
        origin.problems[key] = str(error)
        return None


# --- the graph -----------------------------------------------------------------------------------


def stages(origin: Origin) -> list[Stage]:
    """Returns the stages in the order in which they were made, the version last."""
    release = origin.release
    version = Node(
        f"version {release.version}",
        "",
        (f"threshold {release.threshold:.3f}", f"{len(release.files)} files"),
    )
    return [
        Stage("Data set", (_data(origin),)),
        Stage("Validation", (_validation(origin),)),
        Stage("Split", (_split(origin),)),
        Stage("Runs", tuple(_runs(origin))),
        Stage("Evaluation", (_evaluation(origin),)),
        Stage("Verdict", (_verdict(origin),)),
        Stage("Version", (version,)),
    ]


def _node(origin: Origin, step: str, title: str, facts: tuple[str, ...], page: str = "") -> Node:
    key = origin.keys.get(step, "")
    problem = origin.problems.get(key, "") if key else "not known: what names it cannot be read"
    return Node(title, key, facts, page, f"{key}/{RESULT}" if key else "", problem)


def _data(origin: Origin) -> Node:
    data = origin.dataset
    facts: tuple[str, ...] = ()
    if data:
        classes = ", ".join(f"{count} {label}" for label, count in data.classes.items())
        facts = (classes, f"{data.unreadable} quarantined", f"from {data.source}")
    return _node(origin, "dataset", "images", facts)


def _validation(origin: Origin) -> Node:
    found = origin.validation
    facts: tuple[str, ...] = ()
    if found:
        passed = sum(check.passed for check in found.checks)
        facts = (f"{passed} of {len(found.checks)} checks passed",)
    return _node(origin, "validation", "checks", facts, found.docs if found else "")


def _split(origin: Origin) -> Node:
    found = origin.split
    facts: tuple[str, ...] = ()
    if found:
        sides: dict[str, Any] = next(iter(found.counts.values()), {})
        counts = ", ".join(f"{count} {side}" for side, count in sides.items())
        facts = tuple(filter(None, (counts, f"{found.runs} runs")))
    return _node(origin, "split", "sides", facts, found.docs if found else "")


def _runs(origin: Origin) -> Iterator[Node]:
    if origin.evaluation is None:
        yield _node(origin, "runs", "runs", ())
        return
    for key, run in sorted(origin.runs.items(), key=_number):
        facts: tuple[str, ...] = ()
        if run:
            best = run.best
            facts = (
                f"seed {run.seed}, best epoch {best.epoch} of {best.stage}",
                f"validation AUC {best.validation_auc:.3f}",
            )
        yield _node(origin, f"run {key}", f"run {run.run}" if run else "run", facts)


def _number(item: tuple[str, TrainedRun | None]) -> float:
    """Returns the number of a run; those that cannot be read come last."""
    return item[1].run if item[1] else math.inf


def _evaluation(origin: Origin) -> Node:
    made = origin.evaluation
    facts: tuple[str, ...] = ()
    if made:
        seen = made.ensemble
        facts = (
            f"{seen.images} test images",
            f"AUC {seen.auc}",
            f"sensitivity {seen.sensitivity}",
        )
    return _node(
        origin, "evaluation", f"ensemble of {len(made.runs)}" if made else "ensemble", facts
    )


def _verdict(origin: Origin) -> Node:
    judged = origin.verdict
    facts: tuple[str, ...] = ()
    if judged:
        passed = sum(check.passed for check in judged.checks)
        rival = judged.comparison
        facts = (
            f"{passed} of {len(judged.checks)} checks passed",
            f"compared with version {rival.champion}" if rival else "compared with no champion",
        )
    title = ("approved" if judged.approved else "refused") if judged else "verdict"
    return _node(origin, "verdict", title, facts, judged.report if judged else "")
