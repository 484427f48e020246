"""The log of scores: a row for each image that a model scored, in Parquet, written once.

```
scoring/<model>/batches/<time>-<digest>.json     a `Batch`: what was scored, and where its rows are
scoring/<model>/scores/<sha256>.parquet          the rows of a chunk of a batch
```
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skin_pipeline.contracts import Batch, address, dump, parse, stamp
from skin_pipeline.monitoring.measures import NAMES
from skin_pipeline.storage import Store, digest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FOLDER = "scoring"


def schema() -> pa.Schema:
    """Returns the columns of a row.

    - `image`: its name in the folder or bucket that was scored; `digest`: the SHA-256 of the file
    - `scored_at`: UTC; `model`, `version`, `alias`, `batch`: what scored it, and in which batch
    - `site`: whose profile gave probability and threshold; empty, or null in older rows, without
    - `probability`: of malignancy, calibrated; null if the image could not be scored
    - `threshold`, `label`: the decision; `label` is empty where there is none
    - `abstained`: whether the model gave a probability but no decision
    - `problem`: why there is no probability; empty if there is one
    - the measures of the image, by the names in `measures.NAMES`; null without a probability
    - `embedding`: the image in the space of the trunk's features, as `reference` projects them
    """
    import pyarrow as pa

    text, number = pa.string(), pa.float32()
    return pa.schema([
        *((name, text) for name in ("image", "digest")),
        ("scored_at", pa.timestamp("us", tz="UTC")),
        *((name, text) for name in ("model", "version", "alias", "batch", "site")),
        ("probability", number),
        ("threshold", number),
        ("label", text),
        ("abstained", pa.bool_()),
        ("problem", text),
        *((name, number) for name in NAMES),
        ("embedding", pa.list_(number)),
    ])


def write(store: Store, key: str, rows: pd.DataFrame) -> None:
    """Writes the rows of a chunk under `key`, unless it is taken."""
    store.put(key, _bytes(rows))


def keep(store: Store, model: str, rows: pd.DataFrame) -> str:
    """Writes rows under a key that names their bytes; returns the key."""
    content = _bytes(rows)
    key = f"{FOLDER}/{model}/scores/{digest(content)}.parquet"
    store.put(key, content)
    return key


def _bytes(rows: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    missing = {name: None for name in schema().names if name not in rows}
    table = pa.Table.from_pandas(rows.assign(**missing), schema(), preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read(store: Store, key: str) -> pd.DataFrame:
    """Returns the rows of a chunk."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(store.read(key)), schema=schema())
    rows: pd.DataFrame = table.to_pandas()
    return rows


def record(store: Store, batch: Batch) -> str:
    """Writes the document of a batch, after the rows that it names. Returns its key.

    A run has several if some of its chunks were scored later than the others.
    """
    made_of = address({"run": batch.run, "scores": batch.scores})
    key = f"{_folder(batch.model)}/{stamp(batch.began_at)}-{made_of}.json"
    store.put(key, dump(batch))
    return key


def of_run(store: Store, model: str, began_at: str, run: str) -> dict[str, Batch]:
    """Returns the batches of a run, by key.

    Args:
        store: The store.
        model: Name of the model.
        began_at: When the run started.
        run: Its id.
    """
    start = f"{_folder(model)}/{stamp(began_at)}-"
    keys = (key for key in store.list(_folder(model)) if key.startswith(start))
    found = {key: parse(store.read(key), Batch, key) for key in keys}
    return {key: batch for key, batch in found.items() if batch.run == run}


def _folder(model: str) -> str:
    return f"{FOLDER}/{model}/batches"


def batches(store: Store, model: str, last: int | None = None) -> Iterator[Batch]:
    """Yields the batches of a model, newest first."""
    keys = store.list(_folder(model))
    for key in reversed(keys if last is None else keys[-last:]):
        yield parse(store.read(key), Batch, key)
