"""Finds the tables that are about the images, and what each of their columns says.

A *sheet* is a table that names images in a column. A *fact* is one of its cells, about one image.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.contracts import LABELS, Notice
from skin_pipeline.data.foreign_tables.cells import plain
from skin_pipeline.data.foreign_tables.header import Clues
from skin_pipeline.data.foreign_tables.image_names import ImageNames
from skin_pipeline.data.foreign_tables.reading import tables_of
from skin_pipeline.data.foreign_tables.table import Broken, NoTable, SeveralColumns, Table
from skin_pipeline.data.metadata.columns import COLUMNS, IDS, METADATA
from skin_pipeline.data.metadata.label_columns import labels_of
from skin_pipeline.data.metadata.labelling import Labelling, Labels, NoLabels
from skin_pipeline.data.metadata.values import SHOWN, listed, plain_value, quoted, short
from skin_pipeline.errors import BadInput

log = logging.getLogger(__name__)

ENOUGH = 0.5  # of the images, or of the rows; if fewer names agree, that may be chance
NOT_USED = "table_not_used"
EXAMPLES = 3  # names in a message
EACH_TOLD = 20  # files that are not used for the same reason; of more, a few are named


class Fact(NamedTuple):
    """A value in a table, and its position in the file."""

    value: str
    sheet: str
    line: int
    column: str
    meaning: str = ""  # of a label

    def __str__(self) -> str:
        return f"{short(self.value)} ({self.sheet}, line {self.line}, column {self.column!r})"


@dataclass(frozen=True)
class Sheet:
    """A table that is about images.

    Args:
        table: Its rows about images.
        image: The column that names them.
        images: The images that each row is about.
        positions: The columns of `METADATA` that it has.
        labels: The labels of its rows; None if no column looks like labels.
    """

    table: Table
    image: str
    images: Sequence[tuple[int, ...]]
    positions: Mapping[str, int]
    labels: Labels | NoLabels | None

    @property
    def known(self) -> set[int]:
        """The images that its rows are about."""
        return {image for images in self.images for image in images}

    def facts(self, kind: str) -> Iterator[tuple[int, Fact]]:
        """Yields what the column of this kind says about images; nothing without such a column."""
        if kind not in self.positions:
            return
        position = self.positions[kind]
        column = self.table.header[position]
        cells = zip(self.table.values(position), self.table.lines, self.images, strict=True)
        for value, line, images in cells:
            if value:
                fact = Fact(value, self.table.name, line, column)
                for image in images:
                    yield image, fact

    def label_facts(self) -> Iterator[tuple[int, Fact]]:
        """Yields what the labels say about images, empty labels included."""
        if not isinstance(self.labels, Labels):
            return
        labels = zip(self.labels.values, self.labels.meanings, strict=True)
        for (value, meaning), line, images in zip(
            labels, self.table.lines, self.images, strict=True
        ):
            fact = Fact(value, self.table.name, line, self.labels.column, meaning)
            for image in images:
                yield image, fact


def sheets_of(
    paths: Sequence[Path], keys: Sequence[str], labelling: Labelling
) -> tuple[list[Sheet], list[Notice]]:
    """Returns the tables that are about the images, and notices of the others.

    Args:
        paths: Files that may be tables.
        keys: Path of each image below their common folder.
        labelling: The settings about labels and columns.

    Raises:
        BadInput: A table about the images is broken, or no table has a column that the settings
            name.
    """
    names = ImageNames(keys)
    clues = clues_of(names, labelling)
    tables: list[Table] = []
    notices: list[Notice] = []
    alike = Counter(path.name for path in paths)
    for path in paths if keys else ():
        for title, found in tables_of(path, _title(path, alike), clues):
            if isinstance(found, Table):
                tables.append(found)
            else:
                notices += _no_table(title, found)
    _refuse_missing_columns(tables, labelling)
    sheets = []
    for table in tables:
        sheet = _sheet(table, names, labelling)
        if isinstance(sheet, Sheet):
            sheets.append(sheet)
        else:
            reason = f"found, not used, because {sheet}"
            notices.append(notice(NOT_USED, table.name, reason))
    return sheets, _few(notices)


def _few(notices: Sequence[Notice]) -> list[Notice]:
    """Returns one notice for files that are many and not used for the same reason.

    Some sets have a description beside each image: thousands of notices would hide all others.
    """
    groups: dict[tuple[str, str], list[Notice]] = defaultdict(list)
    for one in notices:
        reason = re.split(r"[:.] ", one.reason)[0]  # what follows differs from file to file
        groups[Path(one.subject).suffix, re.sub(r"\d+", "", reason)].append(one)
    return [
        one
        for group in groups.values()
        for one in (group if len(group) <= EACH_TOLD else [_joined(group)])
    ]


def _joined(group: Sequence[Notice]) -> Notice:
    subject = listed([one.subject for one in group], EXAMPLES, ", ")
    return notice(group[0].kind, subject, group[0].reason, len(group))


def _no_table(title: str, problem: NoTable) -> list[Notice]:
    """Returns the notice of a file that is no table; none of a readme.

    Raises:
        BadInput: It is a broken table about the images.
    """
    if isinstance(problem, Broken):
        raise BadInput(
            f"{title} names images but is not a readable table: {problem}. Repair it, or remove "
            "it: where there are class folders, the images are used without it"
        )
    log.info('table_passed_over file=%s why="%s"', title, problem)
    if problem.quiet:
        return []
    return [notice(NOT_USED, title, f"found, not used, because {problem}")]


def clues_of(names: ImageNames, labelling: Labelling) -> Clues:
    """Returns what headers are recognised by: usual names, and those in the settings."""
    by_kind = {kind: {plain(name) for name in labelling.names(kind)} for kind in COLUMNS}
    usual = {plain(name) for name in COLUMNS["image_id"]}
    images = frozenset(by_kind["image_id"] | usual)
    return Clues(names, images, images.union(*by_kind.values()))


def _refuse_missing_columns(tables: Sequence[Table], labelling: Labelling) -> None:
    for kind, columns in labelling.columns.items():
        for column in columns:
            if not any(_position(table, (column,)) is not None for table in tables):
                received = "; ".join(map(columns_of, tables)) or "no table"
                raise BadInput(
                    f"columns: {kind}={quoted(column)}: no table has such a column. "
                    f"Tables and their columns: {received}"
                )


def _position(table: Table, names: Sequence[str]) -> int | None:
    try:
        return table.position(names)
    except SeveralColumns as problem:
        raise BadInput(str(problem)) from None


def _sheet(table: Table, names: ImageNames, labelling: Labelling) -> Sheet | str:
    """Returns the part of a table that is about images, or why none of it can be used."""
    found = _image_columns(table, names, labelling)
    if isinstance(found, str):
        return found
    named = zip(*(map(names.images, table.values(position)) for position in found), strict=True)
    images = [tuple(dict.fromkeys(chain.from_iterable(row))) for row in named]
    rows = [row for row, about in enumerate(images) if about]
    used = table.only(rows)
    positions = {
        kind: position
        for kind in METADATA
        if (position := _position(table, labelling.names(kind))) is not None
    }
    try:
        labels = labels_of(used, labelling)
    except SeveralColumns as problem:
        raise BadInput(str(problem)) from None
    if not positions and labels is None:
        return (
            "it names images, but has no other column that is known. Name the columns in "
            f"`columns`, such as patient_id=COLUMN. {label_hint(table, labelling)}"
            f"{columns_of(table)}"
        )
    about = [images[row] for row in rows]
    sheet = Sheet(used, table.header[found[0]], about, positions, labels)
    _log_use(sheet, table.length, names, labelling)
    return sheet


def _image_columns(table: Table, names: ImageNames, labelling: Labelling) -> list[int] | str:
    """Returns the columns that name the images, or why there is none."""
    candidates = [_position(table, (name,)) for name in labelling.names("image_id")]
    known = {
        position: sum(map(names.knows, table.values(position)))
        for position in dict.fromkeys(candidates)
        if position is not None
    }
    if "image_id" in labelling.columns:
        used = [position for position in known if known[position]]
        return used or _why_no_image(table, names, known, labelling)
    position = max(known, key=lambda position: known[position], default=None)
    if position is None or not known[position]:
        return _why_no_image(table, names, known, labelling)
    seen = {names.stem(value) for value in table.values(position)}
    share = max(known[position] / table.length, len(seen & names.stems) / len(names.stems))
    if share < ENOUGH:
        # Names such as `1.jpg` are in many sets. Wrong patients would be worse than none.
        return (
            f"few of its rows name images ({known[position]} of {table.length}), and few images "
            f"are named; give image_id={quoted(table.header[position])} in `columns` to use it"
        )
    return [position]


def _why_no_image(
    table: Table, names: ImageNames, tried: Mapping[int, int], labelling: Labelling
) -> str:
    """Returns why a table is not used, of which no usual column names images."""
    hits = {
        position: sum(map(names.knows, table.values(position)))
        for position in table.columns
        if position not in tried
    }
    found = sorted((at for at in hits if hits[at]), key=lambda at: -hits[at])
    if not found:
        said = _unlike(table, names, tried) if tried else _of_groups(table, labelling)
        return f"it names no image{said}. {columns_of(table)}"
    lines = [f"image_id={quoted(table.header[p])} (it names {hits[p]} images)" for p in found[:3]]
    return (
        "no column with a usual name names images. To use it, give in `columns` "
        f"{' or '.join(lines)}. {columns_of(table)}"
    )


def _of_groups(table: Table, labelling: Labelling) -> str:
    """Returns that a table is about lesions or patients instead of images; "" if it is not."""
    names = {plain(name) for kind in IDS for name in labelling.names(kind)}
    found = [column for column in table.header if plain(column) in names]
    if not found:
        return ""
    return f", but has a row for each {quoted(found[0])}: add the names of the images to its rows"


def _unlike(table: Table, names: ImageNames, tried: Iterable[int]) -> str:
    """Returns how the names in a table and those of the images are written, to be compared."""
    written = [table.values(position) for position in tried]
    values = list(dict.fromkeys(value for column in written for value in column if value))
    if not values:
        return ""
    images = ", ".join(map(short, sorted(names.stems)[:EXAMPLES]))
    return f": it has {', '.join(map(short, values[:EXAMPLES]))}, and the images are {images}"


def _log_use(sheet: Sheet, rows: int, names: ImageNames, labelling: Labelling) -> None:
    """Logs what is used of a table, and how well its rows fit the images."""
    table = sheet.table
    columns = {kind: table.header[position] for kind, position in sheet.positions.items()}
    if isinstance(sheet.labels, Labels):
        columns["label"] = sheet.labels.column
    mapped = sorted(labelling.columns)
    log.info(
        "table_used file=%s image=%r columns=%s mapped=%s",
        *(table.name, sheet.image, columns, mapped),
    )
    times = Counter(image for images in sheet.images for image in images)
    log.info(
        "table_rows file=%s rows=%d about_images=%d about_others=%d images_without_row=%d "
        "images_with_several=%d",
        table.name,
        rows,
        table.length,
        rows - table.length,
        names.count - len(times),
        sum(count > 1 for count in times.values()),
    )


def _title(path: Path, alike: Mapping[str, int]) -> str:
    """Returns a file's name for messages, with its folder if another file has the same name.

    Args:
        path: The file.
        alike: How many files have each name.
    """
    name = f"{path.parent.name}/{path.name}" if alike[path.name] > 1 else path.name
    return name.encode("utf-8", "replace").decode()  # a name need not be valid Unicode


def columns_of(table: Table) -> str:
    """Returns which columns a table has, for a message."""
    columns = listed([short(column) for column in table.header], 4 * SHOWN, ", ")
    return f"{table.name} has the columns {columns}"


def label_hint(table: Table, labelling: Labelling) -> str:
    """Returns which settings would use a label column with an unusual name; "" for none."""
    usual = {plain(name) for names in COLUMNS.values() for name in names}
    hints = []
    for position, counts in table.samples.items():
        name = table.header[position]
        meanings = {labelling.meaning(value) for value in counts} - {"", None}
        numbers = all(plain_value(value).isdecimal() for value in counts)
        called = labelling.meaning(name) in LABELS  # `melanoma`, which is 0 or 1
        if plain(name) in usual or not meanings & set(LABELS) or (numbers and len(counts) > 3):
            continue
        values = ", ".join(short(value) for value in counts)
        rank = 0 if called else 1 + numbers
        hints.append((rank, f"label={quoted(name)} (its values: {values})"))
    chosen = [hint for _, hint in sorted(hints, key=lambda hint: hint[0])][:3]
    return f"In `columns`, give for instance {' or '.join(chosen)}. " if chosen else ""


def notice(kind: str, subject: str, reason: str, count: int = 1) -> Notice:
    """Makes a notice."""
    return Notice(kind=kind, subject=subject, reason=reason, count=count)
