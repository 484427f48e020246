"""Searches the pairs of images that are copies of each other, within a data set or between two."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.data.duplicates.buckets import Buckets, first_of_equals
from skin_pipeline.data.duplicates.candidates import equal, neighbours
from skin_pipeline.data.duplicates.common import SAMPLE, Common
from skin_pipeline.data.duplicates.likeness import SAME, Thumbnails, likeness
from skin_pipeline.data.duplicates.sides import Pair, Side
from skin_pipeline.data.duplicates.structure import half
from skin_pipeline.data.images import surround
from skin_pipeline.data.workers import spread
from skin_pipeline.progress import reported

log = logging.getLogger(__name__)

Float = NDArray[np.float32]

BATCH = 128  # pairs that a process is given at a time


def within(ours: Side, processes: int, buckets: int = 1) -> list[Pair]:
    """Returns the duplicates inside a data set, the lower index first.

    Args:
        ours: The data set.
        processes: That compare thumbnails.
        buckets: Into how many the images are sorted; a power of two.
    """
    made = Buckets.of(ours, buckets)
    return united(ours.table, _all_near(made, made, processes))


def between(ours: Side, theirs: Side, processes: int, buckets: int = 1) -> list[Pair]:
    """Returns the pictures that two data sets share: pairs of (index in ours, index in theirs)."""
    made, others = Buckets.of(ours, buckets), Buckets.of(theirs, buckets)
    return shared(ours.table, theirs.table, _all_near(made, others, processes))


def _all_near(ours: Buckets, theirs: Buckets, processes: int) -> Iterator[Pair]:
    parts = (near(ours, theirs, number, processes) for number in range(len(theirs.ends)))
    return chain.from_iterable(parts)


def near(ours: Buckets, theirs: Buckets, number: int, processes: int) -> list[Pair]:
    """Returns the near-duplicates of the images in a bucket, by their indices in the tables.

    Args:
        ours: The set in which is searched.
        theirs: The set whose images are searched; the same object within one set.
        number: The bucket of `theirs`.
        processes: That compare thumbnails.
    """
    places, scores = _verified(neighbours(ours, theirs, number), ours, theirs, processes)
    pairs = np.column_stack([ours.images[places[:, 0], 0], theirs.images[places[:, 1], 0]])
    return [
        Pair(int(first), int(second), "near", round(float(score), 3))
        for (first, second), score in zip(pairs, scores, strict=True)
    ]


def united(table: pd.DataFrame, near: Iterable[Pair]) -> list[Pair]:
    """Returns all duplicates inside a data set, the lower index first, each pair once.

    Of equal images only the first is linked to the others, and only the first is searched further:
    its near-duplicates are those of the others too.

    Args:
        table: Of the data set.
        near: The near-duplicates of its buckets; two buckets may have found the same pair.
    """
    readable = table.loc[table["readable"], ["sha256", "pixels_sha256"]]
    files = equal(readable, "sha256", "file")
    pixels = equal(readable.drop_duplicates("sha256"), "pixels_sha256", "pixels")
    once = {(pair.first, pair.second): pair for pair in near}
    return sorted([*files, *pixels, *once.values()])


def shared(ours: pd.DataFrame, theirs: pd.DataFrame, near: Iterable[Pair]) -> list[Pair]:
    """Returns the pictures that two data sets share: pairs of (index in ours, index in theirs).

    Args:
        ours: Table of one set.
        theirs: Table of the other one.
        near: The near-duplicates of the buckets of `theirs`; each stands for all equal images.
    """
    readable = ours.loc[ours["readable"], "sha256"].drop_duplicates()
    first = pd.Series(readable.index, readable)
    leaders = first_of_equals(theirs)
    copies = theirs.loc[leaders.index, "sha256"].map(first).dropna()
    files = [Pair(int(i), int(j), "file", 1.0) for i, j in zip(copies, copies.index, strict=True)]
    rest = leaders.drop(copies.index)
    equals = rest.groupby(rest).groups
    others = (
        pair._replace(second=int(index)) for pair in near for index in equals.get(pair.second, ())
    )
    return sorted([*files, *others])


def names_of(table: pd.DataFrame, shared: dict[str, list[Pair]]) -> pd.Series[str]:
    """Returns for each image the names of the sets that contain it too, "" for none."""
    names: dict[int, list[str]] = {}
    for name, pairs in sorted(shared.items()):
        for index in {pair.first for pair in pairs}:
            names.setdefault(index, []).append(name)
    texts = ["; ".join(names.get(index, ())) for index in table.index]
    return pd.Series(texts, table.index, dtype=str)


def overlap(ours: pd.DataFrame, theirs: pd.DataFrame, pairs: list[Pair]) -> pd.DataFrame:
    """Returns the images of another set that ours contains too.

    A row has the `key` of the image, the key `of` ours, and the `kind` and `likeness` of the pair.
    """
    rows = [
        (theirs["key"][pair.second], ours["key"][pair.first], pair.kind, pair.likeness)
        for pair in pairs
    ]
    return pd.DataFrame(rows, columns=["key", "of", "kind", "likeness"])


def _verified(
    candidates: NDArray[np.int64], ours: Buckets, theirs: Buckets, processes: int
) -> tuple[NDArray[np.int64], Float]:
    """Returns the candidates that show one photograph, as pairs of places, and their likeness.

    To leave out what many images have in common costs more than the comparison itself. So it is
    done in a second pass, for the few pairs that are alike: a ruler that both show is no evidence.
    """
    alike, _ = _alike(likeness, candidates, ours, theirs, processes)
    again = partial(likeness, common=_common(ours, theirs) if len(alike) else None)
    pairs, scores = _alike(again, alike, ours, theirs, processes)
    log.info(
        "near_duplicates candidates=%d alike=%d verified=%d",
        len(candidates),
        len(alike),
        len(pairs),
    )
    return pairs, scores


def _alike(
    look: Callable[[Thumbnails], Float],
    pairs: NDArray[np.int64],
    ours: Buckets,
    theirs: Buckets,
    processes: int,
) -> tuple[NDArray[np.int64], Float]:
    """Returns the pairs whose likeness is that of copies, and how alike they are."""
    batches = [pairs[i : i + BATCH] for i in range(0, len(pairs), BATCH)]
    images = ((ours.pictures(part[:, 0]), theirs.pictures(part[:, 1])) for part in batches)
    looked_at = reported(spread(look, images, processes), "batches of pairs", len(batches))
    scores = np.concatenate([np.empty(0, np.float32), *looked_at])
    return pairs[scores >= SAME], scores[scores >= SAME]


def _common(ours: Buckets, theirs: Buckets) -> Common:
    """Returns a sample of the images of both sides, to find what many of them have in common."""
    sides = [ours] if ours is theirs else [ours, theirs]
    light = np.concatenate([side.some(SAMPLE // len(sides)) for side in sides])
    filled = surround.filled(light.astype(np.float32), surround.field(light))
    return Common(half(filled).astype(np.float16))
