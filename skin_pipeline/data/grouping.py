"""Finds which images must stay together, and the name of the group in which each was first seen.

A *group* is what patient, lesion and duplicates link together. The name of a group decides whether
it belongs to the test set. Names change when images are added or removed, so an image keeps the
name that its group had when the image was first seen: its *anchor*.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from skin_pipeline.contracts import Validation, load
from skin_pipeline.data import manifest
from skin_pipeline.data.duplicates import Pair
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

LINKS = ("patient_id", "lesion_id", "duplicates")
# What a group is named after, best first. Only an image that could not be read has no digest.
NAMES = ("patient_id", "lesion_id", "sha256", "key")


def clusters(table: pd.DataFrame, pairs: list[Pair]) -> pd.Series[str]:
    """Returns the name of each image's cluster of duplicates: the lowest digest; "" if alone.

    Pairs are links of a graph, and a cluster is what hangs together in it: if A is a copy of B and
    B of C, all three are one cluster.
    """
    size = len(table)
    ends = np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    component = pd.Series(connected_components(graph, directed=False)[1], table.index)
    several = component.duplicated(keep=False)
    names = _lowest(table.loc[several, "sha256"].str[:16], component[several])
    return component.map(names).fillna("").astype(str)  # also where there are no pairs


def groups(table: pd.DataFrame) -> pd.Series[str]:
    """Returns the group of each image: images that patient, lesion or duplicates link together.

    Returns:
        A group's name for each row: its first patient, else its first lesion, else its first
        digest. It does not depend on the order of the rows.
    """
    component = _components(table[list(LINKS)])
    names = pd.Series("", index=table.index)
    for link in NAMES:
        # A group that has a name already needs no other.
        known = (table[link] != "") & (names == "")
        first = component.map(_lowest(table.loc[known, link], component[known]))
        names = names.where((names != "") | first.isna(), f"{link}:" + first.fillna(""))
    return names


def _lowest(texts: pd.Series[str], groups: pd.Series[Any]) -> pd.Series[str]:
    """Returns the lowest text of each group, by group.

    It is the first one in their order. Pandas' own minimum of texts is a call for each group.
    """
    ordered = texts.sort_values()
    names = groups.loc[ordered.index]
    first = ~names.duplicated()
    return pd.Series(ordered[first].array, index=pd.Index(names[first]))


def _components(links: pd.DataFrame) -> pd.Series[int]:
    """Returns connected components of rows that share a value (other than "") in any column.

    The graph has a node for each row and one for each value, and an edge where a row has a value.
    So a hundred images of one patient are a hundred edges, and not one for each pair of them.
    """
    size, rows, values = len(links), [], []
    for column in links:  # each numbers its own values: patient 7 and lesion 7 are not the same
        numbers, names = pd.factorize(links[column])
        known = np.flatnonzero(links[column] != "")
        rows.append(known)
        values.append(size + numbers[known])
        size += len(names)
    edges = np.concatenate(rows), np.concatenate(values)
    graph = coo_matrix((np.ones(len(edges[0]), np.int8), edges), shape=(size, size))
    return pd.Series(connected_components(graph, directed=False)[1][: len(links)], links.index)


def known_anchors(store: Store, previous: str | None) -> pd.Series[str]:
    """Returns the anchors of all images up to the previous validation, by sha256."""
    if previous is None:
        return pd.Series([], index=pd.Index([], name="sha256"), dtype=str)
    key = load(store, previous, Validation).anchors
    table = manifest.read(store, key, ["sha256", "anchor"])
    return pd.Series(table["anchor"].to_list(), index=pd.Index(table["sha256"], name="sha256"))


def anchors(table: pd.DataFrame, known: pd.Series[str]) -> pd.Series[str]:
    """Returns the name of the group in which each image was first seen.

    A new image takes the anchor of an old one in its group, if there is one, else its group's name.
    Groups that were separate before and are one now are logged.

    Args:
        table: With the columns `sha256` and `group`.
        known: Anchors of images seen before, by their sha256.
    """
    old = table["sha256"].map(known)
    met = pd.DataFrame({"group": table["group"], "anchor": old}).dropna()
    inherited = table["group"].map(_lowest(met["anchor"], met["group"]))
    several = met.drop_duplicates()
    several = several[several["group"].duplicated(keep=False)]
    for group, merged in several.groupby("group")["anchor"]:
        log.warning('groups_merged group="%s" were="%s"', group, ", ".join(sorted(merged)))
    return old.fillna(inherited).fillna(table["group"])


def remembered(table: pd.DataFrame, known: pd.Series[str]) -> pd.Series[str]:
    """Returns all anchors so far, by sha256: those known before, and those of the table.

    Images that are gone keep theirs, in case they come back.
    """
    seen = table.loc[table["sha256"] != "", ["sha256", "anchor"]]
    now = seen.drop_duplicates("sha256").set_index("sha256")["anchor"]
    together: pd.Series[str] = pd.concat([known, now[~now.index.isin(known.index)]])
    return together.rename("anchor").rename_axis("sha256").sort_index()
