from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    Calibration,
    Comparison,
    Evaluation,
    Figures,
    GateCheck,
    Interval,
    LeftOut,
    Scored,
    Slice,
    Trunk,
)
from skin_pipeline.evaluation import metrics
from skin_pipeline.evaluation.comparison import compare
from skin_pipeline.evaluation.gate import Case, judge, reasons
from skin_pipeline.evaluation.metrics import Predictions, Sample
from skin_pipeline.intervals import proportion

NAN = math.nan
KEY = "evaluate/new"
NO_VALUE_BOUND = {"min_accuracy": None, "min_sensitivity": None}


def interval(value: Any, width: float = 0.05) -> Interval:
    return Interval(value=value, low=value - width, high=value + width)


SHARES = (
    *("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision"),
    *("f1", "auc", "brier", "calibration_error"),
)


def made_figures(**changed: Any) -> Figures:
    """Figures that are .9, and a calibration error of .1, but for those that are given."""
    values = {**dict.fromkeys(SHARES, 0.9), "calibration_error": 0.1, **changed}
    return Figures(
        images=232,
        threshold=0.5,
        confusion={"tp": 97, "fn": 19, "fp": 16, "tn": 100},
        predictive=(),
        **{name: interval(value) for name, value in values.items()},
    )


def evaluation(
    runs: int = 6,
    smoke: float = 0.001,
    slices: Any = (),
    figures: Figures | None = None,
    per_run: Any = None,
    **changed: Any,
) -> Evaluation:
    seen = figures or made_figures(**changed)
    return Evaluation(
        dataset="ingest/1",
        split="split/1",
        synthetic=False,
        trunk=Trunk(backbone="ResNet50", source="imagenet", digest="imagenet"),
        strategy="head",
        views=4,
        runs=tuple(f"train/{i}" for i in range(runs)),
        seeds={},
        threshold=0.5,
        ensemble=seen,
        per_run=per_run or {},
        calibration=Calibration(
            temperature=1.0,
            images=200,
            bins=(),
            brier=seen.brier,
            calibration_error=seen.calibration_error,
        ),
        slices=slices,
        within=(),
        mistakes=(),
        predictions="p",
        model="m",
        smoke_difference=smoke,
    )


def judged(
    result: Evaluation | None = None,
    champion: Any = None,
    comparison: Comparison | None = None,
    sets: Any = (),
    left_out: tuple[LeftOut, ...] = (),
    **bounds: Any,
) -> tuple[GateCheck, ...]:
    result = (result or evaluation()).model_copy(update={"left_out": left_out})
    case = Case(KEY, result, champion, comparison, sets)
    return judge(case, Settings(**bounds))


def failed(checks: Any) -> Any:
    return tuple(check.name for check in checks if not check.passed)


def named(checks: Any, name: str) -> Any:
    (check,) = [check for check in checks if check.name == name]
    return check


# --- bounds on figures ---------------------------------------------------------------------------

FIGURES = [
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
    ("no bound", {}, NO_VALUE_BOUND, ("bounds",)),
    ("a bound on a change only", {}, {**NO_VALUE_BOUND, "min_auc_change": 0.1}, ("bounds",)),
    ("any one bound is enough", {}, {**NO_VALUE_BOUND, "min_auc": 0.8}, ()),
    *(
        (f"{name} too low", {field: 0.72}, {f"min_{field}": 0.7}, (name,))
        for field, name in {
            "balanced_accuracy": "balanced accuracy",
            "specificity": "specificity",
            "precision": "precision",
            "auc": "AUC",
        }.items()
    ),
    ("calibrated", {}, {"max_calibration_error": 0.16}, ()),
    ("error too high", {}, {"max_calibration_error": 0.14}, ("calibration error",)),
    ("error on the point", {}, {"max_calibration_error": 0.14, "judged_on": "point"}, ()),
    (
        "error not a number",
        {"calibration_error": NAN},
        {"max_calibration_error": 0.9},
        ("calibration error",),
    ),
    (
        "all wrong",
        {"accuracy": 0.1, "sensitivity": 0.1, "runs": 1, "smoke": 1.0},
        {},
        ("accuracy", "sensitivity", "successful runs", "saved model agrees with the evaluation"),
    ),
]


