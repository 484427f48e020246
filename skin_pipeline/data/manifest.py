"""The one table: a row an image, written by `ingest` and widened by later steps."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import tables
from skin_pipeline.contracts import Notice
from skin_pipeline.data import images as room
from skin_pipeline.data.images import STATISTICS, Inspected
from skin_pipeline.data.kinds import SUFFIXES
from skin_pipeline.data.metadata import METADATA
from skin_pipeline.data.sources import Found, Images, changed, exchanged
from skin_pipeline.data.workers import each
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import Store, copied_file, digest_file, digest_named, scratch

log = logging.getLogger(__name__)

TEXTS = (
    *("image_id", "key", "label", "sha256", "format", "problem", "converted", "fingerprint"),
    *("pixels_sha256", *METADATA, "duplicates", "external", "group", "anchor"),
)
NAN = {name: [""] for name in STATISTICS}
SHOWN = 10  # names in a notice


class Built(NamedTuple):
    """The table, the keys of the shards of working squares and of thumbnails, and the keys of the
    images that look like masks."""

    table: pd.DataFrame
    shards: tuple[str, ...]
    thumbnails: tuple[str, ...]
    masks: tuple[str, ...] = ()


def build(
    images: Images,
    store: Store,
    *,
    size: int,
    field_of_view: float,
    shard_size: int,
    folder: Path,
    processes: int,
    with_masks: bool = True,
) -> Built:
    """Decodes every image once, on all cores: the table, and packed shards in the store.

    Memory stays flat: no more than one shard's images are held at a time. Quarantined images have
    a row with `readable` False and their `problem`, and stand in no shard. Without masks, images
    that look like one have no row.

    Returns:
        The table without metadata, indexed by the place of an image among `images.files`, and the
        keys of the shards, `.npy` arrays (n, size, size, 3) and (n, 64, 64) of uint8 that their
        digest names: the same images give the same shard.

    Raises:
        BadInput: No image is left without masks.
    """
    rows: dict[int, dict[str, Any]] = {}
    masks = []
    squares, thumbnails = _Packer(store, folder, shard_size), _Packer(store, folder, shard_size)
    seen_in_order = inspected(images.files, processes, size, field_of_view)
    for place, (found, seen) in enumerate(seen_in_order):
        if room.named_like_a_mask(found.key) or seen.mask:
            masks.append(found.key)
            if not with_masks:
                continue
        rows[place] = _row(found, seen, len(squares.keys), len(squares.waiting))
        if seen.pixels is not None and seen.thumbnail is not None:
            squares.add(seen.pixels)
            thumbnails.add(seen.thumbnail)
    if not rows:
        raise BadInput(
            f"masks=leave_out leaves no image: all {len(masks)} look like masks, such as "
            f"{', '.join(masks[:SHOWN])}. Give masks=warn, or other images"
        )
    table = pd.DataFrame.from_dict(rows, orient="index")
    table["pixels_sha256"] = _pixel_digests(table, images.files, processes)
    return Built(table, squares.close(), thumbnails.close(), tuple(masks))


def mask_notices(keys: Sequence[str], left_out: bool) -> tuple[Notice, ...]:
    """Returns what is said of images that look like masks; nothing if there are none."""
    if not keys:
        return ()
    names = ", ".join(keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "")
    done = (
        "left out, because masks=leave_out. Rename what is no mask"
        if left_out
        else "used like any other image. Give masks=leave_out to leave such files out"
    )
    reason = f"looks like a mask or an overlay of a lesion (by name, or two greys only); {done}"
    return (Notice(kind="looks_like_mask", subject=names, reason=reason, count=len(keys)),)


class _Packer:
    """Stacks arrays of one shape, and puts each full stack into the store."""

    def __init__(self, store: Store, folder: Path, count: int) -> None:
        self.keys: list[str] = []
        self.waiting: list[NDArray[np.uint8]] = []
        self._store, self._path, self._count = store, folder / "shard.npy", count

    def add(self, array: NDArray[np.uint8]) -> None:
        self.waiting.append(array)
        if len(self.waiting) == self._count:
            self._pack()

    def close(self) -> tuple[str, ...]:
        if self.waiting:
            self._pack()
        return tuple(self.keys)

    def _pack(self) -> None:
        np.save(self._path, np.stack(self.waiting))
        self.keys.append(f"images/{digest_file(self._path)}.npy")
        self._store.put_file(self.keys[-1], self._path)
        self._path.unlink()
        self.waiting.clear()


def inspected(
    files: tuple[Found, ...],
    processes: int,
    size: int | None = None,
    field_of_view: float = 1.0,
) -> Iterator[tuple[Found, Inspected]]:
    """`images.inspect` of every file, in order, in worker processes."""
    work = partial(_inspect, size=size, field_of_view=field_of_view)
    yield from zip(files, each(work, files, processes, _killed, _name), strict=True)


def _inspect(item: Found, size: int | None, field_of_view: float) -> Inspected:
    """Returns what `images.inspect` says of an image.

    Raises:
        Unavailable: it went away since it was found. As quarantined, it would stay so in the result
            for this content, also when it is there again.
    """
    seen = room.inspect(item.path, size, field_of_view, PurePosixPath(item.key).name)
    if not seen.sha256 and not item.path.exists():
        raise changed(item.path, seen.problem)
    return seen


def _killed(item: Found, why: str) -> Inspected:
    return room.killed(item.path, PurePosixPath(item.key).name, why)


def _name(item: Found) -> str:
    return item.key


def _row(found: Found, seen: Inspected, shard: int, row: int) -> dict[str, Any]:
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
    }


def _pixel_digests(table: pd.DataFrame, files: tuple[Found, ...], processes: int) -> pd.Series[str]:
    """Digests of the decoded pixels, where another file may have the same ones.

    Equal pixels have an equal fingerprint, and equal files equal pixels, so that few images need
    to be decoded and hashed once more: hashing all pixels takes a third of the time of decoding.
    """
    digests = pd.Series("", index=table.index)
    files_of = table[table["readable"]].drop_duplicates("sha256")
    alike = files_of[files_of.duplicated(["fingerprint", "width", "height"], keep=False)]
    paths = [files[i].path for i in alike.index]
    digested = each(room.pixels_digest, paths, processes, _refuse_killed, str)
    known = dict(zip(alike["sha256"], digested, strict=True))
    return digests.mask(table["readable"], table["sha256"].map(known).fillna(""))


def _refuse_killed(path: Path, why: str) -> str:
    """An image that could be decoded a moment ago now ends its process."""
    raise Unavailable(f"{path.name} was decoded once, and not again: {why}")


def golden(table: pd.DataFrame, images: Images, store: Store, per_class: int = 4) -> dict[str, str]:
    """Copies of a few readable image files of each class in the store: `{image key: key}`."""
    chosen = table[table["readable"]].sort_values("sha256").groupby("label").head(per_class)
    wanted = dict(zip(chosen["key"], chosen["sha256"], strict=True))
    copies = {}
    with scratch() as folder:
        for item in images.files:
            if item.key in wanted:
                suffix = PurePosixPath(item.key).suffix.lower()
                suffix = suffix if suffix in SUFFIXES else ""
                copies[item.key] = f"images/{wanted[item.key]}{suffix}"
                _keep(store, copies[item.key], item.path, folder / str(len(copies)))
    return copies


def _keep(store: Store, key: str, path: Path, copy: Path) -> None:
    """Puts an image file under the key that names its bytes.

    Raises:
        Unavailable: They are others since it was inspected.
    """
    if copied_file(path, copy) != digest_named(key):
        raise exchanged(path)
    store.put_file(key, copy)


def read(store: Store, key: str) -> pd.DataFrame:
    """A table from the store; metadata columns are strings, empty where nothing is known."""
    data = io.BytesIO(store.read(key))
    kinds = dict.fromkeys(TEXTS, str)
    return tables.texts_restored(
        pd.read_csv(data, dtype=kinds, keep_default_na=False, na_values=NAN)
    )


def read_readable(store: Store, key: str) -> pd.DataFrame:
    """The rows of a table whose images no check has quarantined, numbered from 0: as the packed
    images are."""
    table = read(store, key)
    return table[table["readable"]].reset_index(drop=True)


def labels(table: pd.DataFrame) -> NDArray[np.int64]:
    """1 for malignant, 0 for benign (n,)."""
    return np.asarray(table["label"] == "malignant", np.int64)


def log_outcomes(table: pd.DataFrame) -> None:
    """One line an image that is quarantined, and one for every kind of conversion."""
    for row in table[~table["readable"]].itertuples():
        log.warning('quarantined image="%s" problem="%s"', row.key, row.problem)
    for change, count in table.loc[table["converted"] != "", "converted"].value_counts().items():
        log.info('converted change="%s" images=%d', change, count)
    classes = table["label"].value_counts().to_dict()
    log.info("ingested images=%d classes=%s", len(table), classes)
