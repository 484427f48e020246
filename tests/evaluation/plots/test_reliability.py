"""The reliability diagram."""

from __future__ import annotations

import judged_run
import pytest
import svg as svg_reader

from skin_pipeline.evaluation import plots
from skin_pipeline.evaluation.plots.style import BLUE

LABELS, (PROBABILITIES,) = judged_run.scores(1)
CALIBRATION = judged_run.calibration(LABELS, PROBABILITIES)


def test_each_bin_is_a_mark_with_its_interval_where_its_images_are() -> None:
    svg = plots.reliability(CALIBRATION)
    diagonal, *_ = svg_reader.strokes(svg, "stroke-dasharray: 0.8")
    (left, bottom), (right, top) = diagonal[0], diagonal[-1]

    def place(x: float, y: float) -> svg_reader.Point:
        return left + x * (right - left), bottom + y * (top - bottom)

    bars = svg_reader.strokes(svg, f"stroke: {BLUE.lower()}; stroke-width: 1.2")
    points = svg_reader.marks(svg, f"stroke: {BLUE.lower()}")
    assert len(bars) == len(CALIBRATION.bins) == 10
    assert len(points) == 10 + 1  # and the legend's
    for item, bar, point in zip(CALIBRATION.bins, bars, points[:10], strict=True):
        share = item.malignant
        assert point == pytest.approx(place(item.probability, share.value), abs=0.01)
        assert bar[0] == pytest.approx(place(item.probability, share.low), abs=0.01)
        assert bar[1] == pytest.approx(place(item.probability, share.high), abs=0.01)
