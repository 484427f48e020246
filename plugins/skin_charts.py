"""Small charts for our pages, as `<svg>` elements in the page's own colours; no script.

    chart = Chart("Red", points, band=(0.3, 0.7), level=Level(0.52, "judged on"))
    draw(chart)

A point is a day and a value. The colours come from the classes in `style.css`, so that a chart is
right in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from markupsafe import Markup

guard(__name__)

WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 332, 10, 128
DOTS = 40  # points, from which a line alone is clearer


class Point(NamedTuple):
    """A value of a day, and the ends of its interval, if it has one."""

    day: str
    value: float
    low: float = math.nan
    high: float = math.nan


class Level(NamedTuple):
    """A horizontal line with its name; `alarm` if it is a bound that should not be reached."""

    value: float
    name: str
    alarm: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart of one or two series over days.

    Attributes:
        title: What it shows.
        points: The series, in the order of days; points that are NaN are left out.
        others: A second series, drawn hollow and dashed.
        band: A range behind the series.
        level: A line across.
        bars: Whether the series are bars from zero.
        logarithmic: Whether the axis is.
        percent: Whether values are shares.
        other: What the second series is called.
        note: A sentence below it.
    """

    title: str
    points: Sequence[Point]
    others: Sequence[Point] = ()
    band: tuple[float, float] | None = None
    level: Level | None = None
    bars: bool = False
    logarithmic: bool = False
    percent: bool = False
    other: str = ""
    note: str = ""

    @property
    def last(self) -> str:
        """The last value in words, of the second series if the first has none, and the level."""
        found, name = _known(self.points), ""
        if not found and self.other:
            found, name = _known(self.others), f"{self.other} "
        if not found:
            return "no value yet"
        value, level = name + words(found[-1].value, self.percent), self.level
        return f"{value}, {level.name} {words(level.value, self.percent)}" if level else value

    @property
    def described(self) -> str:
        """What the chart shows, for readers who cannot see it."""
        known = _known((*self.points, *self.others))
        until = f" until {max(point.day for point in known)}" if known else ""
        return f"{self.title}{until}: {self.last}"


def _known(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if math.isfinite(point.value)]


def words(value: float, percent: bool = False) -> str:
    """Returns a value as short text."""
    if percent:
        return f"{value:.0%}" if value >= 0.1 or not value else f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def draw(chart: Chart) -> Markup:
    """Returns a chart as an `<svg>` element."""
    from markupsafe import Markup, escape

    known = _known((*chart.points, *chart.others))
    if not known:
        return Markup('<p class="muted small">no value yet</p>')
    across, up = _across(known), _up(chart, known)
    parts = [*_frame(chart, known, up), *_marks(chart, across, up)]
    head = f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}">'
    return Markup(f"{head}<title>{escape(chart.described)}</title>{''.join(parts)}</svg>")


# --- where things are ----------------------------------------------------------------------------


class _Axis(NamedTuple):
    """From values to places: linear between two values, or in their logarithms."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (self._of(v) for v in (self.low, self.high, value))
        part = (value - low) / (high - low)
        return round(self.start + min(1.0, max(0.0, part)) * (self.end - self.start), 1)

    def _of(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.logarithmic else value


def _across(known: Sequence[Point]) -> _Axis:
    days = [_ordinal(point) for point in known]
    first, last = min(days), max(days)
    return _Axis(first - 0.5, last + 0.5, LEFT + 4, RIGHT - 4)


def _ordinal(point: Point) -> int:
    return date.fromisoformat(point.day).toordinal()


def _up(chart: Chart, known: Sequence[Point]) -> _Axis:
    values = [v for p in known for v in (p.value, p.low, p.high) if math.isfinite(v)]
    values += list(chart.band or ()) + ([chart.level.value] if chart.level else [])
    low, high = min(values), max(values)
    if chart.logarithmic:
        return _Axis(0.1, max(10.0, high * 2), BOTTOM, TOP, logarithmic=True)
    if chart.bars or chart.percent:
        low = 0.0
    edge = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return _Axis(low if low == 0 else low - edge, high + edge, BOTTOM, TOP)


# --- what is drawn -------------------------------------------------------------------------------


def _frame(chart: Chart, known: Sequence[Point], up: _Axis) -> list[str]:
    """Returns the axes with their ends, the band and the level."""
    parts = []
    if chart.band:
        top, bottom = up(chart.band[1]), up(chart.band[0])
        size = f'width="{RIGHT - LEFT}" height="{round(bottom - top, 1)}"'
        parts.append(f'<rect class="band" x="{LEFT}" y="{top}" {size}/>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>')
    ends = (0.1, up.high / 2) if chart.logarithmic else (up.low, up.high)
    for value, y in zip(ends, (BOTTOM, TOP + 8), strict=True):
        text = words(float(f"{value:.2g}"), chart.percent)
        parts.append(f'<text class="tick" x="{LEFT - 4}" y="{y}" text-anchor="end">{text}</text>')
    days = sorted(point.day for point in known)
    parts.append(f'<text class="tick" x="{LEFT}" y="{BOTTOM + 15}">{days[0]}</text>')
    if days[-1] != days[0]:
        at = f'x="{RIGHT}" y="{BOTTOM + 15}" text-anchor="end"'
        parts.append(f'<text class="tick" {at}>{days[-1]}</text>')
    return parts + _level(chart, up)


def _level(chart: Chart, up: _Axis) -> list[str]:
    if chart.level is None:
        return []
    kind = "level alarm" if chart.level.alarm else "level"
    return [f'<path class="{kind}" d="M{LEFT} {up(chart.level.value)}H{RIGHT}"/>']


def _marks(chart: Chart, across: _Axis, up: _Axis) -> list[str]:
    if chart.bars:
        return [
            *_bars(chart.points, across, up, "bar"),
            *_bars(chart.others, across, up, "bar bad"),
        ]
    return [
        *_line(chart.points, across, up, "line"),
        *_line(chart.others, across, up, "line other"),
    ]


def _bars(points: Sequence[Point], across: _Axis, up: _Axis, kind: str) -> list[str]:
    wide = max(1.5, min(18.0, 0.7 * (across.end - across.start) / (across.high - across.low)))
    made = []
    for point in points:
        if math.isfinite(point.value) and point.value:
            x, y = across(_ordinal(point)) - wide / 2, up(point.value)
            size = f'width="{wide:.1f}" height="{BOTTOM - y:.1f}"'
            made.append(f'<rect class="{kind}" x="{x:.1f}" y="{y}" {size}/>')
    return made


def _line(points: Sequence[Point], across: _Axis, up: _Axis, kind: str) -> list[str]:
    known = _known(points)
    places = [(across(_ordinal(point)), up(point.value)) for point in known]
    made = []
    for point, (x, _) in zip(known, places, strict=True):
        if math.isfinite(point.low) and math.isfinite(point.high):
            made.append(f'<path class="{kind} range" d="M{x} {up(point.low)}V{up(point.high)}"/>')
    if len(places) > 1:
        made.append(f'<path class="{kind}" d="M{"L".join(f"{x} {y}" for x, y in places)}"/>')
    if len(places) <= DOTS:
        made += [f'<circle class="{kind}" cx="{x}" cy="{y}" r="2.6"/>' for x, y in places]
    return made
