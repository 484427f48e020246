"""The decisions of a model on scored images, joined with the labels that came back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from skin_pipeline.contracts import LABELS
from skin_pipeline.data import returned
from skin_pipeline.monitoring import score_log
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    import pandas as pd

MONTH = "month"


def joined(store: Store, model: str) -> pd.DataFrame:
    """Returns the decisions of a model, each image once a version, with the labels that came back.

    Returns:
        Rows with `digest`, `version`, `scored_at`, `probability`, `positive` (the call), `truth`
        (1 malignant, 0 benign, -1 unknown). Images without a decision are left out.
    """
    import pandas as pd

    columns = ["digest", "version", "scored_at", "probability", "label", "abstained"]
    parts = [
        score_log.read(store, key)[columns]
        for batch in score_log.batches(store, model)
        for key in batch.scores
    ]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    rows = rows[rows["probability"].notna() & ~rows["abstained"].fillna(False).astype(bool)]
    rows = rows.sort_values("scored_at", kind="stable").drop_duplicates(["version", "digest"])
    truths = {
        digest: LABELS.index(row.label)
        for digest, row in returned.current(store, model).items()
        if row.label in LABELS
    }
    return rows.assign(
        positive=(rows["label"] == LABELS[1]).astype(bool),
        truth=rows["digest"].map(truths).fillna(-1).astype(np.int64),
    ).reset_index(drop=True)


def windows(rows: pd.DataFrame, window: str | int) -> Iterator[pd.DataFrame]:
    """Yields the rows of each version and window, in the order of time."""
    if rows.empty:
        return
    if window == MONTH:
        part = rows["scored_at"].dt.strftime("%Y-%m")
    else:
        part = rows.groupby("version").cumcount() // int(window)
    found = [group for _, group in rows.groupby(["version", part], sort=False)]
    yield from sorted(found, key=lambda group: str(group["scored_at"].iloc[0]))


def span(rows: pd.DataFrame) -> dict[str, str]:
    """Returns the version of a window, and its first and last time of scoring."""
    times = rows["scored_at"]
    first, last = times.iloc[0].isoformat(), times.iloc[-1].isoformat()
    return {"version": str(rows["version"].iloc[0]), "start": first, "end": last}
