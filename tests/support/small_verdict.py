"""A verdict on six runs and its evaluation, as small as the demo needs them."""

from __future__ import annotations

import documents

from skin_pipeline.contracts import (
    Evaluation,
    Figures,
    GateCheck,
    Interval,
    Verdict,
)


def figures(accuracy: float, width: float = 0.05) -> Figures:
    """Figures that are all about the same."""
    around = Interval(value=accuracy, low=accuracy - width, high=accuracy + width)
    return documents.figures(
        accuracy=around,
        sensitivity=around,
        specificity=Interval(value=float("nan"), low=float("nan"), high=float("nan")),
        precision=around,
        auc=around,
    )


def judged(*, synthetic: bool = True, approved: bool = True) -> tuple[Verdict, Evaluation]:
    """A verdict on six runs, and the evaluation that it names."""
    evaluation = documents.evaluation(
        synthetic=synthetic,
        seeds={run: 1000 + run for run in range(6)},
        ensemble=figures(0.8),
        per_run={run: figures(0.70 + run / 100) for run in range(6)},
    )
    verdict = documents.verdict(
        released_as="skin-resnet50-synthetic",
        approved=approved,
        checks=(GateCheck(name="accuracy", value="0.8", bound="0.75", passed=approved),),
        reasons=() if approved else ("accuracy 0.750 is below 0.760",),
    )
    return verdict, evaluation
