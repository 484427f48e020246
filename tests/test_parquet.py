"""Tables as Parquet: read back as they were, column by column; a damaged one is refused by name."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as some
from spreadsheets import TABLE

from skin_pipeline import parquet, tables
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore

WORDS = some.sampled_from(["007", "NA", "nan", "null", "None", "", "1e5", "True", "=1+1", "\r\n"])
CELLS = some.lists(
    some.tuples(WORDS | some.text(max_size=8), some.floats(width=64), some.booleans()), max_size=9
)
FORMAT = {"compression": "zstd", "write_statistics": False, "store_schema": False}


def written(table: pa.Table, **how: Any) -> bytes:
    """A Parquet file as the store writes it, but for what is given."""
    file = io.BytesIO()
    pq.write_table(table, file, **{**FORMAT, **how})
    return file.getvalue()


@given(CELLS)
def test_any_cells_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, float, bool]]
) -> None:
    store = FolderStore(tmp_path_factory.getbasetemp() / "cells")
    table = pd.DataFrame({
        "text": pd.Series([text for text, *_ in cells], dtype=str),
        "figure": np.array([figure for _, figure, _ in cells], np.float64),
        "count": np.arange(len(cells)),
        "readable": np.array([yes for *_, yes in cells], bool),
    })
    read = parquet.read(store, tables.put(store, table))
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    assert read["text"].tolist() == [text for text, *_ in cells]


def test_only_the_wanted_columns_are_read_in_their_order(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tables.put(store, TABLE)
    seen, reading = [], pq.ParquetFile.read_row_group

    def read(self: Any, group: int, names: list[str], **how: Any) -> pa.Table:
        seen.extend(names)
        return reading(self, group, names, **how)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read)
    assert list(parquet.read(store, key, ["row", "key"]).columns) == ["row", "key"]
    assert seen == ["row", "key"]


def test_it_is_read_group_by_group(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 6)
    key = tables.put(store, TABLE)
    groups = list(parquet.parts(store, key, ["image_id", "row"]))
    assert [len(part) for part in groups] == [6, 6, 6, 2]
    whole = pd.concat(groups, ignore_index=True)
    pd.testing.assert_frame_equal(whole, TABLE[["image_id", "row"]], check_dtype=False)


def test_a_table_without_rows_keeps_its_columns(store: FolderStore) -> None:
    read = parquet.read(store, tables.put(store, TABLE.head(0)))
    assert list(read.columns) == list(TABLE.columns)
    assert read["row"].dtype == np.int64
    assert read["readable"].dtype == bool
    assert parquet.read(store, tables.put(store, TABLE.head(0)), ["key"]).empty


def test_what_is_no_figure_is_text_and_none_is_missing(store: FolderStore) -> None:
    name = b"broken\xff.jpg".decode(errors="surrogateescape")
    table = pd.DataFrame({"a": [None, np.nan, 7, True, name]}, dtype=object)
    read = parquet.read(store, tables.put(store, table))
    assert read["a"].tolist() == ["", "", "7", "True", "broken\\udcff.jpg"]


def test_a_column_that_is_not_there_is_named(store: FolderStore) -> None:
    key = tables.put(store, TABLE)
    with pytest.raises(BadInput, match=f"{key} in the store .* has no column run_7"):
        parquet.read(store, key, ["key", "run_7"])


def test_a_repeated_text_is_kept_once(store: FolderStore) -> None:
    key = tables.put(store, pd.DataFrame({"group": ["patient_id:" + "7" * 1000] * 60_000}))
    assert len(store.read(key)) < 5_000


def test_more_text_than_could_be_read_is_not_written(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MOST_TEXT", 100)
    with pytest.raises(BadInput, match="column site has 101 bytes of text in 1 rows; at most 100"):
        tables.put(store, pd.DataFrame({"site": ["a" * 101]}))
    assert store.list("tables") == []


# --- files that the store did not write -----------------------------------------------------------

SOUND = pa.table({"key": ["a", "b", "b"], "row": [1, 2, 3]})
LONG = pa.table({
    "key": pa.DictionaryArray.from_arrays(np.zeros(parquet.ROWS, np.int32), ["a" * 2**20])
})
HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"key,row\na,1\n",
    "only the magic": lambda: b"PAR1PAR1",
    "a footer longer than the file": lambda: b"PAR1" + b"\xff\xff\xff\x7fPAR1",
    "cut off": lambda: written(SOUND)[:-9],
    "its beginning is missing": lambda: written(SOUND)[20:],
    "notes of Arrow": lambda: written(SOUND, store_schema=True),
    "another compression": lambda: written(SOUND, compression="gzip"),
    "lists": lambda: written(pa.table({"key": [["a"], ["b"]]})),
    "structures": lambda: written(pa.table({"key": [{"a": 1}]})),
    "bytes": lambda: written(pa.table({"key": [b"\xff"]})),
    "times": lambda: written(pa.table({"key": pa.array([1], pa.timestamp("us"))})),
    "a text that is none": lambda: written(
        pa.table({"key": pa.array([b"\xff\xfe"]).view(pa.string())})
    ),
    "an unknown yes or no": lambda: written(pa.table({"key": [True, None]})),
    "two columns of one name": lambda: written(
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["key", "key"])
    ),
    "a large group": lambda: written(
        pa.table({"key": pa.array(np.zeros(parquet.ROWS + 1, np.int64))})
    ),
    "many rows": lambda: written(
        pa.table({"key": pa.array(np.zeros(parquet.MOST_ROWS + 1, bool))}),
        row_group_size=parquet.ROWS,
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_the_store_did_not_write_is_refused_by_name(
    store: FolderStore, kind: str
) -> None:
    store.put("ingest/1/manifest.parquet", HOSTILE[kind]())
    said = "ingest/1/manifest.parquet in the store .* is not what a step wrote there: .*backup"
    with pytest.raises(BadInput, match=said):
        parquet.read(store, "ingest/1/manifest.parquet", ["key"])
    with pytest.raises(BadInput, match=said):
        list(parquet.parts(store, "ingest/1/manifest.parquet"))


def test_a_small_file_with_endless_text_takes_no_memory(store: FolderStore) -> None:
    store.put("x.parquet", written(LONG))
    assert len(store.read("x.parquet")) < 2**12  # 64 GiB of text
    before = pa.total_allocated_bytes()
    peak = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="column key has more than 134217728 bytes in a group"):
            parquet.read(store, "x.parquet")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert pa.default_memory_pool().max_memory() <= max(peak, before + 2**26)


def test_no_change_of_a_file_does_more_than_a_refusal(store: FolderStore) -> None:
    data, rng = written(pa.table({"key": ["a", "b"] * 50, "x": [0.5, None] * 50})), random.Random(7)
    refused = 0
    for number in range(400):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        store.put(f"{number}.parquet", bytes(changed))
        try:
            assert len(parquet.read(store, f"{number}.parquet")) <= parquet.MOST_ROWS
        except BadInput as error:
            refused += f"{number}.parquet in the store" in str(error)
    assert refused > 100
