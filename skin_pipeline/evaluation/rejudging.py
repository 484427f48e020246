"""Judges a model again from the predictions that its verdict names, and refuses another outcome.

A verdict is a document in the store. Before anything is released by it, its figures are computed
once more by the functions that `evaluate`, `champion`, `external` and `gate` use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from skin_pipeline import tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Contract, Evaluation, Scored, Split, Verdict, load
from skin_pipeline.data import manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import ensemble, gate, slices, verdict
from skin_pipeline.evaluation.metrics import figures
from skin_pipeline.provenance import ProvenStore

# Far below what anybody reads, and above what another processor makes of the same numbers.
TOLERANCE = 1e-6
JUDGED_BY = ("target_sensitivity", "threshold_by", "prevalences", "seed")


def check(store: ProvenStore, key: str) -> None:
    """Refuse a verdict that is not what its predictions and settings lead to.

    Raises:
        BadInput: names the first figure or check that is another one, and both values.
    """
    judged = load(store, key, Verdict)
    settings = _settings(judged, key)
    model = load(store, judged.evaluation, Evaluation)
    _check_evaluation(store, judged.evaluation, model, settings)
    champion = _scored(store, judged.champion, settings) if judged.champion else None
    external = [_scored(store, item, settings) for item in judged.external]
    compared = verdict.compared(store, settings, model, judged.evaluation, champion)
    checks = gate.judge(
        model,
        settings,
        evaluation_key=judged.evaluation,
        champion=champion,
        comparison=compared,
        external=external,
    )
    found = {
        "comparison": compared,
        "checks": checks,
        "approved": all(item.passed for item in checks),
        "reasons": gate.reasons(checks),
    }
    _compare(key, judged, found)


def _settings(judged: Verdict, key: str) -> Settings:
    try:
        return Settings(**judged.settings)
    except ValidationError:
        raise BadInput(
            f"{key} was judged by settings that this version does not know. Run the gate again"
        ) from None


def _as_made(store: ProvenStore, key: str, settings: Settings) -> Settings:
    """The settings that a result was made by, which may not be those of the gate."""
    proof = store.prove(key).proof
    inputs = (proof.inputs if proof else None) or {}
    known = {name: inputs[name] for name in JUDGED_BY if name in inputs}
    return settings.model_copy(update=known)


def _check_evaluation(store: ProvenStore, key: str, model: Evaluation, settings: Settings) -> None:
    settings = _as_made(store, key, settings)
    table = manifest.read_readable(store, load(store, model.split, Split).table)
    scores = tables.read_scores(store, model.predictions)
    for column in ("key", "label", "group"):
        if list(scores[column]) != list(table[column]):
            raise BadInput(f"{model.predictions} names other images than {model.split}: {column}")
    judging = ensemble.Judging(
        settings.target_sensitivity,
        settings.threshold_by,
        settings.prevalence_list,
        settings.seed,
    )
    again = ensemble.rescored(table, scores, sorted(model.per_run), judging)
    tested = scores["probability"].to_numpy()[again.test]
    seen = slices.slices(table[again.test], tested, again.ensemble.threshold, settings.seed)
    found = {
        "threshold": again.ensemble.threshold,
        "ensemble": again.ensemble,
        "per_run": again.per_run,
        "slices": seen,
    }
    _compare(key, model, found)
    _compare(key, model.calibration, {"bins": again.bins})


def _scored(store: ProvenStore, key: str, settings: Settings) -> Scored:
    """The scores of a champion or of an external set, if their figures are those of their table."""
    scored, settings = load(store, key, Scored), _as_made(store, key, settings)
    if scored.figures is None:
        return scored
    table = tables.read_scores(store, scored.predictions)
    seen = figures(
        table["probability"].to_numpy(),
        manifest.labels(table),
        table["group"].to_numpy(object),
        load(store, scored.evaluation, Evaluation).threshold,
        settings.seed,
        settings.prevalence_list,
    )
    _compare(key, scored, {"figures": seen, "images": len(table)})
    return scored


def _compare(key: str, document: Contract, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        told = difference(name, plain(getattr(document, name)), plain(value))
        if told:
            raise BadInput(
                f"{key} does not follow from its predictions: {told}. Nothing was released; find "
                "out who changed it, and judge the model again"
            )


def plain(value: Any) -> Any:
    """A value of a document as JSON has it, with numbers as they are."""
    if isinstance(value, Contract):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def difference(name: str, said: Any, found: Any) -> str:
    """The first place in which two values differ, in words; empty for none."""
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        pairs = [(f"{name}.{key}", said.get(key), found.get(key)) for key in {**said, **found}]
    elif isinstance(said, list | tuple) and isinstance(found, list | tuple):
        if len(said) != len(found):
            return f"{name} has {len(said)} parts, computed again {len(found)}"
        pairs = [
            (f"{name}.{number}", a, b)
            for number, (a, b) in enumerate(zip(said, found, strict=True))
        ]
    else:
        return "" if _same(said, found) else f"{name} is {said!r}, computed again {found!r}"
    return next(filter(None, (difference(*pair) for pair in pairs)), "")


def _same(said: Any, found: Any) -> bool:
    if type(said) is float and type(found) is float:
        both_nan = math.isnan(said) and math.isnan(found)
        return both_nan or math.isclose(said, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(said) is type(found) and bool(said == found)
