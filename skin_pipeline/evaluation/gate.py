"""The gate: a pure function from figures and bounds to a verdict with reasons."""

from __future__ import annotations

import math

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Evaluation, GateCheck, Interval

# What resizing in Pillow and in TensorFlow may differ by: one grey level here and there.
SMOKE_TOLERANCE = 0.02


def judge(evaluation: Evaluation, settings: Settings) -> tuple[GateCheck, ...]:
    """Every check that the settings ask for. The model is approved if all of them pass.

    No bound at all is itself a failed check: nothing is approved because nobody asked.
    """
    bounds = {
        "accuracy": (settings.min_accuracy, evaluation.ensemble.accuracy),
        "sensitivity": (settings.min_sensitivity, evaluation.ensemble.sensitivity),
    }
    checks = [
        _value_check(name, figure, bound, settings.judged_on)
        for name, (bound, figure) in bounds.items()
        if bound is not None
    ]
    if not checks:
        checks = [GateCheck(name="bounds", value="none set", bound="at least one", passed=False)]
    return (*checks, _runs_check(evaluation, settings.min_runs), _smoke_check(evaluation))


def reasons(checks: tuple[GateCheck, ...]) -> tuple[str, ...]:
    """A sentence for each failed check; none if all passed."""
    return tuple(
        f"{item.name}: {item.value}, asked for {item.bound}" for item in checks if not item.passed
    )


def _value_check(name: str, figure: Interval, bound: float, judged_on: str) -> GateCheck:
    judged = figure.low if judged_on == "lower_bound" else figure.value
    what = "lower end of its 95 % interval" if judged_on == "lower_bound" else "figure itself"
    return GateCheck(
        name=name,
        value=str(figure),
        bound=f"at least {bound:.3f} (the {what})",
        passed=not math.isnan(judged) and judged >= bound,
    )


def _runs_check(evaluation: Evaluation, least: int) -> GateCheck:
    count = len(evaluation.runs)
    return GateCheck(
        name="successful runs", value=str(count), bound=f"at least {least}", passed=count >= least
    )


def _smoke_check(evaluation: Evaluation) -> GateCheck:
    difference = evaluation.smoke_difference
    return GateCheck(
        name="saved model agrees with the evaluation",
        value=f"largest difference {difference:.4f}",
        bound=f"at most {SMOKE_TOLERANCE}",
        passed=not math.isnan(difference) and difference <= SMOKE_TOLERANCE,
    )
