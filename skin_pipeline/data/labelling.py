"""What the labels in tables mean: the settings that say so, and where a table has its labels.

    labelling = Labelling.of(settings)
    labels = labels_of(table, rows, labelling)

A label decides what a model learns, so it is guessed only where it can be understood in one way:
every value of the column is known, or every class of a one-hot table. What is a placeholder or
somebody's prediction is no label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from skin_pipeline.config import Settings, parts
from skin_pipeline.data.metadata_tables import Table, is_set, plain
from skin_pipeline.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEITHER = "neither"
NONE_OF_THEM = "none of them"  # stands for an image for which no column of a one-hot table is set
# Names seen in ISIC, HAM10000, PAD-UFES and Kaggle tables, without case and separators. The first
# match wins, except for images, where the column wins that names most of them.
COLUMNS: dict[str, tuple[str, ...]] = {
    "image_id": (
        *("imagename", "imageid", "isicid", "imgid", "image", "img", "filename", "file"),
        *("imagepath", "filepath", "path", "name", "id"),
    ),
    "patient_id": ("patientid", "patient", "patientno", "patientnumber", "subjectid", "subject"),
    "lesion_id": ("lesionid", "lesion", "lesionno", "lesionnumber"),
    "sex": ("sex", "gender"),
    "age": ("ageapprox", "ageapproximate", "age", "patientage"),
    "site": (
        *("anatomsitegeneralchallenge", "anatomsitegeneral", "anatomsite", "localization"),
        *("localisation", "anatomicalsite", "bodysite", "site", "region", "location"),
    ),
    "label": (
        *("benignmalignant", "label", "target", "class", "malignant", "malignancy", "groundtruth"),
        *("diagnosis1", "diagnosis", "diagnostic", "dx"),
    ),
}
# Columns that hold nothing but the two classes; the others hold diagnoses, many of them.
OF_TWO_CLASSES = COLUMNS["label"][: COLUMNS["label"].index("diagnosis")]
SEVERAL = frozenset({"label", "image_id"})  # kinds that several columns may hold
# An unknown patient is nobody: as a name, it would make one group of all such images.
UNKNOWN = frozenset({
    *("", "-", "--", "?", ".", "unknown", "unk", "nan", "nat", "na", "n/a", "n.a.", "#n/a", "<na>"),
    *("none", "null", "nil", "missing", "not available", "not known", "not specified", "n/d"),
    *("not applicable", "not provided", "not recorded", "unspecified", "undefined", "#ref!"),
    *("#value!", "#name?", "#null!"),
})
SHOWN = 10


def plain_value(value: str) -> str:
    """A form that is the same for what means the same: 45 and 45.0, Male and male."""
    value = " ".join(value.casefold().split())
    if not re.fullmatch(r"[+-]?\d{1,40}(\.\d{0,40})?(e[+-]?\d{1,2})?", value, re.ASCII):
        return value
    number = Decimal(value)
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if not number else text.lstrip("+")


def mapping_of(text: str) -> dict[str, tuple[str, ...]]:
    """The knob `columns`, such as `patient_id=Patient No, label=MEL, label=NV`, as a dict.

    A kind without a column (`label=`) means that no column holds it.

    Raises:
        BadInput: a part that is no `KIND=COLUMN`, an unknown kind, or a kind named twice that only
            one column can hold.
    """
    mapping: dict[str, tuple[str, ...]] = {}
    for part in parts(text):
        kind, equals, column = (piece.strip() for piece in part.partition("="))
        twice = kind in mapping and (kind not in SEVERAL or not column or not mapping[kind])
        if not equals or kind not in COLUMNS or twice:
            reason = "names a kind twice" if kind in mapping else "is no KIND=COLUMN"
            raise BadInput(
                f"columns: {part!r} {reason}. Give for instance `patient_id=Patient No, label=dx`; "
                f"the kinds are {', '.join(COLUMNS)}. Received: {text!r}"
            )
        mapping[kind] = (*mapping.get(kind, ()), *filter(None, [column]))
    return mapping


@dataclass(frozen=True)
class Labelling:
    """How tables are read: the columns that are not under a usual name, and what labels mean."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    malignant: tuple[str, ...] = field(default_factory=lambda: _default("malignant_values"))
    benign: tuple[str, ...] = field(default_factory=lambda: _default("benign_values"))
    neither: tuple[str, ...] = field(default_factory=lambda: _default("neither_values"))

    @classmethod
    def of(cls, settings: Settings) -> Labelling:
        """The labelling that the settings describe.

        Raises:
            BadInput: `columns` is malformed, or a value stands for two classes.
        """
        names = ("malignant_values", "benign_values", "neither_values")
        words = {name: _words(getattr(settings, name)) for name in names}
        malignant, benign, neither = (words[name] for name in names)
        if settings.neither_values == Settings.model_fields["neither_values"].default:
            # Who names a value as a class need not take it out of the default.
            words["neither_values"] = neither = neither - malignant - benign
        for one, other in ((names[0], names[1]), (names[0], names[2]), (names[1], names[2])):
            if both := sorted(words[one] & words[other]):
                raise BadInput(f"{one} and {other} both have {', '.join(both)}")
        return cls(
            mapping_of(settings.columns), *(tuple(sorted(w)) for w in (malignant, benign, neither))
        )

    @cached_property
    def meanings(self) -> dict[str, str]:
        """What each value in its plain form stands for; "" for those that say nothing."""
        words = ((UNKNOWN, ""), (self.neither, NEITHER), (self.benign, "benign"))
        found = {plain_value(word): meaning for group, meaning in words for word in group}
        return found | {plain_value(word): "malignant" for word in self.malignant}

    def meaning(self, value: str) -> str | None:
        """`benign`, `malignant`, `neither`, "" if it says nothing, None if that is not known."""
        return self.meanings.get(plain_value(value))

    def names(self, kind: str) -> tuple[str, ...]:
        """Names under which a column may stand: what the settings say, else the usual ones."""
        return self.columns.get(kind, COLUMNS[kind])


