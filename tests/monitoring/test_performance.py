"""Measured figures: against values computed by hand, and with labels that depend on the call."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import score_rows

from skin_pipeline.intervals import proportion
from skin_pipeline.monitoring.performance import Counts, Real, measured, real, shown
from skin_pipeline.storage import FolderStore


def table(**counts: int) -> pd.DataFrame:
    """Decisions: `tp`, `fp`, `fn`, `tn`, and without a label `up` and `un`, by the call."""
    kinds = {
        **{"tp": (True, 1), "fp": (True, 0), "up": (True, -1)},
        **{"fn": (False, 1), "tn": (False, 0), "un": (False, -1)},
    }
    rows = [kinds[kind] for kind, count in counts.items() for _ in range(count)]
    return pd.DataFrame(rows, columns=["positive", "truth"]).assign(
        version="4f1a", scored_at=pd.Timestamp("2026-09-01", tz="UTC")
    )


def test_with_a_label_for_every_image_the_figures_are_those_of_all() -> None:
    found = measured(table(tp=45, fn=5, fp=30, tn=120))
    assert found.sensitivity == proportion(45, 50)
    assert found.specificity == proportion(120, 150)
    assert found.adjusted_sensitivity.value == pytest.approx(0.9)
    assert found.adjusted_specificity.value == pytest.approx(0.8)
    assert found.bounds_sensitivity == (0.9, 0.9)
    assert (
        found.selection
        == "200 of 200 scored images have a label: the figures are those of all images."
    )
    assert (found.positive, found.negative) == (Counts(45, 30, 0), Counts(5, 120, 0))


def test_labels_that_depend_on_the_call_are_adjusted_for_it() -> None:
    """All called malignant have a label, a tenth of those called benign: by hand 80 of 100."""
    found = measured(table(tp=80, fp=100, fn=2, tn=98, un=900))
    assert found.sensitivity.value == pytest.approx(80 / 82)
    assert found.adjusted_sensitivity.value == pytest.approx(80 / (80 + 1000 * 0.02))
    assert found.adjusted_specificity.value == pytest.approx(980 / 1080)
    assert found.adjusted_sensitivity.low < 0.7
    low, high = found.bounds_sensitivity
    assert (low, high) == (80 / 982, 80 / 82)
    assert low < found.adjusted_sensitivity.value < high
    assert "100% of those called malignant, 10% of those called benign" in found.selection


def test_a_call_without_any_label_says_nothing_about_what_it_missed() -> None:
    found = measured(table(tp=20, fp=10, un=100))
    assert found.sensitivity == proportion(20, 20)
    assert math.isnan(found.adjusted_sensitivity.value)
    assert "the measured sensitivity says nothing" in found.selection
    other = measured(table(tn=20, fn=1, up=10))
    assert "the specificity says nothing" in other.selection
    none = measured(table(up=3, un=4))
    assert none.selection == "0 of 7 scored images have a label: nothing is known yet."
    assert math.isnan(none.sensitivity.value)
    assert none.bounds_sensitivity == (0.0, 1.0)


def test_the_adjusted_interval_covers_the_truth_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(1)
    plain, adjusted, rounds = 0, 0, 150
    for _ in range(rounds):
        sick = rng.random(1500) < 0.2
        positive = np.where(sick, rng.random(1500) < 0.8, rng.random(1500) < 0.2)
        labelled = rng.random(1500) < np.where(positive, 0.9, 0.25)
        rows = pd.DataFrame({
            "positive": positive,
            "truth": np.where(labelled, sick.astype(int), -1),
            "version": "4f1a",
            "scored_at": pd.Timestamp("2026-09-01", tz="UTC"),
        })
        found = measured(rows)
        plain += found.sensitivity.low <= 0.8 <= found.sensitivity.high
        adjusted += found.adjusted_sensitivity.low <= 0.8 <= found.adjusted_sensitivity.high
    assert adjusted / rounds > 0.9
    assert plain / rounds < 0.2


def test_windows_follow_in_time_and_the_last_is_told(store: FolderStore) -> None:
    score_rows.write(store, "skin", {"a": 0.9, "b": 0.2})
    late = score_rows.rows({"c": 0.9}, "skin", at="2026-10-02T00:00:00+00:00")
    score_rows.keep(store, "skin", late)
    found = real(store, "skin")
    assert [(item.start[:7], item.images, item.labelled) for item in found] == [
        ("2026-09", 2, 0),
        ("2026-10", 1, 0),
    ]
    assert isinstance(found[0], Real)
    assert shown(found).startswith("version 4f1a4f1a4f1a since 2026-10-02: sensitivity nan")
    assert shown([]) == "no image was scored yet"
    assert real(store, "other") == []
