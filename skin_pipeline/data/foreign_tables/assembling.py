"""Makes a table of the rows of a file: its header, its columns, and its cells.

Only columns that may matter are kept: of a table with half a million rows and sixty columns, only
the ids and labels take memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice

from skin_pipeline.data.foreign_tables.cells import FLAGS, flag, last_part, plain
from skin_pipeline.data.foreign_tables.header import Clues, header_of, refuse_wide
from skin_pipeline.data.foreign_tables.table import HEAD_ROWS, NoTable, Record, Table

DISTINCT = 40  # the most different values of a column that a message shows


def table_of(records: Iterable[Record], name: str, clues: Clues) -> Table:
    """Makes a table of a file's rows.

    Raises:
        NoTable: There are no rows, or one has more cells than the header.
    """
    rows = iter(records)
    head = list(islice(rows, HEAD_ROWS))
    if not head:
        raise NoTable("it is empty", quiet=True)
    header, first = header_of([record.values for record in head], clues)
    refuse_wide(header, head[first:], clues)
    samples = {position: _sample(head[first:], position) for position in range(len(header))}
    kept = _kept(header, head[first:], samples, clues)
    columns: dict[int, list[str]] = {position: [] for position in kept}
    lines = []
    seen: dict[str, str] = {}  # equal cells share one object: most columns have few values
    for line, values in chain(head[first:], rows):
        if any(values[len(header) :]):
            raise NoTable(f"line {line} has {len(values)} values, the header has {len(header)}")
        lines.append(line)
        for position in kept:
            value = values[position] if position < len(values) else ""
            columns[position].append(seen.setdefault(value, value))
    return Table(name, header, lines, columns, samples)


def _sample(rows: Sequence[Record], position: int) -> dict[str, int]:
    """Counts the values in the first rows of a column; {} if too many differ to be shown."""
    counts = Counter(row.values[position] if position < len(row.values) else "" for row in rows)
    return dict(counts.most_common()) if len(counts) <= DISTINCT else {}


def _kept(
    header: Sequence[str],
    rows: Sequence[Record],
    samples: Mapping[int, Mapping[str, int]],
    clues: Clues,
) -> list[int]:
    """Returns the columns that may matter: those with usual names, names of images, or flags."""
    naming = {position for record in rows for position in clues.named(record.values)}
    return [
        position
        for position, name in enumerate(header)
        if {plain(name), last_part(name)} & clues.columns
        or position in naming
        or (samples[position] and all(flag(value) in FLAGS for value in samples[position]))
    ]
