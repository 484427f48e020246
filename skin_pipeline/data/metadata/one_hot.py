"""Reads labels in several columns, each of which is set for one class: `MEL`, `NV`, `BCC` …

The tables contain only the rows that are about images (`Table.only`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from skin_pipeline.data.foreign_tables.cells import is_set
from skin_pipeline.data.foreign_tables.table import Table
from skin_pipeline.data.metadata.labelling import (
    NEITHER,
    NONE_OF_THEM,
    Labelling,
    Labels,
    NoLabels,
)
from skin_pipeline.data.metadata.values import listed, short

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def one_hot(table: Table, labelling: Labelling) -> Labels | NoLabels | None:
    """Returns the labels in several columns that are called after classes, or exclude each other.

    Columns that the settings name as classes are labels, whether or not exactly one of them is set
    in each row. Of others, exactly one must be set.
    """
    flags = _flags(table)
    called = [
        position
        for position in flags
        if _called_a_class(table.header[position], labelling)
        and any(map(is_set, table.values(position)))
    ]
    used = _widest_block(table, flags)
    if len(called) > 1 and not set(called) <= set(used):
        return of_flags(table, called, labelling)
    if len(used) < 2:
        return None
    found = of_flags(table, used, labelling)
    known = any(labelling.meaning(table.header[position]) for position in used)
    # Two columns of 0 and 1 are often the two sexes, so one must have the name of a class.
    return found if isinstance(found, Labels) or known or len(used) > 2 else None


def _called_a_class(name: str, labelling: Labelling) -> bool:
    """Returns whether a column is called after a class; one called `1` or `yes` is not."""
    return bool(labelling.meaning(name)) and is_set(name) is None


def _flags(table: Table) -> list[int]:
    """Returns the columns in which every cell means yes, no or nothing."""
    return [
        position
        for position in sorted(table.columns)
        if all(is_set(value) is not None for value in set(table.values(position)))
    ]


def _matrix(table: Table, positions: Sequence[int]) -> NDArray[np.bool_]:
    """Returns which cells are set (rows, positions)."""
    import numpy as np

    columns = [[bool(is_set(value)) for value in table.values(at)] for at in positions]
    return np.array(columns, bool).reshape(len(positions), table.length).T


def _blank(table: Table, positions: Sequence[int]) -> NDArray[np.bool_]:
    """Returns which rows are empty in all of these columns (rows,)."""
    import numpy as np

    columns = [[not value for value in table.values(position)] for position in positions]
    return np.asarray(np.array(columns, bool).reshape(len(positions), table.length).all(axis=0))


def _widest_block(table: Table, positions: Sequence[int]) -> list[int]:
    """Returns the longest run of neighbouring columns of which exactly one is set in each row.

    Columns in it that are never set are left out.
    """
    import numpy as np

    cells = _matrix(table, positions)[~_blank(table, positions)]
    # sums[:, last] - sums[:, first] counts the set cells of a block without another loop.
    sums = np.concatenate([np.zeros((len(cells), 1), int), cells.cumsum(axis=1)], axis=1)
    used: NDArray[np.bool_] = np.asarray(cells.any(axis=0))
    best: list[int] = []
    for first in range(len(positions)):
        for last in range(first + 2, len(positions) + 1):
            if positions[last - 1] - positions[first] != last - 1 - first:
                break  # there is another column between them
            exact = bool(len(cells)) and bool((sums[:, last] - sums[:, first] == 1).all())
            block = [positions[i] for i in range(first, last) if used[i]]
            if exact and len(block) > len(best):
                best = block
    return best


def exclusive(table: Table, position: int) -> list[int]:
    """Returns this column and those beside it, as far as no row has two of them set."""
    flags = set(_flags(table))
    if position not in flags:
        return []
    taken: NDArray[np.bool_] = _matrix(table, [position])[:, 0]
    found = []
    for step in (-1, 1):
        beside = position + step
        while beside in flags:
            cells = _matrix(table, [beside])[:, 0]
            if (taken & cells).any():
                break
            if cells.any():
                found.append(beside)
                taken |= cells
            beside += step
    return sorted(found)


def of_flags(
    table: Table, positions: Sequence[int], labelling: Labelling, beside: Sequence[int] = ()
) -> Labels | NoLabels:
    """Returns the labels in several columns, each of which is set for one class.

    Args:
        table: The rows about images.
        positions: The columns that the settings name, or all of them.
        labelling: What the columns mean.
        beside: Neighbours of the one column that the settings name, never set together with it.
            A row in which the named column is set then means what a 1 means, and one in which no
            column is set what a 0 means.
    """
    if beside:
        names = {position: labelling.meaning("1") for position in positions}
        none = labelling.meaning("0")
    else:
        names, none = {}, labelling.meaning(NONE_OF_THEM)
    positions = sorted({*positions, *beside})
    for position in positions:
        means = labelling.meaning(table.header[position])
        names[position] = names.get(position) if means is None else means
    if reason := _odd_cell(table, positions) or _unnamed(table, names, none):
        return NoLabels(reason, ask=True)
    return _joined(table, {position: names[position] or "" for position in positions}, none or "")


def _odd_cell(table: Table, positions: Sequence[int]) -> str:
    for position in positions:
        odd = next((value for value in table.values(position) if is_set(value) is None), None)
        if odd is not None:
            return (
                "columns: several columns have the label, so each must be 0 or 1, but column "
                f"{table.header[position]!r} has {short(odd)}"
            )
    return ""


def _unnamed(table: Table, names: Mapping[int, str | None], none: str | None) -> str:
    """Returns which columns are set for an image but have no known meaning; "" for none."""
    positions = sorted(names)
    cells = _matrix(table, positions)
    counts = dict(zip(positions, cells.sum(axis=0), strict=True))
    unnamed = [
        f"{short(table.header[position])} ({counts[position]})"
        for position in positions
        if names[position] is None and counts[position]
    ]
    without = int((~cells.any(axis=1) & ~_blank(table, positions)).sum())
    if none is None and without:
        unnamed.append(f"{NONE_OF_THEM!r} ({without})")
    if not unnamed:
        return ""
    columns = ", ".join(short(table.header[position]) for position in positions)
    return (
        f"the labels have a column a class ({columns}), and the class of these is not known: "
        f"{listed(unnamed, 40)}. Name each in `malignant_values`, `benign_values` or "
        "`neither_values`"
    )


def _joined(table: Table, means: Mapping[int, str], none: str) -> Labels | NoLabels:
    """Returns the labels of rows, given what each column means when it is set."""
    positions = list(means)
    values, meanings = [], []
    blank = _blank(table, positions)
    for cells, empty in zip(_matrix(table, positions), blank, strict=True):
        together = [position for position, cell in zip(positions, cells, strict=True) if cell]
        value = " + ".join(table.header[position] for position in together) or NONE_OF_THEM
        classes = {means[position] for position in together} or {none}
        if {"benign", "malignant"} <= classes:
            return NoLabels(f"columns of both classes are set for one image ({value})", ask=True)
        values.append("" if empty else value)
        meanings.append("" if empty else NEITHER if NEITHER in classes else max(classes))
    return Labels(", ".join(table.header[position] for position in positions), values, meanings)
