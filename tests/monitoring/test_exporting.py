"""Scores as a table for people."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from skin_pipeline.contracts import Batch
from skin_pipeline.errors import BadInput
from skin_pipeline.monitoring import exporting, score_log
from skin_pipeline.storage import FolderStore


def put(store: FolderStore, run: str, began_at: str, *names: str) -> tuple[Batch, str]:
    """A batch with an image that was scored, and one that was not, for each name."""
    about = {
        **{"scored_at": pd.Timestamp(began_at), "model": "skin", "version": "4f1a"},
        **{"alias": "champion", "batch": run, "threshold": 0.5, "abstained": False},
    }
    scored = [{"digest": "a", "probability": 0.25, "label": "benign", "problem": ""}]
    broken = [{"digest": "b", "probability": None, "label": "", "problem": "cut off"}]
    rows = [{**about, "image": name, **one} for name in names for one in scored + broken]
    batch = Batch(
        model="skin",
        alias="champion",
        version="4f1a",
        source="/new",
        run=run,
        scores=(score_log.keep(store, "skin", pd.DataFrame(rows)),),
        images=len(names),
        unreadable=len(names),
        known=0,
        began_at=began_at,
        ended_at=began_at,
    )
    return batch, score_log.record(store, batch)


@pytest.fixture
def filled(store: FolderStore) -> FolderStore:
    put(store, "first", "2026-11-01T08:00:00Z", "a.jpg")
    put(store, "second", "2026-11-02T08:00:00Z", "=1+1.jpg", "c.jpg")
    return store


def test_csv_has_a_row_an_image_and_no_formula(filled: FolderStore, tmp_path: Path) -> None:
    output = tmp_path / "out/scores.csv"
    assert exporting.export(filled, "skin", output) == 6
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[::2]] == ["a.jpg", "'=1+1.jpg", "c.jpg"]
    assert rows[0]["probability"] == "0.250000"
    assert (rows[1]["probability"], rows[1]["problem"]) == ("", "cut off")
    assert rows[0]["scored_at"] == "2026-11-01T08:00:00+00:00"
    assert rows[0]["abstained"] == "False"


def test_parquet_has_the_same_rows_with_their_types(filled: FolderStore, tmp_path: Path) -> None:
    output = tmp_path / "scores.parquet"
    assert exporting.export(filled, "skin", output) == 6
    table = pd.read_parquet(output)
    assert list(table.columns) == list(exporting.COLUMNS)
    assert list(table["image"])[2] == "=1+1.jpg"
    assert table["probability"].isna().sum() == 3
    assert table["scored_at"][0] == pd.Timestamp("2026-11-01T08:00:00Z")


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        ({"batch": "first"}, 2),
        ({"since": "2026-11-02"}, 4),
        ({"since": "2026-11-01"}, 6),
        ({"batch": "second", "since": "2026-11-02T08"}, 4),
    ],
)
def test_batches_are_chosen_by_run_and_by_time(
    filled: FolderStore, tmp_path: Path, chosen: dict[str, str], rows: int
) -> None:
    assert exporting.export(filled, "skin", tmp_path / "x.csv", **chosen) == rows


@pytest.mark.parametrize(
    ("model", "chosen", "said"),
    [
        ("other", {}, "'other' has scored nothing yet"),
        ("skin", {"batch": "third"}, "no batch 'third'.*The newest of 2 is 'second'"),
        ("skin", {"since": "2027"}, "since '2027'"),
    ],
)
def test_no_such_scores_are_an_error_and_write_nothing(
    filled: FolderStore, tmp_path: Path, model: str, chosen: dict[str, str], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        exporting.export(filled, model, tmp_path / "x.csv", **chosen)
    assert not (tmp_path / "x.csv").exists()


def test_another_suffix_is_refused(filled: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--out must end in .csv or .parquet"):
        exporting.export(filled, "skin", tmp_path / "x.xlsx")


def test_the_table_of_a_batch_lies_beside_it(store: FolderStore) -> None:
    batch, key = put(store, "first", "2026-11-01T08:00:00Z", "a.jpg")
    target = exporting.table_of(store, batch, key)
    assert target == key.replace("/batches/", "/tables/").replace(".json", ".csv")
    assert store.read(target).decode().splitlines()[1].startswith("a.jpg,0.250000,benign,False,,")
