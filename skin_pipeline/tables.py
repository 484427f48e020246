"""Tables in the store: Parquet for the steps, CSV that a person may open in a spreadsheet.

The ending of a key says how its table is written.

    put(store, table)                                  # under its digest: `tables/4f1a….parquet`
    write(store, f"{key}/manifest.parquet", table)     # under a name of its own, below a result
    write(store, f"{key}/scores.csv", table)
    read_scores(store, f"{key}/scores.csv")

No text in a CSV is taken for a formula by the spreadsheet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from skin_pipeline import parquet
from skin_pipeline.foreign import defused, restored
from skin_pipeline.storage import Store, digest_file, scratch

Rows = pd.DataFrame | Iterable[pd.DataFrame]


def read_scores(store: Store, key: str) -> pd.DataFrame:
    """Returns a table of scores from the store, each number exactly as it was written; NaN where
    there is none."""
    # Only an empty cell is a missing value: a group may be called "NA" or "null".
    table = pd.read_csv(
        io.BytesIO(store.read(key)),
        dtype=dict.fromkeys(("key", "label", "group"), str),
        keep_default_na=False,
        na_values=[""],
        float_precision="round_trip",
    )
    return texts_restored(table)


def to_csv(table: pd.DataFrame, *, header: bool = True) -> bytes:
    """Returns a table as CSV that a person may open in a spreadsheet: no text becomes a formula.

    Numbers stay numbers, also `-1`. Readers restore the texts by `texts_restored`.
    """
    safe = _with_texts(table, defused)
    text = safe.to_csv(index=False, lineterminator="\n", header=header)
    # pandas writes a carriage return without quotes, and reads it as the end of a row.
    if "\r" in text:
        text = safe.to_csv(
            index=False, lineterminator="\n", header=header, quoting=csv.QUOTE_NONNUMERIC
        )
    return text.encode("utf-8", "backslashreplace")


def texts_restored(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table that was read, with its texts as they were before `to_csv`."""
    return _with_texts(table, restored)


def _with_texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Returns a table with its texts changed, including the names of its columns."""
    changed: dict[str, pd.Series[Any]] = {}
    for name in table.columns:
        new = {text: made for text in _texts(table[name]) if (made := change(text)) != text}
        if new:
            changed[name] = table[name].map(lambda cell, new=new: new.get(cell, cell))
    return table.assign(**changed).rename(columns=change)


def _texts(cells: pd.Series[Any]) -> set[str]:
    """Returns the texts in a column, each once, so that each is changed once for all its cells."""
    if pd.api.types.is_numeric_dtype(cells):
        return set()
    return {cell for cell in cells.tolist() if isinstance(cell, str)}


def write(store: Store, key: str, table: Rows) -> str:
    """Puts a table into the store under a key that ends in `.parquet` or `.csv`; returns the key.

    Args:
        store: The store.
        key: Where it goes.
        table: The table; for Parquet, also its parts in order, of which only a few are in memory
            at a time. How it is parted makes no difference to what is written.
    """
    if isinstance(table, pd.DataFrame) and not key.endswith(parquet.PARQUET):
        store.put(key, to_csv(table))
        return key
    with scratch() as folder:
        parquet.save(folder / "table", _parts(table))
        store.put_file(key, folder / "table")
    return key


def put(store: Store, table: Rows) -> str:
    """Puts a table into the store as Parquet, under the digest of its bytes; returns its key."""
    with scratch() as folder:
        parquet.save(folder / "table", _parts(table))
        key = f"tables/{digest_file(folder / 'table')}{parquet.PARQUET}"
        store.put_file(key, folder / "table")
    return key


def _parts(table: Rows) -> Iterable[pd.DataFrame]:
    return [table] if isinstance(table, pd.DataFrame) else table
