"""The manifest: a table with a row for each image, written by `ingest` and widened by later steps.

`build` makes it from image files, together with the packed shards of working squares. `read`
returns it to every later step.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from skin_pipeline import parquet, tables
from skin_pipeline.contracts import Notice
from skin_pipeline.data import images as decoder
from skin_pipeline.data.images import STATISTICS, Inspected
from skin_pipeline.data.kinds import SUFFIXES
from skin_pipeline.data.metadata import METADATA
from skin_pipeline.data.sources import Found, Images, Listed, changed, exchanged
from skin_pipeline.data.workers import each
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.geometry import Geometry
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store, copied_file, digest_file, digest_named, scratch

log = logging.getLogger(__name__)

# Columns that are texts whatever they look like: a patient 007 is not the number 7.
TEXTS = (
    *("image_id", "key", "label", "sha256", "format", "problem", "converted", "fingerprint"),
    *("pixels_sha256", *METADATA, "duplicates", "external", "group", "anchor"),
    *Listed._fields,  # of a listing
)
# Only in columns of figures does an empty cell mean "not known". Words such as NA or null are texts
# like others.
NAN = {name: [""] for name in STATISTICS}
SOURCE = "source"  # the column with the name of an image's source, where there are several
SHOWN = 10  # names in a notice


class Built(NamedTuple):
    """What `build` has made.

    Attributes:
        table: Of the images, without metadata, indexed by their number among all files.
        shards: Keys of the packed working squares.
        thumbnails: Keys of the packed thumbnails.
        shard_images: How many images each of these has.
        masks: Keys of the images that look like masks.
    """

    table: pd.DataFrame
    shards: tuple[str, ...]
    thumbnails: tuple[str, ...]
    shard_images: tuple[int, ...]
    masks: tuple[str, ...] = ()


def build(
    images: Images,
    store: Store,
    geometry: Geometry,
    *,
    shard_size: int,
    processes: int,
    with_masks: bool = True,
) -> Built:
    """Decodes every image once, on all cores; returns the table, and writes packed shards.

    Memory stays flat: no more than the images of one shard are held at a time. Quarantined images
    have a row with `readable` False and their `problem`, and are in no shard. Without masks, images
    that look like one have no row.

    The shards are `.npy` arrays (n, size, size, 3) and (n, 64, 64) of uint8. Their digest names
    them: the same images give the same shard.

    Args:
        images: What was found at the source.
        store: Where the shards go.
        geometry: Of the working squares.
        shard_size: Images in a shard; the last one may have fewer.
        processes: How many to use.
        with_masks: Whether images that look like masks are used.

    Raises:
        BadInput: All images look like masks, and masks are left out.
    """
    built = packed(
        images, store, geometry, shard_size=shard_size, processes=processes, with_masks=with_masks
    )
    refuse_only_masks(built)
    built.table["pixels_sha256"] = _pixel_digests(built.table, images.files, processes)
    return built


def packed(
    images: Images,
    store: Store,
    geometry: Geometry,
    *,
    shard_size: int,
    processes: int,
    with_masks: bool = True,
    hashed: bool = False,
) -> Built:
    """Does what `build` does, but for `pixels_sha256`, and also where all images look like masks.

    The arguments are those of `build`. If `hashed`, that column is made of every readable image.
    """
    rows: dict[int, dict[str, Any]] = {}
    masks = []
    with scratch() as folder:
        squares, thumbnails = _Packer(store, folder, shard_size), _Packer(store, folder, shard_size)
        looked_at = inspected(images.files, processes, geometry, hashed=hashed)
        decoded = reported(looked_at, "images decoded", len(images.files))
        for number, (found, seen) in enumerate(decoded):
            if decoder.named_like_a_mask(found.key) or seen.mask:
                masks.append(found.key)
                if not with_masks:
                    continue
            rows[number] = _row(found, seen, len(squares.keys), len(squares.waiting))
            if seen.pixels is not None and seen.thumbnail is not None:
                squares.add(seen.pixels)
                thumbnails.add(seen.thumbnail)
        keys = squares.close(), thumbnails.close()
    table = pd.DataFrame.from_dict(rows, orient="index")
    return Built(table, *keys, tuple(squares.counts), tuple(masks))


def refuse_only_masks(built: Built) -> None:
    """Raises `BadInput` if all images look like masks, and masks were left out."""
    if built.table.empty:
        raise BadInput(
            f"masks=leave_out leaves no image: all {len(built.masks)} look like masks, such as "
            f"{', '.join(built.masks[:SHOWN])}. Give masks=warn, or other images"
        )


def mask_notices(keys: Sequence[str], left_out: bool) -> tuple[Notice, ...]:
    """Returns the notice about images that look like masks; none if there are none."""
    if not keys:
        return ()
    names = ", ".join(keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "")
    done = (
        "left out, because masks=leave_out. Rename what is no mask"
        if left_out
        else "used like any other image. Give masks=leave_out to leave such files out"
    )
    reason = f"looks like a mask or an overlay of a lesion (by name, or two colours only); {done}"
    return (Notice(kind="looks_like_mask", subject=names, reason=reason, count=len(keys)),)


class _Packer:
    """Stacks arrays of one shape, and puts each full stack into the store.

    `keys` has the key of each stack that was put, `counts` its length, and `waiting` the arrays of
    the next one. So the lengths of `keys` and `waiting` are the shard and the row of the array that
    is added next.
    """

    def __init__(self, store: Store, folder: Path, count: int) -> None:
        self.keys: list[str] = []
        self.counts: list[int] = []
        self.waiting: list[NDArray[np.uint8]] = []
        self._store, self._path, self._count = store, folder / "shard.npy", count

    def add(self, array: NDArray[np.uint8]) -> None:
        """Adds an array to the stack."""
        self.waiting.append(array)
        if len(self.waiting) == self._count:
            self._pack()

    def close(self) -> tuple[str, ...]:
        """Puts what is left; returns the keys of all stacks."""
        if self.waiting:
            self._pack()
        return tuple(self.keys)

    def _pack(self) -> None:
        np.save(self._path, np.stack(self.waiting))
        self.keys.append(f"images/{digest_file(self._path)}.npy")
        self._store.put_file(self.keys[-1], self._path)
        self._path.unlink()
        self.counts.append(len(self.waiting))
        self.waiting.clear()


def inspected(
    files: tuple[Found, ...],
    processes: int,
    geometry: Geometry | None = None,
    *,
    hashed: bool = False,
) -> Iterator[tuple[Found, Inspected]]:
    """Yields every file with what `images.inspect` says of it, in order, from worker processes.

    Raises:
        Unavailable: A file was deleted since it was found. If it were quarantined, it would stay so
            in the result for this content, also when it is there again.
    """
    work = partial(decoder.inspect_at, geometry=geometry, hashed=hashed)
    places = [decoder.Place(item.path, item.key) for item in files]
    looked_at = each(work, places, processes, decoder.killed, _key)
    with closing(looked_at):
        for item, seen in zip(files, looked_at, strict=True):
            if not seen.sha256 and not item.path.exists():
                raise changed(item.path, seen.problem)
            yield item, seen


def _key(place: decoder.Place) -> str:
    return place.key


def _row(found: Found, seen: Inspected, shard: int, row: int) -> dict[str, Any]:
    """Returns the row of an image, which is packed as this row of this shard if it is readable."""
    readable = not seen.problem
    return {
        "image_id": PurePosixPath(found.key).stem,
        "key": found.key,
        "label": found.label,
        "sha256": seen.sha256,
        "format": seen.format,
        "width": seen.width,
        "height": seen.height,
        "bytes": seen.bytes,
        "readable": readable,
        "problem": seen.problem,
        "converted": seen.converted,
        **dict(zip(STATISTICS, seen.statistics, strict=True)),
        "fingerprint": seen.fingerprint,
        "shard": shard if readable else -1,
        "row": row if readable else -1,
        "pixels_sha256": seen.pixels_sha256,
    }


def _pixel_digests(table: pd.DataFrame, files: tuple[Found, ...], processes: int) -> pd.Series[str]:
    """Returns digests of the decoded pixels, where another file may have the same ones.

    Equal pixels have an equal fingerprint, and equal files have equal pixels. So few images need to
    be decoded once more and hashed: to hash all pixels would take a third of the time of decoding.
    """
    digests = pd.Series("", index=table.index)
    alike = alike_files(table)
    paths = [files[i].path for i in alike.index]
    digested = each(decoder.pixels_digest, paths, processes, _refuse_killed, str)
    known = dict(zip(alike["sha256"], digested, strict=True))
    return digests.mask(table["readable"], table["sha256"].map(known).fillna(""))


def alike_files(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the first row of each readable file that may have the pixels of another file."""
    files_of = table[table["readable"]].drop_duplicates("sha256")
    return files_of[files_of.duplicated(["fingerprint", "width", "height"], keep=False)]


