"""Reads tables in workbooks of Excel, or of other programs that write its format."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

from skin_pipeline.data.foreign_tables.assembling import table_of
from skin_pipeline.data.foreign_tables.header import Clues
from skin_pipeline.data.foreign_tables.table import (
    HEAD_ROWS,
    Broken,
    NoTable,
    Record,
    Table,
    in_one_line,
)

# A workbook is a zip of XML. Its unpacked size counts: in memory that grows about twentyfold.
MOST_XML = 64 * 2**20
MOST_CELLS = 20_000_000


def workbook_tables(path: Path, title: str, clues: Clues) -> list[tuple[str, Table | NoTable]]:
    """Returns the name of each sheet, and its table or the reason why it has none."""
    _refuse_unsafe(path)
    try:
        import openpyxl

        # A file object, because the library refuses a path with an unusual suffix.
        with (
            path.open("rb") as file,
            closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as book,
        ):
            names = [
                title if len(book.worksheets) == 1 else f"{title} [{sheet.title}]"
                for sheet in book.worksheets
            ]
            read = [
                (name, _sheet_table(sheet, name, clues))
                for name, sheet in zip(names, book.worksheets, strict=True)
            ]
    except Exception as error:  # a broken workbook can make the library raise nearly anything
        raise NoTable(
            f"the workbook cannot be read ({in_one_line(error)}): save it as CSV (UTF-8)"
        ) from None
    return read


def _sheet_table(sheet: Any, name: str, clues: Clues) -> Table | NoTable:
    rows = _cells(sheet)
    about = False
    try:
        head = list(islice(rows, HEAD_ROWS))
        about = any(clues.named(record.values) for record in head)
        return table_of(chain(head, rows), name, clues)
    except NoTable as problem:
        return Broken(str(problem)) if about else problem


def _refuse_unsafe(path: Path) -> None:
    """Raises `NoTable` for a zip that is no workbook, or that unpacks to too much."""
    try:
        with zipfile.ZipFile(path) as packed:
            sizes = {item.filename: item.file_size for item in packed.infolist()}
    except OSError:
        raise
    except Exception as error:
        raise NoTable(f"it is a workbook or a zip that is damaged ({in_one_line(error)})") from None
    if "xl/workbook.xml" not in sizes:
        kind = "an OpenDocument table" if "content.xml" in sizes else "a zip and no workbook"
        raise NoTable(f"it is {kind}: save it as CSV (UTF-8) or as .xlsx")
    unpacked = sum(sizes.values())
    if unpacked > MOST_XML:
        raise NoTable(
            f"it unpacks to {unpacked:,} bytes, over {MOST_XML:,}: save it as CSV (UTF-8)"
        )


def _cells(sheet: Any) -> Iterator[Record]:
    """Yields the rows of a sheet that are not empty, as text."""
    sheet.reset_dimensions()  # the size that a sheet states may be wrong
    cells = 0
    for line, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row) + 1
        if cells > MOST_CELLS:
            raise NoTable(f"a sheet has over {MOST_CELLS:,} cells: save it as CSV (UTF-8)")
        values = [_cell(value) for value in row]
        while values and not values[-1]:
            values.pop()
        if values:
            yield Record(line, values)


def _cell(value: object) -> str:
    """Returns a cell as a CSV file would have it."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value).strip()
