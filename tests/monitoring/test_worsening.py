"""Alerts about performance: surely below the bound of the release, and seldom by chance."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import score_rows

from skin_pipeline.config import Deployment
from skin_pipeline.contracts import Interval
from skin_pipeline.intervals import proportion
from skin_pipeline.monitoring import worsening
from skin_pipeline.monitoring.performance import NOTHING, measured
from skin_pipeline.monitoring.worsening import alarms, released_bounds, subject_of, watched
from skin_pipeline.storage import FolderStore

BOUNDS = {"min_sensitivity": 0.8, "min_specificity": None}


def below(hits: int, total: int, adjusted: Interval = NOTHING, bound: float | None = 0.8) -> str:
    return worsening._below("sensitivity", hits, total, adjusted, bound)


def test_a_figure_is_below_only_if_it_is_sure() -> None:
    assert below(20, 50).startswith("sensitivity: 0.400 [")
    assert "had to show 0.800" in below(20, 50)
    assert below(38, 50) == ""  # lower, but may well be chance
    assert below(0, 9) == ""  # too few to say anything
    assert below(0, 10) != ""  # ten are enough, where all of them were missed
    assert below(20, 50, bound=None) == ""


def test_the_adjusted_figure_can_be_surely_below_where_the_plain_one_is_not() -> None:
    rows = pd.DataFrame(
        [(True, 1)] * 90 + [(True, 0)] * 60 + [(False, 1)] * 20 + [(False, 0)] * 180
        + [(False, -1)] * 1800,
        columns=["positive", "truth"],
    ).assign(version="4f1a", scored_at=pd.Timestamp("2026-09-01", tz="UTC"))  # fmt: skip
    found = measured(rows)
    assert proportion(90, 110).value > 0.8
    assert "adjusted for those without" in below(90, 110, found.adjusted_sensitivity)


def test_looking_every_month_for_three_years_seldom_raises_a_false_alarm() -> None:
    """At a sensitivity that is exactly the bound, which is the worst case."""
    rng = np.random.default_rng(0)
    found = rng.binomial(10, 0.8, size=(500, 36)).cumsum(axis=1)
    alarmed = [
        any(below(int(hits), 10 * month) for month, hits in enumerate(row, start=1))
        for row in found
    ]
    assert np.mean(alarmed) < 0.02


def test_a_sensitivity_that_fell_to_half_is_noticed() -> None:
    rng = np.random.default_rng(0)
    noticed = [bool(below(int(rng.binomial(60, 0.45)), 60)) for _ in range(200)]
    assert np.mean(noticed) > 0.95


def test_an_alarm_names_the_version_and_goes_with_its_cause(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{number}.jpg": 0.1 + 0.8 * (number % 3 == 0) for number in range(60)}
    score_rows.write(store, "skin", images)
    monkeypatch.setattr(worsening, "released_bounds", lambda *_: BOUNDS)
    monkeypatch.setattr(worsening, "joined", lambda store, model: labelled(store, model, 1))
    (alarm,) = alarms(store, "skin", Deployment(store=store.url))
    assert alarm.subject == subject_of("skin", score_rows.VERSION)
    assert watched(store, "skin") == [alarm.subject]
    assert alarm.headline == "skin: version 4f1a4f1a4f1a is worse in use than it had to be"
    assert alarm.text[0].startswith("sensitivity: 0.333")
    assert "60 of 60 scored images have a label" in alarm.text[1]
    monkeypatch.setattr(worsening, "joined", lambda store, model: labelled(store, model, -1))
    assert alarms(store, "skin", Deployment(store=store.url)) == []


def labelled(store: FolderStore, model: str, truth: int) -> pd.DataFrame:
    from skin_pipeline.monitoring import decisions

    return decisions.joined(store, model).assign(truth=truth)


def test_a_version_that_is_gone_has_no_bounds(
    store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert released_bounds(store, "skin", "4f1a", Deployment(store=store.url)) == {}
    assert "bounds_not_known model=skin version=4f1a" in caplog.text
