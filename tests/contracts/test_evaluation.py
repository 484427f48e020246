"""Documents of the judging: how a line of the verdict is worded, and figures without a value."""

from __future__ import annotations

import math

from skin_pipeline.contracts import Bin, GateCheck, Interval, Scored, dump, parse


def test_a_line_of_the_verdict_is_worded_like_a_check() -> None:
    check = GateCheck(
        name="accuracy", value="0.700 [0.650, 0.750]", bound="at least 0.750", passed=False
    )
    assert check.described() == "accuracy: 0.700 [0.650, 0.750], required at least 0.750"


def test_scores_without_figures_say_why() -> None:
    scored = Scored(
        name="clinic",
        dataset="ingest/1",
        evaluation="evaluate/1",
        images=0,
        excluded=3,
        problem="it is empty",
    )
    read = parse(dump(scored), Scored, "external/1")
    assert (read.figures, read.predictions, read.problem) == (None, "", "it is empty")


def test_an_empty_bin_keeps_that_it_has_no_probability() -> None:
    nothing = Interval(value=math.nan, low=math.nan, high=math.nan)
    read = parse(dump(Bin(images=0, probability=math.nan, malignant=nothing)), Bin, "here")
    assert math.isnan(read.probability)
    assert math.isnan(read.malignant.low)
