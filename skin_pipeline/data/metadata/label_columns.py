"""Finds the column of a table that has the labels, and what they mean.

    labels = labels_of(table.only(rows_about_images), labelling)

A label decides what a model learns, so nothing is guessed. A column that the settings do not name
is used only if every value in it is known, or, in a one-hot table, if every class is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from skin_pipeline.data.foreign_tables.cells import plain
from skin_pipeline.data.foreign_tables.table import Table
from skin_pipeline.data.metadata.columns import COLUMNS, OF_TWO_CLASSES
from skin_pipeline.data.metadata.labelling import Labelling, Labels, NoLabels
from skin_pipeline.data.metadata.one_hot import exclusive, of_flags, one_hot
from skin_pipeline.data.metadata.values import UNKNOWN, listed, plain_value, quoted, short


def labels_of(table: Table, labelling: Labelling) -> Labels | NoLabels | None:
    """Finds the labels of a table.

    Args:
        table: Its rows about images.
        labelling: What the settings say.

    Returns:
        A label for each row, or the reason why the labels cannot be used; None if no column looks
        like labels.

    Raises:
        SeveralColumns: Two columns have the name of the label column.
    """
    if "label" in labelling.columns:
        return _mapped(table, labelling)
    doubt: NoLabels | None = None
    for name in COLUMNS["label"]:
        position = table.position([name])
        if position is None:
            continue
        found = _of_column(table, position, labelling)
        if isinstance(found, Labels):
            if doubt and doubt.ask:
                return doubt  # to use a later column instead would be a guess
            if any(found.meanings):
                return _contradicted(table, labelling, found) or found
        else:
            two = name in OF_TWO_CLASSES and any(map(labelling.meaning, table.values(position)))
            doubt = doubt or (NoLabels(found.reason, ask=two and found.ask))
    return one_hot(table, labelling) or doubt


def _contradicted(table: Table, labelling: Labelling, found: Labels) -> NoLabels | None:
    """Returns which other column of labels contradicts these; None if none does."""
    positions = [table.position([name]) for name in OF_TWO_CLASSES]
    others = [_of_column(table, at, labelling) for at in positions if at is not None]
    for other in (*others, one_hot(table, labelling)):
        if not isinstance(other, Labels) or len(other.classes) < 2:
            continue
        pairs = zip(found.meanings, other.meanings, strict=True)
        if opposite := sum({one, two} == {"benign", "malignant"} for one, two in pairs):
            return NoLabels(
                f"columns {found.column!r} and {other.column!r} say the opposite of {opposite} "
                f"images. Name the one that has the label, such as label={quoted(found.column)} "
                "in `columns`",
                ask=True,
            )
    return None


def _of_column(table: Table, position: int, labelling: Labelling) -> Labels | NoLabels:
    """Returns the labels of one column, if all of its values are known."""
    values = list(table.values(position))
    counts = Counter(values)
    strange = [f"{short(v)} ({n})" for v, n in counts.most_common() if labelling.meaning(v) is None]
    name = table.header[position]
    if strange and _predictions(counts):
        return NoLabels(
            f"column {name!r} has numbers between 0 and 1: these are predictions, not labels"
        )
    if strange:
        return NoLabels(
            f"column {name!r} has values whose class is not known: {listed(strange)}. Name "
            f"them in `malignant_values`, `benign_values` and `neither_values` (and, to be sure, "
            f"label={quoted(name)} in `columns`), or name another column there",
            ask=True,
        )
    return Labels(name, values, [labelling.meaning(value) or "" for value in values])


def _predictions(values: Iterable[str]) -> bool:
    """Returns whether these are predictions: numbers from 0 to 1 that are not all whole."""
    numbers = [value for value in values if plain_value(value) not in UNKNOWN]
    try:
        found = [float(value.replace(",", ".")) for value in numbers]
    except ValueError:
        return False
    return all(0 <= n <= 1 for n in found) and any(0 < n < 1 for n in found)


def _mapped(table: Table, labelling: Labelling) -> Labels | NoLabels | None:
    """Returns the labels in the columns that the settings name."""
    names = labelling.columns["label"]
    positions = [position for name in names if (position := table.position([name])) is not None]
    if len(positions) > 1:
        return of_flags(table, positions, labelling)
    if not positions:
        return None
    others = exclusive(table, positions[0])
    if others and plain(table.header[positions[0]]) not in OF_TWO_CLASSES:
        return of_flags(table, positions, labelling, others)
    return _of_column(table, positions[0], labelling)
