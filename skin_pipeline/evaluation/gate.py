"""The gate: a pure function from figures and bounds to a verdict with reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    Comparison,
    Evaluation,
    Figures,
    GateCheck,
    Interval,
    Scored,
    Slice,
)
from skin_pipeline.intervals import advice

# What resizing in Pillow and in TensorFlow may differ by: one grey level here and there.
SMOKE_TOLERANCE = 0.02
LOWER_BOUND = "lower_bound"
UNCOMPARED = "to release without comparing, leave the bounds on changes empty"
NO_COMPARISON = {"name": "champion", "bound": "a gain on the same test images"}


class Counted(NamedTuple):
    """What a proportion is made of, for advice: `hits` of `total` images were `right`."""

    hits: int
    total: int
    images: str
    right: str


def judge(
    evaluation: Evaluation,
    settings: Settings,
    *,
    evaluation_key: str,
    champion: Scored | None,
    comparison: Comparison | None,
    external: Sequence[Scored],
) -> tuple[GateCheck, ...]:
    """Every check that the settings ask for. The model is approved if all of them pass.

    No bound on a figure at all is itself a failed check: nothing is approved because nobody asked.
    What is missing, not a number or too small to judge fails. A tie keeps the champion.

    Args:
        evaluation: Figures of the challenger.
        settings: The bounds.
        evaluation_key: The evaluation's own, by which a champion is known to be the same model.
        champion: The champion on the same test images; None if there is no champion yet.
        comparison: Challenger against champion; None if there is no champion to compare with.
        external: The challenger on sets of another origin.
    """
    return (
        *_figure_checks(evaluation.ensemble, settings),
        *_slice_checks(evaluation.slices, settings),
        *_change_checks(evaluation_key, champion, comparison, settings),
        *_external_checks({scored.name: scored for scored in external}, settings),
        _runs_check(evaluation, settings.min_runs),
        _smoke_check(evaluation),
    )


def reasons(checks: tuple[GateCheck, ...]) -> tuple[str, ...]:
    """A sentence for each failed check; none if all passed."""
    return tuple(item.described() for item in checks if not item.passed)


def _figure_checks(figures: Figures, settings: Settings) -> list[GateCheck]:
    bounds = {
        "accuracy": (settings.min_accuracy, figures.accuracy),
        "balanced accuracy": (settings.min_balanced_accuracy, figures.balanced_accuracy),
        "sensitivity": (settings.min_sensitivity, figures.sensitivity),
        "specificity": (settings.min_specificity, figures.specificity),
        "precision": (settings.min_precision, figures.precision),
        "AUC": (settings.min_auc, figures.auc),
    }
    counted = _counted(figures)
    checks = [
        _at_least(name, figure, bound, settings.judged_on, counted.get(name))
        for name, (bound, figure) in bounds.items()
        if bound is not None
    ]
    if settings.max_calibration_error is not None:
        error, most = figures.calibration_error, settings.max_calibration_error
        checks.append(_at_most("calibration error", error, most, settings.judged_on))
    if not checks:
        checks = [GateCheck(name="bounds", value="none set", bound="at least one", passed=False)]
    return checks


def _counted(figures: Figures) -> dict[str, Counted]:
    tp, fn, fp, tn = (figures.confusion[kind] for kind in ("tp", "fn", "fp", "tn"))
    return {
        "accuracy": Counted(tp + tn, tp + fn + fp + tn, "images", "right"),
        "sensitivity": Counted(tp, tp + fn, "malignant images", "found"),
        "specificity": Counted(tn, tn + fp, "benign images", "called benign"),
        "precision": Counted(tp, tp + fp, "calls of malignant", "right"),
    }


def _at_least(
    name: str, figure: Interval, bound: float, judged_on: str, counted: Counted | None = None
) -> GateCheck:
    passed = _reaches(figure, bound, judged_on)
    return GateCheck(
        name=name,
        value=str(figure),
        bound=_least(bound, judged_on),
        passed=passed,
        advice="" if passed or counted is None else _advice(counted, bound, judged_on),
    )


def _at_most(name: str, figure: Interval, bound: float, judged_on: str) -> GateCheck:
    by_end = judged_on == LOWER_BOUND
    what = "upper end of its 95 % interval" if by_end else "figure itself"
    return GateCheck(
        name=name,
        value=str(figure),
        bound=f"at most {bound:.3f} (the {what})",
        passed=(figure.high if by_end else figure.value) <= bound,
    )


def _reaches(figure: Interval, bound: float, judged_on: str) -> bool:
    """Whether it is as high; NaN never is."""
    return _judged(figure, judged_on) >= bound


def _judged(figure: Interval, judged_on: str) -> float:
    return figure.low if judged_on == LOWER_BOUND else figure.value


def _least(bound: float, judged_on: str) -> str:
    what = "lower end of its 95 % interval" if judged_on == LOWER_BOUND else "figure itself"
    return f"at least {bound:.3f} (the {what})"


def _advice(counted: Counted, bound: float, judged_on: str) -> str:
    if judged_on != LOWER_BOUND or not counted.total:
        return ""
    return advice(counted.hits, counted.total, bound, counted.images, counted.right)


def _slice_checks(slices: Sequence[Slice], settings: Settings) -> Iterator[GateCheck]:
    bounds = {"sensitivity": settings.min_slice_sensitivity, "auc": settings.min_slice_auc}
    for feature in settings.gated_features:
        parts = [part for part in slices if part.feature == feature]
        for figure, bound in bounds.items():
            if bound is not None:
                yield _slice_check(feature, parts, figure, bound, settings.judged_on)


def _slice_check(
    feature: str, parts: Sequence[Slice], figure: str, bound: float, judged_on: str
) -> GateCheck:
    """One check of all slices of a feature. It names those that fail, else the lowest; and those
    that are too small to judge."""
    seen: dict[str, Interval] = {p.value: getattr(p, figure) for p in parts if not p.small}
    failed = [value for value in seen if not _reaches(seen[value], bound, judged_on)]
    lowest = sorted(seen, key=lambda value: _judged(seen[value], judged_on))[:1]
    told = [f"{value} {seen[value]}" for value in failed or lowest] or ["no slice to judge"]
    if small := [part.value for part in parts if part.small]:
        told.append(f"too small to judge: {', '.join(small)}")
    return GateCheck(
        name=f"{_title(figure)} by {feature}",
        value="; ".join(told),
        bound=_least(bound, judged_on),
        passed=bool(seen) and not failed,
        advice=_slice_advice(parts, failed, bound, judged_on) if figure == "sensitivity" else "",
    )


def _slice_advice(
    parts: Sequence[Slice], failed: Sequence[str], bound: float, judged_on: str
) -> str:
    lines = []
    for part in parts:
        share = part.sensitivity.value
        if part.value in failed and not math.isnan(share):
            hits = round(share * part.malignant)
            counted = Counted(hits, part.malignant, "malignant images", "found")
            lines.append(f"{part.value}: {_advice(counted, bound, judged_on)}")
    return "; ".join(lines) if judged_on == LOWER_BOUND else ""


def _change_checks(
    evaluation_key: str,
    champion: Scored | None,
    comparison: Comparison | None,
    settings: Settings,
) -> list[GateCheck]:
    bounds = {
        "auc": settings.min_auc_change,
        "accuracy": settings.min_accuracy_change,
        "sensitivity": settings.min_sensitivity_change,
        "specificity": settings.min_specificity_change,
    }
    asked = {figure: bound for figure, bound in bounds.items() if bound is not None}
    if not asked:
        return []
    if champion is None:
        return [GateCheck(**NO_COMPARISON, value="there is none yet", passed=True)]
    if champion.evaluation == evaluation_key:
        return [GateCheck(**NO_COMPARISON, value="this model is the champion already", passed=True)]
    if champion.problem or comparison is None:
        problem = champion.problem or "not compared"
        return [GateCheck(**NO_COMPARISON, value=problem, passed=False, advice=UNCOMPARED)]
    return [
        _change_check(figure, getattr(comparison, figure), bound, settings.changes_judged_on)
        for figure, bound in asked.items()
    ]


def _change_check(figure: str, change: Interval, bound: float, judged_on: str) -> GateCheck:
    what = "lower end of its 95 % interval" if judged_on == LOWER_BOUND else "change itself"
    return GateCheck(
        name=f"change of {_title(figure)}",
        value=f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
        bound=f"more than {bound:+.3f} (the {what})",
        passed=_judged(change, judged_on) > bound,
    )


def _title(figure: str) -> str:
    return "AUC" if figure == "auc" else figure


def _external_checks(sets: Mapping[str, Scored], settings: Settings) -> Iterator[GateCheck]:
    if settings.min_external_sensitivity is None and settings.min_external_auc is None:
        return
    names = {**settings.external_sets, **sets}
    if not names:
        yield GateCheck(name="external sets", value="none", bound="at least one", passed=False)
    for name in names:
        scored = sets.get(name)
        if scored and scored.figures and not scored.problem:
            yield from _external_figures(name, scored.figures, settings)
        else:
            problem = scored.problem if scored else "missing"
            yield GateCheck(
                name=f"external set {name}",
                value=problem or "not scored",
                bound="figures to judge",
                passed=False,
            )


def _external_figures(name: str, figures: Figures, settings: Settings) -> Iterator[GateCheck]:
    if (bound := settings.min_external_sensitivity) is not None:
        counted = _counted(figures)["sensitivity"]
        yield _at_least(
            f"sensitivity on {name}", figures.sensitivity, bound, settings.judged_on, counted
        )
    if (bound := settings.min_external_auc) is not None:
        yield _at_least(f"AUC on {name}", figures.auc, bound, settings.judged_on)


def _runs_check(evaluation: Evaluation, least: int) -> GateCheck:
    """A run without figures has failed, and has spoiled the mean of all."""
    lost = [run for run, figures in evaluation.per_run.items() if math.isnan(figures.auc.value)]
    count = len(evaluation.runs) - len(lost)
    return GateCheck(
        name="successful runs",
        value=f"{count}{''.join(f'; run {run} gives no figures' for run in lost)}",
        bound=f"at least {least}",
        passed=count >= least and not lost,
    )


def _smoke_check(evaluation: Evaluation) -> GateCheck:
    difference = evaluation.smoke_difference
    return GateCheck(
        name="saved model agrees with the evaluation",
        value=f"largest difference {difference:.4f}",
        bound=f"at most {SMOKE_TOLERANCE}",
        passed=difference <= SMOKE_TOLERANCE,
    )