@pytest.mark.parametrize(
    ("seen", "bounds", "names"), [c[1:] for c in FIGURES], ids=[c[0] for c in FIGURES]
)
def test_the_checks_that_fail_are_exactly_those_that_should(
    seen: Any, bounds: Any, names: Any
) -> None:
    assert failed(judged(evaluation(**seen), **bounds)) == names


def test_a_reason_tells_the_value_its_interval_and_the_bound() -> None:
    (reason,) = reasons(judged(evaluation(accuracy=0.7)))
    assert reason == (
        "accuracy: 0.700 [0.650, 0.750], required at least 0.750 "
        "(the lower end of its 95 % interval)"
    )


def test_an_error_is_judged_on_its_upper_end() -> None:
    (reason,) = reasons(judged(max_calibration_error=0.12))
    assert reason == (
        "calibration error: 0.100 [0.050, 0.150], required at most 0.120 "
        "(the upper end of its 95 % interval)"
    )


def test_an_approved_model_needs_no_reasons() -> None:
    assert reasons(judged()) == ()


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("accuracy", "232 images: 212 correct would show 0.870, 197 were"),
        ("sensitivity", "116 malignant images: 109 found would show 0.870, 97 were"),
        ("specificity", "116 benign images: 109 classified as benign would show 0.870, 100 were"),
        ("precision", "113 images classified as malignant: 106 correct would show 0.870, 97 were"),
    ],
)
def test_a_proportion_that_missed_its_bound_comes_with_advice(field: str, text: str) -> None:
    bounds: dict[str, Any] = {**NO_VALUE_BOUND, f"min_{field}": 0.87}
    missed: dict[str, Any] = {field: 0.84}
    met: dict[str, Any] = {field: 0.95}
    seen = evaluation(**missed)
    assert named(judged(seen, **bounds), field).advice == text
    assert named(judged(seen, **bounds, judged_on="point"), field).advice == ""
    assert named(judged(evaluation(**met), **bounds), field).advice == ""


# --- slices --------------------------------------------------------------------------------------


def part(
    feature: str, value: str, sensitivity: float = 0.9, auc: float = 0.9, small: bool = False
) -> Slice:
    return Slice(
        feature=feature,
        value=value,
        images=80,
        malignant=40,
        accuracy=interval(0.9),
        sensitivity=interval(sensitivity),
        specificity=interval(0.9),
        auc=interval(auc),
        small=small,
    )


SEX = (part("sex", "female"), part("sex", "male"))
SENSITIVITY: dict[str, Any] = {"gated_slices": "sex", "min_slice_sensitivity": 0.8}
SLICES = [
    ("all good", SEX, SENSITIVITY, "", "female 0.900 [0.850, 0.950]"),
    (
        "one too low",
        (SEX[0], part("sex", "male", 0.82)),
        SENSITIVITY,
        "sensitivity by sex",
        "male 0.820 [0.770, 0.870]",
    ),
    (
        "all that are too low are named",
        (part("sex", "female", 0.7), part("sex", "male", 0.82)),
        SENSITIVITY,
        "sensitivity by sex",
        "female 0.700 [0.650, 0.750]; male 0.820 [0.770, 0.870]",
    ),
    (
        "a small one is named and not judged",
        (*SEX, part("sex", "unknown", 0.1, small=True)),
        SENSITIVITY,
        "",
        "female 0.900 [0.850, 0.950]; too small to judge: unknown",
    ),
    (
        "none large enough",
        (part("sex", "female", small=True), part("sex", "male", small=True)),
        SENSITIVITY,
        "sensitivity by sex",
        "no slice to judge; too small to judge: female, male",
    ),
    (
        "a feature that is not there",
        SEX,
        {**SENSITIVITY, "gated_slices": "age"},
        "sensitivity by age",
        "no slice to judge",
    ),
    (
        "not a number",
        (SEX[0], part("sex", "male", NAN)),
        SENSITIVITY,
        "sensitivity by sex",
        "male nan [nan, nan]",
    ),
    (
        "AUC",
        (SEX[0], part("sex", "male", auc=0.7)),
        {"gated_slices": "sex", "min_slice_auc": 0.7},
        "AUC by sex",
        "male 0.700 [0.650, 0.750]",
    ),
]


