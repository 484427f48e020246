"""Dots and intervals of the ensemble and the runs alone."""

from __future__ import annotations

from typing import Any

import judged_run
import pytest
import svg as svg_reader

from skin_pipeline.evaluation import plots
from skin_pipeline.evaluation.plots.spread import METRICS
from skin_pipeline.evaluation.plots.style import BLUE

LABELS, RUNS = judged_run.scores(20)
PER_RUN = {run: judged_run.figures(LABELS, row) for run, row in enumerate(RUNS)}
ENSEMBLE = judged_run.figures(LABELS, RUNS.mean(axis=0))


def run_dots(svg: str) -> list[svg_reader.Point]:
    """The dots of the runs; the marks of the axis have a line width of their own."""
    found = svg_reader.marks(svg, "fill: currentColor; stroke: currentColor")
    ticks = svg_reader.marks(svg, "fill: currentColor; stroke: currentColor; stroke-width")
    return [dot for dot in found if dot not in ticks]


@pytest.mark.parametrize("count", [1, 6, 20])
def test_each_metric_has_a_row_for_the_ensemble_and_for_each_run(count: int) -> None:
    svg = plots.spread(ENSEMBLE, {run: PER_RUN[run] for run in range(count)})
    written = svg_reader.texts(svg)
    assert [text for text in written if text in METRICS.values()] == list(METRICS.values())
    assert written.count("run 0") == written.count(f"run {count - 1}") == len(METRICS)
    dots = run_dots(svg)
    assert len(dots) == count * len(METRICS)
    assert len(svg_reader.marks(svg, f"stroke: {BLUE.lower()}")) == len(METRICS)


def test_all_dots_lie_on_one_scale() -> None:
    """Whatever its metric: from two dots follows where the others are."""
    svg = plots.spread(ENSEMBLE, {0: PER_RUN[0], 1: PER_RUN[1]})
    dots = run_dots(svg)
    values = [getattr(PER_RUN[run], name).value for name in METRICS for run in (0, 1)]
    least, most = values.index(min(values)), values.index(max(values))
    for (x, _), value in zip(dots, values, strict=True):
        share = (value - values[least]) / (values[most] - values[least])
        start, end = dots[least][0], dots[most][0]
        assert x == pytest.approx(start + share * (end - start), abs=0.01)


def test_the_rows_stand_below_one_another_and_none_twice() -> None:
    svg = plots.spread(ENSEMBLE, {run: PER_RUN[run] for run in range(6)})
    heights = [y for _, y in run_dots(svg)]
    assert len(heights) == 6 * len(METRICS)
    assert heights == sorted(set(heights))


def test_the_ensembles_interval_goes_on_as_a_band_behind_every_run_of_the_metric() -> None:
    count = 6
    svg = plots.spread(ENSEMBLE, {run: PER_RUN[run] for run in range(count)})
    bands = svg_reader.shapes(svg, f"fill: {BLUE.lower()}; fill-opacity: 0.13")
    dots = run_dots(svg)
    assert len(bands) == len(METRICS)
    for number, (name, band) in enumerate(zip(METRICS, bands, strict=True)):
        heights = [y for _, y in dots[number * count : (number + 1) * count]]
        assert min(y for _, y in band) < min(heights)
        assert max(y for _, y in band) > max(heights)
        interval = getattr(ENSEMBLE, name)
        assert places(dots, interval.low, interval.high) == pytest.approx(
            (min(x for x, _ in band), max(x for x, _ in band)), abs=0.05
        )


def places(dots: Any, *values: Any) -> Any:
    """Where values stand, from where two dots of known values do."""
    known = [getattr(PER_RUN[run], name).value for name in METRICS for run in range(6)]
    least, most = known.index(min(known)), known.index(max(known))
    scale = (dots[most][0] - dots[least][0]) / (known[most] - known[least])
    return tuple(dots[least][0] + scale * (value - known[least]) for value in values)
