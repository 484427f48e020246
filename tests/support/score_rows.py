"""Rows in the log of scores, as batch scoring writes them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import pandas as pd

from skin_pipeline.contracts import Batch
from skin_pipeline.monitoring import score_log
from skin_pipeline.storage import Store

VERSION = "4f1a" * 4
AT = "2026-09-01T08:00:00+00:00"


def digest_of(name: str) -> str:
    """The digest that an image of this name has here."""
    return sha256(name.encode()).hexdigest()


def rows(
    images: Mapping[str, float],
    model: str,
    *,
    version: str = VERSION,
    threshold: float = 0.5,
    at: str = AT,
    digests: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """A row for each image, an hour after the other; `images` gives their probabilities."""
    return pd.DataFrame([
        {
            "image": name,
            "digest": (digests or {}).get(name, digest_of(name)),
            "scored_at": pd.Timestamp(at) + pd.Timedelta(hours=number),
            "model": model,
            "version": version,
            "alias": "champion",
            "batch": "b",
            "probability": probability,
            "threshold": threshold,
            "label": "malignant" if probability >= threshold else "benign",
            "abstained": False,
            "problem": "",
        }
        for number, (name, probability) in enumerate(images.items())
    ])


def keep(store: Store, model: str, table: pd.DataFrame, source: str = "/inbox") -> None:
    """Puts rows into the log, as a batch of their own."""
    key = score_log.keep(store, model, table)
    batch = Batch(
        model=model,
        alias="champion",
        version=str(table["version"].iloc[0]),
        source=source,
        run=key,
        scores=(key,),
        images=len(table),
        unreadable=0,
        known=0,
        began_at=AT,
        ended_at=AT,
    )
    score_log.record(store, batch)


def write(store: Store, model: str, images: Mapping[str, float], source: str = "/inbox") -> None:
    """Puts images with these probabilities into the log."""
    keep(store, model, rows(images, model), source)
