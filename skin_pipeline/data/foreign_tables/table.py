"""A table in memory, and the errors of a file that is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from skin_pipeline.data.foreign_tables.cells import last_part, plain
from skin_pipeline.data.sources.names import printable

HEAD_ROWS = 1000  # first rows, from which header and columns are recognised
MOST_WORDS = 200  # letters of a library's error in a message


class NoTable(Exception):
    """The reason why a file is no table that can be read.

    `quiet` is true for a file that is clearly no table, as a readme: there is no notice of it.
    """

    def __init__(self, reason: str, *, quiet: bool = False) -> None:
        super().__init__(reason)
        self.quiet = quiet


class Broken(NoTable):
    """The reason why a table about the images cannot be read: it must not be ignored."""


class SeveralColumns(Exception):
    """The reason why a column cannot be chosen: several have its name."""

    def __init__(self, table: Table, positions: Sequence[int]) -> None:
        columns = ", ".join(repr(table.header[position]) for position in positions)
        super().__init__(
            f"{table.name} has {len(positions)} columns of one name: {columns}. Rename all but one"
        )


@dataclass(frozen=True)
class Table:
    """A table with the columns that may matter. A column is referred to by its position.

    Args:
        name: The file's name, with that of the sheet if there are several.
        header: The names of all columns.
        lines: The line of each row in the file, for messages.
        columns: The cells of the columns that are kept.
        samples: How often each value occurs in the first rows of a column.
    """

    name: str
    header: Sequence[str]
    lines: Sequence[int]
    columns: Mapping[int, Sequence[str]]
    samples: Mapping[int, Mapping[str, int]]

    @property
    def length(self) -> int:
        """The number of rows."""
        return len(self.lines)

    def values(self, position: int) -> Sequence[str]:
        """Returns the cells of a column, without the spaces around them."""
        return self.columns[position]

    def position(self, names: Iterable[str]) -> int | None:
        """Returns the position of the first of these names that a column has; None if none has it.

        Case and separators are ignored, unless a column has exactly the name.

        Raises:
            SeveralColumns: A name fits several columns.
        """
        for name in names:
            for same in (str, plain, last_part):
                wanted = same(name)
                positions = [i for i, column in enumerate(self.header) if same(column) == wanted]
                if len(positions) > 1:
                    raise SeveralColumns(self, positions)
                if positions:
                    return positions[0]
        return None

    def only(self, rows: Sequence[int]) -> Table:
        """Returns the table with these rows alone."""
        if len(rows) == self.length:
            return self
        columns = {at: [cells[row] for row in rows] for at, cells in self.columns.items()}
        return replace(self, lines=[self.lines[row] for row in rows], columns=columns)


class Record(NamedTuple):
    """A row of a file, and its line."""

    line: int
    values: list[str]


def in_one_line(error: Exception) -> str:
    """Returns the name and the words of a library's error, in one short line."""
    return printable(" ".join(f"{type(error).__name__}: {error}".split()))[:MOST_WORDS]
