"""Charts: what they draw, where, and what they say to readers who cannot see them."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from skin_charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Level, Point, draw, words

NAN = float("nan")
DAYS = [Point(f"2026-10-{day:02}", value) for day, value in ((1, 0.2), (2, NAN), (4, 0.6))]


def element(chart: Chart) -> ET.Element:
    return ET.fromstring(str(draw(chart)))


def numbers(path: str | None) -> list[float]:
    return [float(value) for value in re.findall(r"-?\d+\.?\d*", path or "")]


def test_a_line_goes_through_the_days_that_have_a_value() -> None:
    svg = element(Chart("Red", DAYS))
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in svg.iter("circle")]
    assert len(dots) == 2
    (first, low), (last, high) = dots
    assert LEFT < first < last < RIGHT
    assert TOP <= high < low <= BOTTOM
    line = next(path for path in svg.iter("path") if path.get("class") == "line")
    assert numbers(line.get("d")) == [first, low, last, high]


def test_a_band_and_a_level_lie_where_their_values_do() -> None:
    svg = element(Chart("Red", DAYS, band=(0.3, 0.5), level=Level(0.4, "judged on")))
    band = next(rect for rect in svg.iter("rect") if rect.get("class") == "band")
    level = next(path for path in svg.iter("path") if path.get("class") == "level")
    y = numbers(level.get("d"))[1]
    top, height = float(band.get("y", "")), float(band.get("height", ""))
    assert y == pytest.approx(top + height / 2, abs=0.2)


def test_bars_stand_on_zero_and_two_series_share_the_axis() -> None:
    others = [Point("2026-10-01", 0.1), Point("2026-10-04", 0)]
    svg = element(Chart("Images", DAYS, others=others, bars=True))
    bars = [rect for rect in svg.iter("rect") if (rect.get("class") or "").startswith("bar")]
    assert [bar.get("class") for bar in bars] == ["bar", "bar", "bar bad"]
    heights = [float(bar.get("height", "")) for bar in bars]
    assert heights[1] == pytest.approx(3 * heights[0], rel=0.05)
    assert heights[0] == pytest.approx(2 * heights[2], rel=0.1)


def test_an_interval_is_a_line_from_its_low_to_its_high_end() -> None:
    svg = element(Chart("Sensitivity", [Point("2026-10-01", 0.8, 0.7, 0.9)], percent=True))
    upright = next(path for path in svg.iter("path") if path.get("class") == "line range")
    _, low, high = numbers(upright.get("d"))
    (dot,) = svg.iter("circle")
    assert high < float(dot.get("cy", "")) < low


def test_evidence_has_the_alarm_line_in_sight_on_a_logarithmic_axis() -> None:
    days = [Point("2026-10-01", 1.0), Point("2026-10-02", 10.0), Point("2026-10-03", 100.0)]
    svg = element(
        Chart("Evidence", days, level=Level(600, "alarm at", alarm=True), logarithmic=True)
    )
    heights = [float(dot.get("cy", "")) for dot in svg.iter("circle")]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert "level alarm" in [path.get("class") for path in svg.iter("path")]


def test_a_value_that_never_changes_is_drawn() -> None:
    for value in (0.0, 0.5):
        for chart in (
            Chart("x", [Point("2026-10-01", value)] * 2, percent=True),
            Chart("x", [Point("2026-10-01", value)]),
        ):
            assert all(math.isfinite(n) for n in numbers(str(draw(chart)))), value


def test_without_a_value_it_says_so() -> None:
    empty = Chart("Red", [Point("2026-10-01", NAN)])
    assert "no value yet" in draw(empty)
    assert empty.last == "no value yet"


def test_a_chart_with_an_estimate_alone_says_that_it_is_one() -> None:
    chart = Chart("Sensitivity", [], others=DAYS, other="estimated", percent=True)
    assert chart.last == "estimated 60%"
    assert [dot.get("class") for dot in element(chart).iter("circle")] == ["line other"] * 2


def test_it_is_described_for_readers_who_cannot_see_it() -> None:
    chart = Chart("Called <b>", DAYS, level=Level(0.5, "judged on"), percent=True)
    assert chart.described == "Called <b> until 2026-10-04: 60%, judged on 50%"
    assert element(chart).findtext("title") == chart.described
    assert "<b>" not in str(draw(chart))


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [
        (0.0, True, "0%"),
        (0.034, True, "3.4%"),
        (0.61, True, "61%"),
        (1234.0, False, "1,234"),
        (0.5178, False, "0.518"),
        (7.0, False, "7"),
    ],
)
def test_values_are_short(value: float, percent: bool, text: str) -> None:
    assert words(value, percent) == text
