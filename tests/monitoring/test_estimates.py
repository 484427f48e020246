"""The estimate without labels: right where the probabilities are, and doubted elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import score_rows
from numpy.typing import NDArray

from skin_pipeline.monitoring import estimates
from skin_pipeline.monitoring.estimates import Estimated, estimated
from skin_pipeline.storage import FolderStore


def table(chances: NDArray[np.float64], sick: NDArray[np.bool_], known: float) -> pd.DataFrame:
    """Decisions at 0.4, a share of which has a label."""
    labelled = np.random.default_rng(9).random(len(chances)) < known
    return pd.DataFrame({
        "probability": chances,
        "positive": chances >= 0.4,
        "truth": np.where(labelled, sick.astype(int), -1),
        "version": "4f1a",
        "scored_at": pd.Timestamp("2026-09-01", tz="UTC"),
    })


def estimate(rows: pd.DataFrame) -> Estimated:
    return estimates._estimated(rows)


def test_the_expected_figures_are_those_computed_by_hand() -> None:
    chances = np.array([0.9, 0.6, 0.2, 0.1])
    found = estimate(table(chances, chances > 1, known=0))
    assert found.sensitivity.value == pytest.approx(1.5 / 1.8)
    assert found.specificity.value == pytest.approx(1.7 / 2.2)
    assert found.share.value == pytest.approx(0.45)
    assert "An estimate, not a measurement." in found.assumption
    assert (found.check, found.trusted) == ("No label has come back to check it by.", True)


def test_its_interval_covers_what_labels_would_show_where_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(3)
    covered, rounds = np.zeros(2), 120
    for _ in range(rounds):
        chances = rng.beta(1.2, 2.5, size=300)
        sick = rng.random(300) < chances
        found = estimate(table(chances, sick, known=0))
        shown = (
            (sick & (chances >= 0.4)).sum() / sick.sum(),
            (~sick & (chances < 0.4)).sum() / (~sick).sum(),
        )
        ends = found.sensitivity, found.specificity
        covered += [
            item.low <= figure <= item.high for item, figure in zip(ends, shown, strict=True)
        ]
    assert (covered / rounds > 0.9).all()


def test_labels_that_agree_leave_it_and_others_contradict_it() -> None:
    rng = np.random.default_rng(5)
    chances = rng.beta(1.2, 2.5, size=600)
    right = estimate(table(chances, rng.random(600) < chances, known=0.3))
    assert right.trusted
    assert right.check.endswith("the labels agree.")
    # Malignant lesions are a tenth as frequent here as the probabilities say.
    wrong = estimate(table(chances, rng.random(600) < chances / 10, known=0.3))
    assert not wrong.trusted
    assert "contradict it, so do not rely on it" in wrong.check


def test_it_comes_by_version_and_month(store: FolderStore) -> None:
    score_rows.write(store, "skin", {"a": 0.9, "b": 0.2})
    (found,) = estimated(store, "skin")
    assert (found.version, found.images) == (score_rows.VERSION, 2)
    assert estimated(store, "other") == []
