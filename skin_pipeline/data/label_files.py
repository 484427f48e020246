"""Reads files of labels that came back for images that were scored.

    seen = Seen([("inbox/a.jpg", "4f1a…")])               # of the log of scores
    said = read(path, "march.csv", seen, Labelling.of(settings), at)

A label decides what a model learns and how it is judged, so nothing is guessed: a row that can be
understood in two ways is not taken, and its reason says what to do.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.contracts import RefusedLabel, ReturnedLabel
from skin_pipeline.data.foreign_tables.cells import plain
from skin_pipeline.data.foreign_tables.header import Clues
from skin_pipeline.data.foreign_tables.image_names import ImageNames, without_suffix
from skin_pipeline.data.foreign_tables.reading import tables_of
from skin_pipeline.data.foreign_tables.table import NoTable, SeveralColumns, Table
from skin_pipeline.data.metadata.columns import COLUMNS, IDS, METADATA
from skin_pipeline.data.metadata.label_columns import labels_of
from skin_pipeline.data.metadata.labelling import Labelling, Labels, NoLabels
from skin_pipeline.data.metadata.sheets import clues_of, columns_of, label_hint
from skin_pipeline.data.metadata.values import UNKNOWN, is_no_id, plain_value, short
from skin_pipeline.errors import BadInput

DIGESTS = ("sha256", "imagesha256", "digest", "imagedigest")  # plain names of columns
SHA256 = re.compile(r"[0-9a-f]{64}")
BOTH = "has two labels in this file ({}). Correct the file and read it again"


class Seen:
    """The images that were scored, found by digest, file name, or the end of a path.

    Args:
        images: The name and the SHA-256 of each image in the log of scores.
    """

    def __init__(self, images: Iterable[tuple[str, str]]) -> None:
        once = sorted(set(images))
        self.name_of = {digest: name for name, digest in once}
        self.names = ImageNames([name for name, _ in once])
        self._digests = [digest for _, digest in once]

    def digests(self, cell: str) -> set[str]:
        """Returns the digests of the images that a cell may mean; empty for none."""
        if SHA256.fullmatch(word := cell.casefold()):
            return {word} & self.name_of.keys()
        return {self._digests[at] for at in self.names.images(cell)}


@dataclass(frozen=True)
class Said:
    """What a file said: labels of known images, of unknown ones, and rows that are not taken."""

    taken: tuple[ReturnedLabel, ...] = ()
    pending: tuple[ReturnedLabel, ...] = ()
    refused: tuple[RefusedLabel, ...] = ()
    blank: int = 0


# --- reading --------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A row of a table: its line, the cells that name the image, its label and what that means."""

    line: int
    digest: str
    name: str
    value: str
    meaning: str | None
    facts: Mapping[str, str]

    @property
    def image(self) -> str:
        return self.name or self.digest

    def label(self, digest: str, name: str, at: str) -> ReturnedLabel:
        return ReturnedLabel(
            **{"image": self.image, "line": self.line, "value": self.value, "label": self.meaning},
            **{"digest": digest, "name": name, "at": at, "facts": dict(self.facts)},
        )

    def refused(self, reason: str) -> RefusedLabel:
        return RefusedLabel(image=self.image, line=self.line, value=self.value, reason=reason)


def read(path: Path, title: str, seen: Seen, labelling: Labelling, at: str) -> Said:
    """Reads the labels in a file.

    Args:
        path: The file: CSV of any dialect, or a workbook.
        title: Its name in messages.
        seen: The images that were scored.
        labelling: What columns and values mean.
        at: When it was read first.

    Raises:
        BadInput: It is no table, names no images, or has no labels that can be understood.
    """
    rows: list[_Row] = []
    problems = []
    for name, table in tables_of(path, title, _clues(seen.names, labelling)):
        try:
            if isinstance(table, NoTable):
                raise BadInput(f"{name}: {table}")
            rows += _rows(table, seen, labelling)
        except (BadInput, SeveralColumns) as problem:
            problems.append(str(problem))  # another sheet of the workbook may have the labels
    if problems and not rows:
        raise BadInput("; ".join(problems))
    return _without_clashes(_said(rows, seen, at))


def _clues(names: ImageNames, labelling: Labelling) -> Clues:
    clues = clues_of(names, labelling)
    usual = {plain(name) for names in COLUMNS.values() for name in names}
    return Clues(names, clues.image | {*DIGESTS}, clues.columns | {*DIGESTS} | usual)


def _rows(table: Table, seen: Seen, labelling: Labelling) -> list[_Row]:
    digests = _cells(table, table.position(DIGESTS))
    names = _cells(table, _naming(table, seen, labelling))
    if not any(digests) and not any(names):
        raise BadInput(
            f"{table.name}: no column names images. Give one such as image_id (the file's name) or "
            f"sha256, or name it in `columns` (image_id=COLUMN). {columns_of(table)}"
        )
    values, meanings = _labels(table, labelling)
    facts = {kind: _cells(table, _position(table, kind, labelling)) for kind in METADATA}
    return [
        _Row(
            line,
            digests[at].casefold(),
            names[at],
            values[at],
            meanings[at],
            {kind: cells[at] for kind, cells in facts.items() if _known(kind, cells[at])},
        )
        for at, line in enumerate(table.lines)
    ]


def _cells(table: Table, position: int | None) -> Sequence[str]:
    return [""] * table.length if position is None else table.values(position)


def _position(table: Table, kind: str, labelling: Labelling) -> int | None:
    return table.position((*labelling.names(kind), *COLUMNS[kind]))