def _words(text: str) -> set[str]:
    return {plain_value(word) for word in parts(text)}


def _default(name: str) -> tuple[str, ...]:
    return tuple(sorted(_words(Settings.model_fields[name].default)))


# --- the labels of one table ---------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """The labels of a table's rows: what stands there, and what it means."""

    column: str
    values: Sequence[str]
    meanings: Sequence[str]

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(self.meanings) - {"", NEITHER}


@dataclass(frozen=True)
class NoLabels:
    """Why a table has no labels that can be used; `ask` if the settings can help."""

    reason: str
    ask: bool = False


def labels_of(table: Table, rows: Sequence[int], labelling: Labelling) -> Labels | NoLabels | None:
    """The labels that a table has, in the order of its rows about images.

    Args:
        table: the table.
        rows: its rows about images.
        labelling: what the settings say.

    Returns:
        None if no column looks like one of labels.

    Raises:
        SeveralColumns: two columns have the name of the one with the labels.
    """
    if "label" in labelling.columns:
        return _mapped(table, rows, labelling)
    doubt: NoLabels | None = None
    for name in COLUMNS["label"]:
        place = table.place([name])
        if place is None:
            continue
        found = _of_column(table, place, rows, labelling)
        if isinstance(found, Labels):
            if doubt and doubt.ask:
                return doubt  # else a later column would be guessed
            if any(found.meanings):
                return _contradicted(table, rows, labelling, found) or found
        else:
            two = name in OF_TWO_CLASSES and _any_known(table, place, rows, labelling)
            doubt = doubt or (NoLabels(found.reason, ask=two and found.ask))
    return _one_hot(table, rows, labelling) or doubt


def _contradicted(
    table: Table, rows: Sequence[int], labelling: Labelling, found: Labels
) -> NoLabels | None:
    """Whether another column of the two classes says the opposite of some images."""
    for name in OF_TWO_CLASSES:
        place = table.place([name])
        other = None if place is None else _of_column(table, place, rows, labelling)
        if not isinstance(other, Labels) or len(other.classes) < 2:
            continue
        pairs = zip(found.meanings, other.meanings, strict=True)
        if opposite := sum({one, two} == {"benign", "malignant"} for one, two in pairs):
            return NoLabels(
                f"columns {found.column!r} and {other.column!r} say the opposite of {opposite} "
                f"images. Name the one that holds the label, such as label={quoted(found.column)} "
                "in `columns`",
                ask=True,
            )
    return None


def _any_known(table: Table, place: int, rows: Sequence[int], labelling: Labelling) -> bool:
    column = table.values(place)
    return any(labelling.meaning(column[row]) for row in rows)