@pytest.mark.parametrize(
    ("slices", "bounds", "name", "value"), [c[1:] for c in SLICES], ids=[c[0] for c in SLICES]
)
def test_each_slice_of_a_gated_feature_must_reach_the_bound(
    slices: Any, bounds: Any, name: Any, value: Any
) -> None:
    checks = judged(evaluation(slices=slices), **bounds)
    assert failed(checks) == ((name,) if name else ())
    assert value in {check.value for check in checks}


@pytest.mark.parametrize(("judged_on", "value"), [("lower_bound", "male"), ("point", "female")])
def test_of_slices_that_pass_the_lowest_is_told_by_what_is_judged(
    judged_on: str, value: str
) -> None:
    wide = SEX[1].model_copy(update={"sensitivity": Interval(value=0.92, low=0.81, high=0.99)})
    checks = judged(evaluation(slices=(SEX[0], wide)), **SENSITIVITY, judged_on=judged_on)
    told = named(checks, "sensitivity by sex")
    assert told.passed
    assert told.value.startswith(value)


def test_every_gated_feature_is_judged_by_every_bound() -> None:
    bounds: dict[str, Any] = {
        "gated_slices": "sex, age",
        "min_slice_sensitivity": 0.8,
        "min_slice_auc": 0.7,
    }
    checks = judged(evaluation(slices=SEX), **bounds)
    assert failed(checks) == ("sensitivity by age", "AUC by age")
    assert named(checks, "AUC by sex").passed


def test_slices_are_not_judged_unless_required() -> None:
    assert failed(judged(evaluation(slices=(part("sex", "male", 0.1, 0.1),)))) == ()


def test_a_slice_that_missed_its_bound_comes_with_advice() -> None:
    slices = (SEX[0], part("sex", "male", 0.825))
    advice = named(judged(evaluation(slices=slices), **SENSITIVITY), "sensitivity by sex").advice
    assert advice == (
        "male: 40 malignant images: 37 found would show 0.800, 33 were; "
        "at this share it takes about 984"
    )


# --- against the champion ------------------------------------------------------------------------


def the_champion(problem: str = "", key: str = "evaluate/old") -> Scored:
    return Scored(
        name="v1",
        dataset="ingest/1",
        evaluation=key,
        images=232,
        excluded=0,
        figures=None if problem else made_figures(),
        problem=problem,
    )


def changes(**values: Any) -> Comparison:
    shown = dict.fromkeys(("accuracy", "sensitivity", "specificity", "auc"), 0.01)
    return Comparison(
        champion="v1",
        images=232,
        excluded=0,
        champion_figures=made_figures(),
        only_challenger=5,
        only_champion=3,
        p_value=0.7,
        **{name: interval(value, 0.02) for name, value in {**shown, **values}.items()},
    )


CHANGES = [
    ("better", {}, {}, ()),
    ("a tie keeps the champion", {"auc": 0.0}, {}, ("change of AUC",)),
    ("worse", {"auc": -0.01}, {}, ("change of AUC",)),
    ("not a number", {"auc": NAN}, {}, ("change of AUC",)),
    ("a little worse may do", {"auc": -0.01}, {"min_auc_change": -0.02}, ()),
    ("not shown", {}, {"changes_judged_on": "lower_bound"}, ("change of AUC",)),
    ("shown", {"auc": 0.03}, {"changes_judged_on": "lower_bound"}, ()),
    ("only what is required", {"accuracy": -0.5, "sensitivity": -0.5}, {}, ()),
    ("accuracy", {"accuracy": 0.0}, {"min_accuracy_change": 0.0}, ("change of accuracy",)),
    ("sensitivity", {}, {"min_sensitivity_change": 0.01}, ("change of sensitivity",)),
    ("specificity", {}, {"min_specificity_change": 0.1}, ("change of specificity",)),
    ("nothing required", {"auc": -0.5}, {"min_auc_change": None}, ()),
]


