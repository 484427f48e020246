"""The scores of batches as a table for people: CSV or Parquet, one row an image.

export(store, "skin-resnet50", Path("scores.csv"), since="2026-11-01")
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from skin_pipeline.contracts import Batch
from skin_pipeline.data import disk
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import defused_all, shown
from skin_pipeline.monitoring import score_log
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    import pandas as pd

CSV, PARQUET = ".csv", ".parquet"
# What a person decides by; the measures and the embedding are for monitoring.
COLUMNS = (
    *("image", "probability", "label", "abstained", "problem", "threshold"),
    *("digest", "scored_at", "model", "version", "alias", "batch", "site"),
)


def export(store: Store, model: str, output: Path, *, batch: str = "", since: str = "") -> int:
    """Writes the scores of a model to a file; returns how many rows it has.

    In CSV, a text that a spreadsheet would read as a formula gets an apostrophe in front.

    Args:
        store: The store.
        model: Name of the model.
        output: A `.csv` or `.parquet` file, which appears whole or not at all.
        batch: Only this batch, named by its run; empty for all.
        since: Only batches that began at this time or later, as `2026-11-26`; empty for all.

    Raises:
        BadInput: There are no such scores, or the output has another suffix or cannot be written.
    """
    suffix = output.suffix.lower()
    if suffix not in {CSV, PARQUET}:
        raise BadInput(f"--out must end in {CSV} or {PARQUET}. Received: {output}")
    chosen = _chosen(store, model, batch, since)
    with disk.appearing(output) as part:
        if suffix == PARQUET:
            return _to_parquet(_tables(store, chosen), part)
        with part.open("w", newline="", encoding="utf-8") as sink:
            return _to_csv(_tables(store, chosen), sink)


def table_of(store: Store, batch: Batch, key: str) -> str:
    """Writes the scores of a batch as CSV into the store; returns the key.

    Args:
        store: The store.
        batch: The batch.
        key: The key of its document.
    """
    sink = io.StringIO()
    _to_csv(_tables(store, [batch]), sink)
    target = key.replace("/batches/", "/tables/").removesuffix(".json") + CSV
    store.put(target, sink.getvalue().encode())
    return target


def _chosen(store: Store, model: str, batch: str, since: str) -> list[Batch]:
    """Returns the batches that are wanted, oldest first."""
    every = list(score_log.batches(store, model))[::-1]
    if not every:
        raise BadInput(f"{shown(model)} has scored nothing yet in {store.url}")
    found = [item for item in every if item.run == (batch or item.run) and item.began_at >= since]
    if not found:
        newest = every[-1]
        raise BadInput(
            f"{model} has no batch {shown(batch)} since {shown(since)}. The newest of "
            f"{len(every)} is {shown(newest.run)}, which began at {newest.began_at}"
        )
    return found


def _tables(store: Store, batches: Sequence[Batch]) -> Iterator[pd.DataFrame]:
    keys = [key for batch in batches for key in batch.scores]
    for key in reported(keys, "tables exported", len(keys)):
        yield score_log.read(store, key)[list(COLUMNS)]


def _to_csv(tables: Iterator[pd.DataFrame], sink: TextIO) -> int:
    writer, rows = csv.writer(sink, lineterminator="\n"), 0
    writer.writerow(COLUMNS)
    for table in tables:
        rows += len(table)
        for row in table.itertuples(index=False):
            writer.writerow(defused_all(map(_cell, row)))
    return rows


def _cell(value: Any) -> object:
    """Returns a value as CSV has it: nothing where it is missing, six digits of a number."""
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}"
    return value.isoformat(timespec="seconds") if hasattr(value, "isoformat") else value


def _to_parquet(tables: Iterator[pd.DataFrame], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([score_log.schema().field(name) for name in COLUMNS])
    rows = 0
    with pq.ParquetWriter(path, schema) as sink:
        for table in tables:
            rows += len(table)
            sink.write_table(pa.Table.from_pandas(table, schema, preserve_index=False))
    return rows
