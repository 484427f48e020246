"""Tables in the store: those of people without formulas, and nothing lost in any."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some
from spreadsheets import HOSTILE, TABLE, cells

from skin_pipeline import parquet, tables
from skin_pipeline.storage import FolderStore, digest

TEXTS = some.lists(some.text(max_size=8), min_size=1, max_size=5)
FORMULAS = some.lists(some.text("=+-@;,'\" \t\r\nab\0", max_size=8), min_size=1, max_size=5)


def read_back(data: bytes) -> pd.DataFrame:
    """Returns a written table with all its texts as they were."""
    return tables.texts_restored(pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False))


def test_texts_become_no_formula_and_numbers_stay_numbers(store: FolderStore) -> None:
    data = store.read(tables.write(store, "x/quarantine.csv", TABLE))
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


# --- in the store -------------------------------------------------------------------------------


def test_the_ending_of_the_key_says_how_it_is_written(store: FolderStore) -> None:
    assert tables.write(store, "x/scores.csv", TABLE) == "x/scores.csv"
    assert store.read("x/scores.csv") == tables.to_csv(TABLE)
    assert tables.write(store, "x/manifest.parquet", TABLE) == "x/manifest.parquet"
    assert store.read("x/manifest.parquet")[:4] == b"PAR1"


def test_a_table_is_kept_under_the_digest_of_its_bytes(store: FolderStore) -> None:
    table = pd.DataFrame({"image_id": HOSTILE})
    key = tables.put(store, table)
    assert key == f"tables/{digest(store.read(key))}.parquet"
    assert tables.put(store, table) == key
    assert parquet.read(store, key)["image_id"].tolist() == list(HOSTILE)


@pytest.mark.parametrize("size", [50, 999, 65_536, 100_000, 200_000])
def test_the_bytes_do_not_depend_on_how_a_table_was_parted(store: FolderStore, size: int) -> None:
    count = 140_000
    table = pd.DataFrame({
        "key": np.char.add("image", np.arange(count).astype(str)),
        "site": np.resize(["torso", "", "007"], count),
        "age": np.where(np.arange(count) % 3, np.arange(count) / 7, np.nan),
        "row": np.arange(count),
        "readable": np.arange(count) % 5 > 0,
    })
    whole = tables.put(store, table)
    pieces = (table.iloc[start : start + size] for start in range(0, count, size))
    assert tables.put(store, pieces) == whole


def test_the_bytes_do_not_depend_on_how_a_table_is_kept_in_memory(store: FolderStore) -> None:
    whole = tables.put(store, TABLE)
    coded = TABLE.astype({"image_id": "category", "key": object, "row": np.int32})
    assert tables.put(store, coded.set_index(np.arange(len(TABLE))[::-1])) == whole
