"""Tables as Parquet: texts, figures (also unknown ones) and yes or no, by column.

A reader takes the columns that it needs, and no others come into memory. Rows are in groups of a
fixed number, so a table may be written and read group by group. The same table gives the same bytes
(of one version of pyarrow), however it was parted: keys and proofs name tables by their digest.

What a file says of itself is compared with what the store writes before anything is decoded. A cell
that repeats takes next to nothing in such a file, so its size alone limits little: the number of
rows and the bytes of the texts in each group of rows do.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pandas as pd

from skin_pipeline.arrays import Broken, reported
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET = ".parquet"
ROWS = 2**16  # in a group
MOST_ROWS = 20_000_000
MOST_COLUMNS = 10_000
MOST_TEXT = 2**27  # bytes of one column in a group of rows: 2 KiB a cell, if all are so long
FOOTER = {"thrift_string_size_limit": 2**20, "thrift_container_size_limit": 2**16}

# --- writing -------------------------------------------------------------------------------------


def save(path: Path, parts: Iterable[pd.DataFrame]) -> None:
    """Writes a table into a new file, given in parts (at least one) that have the same columns.

    A column of numbers or of yes and no stays one. Every other cell is written as text, one that is
    not known as the empty text.

    Raises:
        BadInput: A column has more text than can be read again.
    """
    import pyarrow.parquet as pq

    groups = _regrouped(parts)
    first = next(groups)
    schema = _schema(first)
    # Without what depends on versions and not on the table: pandas' notes, and Arrow's own schema.
    how = {"compression": "zstd", "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(path, schema, **how) as writer:
        for group in chain([first], groups):
            writer.write_table(_arrow(group, schema), row_group_size=ROWS)


def _regrouped(parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yields the same rows in groups of `ROWS`; the last one may have fewer."""
    left: pd.DataFrame | None = None
    for part in parts:
        rows = part if left is None or left.empty else pd.concat([left, part])
        whole = len(rows) - len(rows) % ROWS
        for start in range(0, whole, ROWS):
            yield rows.iloc[start : start + ROWS]
        left = rows.iloc[whole:]
        if whole and left.empty:  # an empty group is written for an empty table only
            left = None
    if left is not None:
        yield left


def _schema(table: pd.DataFrame) -> pa.Schema:
    import pyarrow as pa

    kinds = {"b": pa.bool_(), "i": pa.int64(), "u": pa.int64(), "f": pa.float64()}
    return pa.schema([
        (name, kinds.get(getattr(kind, "kind", ""), pa.string()))
        for name, kind in table.dtypes.items()
    ])


