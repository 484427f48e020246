"""Documents of monitoring: what is not defined stays so, and words of others are made safe."""

from __future__ import annotations

import math
from typing import Any

import pytest

from skin_pipeline.contracts import DriftReport, WatchedDay, dump, parse
from skin_pipeline.errors import BadInput

DAY: dict[str, Any] = {
    **{"day": "2026-11-26", "images": 3, "unreadable": 1, "abstained": 0, "malignant": 2},
    **{"means": {"red": 0.5}, "evidence": math.nan},
}
REPORT: dict[str, Any] = {
    **{"model": "skin", "version": "4f1a", "until": "2026-11-26T08:00:00+00:00", "images": 3},
    **{"reference_images": 500, "evidence": 2.5, "alarm": 600.0, "drifting": False},
    **{"returned": True, "moved": (), "days": (DAY,), "bands": {}, "malignant_share": 0.4},
}


def test_evidence_that_is_not_defined_comes_back_undefined() -> None:
    made = parse(dump(DriftReport(**REPORT)), DriftReport, "report.json")
    assert math.isnan(made.days[0].evidence)
    assert made.evidence == pytest.approx(2.5)


@pytest.mark.parametrize("day", ["yesterday", "2026-11-26T08:00", "<b>"])
def test_a_day_is_a_date(day: str) -> None:
    with pytest.raises(ValueError, match="day"):
        WatchedDay(**{**DAY, "day": day})


def test_the_problem_of_a_report_is_one_line() -> None:
    assert DriftReport(**{**REPORT, "problem": "no\nreference"}).problem.isprintable()


def test_a_report_without_figures_is_refused() -> None:
    with pytest.raises(BadInput, match="not a DriftReport document"):
        parse(b'{"model": "skin"}', DriftReport, "report.json")
