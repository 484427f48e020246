"""What a task led to, in words: the last line of its log.

in_words(store, "train", "train/4f1a…")    # "run 3: validation AUC 0.901 in epoch 12 of head"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skin_pipeline.contracts import (
    Dataset,
    DecodedRange,
    DriftReport,
    Evaluation,
    Figures,
    NearDuplicates,
    Scored,
    SiteScores,
    Split,
    TrainedRun,
    Validation,
    Verdict,
    load,
    parse,
)
from skin_pipeline.monitoring import scoring
from skin_pipeline.storage import Store


def in_words(store: Store, step: str, value: Any) -> str:
    """Returns what a task of `skin_training` led to; "" for tasks without words.

    Args:
        store: The store of its result.
        step: The name of the task.
        value: What the task returned.
    """
    words = WORDS.get(step)
    return words(store, value) if words else ""


def _listing(store: Store, value: Sequence[Sequence[Sequence[str]]]) -> str:
    ranges = sum(map(len, value))
    return f"{ranges} ranges of images in {len(value)} tasks" if ranges else "no set is large"


def _decode(store: Store, value: Sequence[str]) -> str:
    decoded = sum(load(store, key, DecodedRange).images for key in value)
    return f"{decoded:,} images are decoded"


def _ingest(store: Store, value: Mapping[str, Any]) -> str:
    dataset = load(store, value["dataset"], Dataset)
    others = "".join(
        f"; external set {name}: {load(store, key, Dataset).images:,} images"
        for name, key in sorted(value["external"].items())
    )
    return f"{_images(dataset)}{others}"


def _images(dataset: Dataset) -> str:
    classes = ", ".join(f"{count:,} {label}" for label, count in sorted(dataset.classes.items()))
    unreadable = f", {dataset.unreadable:,} unreadable" if dataset.unreadable else ""
    return f"{dataset.images:,} images ({classes}){unreadable}"


def _engine(store: Store, value: str) -> str:
    *engine, _ = value.split(":")  # in front of the weights, where it is not TensorFlow
    return f"the network is computed by {' in '.join(engine) or 'tensorflow'}"


def _duplicates(store: Store, value: Sequence[str]) -> str:
    found = sum(load(store, key, NearDuplicates).count for key in value)
    buckets = "1 bucket" if len(value) == 1 else f"{len(value)} buckets"
    return f"{found:,} pairs of near-duplicates in {buckets}"


def _validate(store: Store, key: str) -> str:
    found = load(store, key, Validation)
    warned = [check.name for check in found.checks if not check.passed]
    warned += [f"shortcut {item.name}" for item in found.shortcuts if not item.passed]
    said = f"{len(warned)} warnings: {', '.join(warned)}" if warned else "no warning"
    changes = found.changes
    news = f"{changes.added:,} images added, {changes.removed:,} removed"
    compared = f"; {news}, {changes.relabelled:,} relabelled" if changes.previous else ""
    return f"{len(found.checks)} checks of the images, {said}{compared}"


def _split(store: Store, key: str) -> str:
    divided = load(store, key, Split)
    sides = ", ".join(f"{count:,} {side}" for side, count in _sides(divided).items())
    return f"{divided.runs} runs; images of the first: {sides}"


def _sides(divided: Split) -> dict[str, int]:
    first = next(iter(divided.counts.values()), {})
    return {side: count for side, count in first.items() if count}


def _shards(store: Store, value: Sequence[Sequence[int]]) -> str:
    return f"{sum(map(len, value))} shards in {len(value)} tasks"


def _runs(store: Store, value: Sequence[int]) -> str:
    return f"{len(value)} runs"


def _features(store: Store, value: Sequence[str]) -> str:
    return f"activations of {len(value)} shards are in the cache"


def _train(store: Store, key: str) -> str:
    trained = load(store, key, TrainedRun)
    best = trained.best
    auc = f"validation AUC {best.validation_auc:.3f}"
    return f"run {trained.run}: {auc} in epoch {best.epoch} of {best.stage}"


def _evaluate(store: Store, value: Mapping[str, Any]) -> str:
    found = load(store, value["evaluation"], Evaluation)
    return f"{_figures(found.ensemble)}; threshold {found.threshold:.3f}"


def _figures(figures: Figures) -> str:
    return (
        f"accuracy {figures.accuracy}, sensitivity {figures.sensitivity}, AUC {figures.auc} "
        f"on {figures.images:,} images"
    )


def _champion(store: Store, key: str) -> str:
    return _scored(load(store, key, Scored), "version ") if key else "there is no champion yet"


def _external(store: Store, keys: Sequence[str]) -> str:
    found = (_scored(load(store, key, Scored)) for key in keys)
    return "; ".join(found) or "there are no external sets"


def _scored(found: Scored, what: str = "") -> str:
    said = _figures(found.figures) if found.figures else f"not scored: {found.problem}"
    return f"{what}{found.name}: {said}"


def _parts(store: Store, value: Sequence[Sequence[object]]) -> str:
    if not value:
        return "so few images that `evaluate` scores them by itself"
    return f"{sum(map(len, value))} parts in {len(value)} tasks"


def _logits(store: Store, value: Sequence[str]) -> str:
    return f"{len(value)} parts of the images are scored"


def _gate(store: Store, key: str) -> str:
    verdict = load(store, key, Verdict)
    return "approved" if verdict.approved else f"refused: {'; '.join(verdict.reasons)}"


def _promote(store: Store, key: str) -> str:
    model, _, version = key.removeprefix("models/").partition("/versions/")
    return f"the champion of {model} is version {version}"


def _plan(store: Store, batch: str) -> str:
    planned = scoring.planned(store, batch)
    return (
        f"{planned.images:,} images to look at in {len(planned.chunks)} chunks, "
        f"{planned.known:,} known already; by version {planned.version}"
    )


def _chunks(store: Store, value: Sequence[str]) -> str:
    return f"{len(value)} chunks"


def _said(store: Store, words: str) -> str:
    return words


def _score_site(store: Store, key: str) -> str:
    found = load(store, key, SiteScores)
    return (
        f"{found.images:,} labelled images are scored by version {found.version}; "
        f"{found.unreadable:,} unreadable, {found.known:,} left out, which the version knows"
    )


def _scoring_models(store: Store, value: Sequence[str]) -> str:
    return f"{len(value)} streams of images are watched"


def _compare(store: Store, key: str) -> str:
    from skin_pipeline.monitoring import report  # imports pandas

    if not key:
        return "the model has scored no image yet"
    return report.said(parse(store.read(key), DriftReport, key))


WORDS: dict[str, Callable[[Store, Any], str]] = {
    "scoring_models": _scoring_models,
    "compare": _compare,
    "listing": _listing,
    "decode": _decode,
    "ingest": _ingest,
    "engine": _engine,
    "duplicates": _duplicates,
    "validate": _validate,
    "split": _split,
    "shards": _shards,
    "parts": _parts,
    "runs": _runs,
    "features": _features,
    "train": _train,
    "logits": _logits,
    "evaluate": _evaluate,
    "champion": _champion,
    "external_logits": _logits,
    "external": _external,
    "gate": _gate,
    "promote": _promote,
    "reject": _gate,
    "plan": _plan,
    "chunks": _chunks,
    "score": _said,
    "merge": _said,
    "bring_back": lambda _, value: value["words"],
    "judge": lambda _, value: value["words"],
    "score_site": _score_site,
    "make_profile": _said,
}
