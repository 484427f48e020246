"""Writes the table of a result as a CSV for people."""

from __future__ import annotations

from pathlib import Path

from skin_pipeline import parquet, tables
from skin_pipeline.contracts import Dataset, Split, Validation, load
from skin_pipeline.data import disk, manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store

RESULTS: dict[str, type[Dataset | Validation | Split]] = {
    "ingest": Dataset,
    "validate": Validation,
    "split": Split,
}


def export(store: Store, key: str, output: Path) -> int:
    """Writes the table of an `ingest`, `validate` or `split` to a file; returns its rows.

    A text that a spreadsheet would read as a formula gets an apostrophe in front. However large the
    table is, only a part of it is in memory.

    Args:
        store: The store.
        key: Of the result, or of the table itself.
        output: The CSV file, which appears whole or not at all.

    Raises:
        BadInput: There is no such table, or it is not as it was written, or the output cannot be.
    """
    table, rows = _table_key(store, key), 0
    with disk.appearing(output) as draft, draft.open("wb") as file:
        for number, part in enumerate(manifest.parts(store, table)):
            file.write(tables.to_csv(part, header=not number))
            rows += len(part)
    return rows


def _table_key(store: Store, key: str) -> str:
    if key.endswith((parquet.PARQUET, ".csv")):
        return key
    step = key.partition("/")[0]
    if step not in RESULTS:
        known = ", ".join(f"{name}/…" for name in RESULTS)
        raise BadInput(f"give the key of a result ({known}) or of a table. Received: {key!r}")
    return load(store, key, RESULTS[step]).table
