"""Finds the header of a table, which may have titles or notes above it, or may be missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from skin_pipeline.data.foreign_tables.cells import last_part
from skin_pipeline.data.foreign_tables.image_names import ImageNames, without_suffix
from skin_pipeline.data.foreign_tables.table import NoTable, Record

TITLE_ROWS = 40  # the header is among so many rows; in PH2's workbook it is the thirteenth
WIDE = 256  # columns; a wider table has pixels or features, unless a column names images


@dataclass(frozen=True)
class Clues:
    """What a header is recognised by.

    Args:
        names: The images.
        image: Plain names of columns that name images.
        columns: Plain names of all columns that matter.
    """

    names: ImageNames
    image: frozenset[str]
    columns: frozenset[str]

    def usual(self, row: Sequence[str]) -> int:
        """Counts the usual names of columns in a row; 0 if it has none for a column of images."""
        cells = [last_part(cell) for cell in row if cell]
        if not any(cell in self.image for cell in cells) or (len(cells) < 2 and len(row) > 1):
            return 0
        return sum(cell in self.columns for cell in cells)

    def named(self, row: Sequence[str]) -> list[int]:
        """Returns the columns in which a row names images."""
        return [position for position, cell in enumerate(row) if cell and self.names.knows(cell)]


def header_of(rows: Sequence[Sequence[str]], clues: Clues) -> tuple[list[str], int]:
    """Returns the names of the columns, and the number of the row at which the data begin.

    The header is the row with the most usual names; without any, the row above the first row that
    names an image. If there is no such row, the columns are numbered.
    """
    usual = [clues.usual(row) for row in rows[:TITLE_ROWS]]
    if any(usual):
        row_number = usual.index(max(usual))
        return _without_gaps(rows[row_number]), row_number + 1
    about = next((i for i, row in enumerate(rows) if clues.named(row)), None)
    if about is None:
        row_number = _first_of_usual_width(rows)
        return _without_gaps(rows[row_number]), row_number + 1
    column = clues.named(rows[about])[0]
    # The rows directly above may name images of another set, in names of the same shape.
    shape = _shape(rows[about][column])
    for row_number in range(about - 1, -1, -1):
        row = rows[row_number]
        cell = row[column] if column < len(row) else ""
        if cell and _shape(cell) != shape:
            return _without_gaps(row), row_number + 1
    first = next(i for i, row in enumerate(rows) if len(row) > column and row[column])
    return [f"column {i + 1}" for i in range(max(map(len, rows[first:])))], first


def _without_gaps(row: Sequence[str]) -> list[str]:
    """Returns the header with a name for columns that have none."""
    return [name or f"column {position + 1}" for position, name in enumerate(row)]


def _shape(name: str) -> str:
    """Returns the same text for all names that differ only in their numbers."""
    return re.sub(r"\d+", "0", without_suffix(name).rpartition("/")[2])


def _first_of_usual_width(rows: Sequence[Sequence[str]]) -> int:
    width = Counter(map(len, rows)).most_common(1)[0][0]
    return next(i for i, row in enumerate(rows) if len(row) == width)


def refuse_wide(header: Sequence[str], rows: Sequence[Record], clues: Clues) -> None:
    """Raises `NoTable` for a table of pixels or features, which would only fill the memory."""
    if len(header) > WIDE and not any(clues.named(record.values) for record in rows):
        raise NoTable(
            f"it has {len(header):,} columns, as tables of pixels or features have, and none of "
            "them names an image"
        )