def _of_column(
    table: Table, place: int, rows: Sequence[int], labelling: Labelling
) -> Labels | NoLabels:
    """The labels of one column, if all of its values are known."""
    column = table.values(place)
    values = [column[row] for row in rows]
    counts = Counter(values)
    strange = [f"{short(v)} ({n})" for v, n in counts.most_common() if labelling.meaning(v) is None]
    name = table.header[place]
    if strange and _predictions(counts):
        return NoLabels(
            f"column {name!r} has numbers between 0 and 1, as predictions have and labels have not"
        )
    if strange:
        return NoLabels(
            f"column {name!r} has values that stand for neither class: {listed(strange)}. Name "
            f"them in `malignant_values`, `benign_values` and `neither_values` (and, to be sure, "
            f"label={quoted(name)} in `columns`), or name another column there",
            ask=True,
        )
    return Labels(name, values, [labelling.meaning(value) or "" for value in values])


def _predictions(values: Iterable[str]) -> bool:
    """Whether these are probabilities: numbers between 0 and 1 that are not all whole."""
    numbers = [value for value in values if plain_value(value) not in UNKNOWN]
    try:
        found = [float(value.replace(",", ".")) for value in numbers]
    except ValueError:
        return False
    return all(0 <= n <= 1 for n in found) and any(0 < n < 1 for n in found)


def _mapped(table: Table, rows: Sequence[int], labelling: Labelling) -> Labels | NoLabels | None:
    """The labels in the columns that the settings name."""
    names = labelling.columns["label"]
    places = [place for name in names if (place := table.place([name])) is not None]
    if len(places) > 1:
        return _of_flags(table, places, rows, labelling)
    if not places:
        return None
    others = _exclusive(table, places[0], rows)
    if others and plain(table.header[places[0]]) not in OF_TWO_CLASSES:
        return _of_flags(table, places, rows, labelling, others)
    return _of_column(table, places[0], rows, labelling)


# --- one-hot tables ------------------------------------------------------------------------------


def _one_hot(table: Table, rows: Sequence[int], labelling: Labelling) -> Labels | NoLabels | None:
    """The labels of a table in which exactly one of several columns is set in each row."""
    places = _flags(table, rows)
    used = _widest_block(table, places, rows)
    if len(used) < 2:
        return None
    found = _of_flags(table, used, rows, labelling)
    known = any(labelling.meaning(table.header[place]) for place in used)
    # Two columns of noughts and ones are as often the two sexes as two classes.
    return found if isinstance(found, Labels) or known or len(used) > 2 else None


def _flags(table: Table, rows: Sequence[int]) -> list[int]:
    """The columns of which every cell says yes or no, or nothing."""
    return [
        place
        for place in sorted(table.columns)
        if all(is_set(value) is not None for value in {table.values(place)[row] for row in rows})
    ]


def _matrix(table: Table, places: Sequence[int], rows: Sequence[int]) -> NDArray[np.bool_]:
    """Which cells are set (rows, places)."""
    import numpy as np

    columns = [[bool(is_set(table.values(place)[row])) for row in rows] for place in places]
    return np.array(columns, bool).reshape(len(places), len(rows)).T


def _blank(table: Table, places: Sequence[int], rows: Sequence[int]) -> NDArray[np.bool_]:
    """Which rows have nothing in any of these columns (rows,)."""
    import numpy as np

    columns = [[not table.values(place)[row] for row in rows] for place in places]
    return np.asarray(np.array(columns, bool).reshape(len(places), len(rows)).all(axis=0))


def _widest_block(table: Table, places: Sequence[int], rows: Sequence[int]) -> list[int]:
    """The neighbouring columns of which exactly one is set in each row, as many as possible; those
    that are never set are left out."""
    import numpy as np

    told = ~_blank(table, places, rows)
    cells = _matrix(table, places, rows)[told]
    sums = np.concatenate([np.zeros((len(cells), 1), int), cells.cumsum(axis=1)], axis=1)
    used: NDArray[np.bool_] = np.asarray(cells.any(axis=0))
    best: list[int] = []
    for first in range(len(places)):
        for last in range(first + 2, len(places) + 1):
            if places[last - 1] - places[first] != last - 1 - first:
                break  # another column stands between them
            exact = bool(len(cells)) and bool((sums[:, last] - sums[:, first] == 1).all())
            block = [places[i] for i in range(first, last) if used[i]]
            if exact and len(block) > len(best):
                best = block
    return best


