"""The figures of judged runs in the order of time."""

from __future__ import annotations

from itertools import pairwise

import pytest
import svg as svg_reader
from models_server import interval

from skin_pipeline.contracts import Judgement
from skin_pipeline.evaluation import plots
from skin_pipeline.evaluation.plots.style import BLUE, VERMILION

APPROVED, CHAMPION = f"stroke: {BLUE.lower()}", f"stroke: {VERMILION.lower()}"
REFUSED = "fill-opacity: 0; stroke: currentColor"
PANELS = 3


def judged(at: str, *, approved: bool = True, version: str = "older") -> Judgement:
    return Judgement(
        model="m",
        run=at,
        judged_at=at,
        approved=approved,
        version=version if approved else None,
        reasons=(),
        accuracy=interval(0.8),
        sensitivity=interval(0.85),
        auc=interval(0.9),
        report="",
    )


def dates(svg: str) -> list[str]:
    """What stands below the axis: a date is written in two lines."""
    written = svg_reader.texts(svg)
    return [text for text in written if " " in text or ":" in text][:-1]


WEEKLY = [judged(f"2026-06-{day:02}T03:12:40+00:00") for day in (1, 8, 15)]


def test_runs_are_marked_by_their_outcome_and_the_champion_by_its_own_sign() -> None:
    svg = plots.history(
        [
            *WEEKLY,
            judged("2026-06-22T03:00:00Z", version="now"),
            judged("2026-06-29T03:00:00Z", approved=False),
        ],
        "now",
    )
    assert len(svg_reader.marks(svg, APPROVED)) == 3 * PANELS + 1  # and the legend's
    assert len(svg_reader.marks(svg, CHAMPION)) == PANELS + 1
    assert len(svg_reader.marks(svg, REFUSED)) == PANELS + 1
    assert {"approved", "champion", "refused"} <= set(svg_reader.texts(svg))


def test_without_a_champion_none_is_marked() -> None:
    svg = plots.history(WEEKLY, None)
    assert svg_reader.marks(svg, CHAMPION) == []
    assert "champion" not in svg_reader.texts(svg)


def test_each_run_has_its_interval_in_each_panel() -> None:
    bars = svg_reader.strokes(plots.history(WEEKLY, None), f"fill: none; {APPROVED}")
    assert len(bars) == len(WEEKLY) * PANELS
    assert all(low[0] == high[0] and low[1] > high[1] for low, high in bars)  # y goes down


def test_times_with_and_without_fractions_of_a_second_are_drawn_together() -> None:
    times = (
        "2026-06-01T03:12:40.123456+00:00",
        "2026-06-02T05:00:00Z",
        "2026-06-03T05:00:00+02:00",
    )
    svg = plots.history([judged(time) for time in times], None)
    assert len(svg_reader.marks(svg, APPROVED)) >= len(times)


def test_the_order_in_which_runs_are_given_does_not_matter() -> None:
    assert plots.history(WEEKLY[::-1], None) == plots.history(WEEKLY, None)


def test_runs_stand_in_the_order_of_time_whatever_they_and_their_clocks_are_called() -> None:
    early = judged("2026-06-01T23:30:00-05:00").model_copy(update={"run": "z"})  # the 2nd in UTC
    late = judged("2026-06-02T05:00:00Z", approved=False).model_copy(update={"run": "a"})
    svg = plots.history([late, early], None)
    ((first, _), *_), ((second, _), *_) = (
        svg_reader.marks(svg, style) for style in (APPROVED, REFUSED)
    )
    assert first < second


@pytest.mark.parametrize("count", [2, 30, 200])
def test_runs_of_one_day_hide_one_another_no_more_than_others(count: int) -> None:
    day = [judged(f"2026-06-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(count - 1)]
    svg = plots.history([*day, judged("2026-12-24T00:00:00Z")], None)
    places = [x for x, _ in svg_reader.marks(svg, APPROVED)][:count]
    steps = [right - left for left, right in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * (count - 1), rel=1e-3)
    assert steps[0] > 0


@pytest.mark.parametrize(
    ("times", "written"),
    [
        (["2026-11-24T12:00:00Z"], ["24 Nov"]),
        (["2026-11-24T12:00:00Z", "2026-11-24T13:30:00Z"], ["24 Nov", "13:30"]),
        (["2026-11-24T23:30:00-02:00", "2026-11-26T00:00:00Z"], ["25 Nov", "26 Nov"]),
        (["2025-11-24T12:00:00Z", "2026-11-24T12:00:00Z"], ["24 Nov", "24 Nov"]),
        ([f"2026-11-24T12:{n:02}:00Z" for n in range(0, 60, 4)], ["24 Nov", "12:08"]),
    ],
)
def test_a_date_is_written_once_and_hours_after_it(times: list[str], written: list[str]) -> None:
    assert dates(plots.history([judged(at) for at in times], None))[: len(written)] == written
