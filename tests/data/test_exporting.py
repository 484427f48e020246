"""The table of a result as a CSV, whichever way the store keeps it."""

from __future__ import annotations

from pathlib import Path

import documents
import pandas as pd
import pytest
from spreadsheets import TABLE, cells

from skin_pipeline import parquet, tables
from skin_pipeline.contracts import RESULT, dump
from skin_pipeline.data import exporting
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_it_is_what_a_table_for_people_would_be(
    store: FolderStore, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS", 6)  # several parts
    table = TABLE[~TABLE["image_id"].str.contains("\r")]  # a row is then quoted by itself
    key = tables.write(store, f"ingest/1/manifest.{ending}", table)
    store.put(f"ingest/1/{RESULT}", dump(documents.dataset("ingest/1", table=key)))
    for number, given in enumerate(("ingest/1", key)):
        out = tmp_path / f"{number}.csv"
        assert exporting.export(store, given, out) == len(table)
        assert cells(out.read_bytes()) == cells(tables.to_csv(table))
        assert not any(cell[:1] == "=" for row in cells(out.read_bytes()) for cell in row)


def test_a_key_of_something_else_is_refused(store: FolderStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"key of a result \(ingest/…, validate/…, split/…\)"):
        exporting.export(store, "models/skin", tmp_path / "out.csv")


def test_a_damaged_table_leaves_no_file(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS", 100)
    table = pd.DataFrame({"key": [f"{number}.jpg" for number in range(1000)]})
    data = bytearray(store.read(tables.write(store, "x.parquet", table)))
    middle = len(data) // 2
    data[middle : middle + 60] = bytes(60)
    store.put("damaged.parquet", bytes(data))
    with pytest.raises(BadInput, match=r"damaged\.parquet in the store"):
        exporting.export(store, "damaged.parquet", tmp_path / "out.csv")
    assert list(tmp_path.glob("*.csv")) == []