def _arrow(table: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Returns rows as Arrow's table, each column in one piece."""
    import pyarrow as pa

    made = []
    for field in schema:
        cells = table[field.name]
        if pa.types.is_string(field.type):
            made.append(_texts(cells))
            _check_text(field.name, made[-1])
        else:
            made.append(pa.array(cells, field.type, from_pandas=True))
    return pa.table(made, schema)


def _texts(cells: pd.Series[Any]) -> pa.Array:
    import pyarrow as pa

    if cells.dtype == object:
        return pa.array([_text(cell) for cell in cells.tolist()], pa.string())
    made = pa.array(cells).cast(pa.string())
    made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
    return made.fill_null("")


def _text(cell: Any) -> str:
    # A file's name may have bytes that are no text; they are written as in CSV.
    return "" if pd.isna(cell) else str(cell).encode("utf-8", "backslashreplace").decode()


def _check_text(name: str, texts: pa.Array) -> None:
    size = _text_bytes(texts)
    if size > MOST_TEXT:
        raise BadInput(
            f"the column {name} has {size} bytes of text in {len(texts)} rows; at most {MOST_TEXT} "
            "are kept. Shorten its cells"
        )


# --- reading -------------------------------------------------------------------------------------


def read(store: Store, key: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Returns a table from the store, or only these columns of it, in this order.

    No text is missing: what is not known is the empty text. Figures that are not known are NaN.

    Raises:
        BadInput: There is no such table, or it is not one that the store writes, or it lacks one
            of the columns.
    """
    with reported(store, key), store.opened(key) as file, _damage():
        return _File(file).frame(columns)


def parts(
    store: Store, key: str, columns: Sequence[str] | None = None
) -> Generator[pd.DataFrame, None, None]:
    """Yields a table group by group, of which only one is in memory; otherwise as `read`."""
    with reported(store, key), store.opened(key) as file, _damage():
        table = _File(file)
        for group in range(table.groups):
            yield table.frame(columns, [group])


@contextmanager
def _damage() -> Generator[None, None, None]:
    """Turns what Arrow raises for bytes that it did not expect into `Broken`."""
    import pyarrow as pa

    try:
        yield
    except OSError as error:
        if error.errno not in {None, 0, errno.EINVAL}:  # the disk
            raise
        raise _unlike(error) from None
    except (pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        raise _unlike(error) from None


def _unlike(error: Exception) -> Broken:
    return Broken(f"it is no Parquet file, or a damaged one ({str(error)[:200]})")


class _File:
    """An open file, whose claims about itself were checked.

    Attributes:
        groups: How many groups of rows it has.
    """

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow.parquet as pq

        size = file.seek(0, 2)
        file.seek(0)
        about = pq.ParquetFile(file, **FOOTER).metadata
        _check_claims(about, size)
        self.names = [about.schema.column(i).name for i in range(about.num_columns)]
        self.groups = about.num_row_groups
        kinds = (about.schema.column(i).logical_type.type for i in range(about.num_columns))
        texts = [name for name, kind in zip(self.names, kinds, strict=True) if kind == "STRING"]
        # A text that repeats stays one until it is known how much text there is.
        self._file = pq.ParquetFile(file, metadata=about, read_dictionary=texts, **FOOTER)

    def frame(
        self, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Returns columns of some groups of rows, or all."""
        import pyarrow as pa

        wanted = self.names if columns is None else list(columns)
        if missing := [name for name in wanted if name not in self.names]:
            raise Broken(f"it has no column {', '.join(missing)}")
        chosen = range(self.groups) if groups is None else groups
        # Column by column, so that only one is in memory twice.
        made = pa.table({name: self._column(name, chosen) for name in wanted})
        frame: pd.DataFrame = made.to_pandas(split_blocks=True, self_destruct=True)
        return frame

    def _column(self, name: str, groups: Iterable[int]) -> pa.Array:
        import pyarrow as pa

        pieces = [piece for group in groups for piece in self._pieces(name, group)]
        whole = pa.chunked_array(pieces, None if pieces else self._kind(name))
        return whole.combine_chunks()

    def _kind(self, name: str) -> pa.DataType:
        import pyarrow as pa

        kind = self._file.schema_arrow.field(name).type
        return pa.large_string() if pa.types.is_dictionary(kind) else kind

    def _pieces(self, name: str, group: int) -> Iterator[pa.Array]:
        import pyarrow as pa

        column = self._file.read_row_group(group, [name], use_threads=False).column(0)
        column.validate(full=True)  # also that texts are texts
        if column.null_count and pa.types.is_boolean(column.type):
            raise Broken(f"the column {name} lacks a yes or no")
        kind, text = self._kind(name), 0
        for piece in column.chunks:
            if kind == column.type:
                yield piece
                continue
            text += _text_bytes(piece)
            if text > MOST_TEXT:
                raise Broken(f"the column {name} has more than {MOST_TEXT} bytes in a group")
            yield piece.dictionary_decode().cast(kind).fill_null("")


def _text_bytes(texts: pa.Array) -> int:
    """Returns how many bytes the texts of a column have, also where each is kept once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(texts.type):
        lengths = pc.take(pc.binary_length(texts.dictionary), texts.indices)
    else:
        lengths = pc.binary_length(texts)
    return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)


def _check_claims(about: pq.FileMetaData, size: int) -> None:
    """Raises `Broken` unless a file of this size says that it is one that `save` writes."""
    columns = [about.schema.column(i) for i in range(about.num_columns)]
    if about.metadata or len(columns) > MOST_COLUMNS:
        raise Broken(f"it has {len(columns)} columns, and notes {list(about.metadata or {})}")
    if len({column.name for column in columns}) < len(columns):
        raise Broken("two columns have one name")
    for column in columns:
        kind = (column.physical_type, column.logical_type.type)
        nested = column.path != column.name or column.max_repetition_level
        if kind not in KINDS or nested or column.max_definition_level > 1:
            raise Broken(f"the column {column.name} is of the type {' '.join(kind)}")
    if about.num_rows > MOST_ROWS:
        raise Broken(f"it says that it has {about.num_rows} rows; at most {MOST_ROWS} are read")
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    if sum(group.num_rows for group in groups) != about.num_rows:
        raise Broken("its groups have another number of rows than it says")
    for group in groups:
        _check_group(group, size)


KINDS = {
    ("BYTE_ARRAY", "STRING"),
    *(("DOUBLE", "NONE"), ("INT64", "NONE"), ("BOOLEAN", "NONE")),
}


def _check_group(group: pq.RowGroupMetaData, size: int) -> None:
    if not 0 <= group.num_rows <= ROWS:
        raise Broken(f"a group has {group.num_rows} rows; at most {ROWS} are read")
    chunks = [group.column(i) for i in range(group.num_columns)]
    if any(chunk.num_values != group.num_rows for chunk in chunks):
        raise Broken("a column has another number of cells than its group")
    if any(chunk.compression != "ZSTD" for chunk in chunks):
        raise Broken("it is compressed in another way than by zstd")
    if sum(chunk.total_compressed_size for chunk in chunks) > size:
        raise Broken(f"its columns would have more bytes than the file, which has {size}")
    # Each text may have its length beside it, and the dictionary comes on top.
    if any(chunk.total_uncompressed_size > 2 * MOST_TEXT + 16 * ROWS for chunk in chunks):
        raise Broken("a column says that it has more bytes in a group than are read")
