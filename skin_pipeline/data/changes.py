"""Compares a data set with the one that was accepted before it."""

from __future__ import annotations

import logging

import pandas as pd

from skin_pipeline.contracts import Changes, Validation, load
from skin_pipeline.data import manifest
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

EXAMPLES = 5  # of each kind of change


def against(store: Store, table: pd.DataFrame, previous: str | None) -> Changes:
    """Returns the changes since `previous`, the key of a validation.

    An image is identified by the digest of its file, so a renamed or moved file is no change. A
    file that could not be read has no digest, and is identified by its key.
    """
    if previous is None:
        return Changes(previous=None, added=len(table), removed=0, relabelled=0, examples=())
    old = _labels(
        manifest.read(store, load(store, previous, Validation).table, ["sha256", "key", "label"])
    )
    new = _labels(table)
    # Numbers instead of digests: an index of texts takes ten times their memory.
    numbers = pd.factorize(pd.concat([new["sha256"], old["sha256"]]))[0]
    new.index, old.index = pd.Index(numbers[: len(new)]), pd.Index(numbers[len(new) :])
    was = old["label"].reindex(new.index)
    added = was.isna()
    # Of an image that is in both, the new key is shown: there the user can find the file.
    lists = {
        "added": new.loc[added, "key"],
        "removed": old.loc[~old.index.isin(new.index), "key"],
        "relabelled": new.loc[~added & (was != new["label"]), "key"],
    }
    examples = [f"{what}: {key}" for what, keys in lists.items() for key in keys.head(EXAMPLES)]
    counts = {what: len(rows) for what, rows in lists.items()}
    log.info("changes previous=%s %s", previous, " ".join(f"{k}={v}" for k, v in counts.items()))
    return Changes(previous=previous, examples=tuple(examples), **counts)


def _labels(table: pd.DataFrame) -> pd.DataFrame:
    """Returns `sha256`, `label` and `key` of each different image."""
    known = table[["sha256", "label", "key"]]
    known = known.assign(sha256=known["sha256"].where(known["sha256"] != "", known["key"]))
    return known.drop_duplicates("sha256")
