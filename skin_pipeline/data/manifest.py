"""The one table: a row an image, written by `ingest` and widened by later steps."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from skin_pipeline.data.images import Inspected, inspect
from skin_pipeline.data.sources import SUFFIXES, Found, Images
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store, digest_file

log = logging.getLogger(__name__)

# Names seen in ISIC, HAM10000 and Kaggle tables, first match wins.
COLUMNS: dict[str, tuple[str, ...]] = {
    "image_id": ("image_name", "image_id", "isic_id", "image", "filename", "file", "id"),
    "patient_id": ("patient_id", "patient"),
    "lesion_id": ("lesion_id", "lesion"),
    "sex": ("sex", "gender"),
    "age": ("age_approx", "age_approximate", "age"),
    "site": ("anatom_site_general_challenge", "anatom_site_general", "localization", "site"),
}
METADATA = tuple(name for name in COLUMNS if name != "image_id")


def build(
    images: Images, store: Store, *, size: int, field_of_view: float, shard_size: int, folder: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Decode every image once: the table, and packed shards in the store.

    Memory stays flat: no more than one shard's images are held at a time.

    Returns:
        The table, and the keys of the shards, `.npy` arrays (n, size, size, 3) of uint8 that
        their digest names: the same images give the same shard.
    """
    rows: list[dict[str, Any]] = []
    shards: list[str] = []
    waiting: list[NDArray[np.uint8]] = []
    for found, seen in _inspected(images.files, size, field_of_view):
        rows.append(_row(found, seen, len(shards), len(waiting)))
        if seen.pixels is not None:
            waiting.append(seen.pixels)
        if len(waiting) == shard_size:
            shards.append(_pack(waiting, store, folder))
            waiting.clear()
    if waiting:
        shards.append(_pack(waiting, store, folder))
    table = pd.DataFrame(rows)
    table = table.join(metadata(images.tables, table["image_id"]))
    table["group"] = groups(table)
    return table, tuple(shards)


def _pack(pixels: list[NDArray[np.uint8]], store: Store, folder: Path) -> str:
    path = folder / "shard.npy"
    np.save(path, np.stack(pixels))
    key = f"images/{digest_file(path)}.npy"
    store.put_file(key, path)
    path.unlink()
    return key


def _inspected(
    files: tuple[Found, ...], size: int, field_of_view: float
) -> Iterator[tuple[Found, Inspected]]:
    # Pillow decodes and resizes without the interpreter's lock, so threads use all cores.
    chunk = 64
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), chunk):
            part = files[start : start + chunk]
            seen = pool.map(lambda item: inspect(item.path, size, field_of_view), part)
            yield from zip(part, seen, strict=True)


def _row(found: Found, seen: Inspected, shard: int, row: int) -> dict[str, Any]:
    readable = seen.pixels is not None
    return {
        "image_id": found.path.stem,
        "key": found.key,
        "label": found.label,
        "sha256": seen.sha256,
        "pixels_sha256": seen.pixels_sha256,
        "width": seen.width,
        "height": seen.height,
        "bytes": seen.bytes,
        "readable": readable,
        "problem": seen.problem,
        "shard": shard if readable else -1,
        "row": row if readable else -1,
    }


def metadata(tables: tuple[Path, ...], image_ids: pd.Series[str]) -> pd.DataFrame:
    """The metadata columns of the first table that knows the images, empty where none does.

    Returns:
        A frame with the index of `image_ids` and the columns `METADATA`, all strings.
    """
    empty = pd.DataFrame("", index=image_ids.index, columns=list(METADATA))
    for path in tables:
        table = _read_table(path)
        column = _image_column(table, set(image_ids))
        if column is None:
            log.info("table_without_images file=%s columns=%s", path.name, list(table.columns))
            continue
        names = {kind: _first(table, COLUMNS[kind]) for kind in METADATA}
        log.info("metadata file=%s image=%s columns=%s", path.name, column, names)
        table = table.assign(_id=_stems(table[column])).drop_duplicates("_id").set_index("_id")
        for kind, name in names.items():
            if name:
                empty[kind] = image_ids.map(table[name]).fillna("").to_numpy()
        return empty
    return empty


def _read_table(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    try:
        return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise BadInput(
            f"{path.name} is not a readable CSV table: {error}. Repair it, or remove it: the "
            "classes come from the folders"
        ) from None


def _image_column(table: pd.DataFrame, image_ids: set[str]) -> str | None:
    """The column that names at least half of the images, if any."""
    for name in COLUMNS["image_id"]:
        for column in table.columns:
            if column.strip().lower() == name:
                known = image_ids & set(_stems(table[column]))
                if 2 * len(known) >= len(image_ids):
                    return str(column)
    return None


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    lower = {str(column).strip().lower(): str(column) for column in table.columns}
    return next((lower[name] for name in names if name in lower), None)


def _stems(values: pd.Series[str]) -> pd.Series[str]:
    suffix = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES))
    names = values.str.strip().str.split("/").str[-1]
    return names.str.replace(rf"(?i)({suffix})$", "", regex=True)


def groups(table: pd.DataFrame) -> pd.Series[str]:
    """Images that must not be parted: of one patient, of one lesion, or with the same pixels.

    Returns:
        A group's name for each row: its first patient, else its first lesion, else its first
        pixel digest. It does not depend on the order of the rows.
    """
    component = _components(table[["patient_id", "lesion_id", "pixels_sha256"]])
    names = pd.Series("", index=table.index)
    for link in ("patient_id", "lesion_id", "pixels_sha256", "key"):
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


def golden(table: pd.DataFrame, images: Images, store: Store, per_class: int = 4) -> dict[str, str]:
    """Copies of a few readable image files of each class in the store: `{image key: key}`."""
    chosen = table[table["readable"]].sort_values("sha256").groupby("label").head(per_class)
    wanted = dict(zip(chosen["key"], chosen["sha256"], strict=True))
    copies = {}
    for item in images.files:
        if item.key in wanted:
            copies[item.key] = f"images/{wanted[item.key]}{item.path.suffix.lower()}"
            store.put_file(copies[item.key], item.path)
    return copies


def read(store: Store, key: str) -> pd.DataFrame:
    """A table from the store; metadata columns are strings, empty where nothing is known."""
    types = dict.fromkeys((*METADATA, "problem", "pixels_sha256", "group", "image_id", "key"), str)
    return pd.read_csv(io.BytesIO(store.read(key)), dtype=types, keep_default_na=False)


def write(store: Store, key: str, table: pd.DataFrame) -> str:
    """Put a table into the store as CSV; returns its key."""
    store.put(key, table.to_csv(index=False, lineterminator="\n").encode())
    return key
