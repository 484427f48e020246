"""Which images must never be parted, and under which name each was first seen.

A group is what patient, lesion and duplicates link together. Its name decides whether it belongs to
the test set, so an image keeps the name that its group had when it came (its *anchor*), whatever
is added or removed later.
"""

from __future__ import annotations

import io
import logging

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from skin_pipeline.contracts import Validation, load
from skin_pipeline.data.duplicates import Pair
from skin_pipeline.foreign import restored
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

LINKS = ("patient_id", "lesion_id", "duplicates")
NAMES = ("patient_id", "lesion_id", "sha256", "key")  # what a group is called after, best first


def clusters(table: pd.DataFrame, pairs: list[Pair]) -> pd.Series[str]:
    """The name of each image's cluster of duplicates: its first image's digest; "" if alone."""
    size = len(table)
    ends = np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    component = pd.Series(connected_components(graph, directed=False)[1], table.index)
    several = component.duplicated(keep=False)
    names = table["sha256"].str[:16].groupby(component).transform("min")
    return names.where(several, "")


def groups(table: pd.DataFrame) -> pd.Series[str]:
    """Images that must not be parted: of one patient, of one lesion, or duplicates.

    Returns:
        A group's name for each row: its first patient, else its first lesion, else its first
        digest. It does not depend on the order of the rows.
    """
    component = _components(table[list(LINKS)])
    names = pd.Series("", index=table.index)
    for link in NAMES:
        known = table[link] != ""
        first = component.map(table[link][known].groupby(component[known]).min())
        names = names.where((names != "") | first.isna(), f"{link}:" + first.fillna(""))
    return names


def _components(links: pd.DataFrame) -> pd.Series[int]:
    """Connected components of rows that share a value (other than "") in any column."""
    edges = links.melt(ignore_index=False).query("value != ''")
    rows = links.index.get_indexer(edges.index)
    anchors, names = pd.factorize(edges["variable"] + ":" + edges["value"])
    size = len(links) + len(names)
    graph = coo_matrix((np.ones(len(edges)), (rows, len(links) + anchors)), shape=(size, size))
    return pd.Series(connected_components(graph, directed=False)[1][: len(links)], links.index)


def known_anchors(store: Store, previous: str | None) -> pd.Series[str]:
    """Anchors of all images seen so far, by sha256."""
    if previous is None:
        return pd.Series([], index=pd.Index([], name="sha256"), dtype=str)
    data = io.BytesIO(store.read(load(store, previous, Validation).anchors))
    table = pd.read_csv(data, dtype=str, keep_default_na=False).map(restored)
    return pd.Series(table["anchor"].to_list(), index=pd.Index(table["sha256"], name="sha256"))


def anchors(table: pd.DataFrame, known: pd.Series[str]) -> pd.Series[str]:
    """The group name under which each image was first seen.

    A new image takes the anchor of an old one in its group, if there is one, else its group's name.
    Groups that were apart before and are one now are told.

    Args:
        table: With the columns `sha256` and `group`.
        known: Anchors of images seen before, by their sha256.
    """
    old = table["sha256"].map(known)
    inherited = table["group"].map(old.dropna().groupby(table["group"]).min())
    for group, merged in old.dropna().groupby(table["group"]).unique().items():
        if len(merged) > 1:
            log.warning('groups_merged group="%s" were="%s"', group, ", ".join(sorted(merged)))
    return old.fillna(inherited).fillna(table["group"])


def remembered(table: pd.DataFrame, known: pd.Series[str]) -> pd.Series[str]:
    """All anchors so far, by sha256: those known before, and those of the table."""
    now = table[table["sha256"] != ""].drop_duplicates("sha256").set_index("sha256")["anchor"]
    together: pd.Series[str] = pd.concat([known, now[~now.index.isin(known.index)]])
    return together.rename("anchor").rename_axis("sha256").sort_index()