def _refuse_killed(path: Path, why: str) -> str:
    """Refuses an image that could be decoded a moment ago, and now ends its process."""
    raise Unavailable(f"{path.name} was decoded once, and not again: {why}")


def golden(table: pd.DataFrame, images: Images, store: Store, per_class: int = 4) -> dict[str, str]:
    """Puts copies of a few readable image files of each class into the store.

    A released model is tried on them later. The lowest digests are chosen, so that the same images
    give the same few, whatever their order.

    Returns:
        `{image key: key of the copy}`.
    """
    wanted = most_golden(table, per_class)
    copies = {}
    with scratch() as folder:
        for item in images.files:
            if item.key in wanted:
                suffix = PurePosixPath(item.key).suffix.lower()
                suffix = suffix if suffix in SUFFIXES else ""
                copies[item.key] = f"images/{wanted[item.key]}{suffix}"
                _keep(store, copies[item.key], item.path, folder / str(len(copies)))
    return copies


def most_golden(table: pd.DataFrame, per_class: int = 4) -> dict[str, str]:
    """Returns the digests of the images that `golden` chooses, by their keys."""
    if table.empty:
        return {}
    ordered = table[table["readable"]].sort_values("sha256", kind="stable")
    chosen = ordered.groupby("label").head(per_class)
    return dict(zip(chosen["key"], chosen["sha256"], strict=True))