def _exclusive(table: Table, place: int, rows: Sequence[int]) -> list[int]:
    """The columns beside this one of which never two are set in a row, this one included."""
    flags = set(_flags(table, rows))
    if place not in flags:
        return []
    taken: NDArray[np.bool_] = _matrix(table, [place], rows)[:, 0]
    found = []
    for step in (-1, 1):
        beside = place + step
        while beside in flags:
            cells = _matrix(table, [beside], rows)[:, 0]
            if (taken & cells).any():
                break
            if cells.any():
                found.append(beside)
                taken |= cells
            beside += step
    return sorted(found)


def _of_flags(
    table: Table,
    places: Sequence[int],
    rows: Sequence[int],
    labelling: Labelling,
    beside: Sequence[int] = (),
) -> Labels | NoLabels:
    """The labels of columns that are each set for one class.

    Args:
        table: the table.
        places: the columns that the settings name, or all of them.
        rows: the rows about images.
        labelling: what the columns stand for.
        beside: columns that the settings do not name, of which never two are set with the named
            one: that is then set for malignant, and no other column need be.
    """
    if beside:
        names = {place: labelling.meaning("1") for place in places}
        none = labelling.meaning("0")
    else:
        names, none = {}, labelling.meaning(NONE_OF_THEM)
    places = sorted({*places, *beside})
    for place in places:
        means = labelling.meaning(table.header[place])
        names[place] = names.get(place) if means is None else means
    if reason := _odd_cell(table, places, rows) or _unnamed(table, names, none, rows):
        return NoLabels(reason, ask=True)
    return _joined(table, {place: names[place] or "" for place in places}, none or "", rows)


def _odd_cell(table: Table, places: Sequence[int], rows: Sequence[int]) -> str:
    for place in places:
        column = table.values(place)
        odd = next((column[row] for row in rows if is_set(column[row]) is None), None)
        if odd is not None:
            return (
                "columns: several columns hold the label, so each must be 0 or 1, but column "
                f"{table.header[place]!r} has {short(odd)}"
            )
    return ""


def _unnamed(
    table: Table, names: Mapping[int, str | None], none: str | None, rows: Sequence[int]
) -> str:
    """What to say of classes that some image has and nobody has named; "" for none."""
    cells = _matrix(table, sorted(names), rows)
    counts = dict(zip(sorted(names), cells.sum(axis=0), strict=True))
    unnamed = [
        f"{short(table.header[place])} ({counts[place]})"
        for place in sorted(names)
        if names[place] is None and counts[place]
    ]
    without = int((~cells.any(axis=1) & ~_blank(table, sorted(names), rows)).sum())
    if none is None and without:
        unnamed.append(f"{NONE_OF_THEM!r} ({without})")
    if not unnamed:
        return ""
    columns = ", ".join(short(table.header[place]) for place in sorted(names))
    return (
        f"the labels have a column a class ({columns}), and what these stand for is not known: "
        f"{listed(unnamed, 40)}. Name each in `malignant_values`, `benign_values` or "
        "`neither_values`"
    )


def _joined(
    table: Table, means: Mapping[int, str], none: str, rows: Sequence[int]
) -> Labels | NoLabels:
    """The labels of rows in which each set column means something."""
    places = list(means)
    values, meanings = [], []
    blank = _blank(table, places, rows)
    for cells, empty in zip(_matrix(table, places, rows), blank, strict=True):
        together = [place for place, cell in zip(places, cells, strict=True) if cell]
        value = " + ".join(table.header[place] for place in together) or NONE_OF_THEM
        classes = {means[place] for place in together} or {none}
        if {"benign", "malignant"} <= classes:
            return NoLabels(f"columns of both classes are set for one image ({value})", ask=True)
        values.append("" if empty else value)
        meanings.append("" if empty else NEITHER if NEITHER in classes else max(classes))
    return Labels(", ".join(table.header[place] for place in places), values, meanings)


# --- words for messages --------------------------------------------------------------------------


def short(value: str, most: int = 60) -> str:
    """A value for a message."""
    return repr(value if len(value) <= most else f"{value[:most]}…")


def listed(items: Sequence[str], most: int = SHOWN, between: str = "; ") -> str:
    """The first of some items for a message, and how many more there are."""
    more = f"{between}and {len(items) - most} more" if len(items) > most else ""
    return between.join(items[:most]) + more


def quoted(column: str) -> str:
    """A column's name as `columns` takes it."""
    needs = any(sign in column for sign in ',"\n')
    return '"' + column.replace('"', '""') + '"' if needs else column
