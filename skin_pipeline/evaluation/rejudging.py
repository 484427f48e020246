"""Judges a model again from the predictions that its verdict names, and refuses another outcome.

A verdict is a document in the store, which others may be able to write to. Before a model is
released by it, its figures are computed again by the functions that `evaluate`, `champion`,
`external` and `gate` use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from skin_pipeline import tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Abstention, Contract, Evaluation, Scored, Split, Verdict, load
from skin_pipeline.data import manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import (
    answering,
    comparison,
    ensemble,
    familiarity,
    gate,
    scoring,
    slices,
)
from skin_pipeline.evaluation.metrics import Predictions, Sample, figures
from skin_pipeline.provenance import ProvenStore

# Another processor computes the same figures with a smaller difference than this, and no reader of
# a report sees so many digits.
TOLERANCE = 1e-6
# The settings that figures depend on.
JUDGED_BY = (
    *("target_sensitivity", "threshold_by", "prevalences", "seed"),
    *("abstain_near", "abstain_unusual"),
)


def check(store: ProvenStore, key: str) -> None:
    """Refuses a verdict that does not follow from its predictions and settings.

    Args:
        store: The store, which proves the results.
        key: Key of the verdict.

    Raises:
        BadInput: A figure or a check differs; the message names the first one, and both values.
    """
    judged = load(store, key, Verdict)
    settings = _settings(judged, key)
    model = load(store, judged.evaluation, Evaluation)
    _check_evaluation(store, judged.evaluation, model, settings)
    champion = _scored(store, judged.champion, settings) if judged.champion else None
    external = [_scored(store, item, settings) for item in judged.external]
    compared = comparison.with_champion(store, settings, judged.evaluation, model, champion)
    case = gate.Case(judged.evaluation, model, champion, compared, external)
    checks = gate.judge(case, settings)
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
    """Returns the settings that a result was made by.

    They may differ from those of the gate, which may use results of an earlier workflow run.
    """
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
    judging = ensemble.Judging.of(settings)
    again = ensemble.rescored(table, scores, sorted(model.per_run), judging)
    probabilities = scores["probability"].to_numpy()[again.test]
    tested = Predictions(probabilities, again.ensemble.threshold)
    found = {
        "threshold": again.ensemble.threshold,
        "ensemble": again.ensemble,
        "per_run": again.per_run,
        "slices": slices.slices(table[again.test], tested, settings.seed),
    }
    _compare(key, model, found)
    _compare(key, model.calibration, {"bins": again.bins})
    _check_abstention(key, model, settings, scores, tested)


def _check_abstention(
    key: str, model: Evaluation, settings: Settings, scores: pd.DataFrame, tested: Predictions
) -> None:
    """Refuses another abstention than validation images and settings give, or another curve.

    An evaluation of earlier code knows no familiarity; its model never abstains.
    """
    if "familiarity" not in scores:
        _compare(key, model, {"abstention": Abstention(), "answered": (), "familiarity": ""})
        return
    held_out = scores["held_out_probability"].to_numpy(np.float64)
    rule = familiarity.abstention(
        held_out[np.isfinite(held_out)],
        tested.threshold,
        near=settings.abstain_near,
        unusual=settings.abstain_unusual if model.familiarity else 0.0,
    )
    rows = scores[scores["test"]]
    familiar = rows["familiarity"].to_numpy(np.float64)
    answered = answering.curve(tested, manifest.labels(rows), familiar, rule)
    _compare(key, model, {"abstention": rule, "answered": answered})


def _scored(store: ProvenStore, key: str, settings: Settings) -> Scored:
    """Returns the scores of a champion or of an external set, after a check of their figures."""
    scored, settings = load(store, key, Scored), _as_made(store, key, settings)
    if scored.figures is None:
        return scored
    table = tables.read_scores(store, scored.predictions)
    model = load(store, scored.evaluation, Evaluation)
    seen = figures(
        Predictions(table["probability"].to_numpy(), model.threshold),
        Sample.of(table, settings.seed, settings.prevalence_list),
    )
    found = {"figures": seen, "images": len(table), "answered": scoring.answered(table, model)}
    _compare(key, scored, found)
    return scored


def _compare(key: str, document: Contract, found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        other = difference(name, plain(getattr(document, name)), plain(value))
        if other:
            raise BadInput(
                f"{key} does not follow from its predictions: {other}. Nothing was released; find "
                "out who changed it, and judge the model again"
            )


def plain(value: Any) -> Any:
    """Returns a value of a document as it is in JSON: documents as dicts, tuples as lists."""
    if isinstance(value, Contract):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def difference(name: str, said: Any, found: Any) -> str:
    """Returns in words the first part in which two values differ; "" if none does.

    Args:
        name: Name of the value.
        said: The value as a document has it.
        found: The value as it was computed again.
    """
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