def _keep(store: Store, key: str, path: Path, copy: Path) -> None:
    """Puts an image file under the key that names its bytes.

    Raises:
        Unavailable: The file has other bytes than when it was inspected.
    """
    if copied_file(path, copy) != digest_named(key):
        raise exchanged(path)
    store.put_file(key, copy)


def read(store: Store, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns a table from the store; metadata are strings, empty where nothing is known.

    Args:
        store: The store.
        key: A Parquet file, or a CSV, as steps wrote all tables before.
        columns: Those that are wanted, in this order; None for all. Of a Parquet file no others are
            read.

    Raises:
        BadInput: It is not a table that a step writes, or lacks one of the columns.
    """
    if not key.endswith(parquet.PARQUET):
        return _read_csv(store, key, columns)
    return _with_texts(parquet.read(store, key, columns))


def parts(store: Store, key: str) -> Iterator[pd.DataFrame]:
    """Yields a table in parts, of which only one is in memory, or a CSV of before whole."""
    if key.endswith(parquet.PARQUET):
        yield from map(_with_texts, parquet.parts(store, key))
    else:
        yield read(store, key)


def widened(store: Store, key: str, columns: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yields a table in parts, with further columns for all its rows."""
    start = 0
    for part in parts(store, key):
        rows = columns.iloc[start : start + len(part)].set_axis(part.index)
        start += len(part)
        yield pd.concat([part, rows], axis=1)


def _with_texts(table: pd.DataFrame) -> pd.DataFrame:
    figures = [name for name in table if name in TEXTS and is_numeric_dtype(table[name])]
    texts = {name: table[name].map(str).where(table[name].notna(), "") for name in figures}
    return table.assign(**texts)


def _read_csv(store: Store, key: str, columns: Sequence[str] | None) -> pd.DataFrame:
    kinds = dict.fromkeys(TEXTS, str)
    table = tables.texts_restored(
        pd.read_csv(io.BytesIO(store.read(key)), dtype=kinds, keep_default_na=False, na_values=NAN)
    )
    wanted = list(table.columns if columns is None else columns)
    if missing := [name for name in wanted if name not in table]:
        raise BadInput(f"{key} in the store {store.url} has no column {', '.join(missing)}")
    return table[wanted]


def read_readable(store: Store, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns the rows of images that are not quarantined, numbered from 0 as the packed images.

    The arguments and errors are those of `read`.
    """
    wanted = None if columns is None else list(dict.fromkeys([*columns, "readable"]))
    table = read(store, key, wanted)
    rows = table[table["readable"]].reset_index(drop=True)
    return rows if columns is None else rows[list(columns)]


def labels(table: pd.DataFrame) -> NDArray[np.int64]:
    """Returns 1 for malignant, 0 for benign (n,)."""
    return np.asarray(table["label"] == "malignant", np.int64)


def log_outcomes(table: pd.DataFrame) -> None:
    """Logs a line for each quarantined image, and one for every kind of conversion."""
    for row in table[~table["readable"]].itertuples():
        log.warning('quarantined image="%s" problem="%s"', row.key, row.problem)
    for change, count in table.loc[table["converted"] != "", "converted"].value_counts().items():
        log.info('converted change="%s" images=%d', change, count)
    classes = table["label"].value_counts().to_dict()
    log.info("ingested images=%d classes=%s", len(table), classes)
