"""Sensitivity and specificity against the share of images that get a decision."""

from __future__ import annotations

import judged_run
import numpy as np
import pytest
import svg as svg_reader

from skin_pipeline.contracts import Abstention, Answered
from skin_pipeline.evaluation import answering, plots
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.evaluation.plots.style import BLUE, VERMILION

LABELS, (PROBABILITIES,) = judged_run.scores(1)
SEEN = Predictions(PROBABILITIES, 0.4)
RULE = Abstention(margin=0.5, near=0.1)


def points(known: float, rule: Abstention = RULE) -> tuple[Answered, ...]:
    familiarity = np.full(len(LABELS), known)
    return answering.curve(SEEN, LABELS, familiarity, rule)


@pytest.mark.parametrize(
    ("known", "rule", "lines", "own"),
    [(0.5, RULE, 2, True), (float("nan"), RULE, 1, True), (0.5, Abstention(), 2, False)],
)
def test_each_way_is_a_line_with_its_band_and_the_settings_are_a_mark(
    known: float, rule: Abstention, lines: int, own: bool
) -> None:
    svg = plots.answering({"Test images": points(known, rule)})
    said = svg_reader.texts(svg)
    assert ("the most unusual left out" in said) == (lines == 2)
    assert ("this version's settings" in said) == own
    for colour, there in ((BLUE, True), (VERMILION, lines == 2)):
        bands = svg_reader.shapes(svg, f"fill: {colour.lower()}; fill-opacity: 0.13")
        assert len(bands) == 2 * there  # sensitivity and specificity


def test_each_set_of_images_has_a_row_of_its_own() -> None:
    svg = plots.answering({"Test images": points(0.5), "clinic": points(0.5)})
    said = svg_reader.texts(svg)
    for text in (
        "Test images",
        "clinic",
        "Sensitivity",
        "Specificity",
        "Images with a decision (%)",
    ):
        assert said.count(text) == 2


def test_all_images_are_on_the_left_and_fewer_to_the_right() -> None:
    svg = plots.answering({"Test images": points(float("nan"))})
    (line, *_) = svg_reader.strokes(svg, f"stroke: {BLUE.lower()}")
    places = [x for x, _ in line]
    assert places == sorted(places)
    assert len(places) == len(answering.SHARES)


def test_images_of_one_class_only_have_half_a_drawing_and_no_error() -> None:
    seen = Predictions(PROBABILITIES[LABELS == 1], 0.4)
    ones = np.ones(len(seen.probabilities), np.int64)
    curve = answering.curve(seen, ones, np.full(len(ones), np.nan), Abstention())
    assert plots.answering({"Test images": curve}).startswith("<svg")