@pytest.mark.parametrize(
    ("values", "bounds", "names"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_a_change_must_be_more_than_its_bound(values: Any, bounds: Any, names: Any) -> None:
    checks = judged(champion=the_champion(), comparison=changes(**values), **bounds)
    assert failed(checks) == names


def test_a_reason_tells_the_change_with_its_sign() -> None:
    checks = judged(champion=the_champion(), comparison=changes(auc=-0.004))
    assert reasons(checks) == (
        "change of AUC: -0.004 [-0.024, +0.016], required more than +0.000 (the change itself)",
    )


CHAMPIONS = [
    ("none yet", None, True, "there is none yet"),
    ("the same model", the_champion(key=KEY), True, "this model is the champion already"),
    ("it cannot be scored", the_champion("it is gone"), False, "it is gone"),
    ("it was not compared", the_champion(), False, "not compared"),
]


@pytest.mark.parametrize(
    ("champion", "passed", "value"), [c[1:] for c in CHAMPIONS], ids=[c[0] for c in CHAMPIONS]
)
def test_what_cannot_be_compared_is_told(champion: Any, passed: Any, value: Any) -> None:
    check = named(judged(champion=champion), "champion")
    assert (check.passed, check.value) == (passed, value)
    assert not any(c.name == "champion" for c in judged(champion=champion, min_auc_change=None))


# --- sets of another origin ----------------------------------------------------------------------


def outside(name: str, figures: Figures | None = None, problem: str = "") -> Scored:
    return Scored(
        name=name,
        dataset="ingest/2",
        evaluation=KEY,
        images=100,
        excluded=0,
        figures=figures,
        problem=problem,
    )


ISIC, CLINIC = outside("isic", made_figures()), outside("clinic", made_figures(auc=0.62))
BOTH = {"external": "isic=/a, clinic=/b"}
EXTERNAL = [
    ("not required", (CLINIC,), BOTH, ()),
    ("good", (ISIC,), {"min_external_sensitivity": 0.8, "min_external_auc": 0.8}, ()),
    ("one too low", (ISIC, CLINIC), {"min_external_auc": 0.6}, ("AUC on clinic",)),
    ("no set at all", (), {"min_external_auc": 0.6}, ("external sets",)),
    ("a set is missing", (ISIC,), {"min_external_auc": 0.6, **BOTH}, ("external set clinic",)),
    (
        "a set with a problem",
        (ISIC, outside("clinic", problem="no malignant image")),
        {"min_external_sensitivity": 0.6},
        ("external set clinic",),
    ),
    ("a set without figures", (outside("a"),), {"min_external_auc": 0.6}, ("external set a",)),
    (
        "not a number",
        (outside("a", made_figures(sensitivity=NAN)),),
        {"min_external_sensitivity": 0.1},
        ("sensitivity on a",),
    ),
]


@pytest.mark.parametrize(
    ("sets", "bounds", "names"), [c[1:] for c in EXTERNAL], ids=[c[0] for c in EXTERNAL]
)
def test_every_external_set_must_reach_the_bounds(sets: Any, bounds: Any, names: Any) -> None:
    assert failed(judged(sets=sets, **bounds)) == names


def test_the_problem_of_a_set_is_the_reason() -> None:
    checks = judged(sets=[outside("clinic", problem="it is empty")], min_external_auc=0.5)
    assert reasons(checks) == ("external set clinic: it is empty, required figures to judge",)


def learned_elsewhere(name: str, auc: float, problem: str = "") -> LeftOut:
    figure = Interval(value=auc, low=auc - 0.05, high=auc + 0.05)
    return LeftOut(source=name, images=90, malignant=40, auc=figure, problem=problem)


SOURCES = [
    ("not required", (learned_elsewhere("a", 0.5),), {}, ()),
    ("good", (learned_elsewhere("a", 0.8),), {"min_source_auc": 0.7}, ()),
    (
        "the lower end is too low",
        (learned_elsewhere("a", 0.8), learned_elsewhere("b", 0.74)),
        {"min_source_auc": 0.7},
        ("AUC on b, learned from the others",),
    ),
    (
        "the figure itself is enough",
        (learned_elsewhere("b", 0.74),),
        {"min_source_auc": 0.7, "judged_on": "point"},
        (),
    ),
    ("one source only", (), {"min_source_auc": 0.7}, ("sources",)),
    (
        "not judged",
        (learned_elsewhere("a", NAN, "nothing was learned"),),
        {"min_source_auc": 0.1},
        ("AUC on a, learned from the others",),
    ),
    (
        "not a number",
        (learned_elsewhere("a", NAN),),
        {"min_source_auc": 0.1},
        ("AUC on a, learned from the others",),
    ),
]


@pytest.mark.parametrize(
    ("sources", "bounds", "names"), [c[1:] for c in SOURCES], ids=[c[0] for c in SOURCES]
)
def test_every_source_must_be_told_by_what_was_learned_from_the_others(
    sources: Any, bounds: Any, names: Any
) -> None:
    assert failed(judged(left_out=sources, **bounds)) == names


def test_sensitivity_on_an_external_set_comes_with_advice() -> None:
    checks = judged(
        sets=[outside("a", made_figures(sensitivity=0.84))], min_external_sensitivity=0.8
    )
    assert named(checks, "sensitivity on a").advice.startswith("116 malignant images: 102 found")


# --- planted faults ------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 240)
GOOD = 1 / (1 + np.exp(-3 * (LABELS - 0.5) - RNG.normal(0, 0.8, 240)))
GROUPS = np.arange(240) // 2


def seen(scores: Any, labels: Any = LABELS) -> Figures:
    return metrics.figures(Predictions(scores, 0.5), Sample(labels, GROUPS, seed=0))


def test_a_good_model_is_approved() -> None:
    checks = judged(evaluation(figures=seen(GOOD)), min_auc=0.8, min_specificity=0.7)
    assert reasons(checks) == ()


def test_shuffled_labels_are_refused() -> None:
    figures = seen(GOOD, RNG.permutation(LABELS))
    assert figures.auc.low < 0.5 < figures.auc.high
    assert failed(judged(evaluation(figures=figures), min_auc=0.7)) == (
        "accuracy",
        "sensitivity",
        "AUC",
    )


@pytest.mark.parametrize(("constant", "missed"), [(0.9, "specificity"), (0.1, "sensitivity")])
def test_a_constant_is_refused(constant: float, missed: str) -> None:
    figures = seen(np.full(240, constant))
    names = failed(judged(evaluation(figures=figures), min_specificity=0.6, min_auc=0.6))
    assert names == ("accuracy", missed, "AUC")


def test_a_run_of_nan_is_refused_and_named() -> None:
    nothing = seen(np.full(240, NAN))
    per_run = {0: seen(GOOD), 1: nothing}
    checks = judged(evaluation(figures=nothing, per_run=per_run))
    assert failed(checks) == ("accuracy", "sensitivity", "successful runs")
    assert named(checks, "accuracy").value == "nan [nan, nan]"
    assert named(checks, "successful runs").value == "5; run 1 gives no figures"


def test_a_run_of_nan_is_refused_whatever_the_mean_says() -> None:
    per_run = {0: seen(GOOD), 4: seen(np.full(240, NAN))}
    checks = judged(evaluation(figures=seen(GOOD), per_run=per_run), min_runs=2)
    assert failed(checks) == ("successful runs",)


def test_the_champions_own_scores_do_not_beat_it() -> None:
    model = Predictions(GOOD, 0.5)
    comparison = compare(model, model, Sample(LABELS, GROUPS, seed=0), version="v1", excluded=0)
    for judged_on in ("point", "lower_bound"):
        checks = judged(
            evaluation(figures=seen(GOOD)),
            champion=the_champion(),
            comparison=comparison,
            changes_judged_on=judged_on,
        )
        assert failed(checks) == ("change of AUC",)


def test_too_few_images_are_refused_with_how_many_it_takes() -> None:
    figures = metrics.figures(
        Predictions(np.repeat([0.9, 0.1], 10), 0.5),
        Sample(np.repeat([1, 0], 10), np.arange(20), 0),
    )
    check = named(judged(evaluation(figures=figures)), "sensitivity")
    assert figures.sensitivity == proportion(10, 10)
    assert not check.passed
    assert check.advice == (
        "even 10 of 10 malignant images found would show only 0.722; "
        "it takes at least 16 malignant images"
    )
