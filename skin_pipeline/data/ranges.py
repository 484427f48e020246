"""Unites decoded ranges of images to what one task would have made of all of them.

    built = united([read(store, part) for part in parts], counts)
    built.table            # indexed by the number of each image among all files

The order of the images stays, so the result does not depend on who decoded which range, or when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate

import pandas as pd

from skin_pipeline.contracts import DecodedRange, SourceListing
from skin_pipeline.data import manifest
from skin_pipeline.data.layout import Layout
from skin_pipeline.data.manifest import Built
from skin_pipeline.data.sources import Images
from skin_pipeline.storage import Store

NUMBER = "number"  # of an image in its range; masks that are left out have none
PACKED = ("shards", "thumbnails", "shard_images", "masks")  # what `Built` and a range both have


def of(listing: SourceListing) -> list[range]:
    """Returns the numbers of the images of each range."""
    return Layout(listing.shard_size, listing.range_size).ranges(listing.images)


def content(images: Images, table: pd.DataFrame) -> str:
    """Returns the identity of the files of a range: the same for the same files, wherever they are.

    Args:
        images: The files.
        table: Their rows; the digest of a file that was not read for one is made now.
    """
    known = {} if table.empty else dict(zip(table["key"], table["sha256"], strict=True))
    digests = (known.get(item.key) or images.digest_of(item) for item in images.files)
    rows = [f"{item.key}\0{found}" for item, found in zip(images.files, digests, strict=True)]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table of a range with the number of each image as a column."""
    return table.reset_index(names=NUMBER) if len(table) else pd.DataFrame(columns=[NUMBER])


def read(store: Store, part: DecodedRange) -> Built:
    """Returns a decoded range as it was packed."""
    table = manifest.read(store, part.table) if part.images else pd.DataFrame()
    return Built(
        table.set_index(NUMBER) if len(table) else table,
        **{name: getattr(part, name) for name in PACKED},
    )


def facts(store: Store, listing: SourceListing) -> pd.DataFrame:
    """Returns what is known of all images of a listing, in their order."""
    return pd.concat([manifest.read(store, key) for key in listing.facts], ignore_index=True)


def united(pieces: Sequence[Built], counts: Sequence[int]) -> Built:
    """Returns ranges as one.

    Args:
        pieces: The ranges, whose images and shards count from 0.
        counts: The number of files of each; that of the last one does not matter.
    """
    firsts = accumulate(counts, initial=0)
    shards = accumulate((len(piece.shards) for piece in pieces), initial=0)
    moved = [
        _moved(piece.table, first, shard)
        for piece, first, shard in zip(pieces, firsts, shards, strict=False)
        if len(piece.table)
    ]
    table = pd.concat(moved) if moved else pd.DataFrame()
    if len(table):
        # As where one task decodes all: a digest only where another file may have the same pixels.
        alike = table["sha256"].isin(set(manifest.alike_files(table)["sha256"]))
        table["pixels_sha256"] = table["pixels_sha256"].where(alike & table["readable"], "")
    together = {name: sum((getattr(piece, name) for piece in pieces), ()) for name in PACKED}
    return Built(table, **together)


def _moved(table: pd.DataFrame, first: int, shard: int) -> pd.DataFrame:
    """Returns the rows of a range as those of all, of which it begins with an image and a shard."""
    moved = table.assign(shard=table["shard"].where(~table["readable"], table["shard"] + shard))
    moved.index = moved.index + first
    return moved
