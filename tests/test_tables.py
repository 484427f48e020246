"""Tables in the store that people open in a spreadsheet: no formula, and nothing lost."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some
from spreadsheets import HOSTILE, TABLE, cells

from skin_pipeline import tables
from skin_pipeline.storage import FolderStore, digest

TEXTS = some.lists(some.text(max_size=8), min_size=1, max_size=5)
FORMULAS = some.lists(some.text("=+-@;,'\" \t\r\nab\0", max_size=8), min_size=1, max_size=5)


def read_back(data: bytes) -> pd.DataFrame:
    """Returns a written table with all its texts as they were."""
    return tables.texts_restored(pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False))


def test_texts_become_no_formula_and_numbers_stay_numbers(store: FolderStore) -> None:
    data = store.read(tables.write(store, "x/manifest.csv", TABLE))
    for row, written in zip(TABLE.itertuples(), cells(data)[1:], strict=True):
        for cell in written[:3]:
            assert not cell or cell[0] not in "=+-@\t\r\n\uff1d"
        assert written[4] == str(row.row)
        assert float(written[3]) == pytest.approx(row.brightness)


@given(TEXTS | FORMULAS)
def test_any_texts_are_read_back(texts: list[str]) -> None:
    table = pd.DataFrame({"image_id": texts, "row": range(len(texts))})
    assert read_back(tables.to_csv(table))["image_id"].tolist() == texts


def test_names_of_columns_become_no_formula_and_are_read_back() -> None:
    data = tables.to_csv(pd.DataFrame({"=1+1": ["a"], "usual": ["b"]}))
    assert cells(data)[0] == ["'=1+1", "usual"]
    assert read_back(data).columns.tolist() == ["=1+1", "usual"]


def test_scores_are_read_back(store: FolderStore) -> None:
    scores = TABLE.rename(columns={"patient_id": "group"})[["key", "group", "brightness"]]
    read = tables.read_scores(store, tables.write(store, "x/scores.csv", scores))
    assert read["key"].tolist() == scores["key"].tolist()
    assert read["group"].fillna("").tolist() == scores["group"].tolist()
    assert read["brightness"].tolist() == scores["brightness"].tolist()


def test_only_an_empty_cell_of_scores_is_missing(store: FolderStore) -> None:
    scores = pd.DataFrame({
        "key": ["a.jpg", "b.jpg", "c.jpg"],
        "group": ["NA", "null", "007"],
        "probability": [0.1 + 0.2, math.nan, 1 / 3],
    })
    read = tables.read_scores(store, tables.write(store, "x/scores.csv", scores))
    pd.testing.assert_frame_equal(read, scores, check_exact=True)


def test_a_table_without_formulas_keeps_its_bytes() -> None:
    usual = pd.DataFrame({"key": ["a/1.jpg", "b-2, c.jpg"], "x": [-0.5, np.nan], "n": [-1, 2]})
    assert tables.to_csv(usual) == usual.to_csv(index=False, lineterminator="\n").encode()


def test_a_table_is_kept_under_the_digest_of_its_bytes(store: FolderStore) -> None:
    table = pd.DataFrame({"image_id": HOSTILE})
    key = tables.put(store, table)
    assert key == f"tables/{digest(tables.to_csv(table))}.csv"
    assert tables.put(store, table) == key
    assert read_back(store.read(key))["image_id"].tolist() == list(HOSTILE)
