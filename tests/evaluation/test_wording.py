"""Figures as people read them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from skin_pipeline.contracts import Abstention, Interval
from skin_pipeline.evaluation.wording import abstaining, duration, shown, signed, size

NAN = math.nan


@pytest.mark.parametrize(
    ("figure", "text", "difference"),
    [
        ((0.812, 0.757, 0.857), "0.812 [0.757, 0.857]", "+0.812 [+0.757, +0.857]"),
        ((-0.1, -0.2, 0.0), "-0.100 [-0.200, 0.000]", "-0.100 [-0.200, +0.000]"),
        ((0.5, NAN, NAN), "0.500 [nan, nan]", "+0.500 [+nan, +nan]"),
        ((NAN, NAN, NAN), "not defined", "not defined"),
    ],
)
def test_a_figure_is_written_with_its_interval_unless_it_is_not_defined(
    figure: Any, text: str, difference: str
) -> None:
    interval = Interval(**dict(zip(("value", "low", "high"), figure, strict=True)))
    assert (shown(interval), signed(interval)) == (text, difference)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (187, "3 min 07 s"), (7500, "2 h 05 min")],
)
def test_a_duration_is_written_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (3_700_000, "3.7 MB"),
        (2 * 10**15, "2000.0 TB"),
    ],
)
def test_a_size_is_written_in_its_largest_unit(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Abstention(), "The model gives a decision on every image."),
        (
            Abstention(margin=1.0, near=0.1),
            "The model gives no decision (unsure) on images with a probability between 0.269 and "
            "0.731, as 10 % of the validation images have, those nearest to the threshold.",
        ),
        (
            Abstention(familiarity=0.025),
            "The model gives no decision (unsure) on images that look more unusual to the model "
            "than all but 2.5 % of the validation images.",
        ),
    ],
)
def test_a_sentence_says_on_which_images_there_is_no_decision(rule: Abstention, said: str) -> None:
    assert abstaining(rule, 0.5) == said


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_the_probabilities_without_a_decision_lie_around_the_threshold(threshold: float) -> None:
    low, high = Abstention(margin=0.7).between(threshold)
    assert 0 <= low <= threshold <= high <= 1
