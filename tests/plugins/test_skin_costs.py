"""What the latest runs of a model took, as the page shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import released
import skin_costs
import skin_web

from skin_pipeline.contracts import StepCost
from skin_pipeline.operations import spending
from skin_pipeline.operations.spending import Spent


def spent(day: int, **steps: float) -> Spent:
    """A run whose steps took so many core-seconds."""
    costs = {
        step: StepCost(results=2, found=1, core_seconds=seconds, bytes_read=3_700_000, cached=3)
        for step, seconds in steps.items()
    }
    return Spent(f"run {day}", f"2026-06-{day:02}T00:00:00Z", f"gate/{day:020}/report.html", costs)


def of(monkeypatch: pytest.MonkeyPatch, *runs: Spent) -> skin_costs.Costs | None:
    monkeypatch.setattr(spending, "trend", lambda model: runs)
    from skin_pipeline.storage import FolderStore

    return skin_costs.of_model(released.opened(FolderStore(Path("/nowhere"))))


def page(costs: skin_costs.Costs | None) -> str:
    """The partial, rendered as the page includes it."""
    return skin_web.environment()[0].get_template("costs.html").render(costs=costs)


def test_nothing_is_shown_where_no_run_recorded_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of(monkeypatch) is None
    assert not page(None).strip()


def test_each_step_has_its_figures_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = of(monkeypatch, spent(2, features=187, train=40))
    assert costs
    features, _, total = costs.steps
    assert (features.name, features.core, features.read) == ("features", "3 min 07 s", "3.7 MB")
    assert (features.results, features.activations) == ("1 of 2", "3 of 3")
    assert (total.name, total.core, total.results) == ("all", "3 min 47 s", "2 of 4")
    shown = page(costs)
    assert "3 min 07 s" in shown
    assert "<svg" not in shown  # a single run is no trend
    assert "<details" not in shown


def test_the_trend_of_a_step_has_a_bar_for_each_run_the_oldest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = of(monkeypatch, spent(3, train=20), spent(2, train=80), spent(1, features=9))
    assert costs
    (train, _) = costs.steps
    assert [bar.height for bar in train.bars] == [0, 1, 0.25]
    assert train.bars[1].title == "2026-06-02: 1 min 20 s"
    shown = page(costs)
    heights = [float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"', shown)]
    assert heights[:3] == [1, 23, 6.5]
    assert "The last 3 judged runs" in shown
    assert [run.core for run in costs.runs] == ["20 s", "1 min 20 s", "9 s"]


def test_the_page_has_no_script_and_no_style_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = page(of(monkeypatch, spent(2, **{"<script>": 1}), spent(1, train=2)))
    assert "<script" not in shown
    assert "style=" not in shown
