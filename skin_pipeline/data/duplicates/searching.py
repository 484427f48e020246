"""Searches the pairs of images that are copies of each other, within a data set or between two."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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


def within(ours: Side, processes: int) -> list[Pair]:
    """Returns the duplicates inside a data set, the lower index first.

    Of equal images only the first is linked to the others, and only the first is searched further:
    its near-duplicates are those of the others too.
    """
    files = list(equal(ours.readable, "sha256", "file"))
    distinct = ours.readable.drop_duplicates("sha256")
    pixels = list(equal(distinct, "pixels_sha256", "pixels"))
    single = distinct[~distinct.index.isin([pair.second for pair in pixels])]
    candidates = neighbours(single, single)
    return sorted([*files, *pixels, *_verified(candidates, ours, ours, processes)])


def between(ours: Side, theirs: Side, processes: int) -> list[Pair]:
    """Returns the pictures that two data sets share: pairs of (index in ours, index in theirs)."""
    first = ours.readable.reset_index().drop_duplicates("sha256").set_index("sha256")["index"]
    copies = theirs.readable["sha256"].map(first).dropna()
    files = [Pair(int(i), int(j), "file", 1.0) for i, j in zip(copies, copies.index, strict=True)]
    rest = theirs.readable[~theirs.readable.index.isin(copies.index)]
    candidates = neighbours(ours.readable, rest)
    return sorted([*files, *_verified(candidates, ours, theirs, processes)])


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
    candidates: NDArray[np.int64], ours: Side, theirs: Side, processes: int
) -> list[Pair]:
    """Returns the candidates that show one photograph.

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
    return [
        Pair(int(first), int(second), "near", round(float(score), 3))
        for (first, second), score in zip(pairs, scores, strict=True)
    ]


def _alike(
    look: Callable[[Thumbnails], Float],
    pairs: NDArray[np.int64],
    ours: Side,
    theirs: Side,
    processes: int,
) -> tuple[NDArray[np.int64], Float]:
    """Returns the pairs whose likeness is that of copies, and how alike they are."""
    batches = [pairs[i : i + BATCH] for i in range(0, len(pairs), BATCH)]
    images = ((ours.images(part[:, 0]), theirs.images(part[:, 1])) for part in batches)
    looked_at = reported(spread(look, images, processes), "batches of pairs", len(batches))
    scores = np.concatenate([np.empty(0, np.float32), *looked_at])
    return pairs[scores >= SAME], scores[scores >= SAME]


def _common(ours: Side, theirs: Side) -> Common:
    """Returns a sample of the images of both sides, to find what many of them have in common."""
    sides = [ours] if ours is theirs else [ours, theirs]
    parts = [side.sample(SAMPLE // len(sides)) for side in sides]
    light = np.concatenate(parts)
    filled = surround.filled(light.astype(np.float32), surround.field(light))
    return Common(half(filled).astype(np.float16))
