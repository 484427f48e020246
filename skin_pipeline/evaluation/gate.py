"""Makes the checks of a verdict from figures and bounds: the gate. It reads and writes nothing.

checks = judge(case, settings)
approved = all(check.passed for check in checks)
reasons(checks)                # a sentence for each check that failed

A verdict of an earlier version of this code must still follow from its figures (`rejudging`): the
name, value and bound of a check that passes keep their wording.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    Comparison,
    Evaluation,
    Figures,
    GateCheck,
    Interval,
    LeftOut,
    Scored,
    Slice,
)
from skin_pipeline.intervals import advice

# Pillow and TensorFlow resize images in slightly different ways: some pixels differ by one grey
# level, and so do the probabilities by a little.
SMOKE_TOLERANCE = 0.02
LOWER_BOUND = "lower_bound"
UNCOMPARED = "to release without comparing, leave the bounds on changes empty"
CHAMPION_CHECK = {"name": "champion", "bound": "a gain on the same test images"}


@dataclass(frozen=True)
class Case:
    """What the gate judges.

    Attributes:
        key: Key of the challenger's evaluation.
        evaluation: The challenger's evaluation.
        champion: The champion's scores on the same test images; None if there is no champion yet.
        comparison: Challenger against champion; None if they were not compared.
        external: The challenger's scores on sets of another origin.
    """

    key: str
    evaluation: Evaluation
    champion: Scored | None = None
    comparison: Comparison | None = None
    external: Sequence[Scored] = ()


class Counted(NamedTuple):
    """What a proportion counts, for advice: `hits` of `total` `images` were `correct`."""

    hits: int
    total: int
    images: str
    correct: str


@dataclass(frozen=True)
class Bound:
    """A bound of the settings, and what is compared with it.

    Attributes:
        value: The bound.
        judged_on: `point` for the figure itself; `lower_bound` for the end of its 95 % interval
            that is worse, so that chance alone seldom passes a model that is too bad.
    """

    value: float
    judged_on: str

    @property
    def by_end(self) -> bool:
        """Whether an end of the interval is judged."""
        return self.judged_on == LOWER_BOUND

    def judged(self, figure: Interval) -> float:
        """Returns the value that is judged, for a figure of which more is better."""
        return figure.low if self.by_end else figure.value

    def is_reached(self, figure: Interval) -> bool:
        """Returns whether a figure is as high as the bound; NaN never is."""
        return self.judged(figure) >= self.value

    def is_exceeded(self, change: Interval) -> bool:
        """Returns whether a change is more than the bound; NaN never is."""
        return self.judged(change) > self.value

    def is_kept(self, error: Interval) -> bool:
        """Returns whether an error is at most the bound; NaN never is."""
        return (error.high if self.by_end else error.value) <= self.value

    @property
    def at_least(self) -> str:
        """The bound on a figure, in words."""
        return f"at least {self.value:.3f} (the {self._end('lower', 'figure')})"

    @property
    def at_most(self) -> str:
        """The bound on an error, in words."""
        return f"at most {self.value:.3f} (the {self._end('upper', 'figure')})"

    @property
    def more_than(self) -> str:
        """The bound on a change, in words."""
        return f"more than {self.value:+.3f} (the {self._end('lower', 'change')})"

    def _end(self, end: str, point: str) -> str:
        return f"{end} end of its 95 % interval" if self.by_end else f"{point} itself"

    def advice(self, counted: Counted) -> str:
        """Returns how a proportion that missed the bound could reach it; "" if unknown."""
        if not self.by_end or not counted.total:
            return ""
        return advice(counted.hits, counted.total, self.value, counted.images, counted.correct)


def judge(case: Case, settings: Settings) -> tuple[GateCheck, ...]:
    """Returns every check that the settings require. The model is approved if all of them pass.

    A model without any bound on a figure fails: to set no bound must approve nothing. A figure that
    is missing, not a number or computed on too few images fails as well. With equal figures the
    champion stays.
    """
    figures = case.evaluation.ensemble
    return (
        *(_figure_checks(figures, settings) or [_missing_bounds()]),
        *_slice_checks(case.evaluation.slices, settings),
        *_change_checks(case, settings),
        *_external_checks({scored.name: scored for scored in case.external}, settings),
        *_source_checks(case.evaluation.left_out, settings),
        _runs_check(case.evaluation, settings.min_runs),
        _smoke_check(case.evaluation),
    )


def reasons(checks: tuple[GateCheck, ...]) -> tuple[str, ...]:
    """Returns a sentence for each failed check; none if all passed."""
    return tuple(check.described() for check in checks if not check.passed)


# --- figures on the test set ----------------------------------------------------------------------


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
        _least_check(name, figure, Bound(bound, settings.judged_on), counted.get(name))
        for name, (bound, figure) in bounds.items()
        if bound is not None
    ]
    if settings.max_calibration_error is not None:
        most = Bound(settings.max_calibration_error, settings.judged_on)
        checks.append(_most_check("calibration error", figures.calibration_error, most))
    return checks


def _missing_bounds() -> GateCheck:
    return GateCheck(name="bounds", value="none set", bound="at least one", passed=False)


def _counted(figures: Figures) -> dict[str, Counted]:
    tp, fn, fp, tn = (figures.confusion[kind] for kind in ("tp", "fn", "fp", "tn"))
    predicted = "images classified as malignant"
    return {
        "accuracy": Counted(tp + tn, tp + fn + fp + tn, "images", "correct"),
        "sensitivity": Counted(tp, tp + fn, "malignant images", "found"),
        "specificity": Counted(tn, tn + fp, "benign images", "classified as benign"),
        "precision": Counted(tp, tp + fp, predicted, "correct"),
    }


def _least_check(
    name: str, figure: Interval, bound: Bound, counted: Counted | None = None
) -> GateCheck:
    passed = bound.is_reached(figure)
    return GateCheck(
        name=name,
        value=str(figure),
        bound=bound.at_least,
        passed=passed,
        advice="" if passed or counted is None else bound.advice(counted),
    )


def _most_check(name: str, error: Interval, bound: Bound) -> GateCheck:
    return GateCheck(name=name, value=str(error), bound=bound.at_most, passed=bound.is_kept(error))


# --- slices of the test set -----------------------------------------------------------------------


def _slice_checks(slices: Sequence[Slice], settings: Settings) -> Iterator[GateCheck]:
    bounds = {"sensitivity": settings.min_slice_sensitivity, "auc": settings.min_slice_auc}
    for feature in settings.gated_features:
        parts = [part for part in slices if part.feature == feature]
        for figure, bound in bounds.items():
            if bound is not None:
                yield _slice_check(feature, parts, figure, Bound(bound, settings.judged_on))


def _slice_check(feature: str, parts: Sequence[Slice], figure: str, bound: Bound) -> GateCheck:
    """Returns one check of all slices of a feature.

    It names the slices that fail, or else the lowest one; and those that are too small to judge.
    """
    seen: dict[str, Interval] = {p.value: getattr(p, figure) for p in parts if not p.small}
    failed = [value for value in seen if not bound.is_reached(seen[value])]
    lowest = sorted(seen, key=lambda value: bound.judged(seen[value]))[:1]
    named = [f"{value} {seen[value]}" for value in failed or lowest] or ["no slice to judge"]
    if small := [part.value for part in parts if part.small]:
        named.append(f"too small to judge: {', '.join(small)}")
    failing = [part for part in parts if part.value in failed]
    return GateCheck(
        name=f"{_title(figure)} by {feature}",
        value="; ".join(named),
        bound=bound.at_least,
        passed=bool(seen) and not failed,
        advice=_slice_advice(failing, bound) if figure == "sensitivity" else "",
    )


def _slice_advice(parts: Sequence[Slice], bound: Bound) -> str:
    if not bound.by_end:
        return ""
    lines = []
    for part in parts:
        share = part.sensitivity.value
        if not math.isnan(share):
            # A slice has its share only; times its images, that is the count again.
            hits = round(share * part.malignant)
            counted = Counted(hits, part.malignant, "malignant images", "found")
            lines.append(f"{part.value}: {bound.advice(counted)}")
    return "; ".join(lines)


# --- changes against the champion -----------------------------------------------------------------


def _change_checks(case: Case, settings: Settings) -> list[GateCheck]:
    bounds = {
        "auc": settings.min_auc_change,
        "accuracy": settings.min_accuracy_change,
        "sensitivity": settings.min_sensitivity_change,
        "specificity": settings.min_specificity_change,
    }
    required = {figure: bound for figure, bound in bounds.items() if bound is not None}
    if not required:
        return []
    if case.champion is None:
        return [GateCheck(**CHAMPION_CHECK, value="there is none yet", passed=True)]
    if case.champion.evaluation == case.key:
        same = "this model is the champion already"
        return [GateCheck(**CHAMPION_CHECK, value=same, passed=True)]
    if case.champion.problem or case.comparison is None:
        problem = case.champion.problem or "not compared"
        return [GateCheck(**CHAMPION_CHECK, value=problem, passed=False, advice=UNCOMPARED)]
    return [
        _change_check(
            figure, getattr(case.comparison, figure), Bound(bound, settings.changes_judged_on)
        )
        for figure, bound in required.items()
    ]


def _change_check(figure: str, change: Interval, bound: Bound) -> GateCheck:
    return GateCheck(
        name=f"change of {_title(figure)}",
        value=f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
        bound=bound.more_than,
        passed=bound.is_exceeded(change),
    )


def _title(figure: str) -> str:
    return "AUC" if figure == "auc" else figure


# --- sets of another origin -----------------------------------------------------------------------


def _external_checks(sets: Mapping[str, Scored], settings: Settings) -> Iterator[GateCheck]:
    if settings.min_external_sensitivity is None and settings.min_external_auc is None:
        return
    # Also the sets that the settings name and that were not scored: these fail.
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
    judged_on = settings.judged_on
    if (least := settings.min_external_sensitivity) is not None:
        counted = _counted(figures)["sensitivity"]
        bound = Bound(least, judged_on)
        yield _least_check(f"sensitivity on {name}", figures.sensitivity, bound, counted)
    if (least := settings.min_external_auc) is not None:
        yield _least_check(f"AUC on {name}", figures.auc, Bound(least, judged_on))


def _source_checks(sources: Sequence[LeftOut], settings: Settings) -> Iterator[GateCheck]:
    if (least := settings.min_source_auc) is None:
        return
    if not sources:
        yield GateCheck(name="sources", value="one", bound="at least two in `data`", passed=False)
    for one in sources:
        name = f"AUC on {one.source}, learned from the others"
        if one.problem:
            yield GateCheck(name=name, value=one.problem, bound="a figure to judge", passed=False)
        else:
            yield _least_check(name, one.auc, Bound(least, settings.judged_on))


# --- the runs and the saved model -----------------------------------------------------------------


def _runs_check(evaluation: Evaluation, least: int) -> GateCheck:
    """Returns the check of how many runs succeeded.

    A run without figures has failed, and the mean of all runs is of no use with it.
    """
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
