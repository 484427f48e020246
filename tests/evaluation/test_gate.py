from __future__ import annotations

import math

import pytest

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Evaluation, Figures, Interval, Trunk
from skin_pipeline.evaluation.gate import judge, reasons

NAN = math.nan


def interval(value, width=0.05):
    return Interval(value=value, low=value - width, high=value + width)


def evaluation(accuracy=0.9, sensitivity=0.9, runs=6, smoke=0.001):
    figures = Figures(
        images=232,
        threshold=0.5,
        confusion={"tp": 1, "fn": 0, "fp": 0, "tn": 1},
        accuracy=interval(accuracy),
        sensitivity=interval(sensitivity),
        specificity=interval(0.9),
        precision=interval(0.9),
        auc=interval(0.9),
    )
    return Evaluation(
        dataset="ingest/1",
        split="split/1",
        synthetic=False,
        trunk=Trunk(backbone="ResNet50", source="imagenet", digest="imagenet"),
        runs=tuple(f"train/{i}" for i in range(runs)),
        seeds={},
        threshold=0.5,
        ensemble=figures,
        per_run={},
        predictions="p",
        model="m",
        smoke_difference=smoke,
    )


CASES = [
    ("good", {}, {}, ()),
    ("accuracy too low", {"accuracy": 0.70}, {}, ("accuracy",)),
    ("sensitivity too low", {"sensitivity": 0.70}, {}, ("sensitivity",)),
    ("figure high enough, its lower end not", {"sensitivity": 0.82}, {}, ("sensitivity",)),
    ("judged on the point", {"sensitivity": 0.82}, {"judged_on": "point"}, ()),
    ("at the bound", {"sensitivity": 0.80}, {"judged_on": "point"}, ()),
    ("just under", {"sensitivity": 0.7999}, {"judged_on": "point"}, ("sensitivity",)),
    ("accuracy not a number", {"accuracy": NAN}, {}, ("accuracy",)),
    ("not a number, point", {"accuracy": NAN}, {"judged_on": "point"}, ("accuracy",)),
    ("a run failed", {"runs": 5}, {}, ("successful runs",)),
    ("fewer runs allowed", {"runs": 5}, {"min_runs": 5}, ()),
    ("saved model differs", {"smoke": 0.3}, {}, ("saved model agrees with the evaluation",)),
    ("saved model says nan", {"smoke": NAN}, {}, ("saved model agrees with the evaluation",)),
    ("one bound", {"accuracy": 0.1}, {"min_accuracy": None}, ()),
    ("no bound", {}, {"min_accuracy": None, "min_sensitivity": None}, ("bounds",)),
    (
        "all wrong",
        {"accuracy": 0.1, "sensitivity": 0.1, "runs": 1, "smoke": 1.0},
        {},
        ("accuracy", "sensitivity", "successful runs", "saved model agrees with the evaluation"),
    ),
]


@pytest.mark.parametrize(
    ("seen", "bounds", "failed"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_checks_that_fail_are_exactly_those_that_should(seen, bounds, failed):
    checks = judge(evaluation(**seen), Settings(**bounds))
    assert tuple(check.name for check in checks if not check.passed) == failed


def test_a_reason_tells_the_value_its_interval_and_the_bound():
    (reason,) = reasons(judge(evaluation(accuracy=0.7), Settings()))
    assert reason == (
        "accuracy: 0.700 [0.650, 0.750], asked for at least 0.750 "
        "(the lower end of its 95 % interval)"
    )


def test_an_approved_model_needs_no_reasons():
    assert reasons(judge(evaluation(), Settings())) == ()
