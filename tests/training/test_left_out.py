"""A head that learns from all sources but one has seen nothing of that one, nor of the test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_network as tiny

from skin_pipeline.config import Settings
from skin_pipeline.errors import BadInput
from skin_pipeline.training import left_out
from skin_pipeline.training.stages import Run

EACH = 60  # images of a source
SIDES = ["train"] * 34 + ["validation"] * 14 + ["test"] * 12
# In "odd" the feature that tells the label elsewhere says the opposite.
SIGNS = {"here": 1, "odd": -1}
KNOBS = {
    **{"data": "demo", "weights": "none", "balance": "none", "learning_rate": 0.05},
    **{"regions": "centre", "views": 2, "corrupted": 0},
}


def table_of(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([rng.permutation([0, 1] * (EACH // 2)) for _ in SIGNS])
    rows = tiny.table(labels, run_0=SIDES * len(SIGNS))
    rows["source"] = np.repeat(list(SIGNS), EACH)
    rows["group"] = [f"patient-{number}" for number in range(len(rows))]
    return rows


def run_of(folder: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, **knobs: Any) -> Run:
    malignant = (rows["label"] == "malignant").to_numpy()
    told = np.where(malignant, 1.0, -1.0) * rows["source"].map(SIGNS).to_numpy()

    def pooled(count: int, views: int) -> np.ndarray:
        made = np.random.default_rng(4).normal(size=(views, count, sum(tiny.CHANNELS)))
        made += 3 * told[:, None]
        return made.astype(np.float32)

    monkeypatch.setattr(tiny, "pooled", pooled)
    source = tiny.source(folder, rows, 2)
    return Run(tiny.network, source, Settings(**{**KNOBS, **knobs}), 0, 5)


def auc(rows: pd.DataFrame, logits: np.ndarray) -> float:
    malignant = (rows["label"] == "malignant").to_numpy()
    return float((logits[malignant][:, None] > logits[~malignant][None]).mean())


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_nothing_of_the_source_is_learned_and_its_images_outside_of_the_test_set_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    rows = table_of(1)
    run = run_of(tmp_path, rows, monkeypatch, strategy=strategy)
    found, logits = left_out.scored(run, "odd", views=2)
    assert list(found) == [n for n in range(EACH, 2 * EACH) if rows["run_0"][n] != "test"]
    # What was learned elsewhere is wrong here. Learned from both, it would be chance.
    assert auc(rows.iloc[found], logits) < 0.05
    found, logits = left_out.scored(run, "here", views=1)
    assert len(found) == EACH - SIDES.count("test")


def test_patients_of_the_source_are_left_out_of_the_others_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table_of(2)
    # All that "here" has to learn from are images of patients of "odd".
    learned = (rows["source"] == "here") & (rows["run_0"] != "test")
    rows.loc[learned, "group"] = "patient-60"
    with pytest.raises(BadInput, match="the train set has 0 benign and 0 malignant"):
        left_out.scored(run_of(tmp_path, rows, monkeypatch), "odd", views=1)


def test_the_run_itself_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table_of(3)
    run = run_of(tmp_path, rows, monkeypatch, strategy="fine_tune")
    before = run.source.table.copy()
    left_out.scored(run, "here", views=1)
    pd.testing.assert_frame_equal(run.source.table, before)
    assert run.settings.strategy == "fine_tune"
