"""The training curves of all runs."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import svg as svg_reader

from skin_pipeline.contracts import Epoch, TrainedRun
from skin_pipeline.evaluation.plots.training import (
    AUC,
    FEW,
    LOSS,
    VALIDATION_LOSS,
    training_curves,
)

COLOURS = [curve.colour.lower() for curve in (LOSS, VALIDATION_LOSS, AUC)]


def epoch(stage: str, number: int, loss: float = 0.5, auc: float = 0.8) -> Epoch:
    return Epoch(
        stage=stage,
        epoch=number,
        loss=loss,
        validation_loss=loss + 0.05,
        validation_auc=auc,
        validation_sensitivity=0.9,
        validation_specificity=0.6,
        images_per_second=100.0,
        seconds=1.0,
    )


def trained(*history: Epoch, run: int = 0, best: int = 0) -> TrainedRun:
    return TrainedRun(
        run=run,
        seed=run,
        split="s",
        strategy="head",
        features=(),
        weights="w",
        held_out="h",
        table="t",
        best=history[best],
        history=history,
    )


def run_of(run: int, **epochs: int) -> TrainedRun:
    """A run of some epochs in each stage, that gets better to the end."""
    numbers = [(stage, number + 1) for stage, count in epochs.items() for number in range(count)]
    lines = [epoch(*line, 0.7 / (1 + i), 1 - 0.4 / (1 + i)) for i, line in enumerate(numbers)]
    return trained(*lines, run=run, best=-1)


def lines(svg: str, colour: str) -> list[list[svg_reader.Point]]:
    """The points of each line of a colour in the panels; the legend's comes after them."""
    return svg_reader.strokes(svg, f"stroke: {colour}; ")[:-1]


def marks(svg: str, colour: str) -> set[svg_reader.Point]:
    return set(svg_reader.marks(svg, f"stroke: {colour}"))


@pytest.mark.parametrize("epochs", [{"head": 12}, {"head": 12, "fine_tune": 3}])
@pytest.mark.parametrize("count", [1, 2, 6, 20])
def test_each_run_is_drawn_with_its_stages(count: int, epochs: Any) -> None:
    svg = training_curves([run_of(run, **epochs) for run in range(count)])
    written = svg_reader.texts(svg)
    assert [text for text in written if text.startswith("Run ")] == [
        f"Run {run}" for run in range(count)
    ]
    assert written.count("head") == count
    assert written.count("fine_tune") == count * ("fine_tune" in epochs)
    assert ("next stage" in written) == (len(epochs) > 1)
    for colour in COLOURS:
        assert [len(line) for line in lines(svg, colour)] == [sum(epochs.values())] * count


def test_a_reader_that_cannot_see_is_told_what_is_drawn() -> None:
    svg = ElementTree.fromstring(training_curves([run_of(3, head=2), run_of(5, head=2)]))
    assert svg.get("role") == "img"
    assert svg[0].tag == "title"
    assert svg[0].text == "Training curves by epoch: run 3, run 5"


def test_the_stages_follow_one_another_from_left_to_right() -> None:
    (line,) = lines(training_curves([run_of(0, head=3, full=2)]), COLOURS[0])
    steps = [right[0] - left[0] for left, right in pairwise(line)]
    assert len(steps) == 4
    assert steps == pytest.approx([steps[0]] * 4, rel=1e-3)
    assert steps[0] > 0


def test_a_line_in_both_panels_parts_the_stages() -> None:
    svg = training_curves([run_of(0, head=3, full=2)])
    (curve,) = lines(svg, COLOURS[0])
    upright = [line[0][0] for line in lines(svg, "currentColor") if line[0][0] == line[-1][0]]
    between = [x for x in upright if curve[2][0] < x < curve[3][0]]
    assert len(between) == 2


def test_all_runs_are_drawn_to_the_same_scales() -> None:
    low = trained(*(epoch("head", n, 0.5, 0.8) for n in (1, 2, 3)))
    wild = trained(epoch("head", 1, 0.5, 0.8), *(epoch("head", n, 3, 0.6) for n in range(2, 31)))
    svg = training_curves([low, wild.model_copy(update={"run": 1})])
    for colour in COLOURS:
        first, second = lines(svg, colour)
        assert first[0][1] == second[0][1]
        assert first[1][0] - first[0][0] == pytest.approx(second[1][0] - second[0][0], rel=1e-3)


def test_the_kept_epoch_is_marked_on_the_validation_loss_and_on_the_auc() -> None:
    history = [epoch("head", number, 1 / number, 1 - 1 / (number + 1)) for number in (1, 2, 3)]
    history.append(epoch("fine_tune", 1, 0.2, 0.6))
    for best in (0, 3):
        svg = training_curves([trained(*history, best=best)])
        for colour in COLOURS[1:]:
            (line,) = lines(svg, colour)
            assert marks(svg, "currentColor") & set(line) == {line[best]}


def test_a_single_epoch_is_seen() -> None:
    svg = training_curves([trained(epoch("head", 1))])
    loss, validation_loss, auc = (lines(svg, colour)[0][0] for colour in COLOURS)
    assert loss[0] == validation_loss[0] == auc[0]
    assert loss[1] > validation_loss[1]  # y goes down
    for colour, point in zip(COLOURS, (loss, validation_loss, auc), strict=True):
        assert point in marks(svg, colour)


def test_only_stages_of_few_epochs_have_dots() -> None:
    svg = training_curves([run_of(0, head=FEW + 1, fine_tune=3)])
    (line,) = lines(svg, COLOURS[0])
    assert marks(svg, COLOURS[0]) & set(line) == set(line[-3:])


@pytest.mark.parametrize("history", [[0.8, math.nan, 0.9], [math.nan]])
def test_a_figure_that_is_not_defined_leaves_a_gap(history: Any) -> None:
    run = trained(*(epoch("head", number + 1, auc=auc) for number, auc in enumerate(history)))
    svg = training_curves([run])
    ElementTree.fromstring(svg)
    assert not re.search(r"\b(nan|inf)\b", svg, re.IGNORECASE)


@pytest.mark.parametrize("counts", [(2, 30), (30, 2), (5, 40, 3)])
def test_the_longest_run_fits_into_its_panel(counts: Any) -> None:
    svg = training_curves([run_of(run, head=count) for run, count in enumerate(counts)])
    width = float(ElementTree.fromstring(svg).get("viewBox", "").split()[2])
    drawn = lines(svg, COLOURS[0])
    assert [len(line) for line in drawn] == list(counts)
    panel = width / len(counts)
    for number, line in enumerate(drawn):
        assert number * panel < line[0][0] < line[-1][0] <= (number + 1) * panel