def _known(kind: str, value: str) -> bool:
    return not is_no_id(value) if kind in IDS else plain_value(value) not in UNKNOWN


def _naming(table: Table, seen: Seen, labelling: Labelling) -> int | None:
    """Returns the column with a usual name that names most images; the first, if none names any."""
    usual = (*labelling.names("image_id"), *COLUMNS["image_id"])
    found = dict.fromkeys(filter(lambda at: at is not None, (table.position([n]) for n in usual)))
    hits = {at: sum(map(seen.names.knows, table.values(at))) for at in found if at is not None}
    return max(hits, key=lambda at: hits[at], default=None)


def _labels(table: Table, labelling: Labelling) -> tuple[Sequence[str], Sequence[str | None]]:
    """Returns the value and the meaning of each row's label; None where that is not known.

    Raises:
        BadInput: It is not clear which column has the labels, or these are predictions.
    """
    found = labels_of(table, labelling)
    if found is None and labelling.columns:  # they name columns of other tables
        labelling = replace(labelling, columns={})
        found = labels_of(table, labelling)
    if isinstance(found, NoLabels):
        return _row_by_row(table, labelling, found)
    if found is None:
        raise BadInput(
            f"{table.name}: no column has labels. {label_hint(table, labelling)}{columns_of(table)}"
        )
    return found.values, found.meanings


def _row_by_row(
    table: Table, labelling: Labelling, doubt: NoLabels
) -> tuple[Sequence[str], Sequence[str | None]]:
    """Returns the labels of a column of which only some values are known.

    The known rows alone must leave no doubt; then the others are refused one by one.
    """
    for name in labelling.names("label"):
        position = table.position([name])
        if position is None:
            continue
        values = table.values(position)
        meanings = [labelling.meaning(value) for value in values]
        strange = [value for value, means in zip(values, meanings, strict=True) if means is None]
        known = table.only([at for at, means in enumerate(meanings) if means is not None])
        sure = labels_of(known, labelling) if known.length else None
        if (
            isinstance(sure, Labels)
            and sure.column == table.header[position]
            and not any(map(_is_share, strange))
        ):
            return values, meanings
    raise BadInput(f"{table.name}: {doubt.reason}")


def _is_share(value: str) -> bool:
    """Returns whether a value is a number between 0 and 1, as predictions are."""
    return bool(re.fullmatch(r"0?[.,]\d*[1-9]\d*", value))


def _said(rows: Sequence[_Row], seen: Seen, at: str) -> Said:
    """Divides rows by whether their image is known, and refuses those that are not clear."""
    labelled = [row for row in rows if row.value and row.meaning != ""]
    taken: list[ReturnedLabel] = []
    pending: list[ReturnedLabel] = []
    refused: list[RefusedLabel] = []
    for row in labelled:
        digests = _image(row, seen)
        if problem := _problem(row, digests, seen):
            refused.append(row.refused(problem))
            continue
        (digest,) = digests or {row.digest}
        known = digest in seen.name_of
        (taken if known else pending).append(row.label(digest, seen.name_of.get(digest, ""), at))
    return Said(tuple(taken), tuple(pending), tuple(refused), len(rows) - len(labelled))


def _problem(row: _Row, digests: set[str], seen: Seen) -> str:
    """Returns why a row cannot be taken, and what to do; "" if it can."""
    if not row.image:
        return "has a label, but names no image"
    if row.meaning is None:
        return (
            f"has a label whose class is not known: {short(row.value)}. Name it in "
            "`malignant_values`, `benign_values` or `neither_values`, and read the file again"
        )
    if row.digest and not SHA256.fullmatch(row.digest):
        return f"has a SHA-256 that is none: {short(row.digest)}"
    return _several(row, digests, seen) if len(digests) > 1 else ""


def _image(row: _Row, seen: Seen) -> set[str]:
    """Returns the digests of the images that a row may be about. Its digest says it best."""
    if not row.digest:
        return seen.digests(row.name)
    named = seen.digests(row.name) if row.name else set()
    # A name that many files have is no contradiction, as long as one of them is meant.
    return {row.digest} if not named or row.digest in named else {row.digest, *named}


def _several(row: _Row, digests: set[str], seen: Seen) -> str:
    if row.digest:
        return f"has a SHA-256 and a name of different images ({short(row.name)}). Correct one"
    names = sorted(f"{seen.name_of[digest]} ({digest[:12]}…)" for digest in digests)
    return (
        f"may be about {len(names)} images that were scored: {', '.join(names[:3])}. Give the "
        "path, or the image's SHA-256 in a column `sha256`"
    )


def _without_clashes(said: Said) -> Said:
    """Refuses all labels of an image that the file gives two; keeps one of several equal ones."""
    meanings: dict[str, set[str]] = defaultdict(set)
    rows = (*said.taken, *said.pending)
    for row in rows:
        meanings[subject(row)].add(row.label)
    clash = {subject for subject, labels in meanings.items() if len(labels) > 1}
    refused = [
        RefusedLabel(
            image=row.image,
            line=row.line,
            value=row.value,
            reason=BOTH.format(" and ".join(sorted(meanings[subject(row)]))),
        )
        for row in rows
        if subject(row) in clash
    ]
    taken, pending = (
        tuple({subject(row): row for row in side if subject(row) not in clash}.values())
        for side in (said.taken, said.pending)
    )
    return replace(said, taken=taken, pending=pending, refused=(*said.refused, *refused))


def subject(row: ReturnedLabel) -> str:
    """Returns what a label is about: its image's digest, or the name while that is not known."""
    return row.digest or without_suffix(row.image)
