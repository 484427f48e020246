"""The ROC curve with its operating point."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import judged_run
import numpy as np
import pytest
import svg as svg_reader
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from skin_pipeline.evaluation import plots
from skin_pipeline.evaluation.plots.style import BLUE, VERMILION

ENSEMBLE = f"stroke: {BLUE.lower()}; stroke-width: 2.2"
RUN = "stroke-opacity: 0.45; stroke-width: 0.8"
CHAMPION = f"stroke: {VERMILION.lower()}"
LABELS, RUNS = judged_run.scores(6)
FIGURES = judged_run.figures(LABELS, RUNS[0])


def in_axes(svg: str, style: str) -> list[list[svg_reader.Point]]:
    """Lines of a style in the units of the axes, with those of the legend at the end."""
    chance, *_ = svg_reader.strokes(svg, "stroke-dasharray: 0.8")
    (left, bottom), (right, top) = chance[0], chance[-1]
    return [
        [((x - left) / (right - left), (y - bottom) / (top - bottom)) for x, y in line]
        for line in svg_reader.strokes(svg, style)
    ]


def curves(svg: str, style: str) -> list[list[svg_reader.Point]]:
    return in_axes(svg, style)[:-1]


def area(line: list[svg_reader.Point]) -> float:
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(line))


def test_the_curve_is_that_of_scikit_learn() -> None:
    (line,) = curves(plots.roc(LABELS, RUNS[0], FIGURES, {}), ENSEMBLE)
    false_alarms, found, _ = roc_curve(LABELS, RUNS[0])
    assert len(line) <= len(found)
    corners = set(zip(false_alarms.round(3), found.round(3), strict=True))
    assert {(round(x, 3), round(y, 3)) for x, y in line} <= corners
    assert area(line) == pytest.approx(roc_auc_score(LABELS, RUNS[0]), abs=0.005)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([300, 5000, 50_000]))
def test_a_long_curve_is_thinned_and_keeps_its_area(seed: int, images: Any) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, images)
    scores = rng.normal(labels)
    svg = plots.roc(labels, scores, FIGURES, {})
    (line,) = curves(svg, ENSEMBLE)
    assert len(svg) < 25_000
    assert area(line) == pytest.approx(roc_auc_score(labels, scores), abs=0.005)
    assert line[0] == pytest.approx((0, 0), abs=1e-3)
    assert line[-1] == pytest.approx((1, 1), abs=1e-3)


def test_each_run_and_the_champion_stand_behind_the_ensemble_and_are_named_once() -> None:
    others = {"each run alone": RUNS, "champion 1a2b": RUNS[1]}
    svg = plots.roc(LABELS, RUNS[0], FIGURES, others)
    assert len(curves(svg, RUN)) == 6
    assert len(curves(svg, CHAMPION)) == 1
    for name in ("ensemble", "each run alone", "champion 1a2b"):
        assert svg_reader.texts(svg).count(name) == 1


def test_images_that_were_not_scored_are_left_out_of_a_curve() -> None:
    gaps = np.where(np.arange(len(LABELS)) % 3, RUNS[1], np.nan)
    kept = np.isfinite(gaps)
    (line,) = curves(plots.roc(LABELS, RUNS[0], FIGURES, {"": RUNS[0], "champion": gaps}), CHAMPION)
    assert area(line) == pytest.approx(roc_auc_score(LABELS[kept], gaps[kept]), abs=0.005)


def test_images_of_one_class_have_no_curve() -> None:
    svg = plots.roc(np.ones(5, np.int64), np.linspace(0, 1, 5), FIGURES, {})
    assert curves(svg, ENSEMBLE) == []


def test_the_box_around_the_operating_point_is_its_intervals() -> None:
    svg = plots.roc(LABELS, RUNS[0], FIGURES, {})
    (box,) = in_axes(svg, f"fill: {BLUE.lower()}; opacity: 0.18")
    found, cleared = FIGURES.sensitivity, FIGURES.specificity
    assert min(x for x, _ in box) == pytest.approx(1 - cleared.high, abs=1e-3)
    assert max(x for x, _ in box) == pytest.approx(1 - cleared.low, abs=1e-3)
    assert min(y for _, y in box) == pytest.approx(found.low, abs=1e-3)
    assert max(y for _, y in box) == pytest.approx(found.high, abs=1e-3)


def test_the_operating_point_is_where_sensitivity_and_specificity_meet() -> None:
    svg = plots.roc(LABELS, RUNS[0], FIGURES, {})
    chance, *_ = svg_reader.strokes(svg, "stroke-dasharray: 0.8")
    (left, bottom), (right, top) = chance[0], chance[-1]
    dot, _ = [
        mark
        for mark in svg_reader.marks(svg, "fill: currentColor; stroke: currentColor")
        if mark not in svg_reader.marks(svg, "currentColor; stroke-width")
    ]
    x, y = (dot[0] - left) / (right - left), (dot[1] - bottom) / (top - bottom)
    assert x == pytest.approx(1 - FIGURES.specificity.value, abs=1e-3)
    assert y == pytest.approx(FIGURES.sensitivity.value, abs=1e-3)
    assert abs(x - 0.5) > 0.1  # so that it is not its own mirror image
