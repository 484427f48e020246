"""The log of scores: what was written is read again."""

from __future__ import annotations

import pandas as pd

from skin_pipeline.contracts import Batch
from skin_pipeline.monitoring import score_log
from skin_pipeline.monitoring.measures import NAMES
from skin_pipeline.storage import FolderStore

AT = "2026-11-26T08:00:00+00:00"


def rows() -> pd.DataFrame:
    """An image that was scored, and one that could not be."""
    common = {
        "scored_at": pd.Timestamp(AT),
        "model": "skin",
        "version": "4f1a",
        "alias": "champion",
    }
    scored = {
        **common,
        **{"image": "a.jpg", "digest": "a" * 64, "batch": "b", "probability": 0.25},
        **{"threshold": 0.5, "label": "benign", "abstained": False, "problem": ""},
        **dict.fromkeys(NAMES, 0.5),
        "embedding": [1.0, 2.0],
    }
    broken = {**common, "image": "b.jpg", "digest": "b" * 64, "batch": "b", "problem": "cut off"}
    return pd.DataFrame([scored, broken])


def batch(began_at: str = AT, run: str = "manual__1") -> Batch:
    return Batch(
        model="skin",
        alias="champion",
        version="4f1a",
        source="/new",
        run=run,
        scores=("scoring/skin/scores/1.parquet",),
        images=1,
        unreadable=1,
        known=0,
        began_at=began_at,
        ended_at=began_at,
    )


def test_rows_come_back_as_they_were_written(store: FolderStore) -> None:
    score_log.write(store, "scoring/skin/scores/1.parquet", rows())
    read = score_log.read(store, "scoring/skin/scores/1.parquet")
    assert list(read["image"]) == ["a.jpg", "b.jpg"]
    assert read["probability"].isna().tolist() == [False, True]
    assert list(read["embedding"][0]) == [1.0, 2.0]
    assert read["scored_at"][0] == pd.Timestamp(AT)


def test_the_newest_batches_come_first(store: FolderStore) -> None:
    for day in (1, 2, 3):
        score_log.record(store, batch(f"2026-11-0{day}T08:00:00+00:00", f"run {day}"))
    assert [item.run for item in score_log.batches(store, "skin", last=2)] == ["run 3", "run 2"]
    assert list(score_log.batches(store, "other")) == []
