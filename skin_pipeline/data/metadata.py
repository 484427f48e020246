"""What the CSV tables beside the images say of them, whatever shape the tables have.

    labelling = Labelling.of(settings)
    images = sources.find(root, labelling)
    table = read(images.tables, images.files, labelling)

A table is nobody's promise: it may know other images, say a thing twice, or contradict the folders.
What can be understood in one way only is used, and told in the log; the rest is refused by name.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from skin_pipeline.config import Settings
from skin_pipeline.data.sources import SUFFIXES, Found
from skin_pipeline.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

METADATA = ("patient_id", "lesion_id", "sex", "age", "site")
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
        *("benignmalignant", "label", "target", "class", "diagnosis", "diagnosis1", "diagnostic"),
        *("dx", "malignant", "groundtruth"),
    ),
}
# An unknown patient is nobody: as a name, it would make one group of all such images.
UNKNOWN = frozenset({
    *("", "-", "--", "?", ".", "unknown", "unk", "nan", "na", "n/a", "#n/a", "<na>", "none"),
    *("null", "nil", "missing", "not available", "not known", "unspecified", "undefined"),
})
DELIMITERS = (",", ";", "\t", "|")
ENOUGH = 0.5  # of the images, or of the rows: a smaller overlap of names may be chance
MOST_BYTES = 256 * 2**20
SHOWN = 10


def mapping_of(text: str) -> dict[str, str]:
    """The knob `columns`, such as `patient_id=Patient No, label=dx`, as a dict.

    A kind without a column (`label=`) means that no column holds it.

    Raises:
        BadInput: a part that is no `KIND=COLUMN`, an unknown kind, or a kind named twice.
    """
    mapping: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        kind, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or kind not in COLUMNS or kind in mapping:
            reason = "names a kind twice" if kind in mapping else "is no KIND=COLUMN"
            raise BadInput(
                f"columns: {part!r} {reason}. Give for instance `patient_id=Patient No, label=dx`; "
                f"the kinds are {', '.join(COLUMNS)}. Received: {text!r}"
            )
        mapping[kind] = column
    return mapping


@dataclass(frozen=True)
class Labelling:
    """How tables are read: the columns that are not under a usual name, and what labels mean."""

    columns: dict[str, str] = field(default_factory=dict)
    malignant: tuple[str, ...] = ("1", "1.0", "malignant", "melanoma", "true", "yes")
    benign: tuple[str, ...] = ("0", "0.0", "benign", "false", "nevus", "no")

    @classmethod
    def of(cls, settings: Settings) -> Labelling:
        """The labelling that the settings describe.

        Raises:
            BadInput: `columns` is malformed, or a value stands for both classes.
        """
        malignant, benign = map(_words, (settings.malignant_values, settings.benign_values))
        both = sorted(set(malignant) & set(benign))
        if both:
            raise BadInput(f"malignant_values and benign_values both have {', '.join(both)}")
        return cls(mapping_of(settings.columns), malignant, benign)

    @property
    def meanings(self) -> dict[str, str]:
        """The label of each value in lower case; "" of those that say nothing."""
        return {
            **dict.fromkeys(UNKNOWN, ""),
            **dict.fromkeys(self.benign, "benign"),
            **dict.fromkeys(self.malignant, "malignant"),
        }


def _words(text: str) -> tuple[str, ...]:
    return tuple(sorted({word.strip().casefold() for word in text.split(",")} - {""}))


def read(tables: Sequence[Path], files: Sequence[Found], labelling: Labelling) -> pd.DataFrame:
    """What the tables say of each image.

    Returns:
        A frame with the index 0 to n - 1, in the order of `files`, and the columns `METADATA`:
        strings, "" where nothing is known.

    Raises:
        BadInput: a table is about the images but broken, contradicts itself, another table or the
            class folders, or lacks a column that the labelling names.
    """
    import pandas as pd

    facts = _facts(_sheets(tables, [item.key for item in files], labelling), files)
    _refuse_contradictions(files, facts)
    rows = [[known[kind].value if kind in known else "" for kind in METADATA] for known in facts]
    log.info(
        "metadata_known images=%d %s",
        len(files),
        " ".join(f"{k}={sum(k in known for known in facts)}" for k in (*METADATA, "label")),
    )
    return pd.DataFrame(rows, columns=list(METADATA), dtype=str)


def labels(tables: Sequence[Path], keys: Sequence[str], labelling: Labelling) -> list[str]:
    """The class of each image according to the tables, "" where they say nothing.

    Args:
        tables: CSV files.
        keys: path of each image below their common folder.
        labelling: how to read the tables.

    Raises:
        BadInput: as `read`, or no column of the tables that know the images holds a label.
    """
    sheets = _sheets(tables, keys, labelling)
    if sheets and not any("label" in sheet.places for sheet in sheets):
        raise BadInput(
            "there are no class folders, and no column is known to hold the label. Name it in "
            "`columns` (label=COLUMN), and what its values mean in `malignant_values` and "
            f"`benign_values`. Columns: {'; '.join(map(str, sheets))}"
        )
    facts = _facts(sheets, [Found("", key, Path(key)) for key in keys])
    return [known["label"].value if "label" in known else "" for known in facts]


# --- what the rows say ---------------------------------------------------------------------------


class Fact(NamedTuple):
    """One value of a table, and where it stands."""

    value: str
    sheet: str
    line: int
    column: str

    def __str__(self) -> str:
        return f"{_short(self.value)} ({self.sheet}, line {self.line}, column {self.column!r})"


Facts = dict[str, Fact]


def _facts(sheets: Sequence[Sheet], files: Sequence[Found]) -> list[Facts]:
    """What the tables say of each image, by kind.

    Raises:
        BadInput: two rows say different things of an image.
    """
    facts: list[Facts] = [{} for _ in files]
    clashes = []
    for sheet in sheets:
        for image, kind, fact in sheet.facts():
            earlier = facts[image].setdefault(kind, fact)
            if _plain_value(earlier.value) != _plain_value(fact.value):
                clashes.append(f"{files[image].key}: {kind} is {earlier} and {fact}")
    if clashes:
        raise BadInput(
            f"the tables say different things of the same image, {len(clashes)} times: "
            f"{_listed(clashes)}. Correct the rows, or remove those that are wrong"
        )
    return facts


def _refuse_contradictions(files: Sequence[Found], facts: Sequence[Facts]) -> None:
    wrong = [
        f"{item.key} lies in {item.label}/ but is {known['label']}"
        for item, known in zip(files, facts, strict=True)
        if "label" in known and known["label"].value != item.label
    ]
    if wrong:
        raise BadInput(
            f"{len(wrong)} images have another label in the table than their folder says: "
            f"{_listed(wrong)}. Correct the table or move the images. If the column's values mean "
            "something else, change `malignant_values` and `benign_values`; if another column "
            "holds the label, name it in `columns` (label=COLUMN), or none (label=)"
        )


def _plain_value(value: str) -> str:
    """A form that is the same for what means the same: 45 and 45.0, Male and male."""
    try:
        return repr(float(value))
    except ValueError:
        return value.casefold()


# --- which tables and which columns --------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """A table that knows images: where its columns stand, and its rows about images."""

    name: str
    header: Sequence[str]
    places: Mapping[str, int]
    rows: Sequence[Row]
    meanings: Mapping[str, str]

    def __str__(self) -> str:
        return _columns(self.name, self.header)

    def facts(self) -> Iterator[tuple[int, str, Fact]]:
        """What is known, as image, kind and fact."""
        for row in self.rows:
            for kind, place in self.places.items():
                value = row.values[place]
                if kind == "label":
                    value = self.meanings[value.casefold()]
                if value.casefold() not in UNKNOWN:
                    fact = Fact(value, self.name, row.line, self.header[place])
                    for image in row.images:
                        yield image, kind, fact


class Row(NamedTuple):
    """A row of a table, and the images that it means."""

    line: int
    values: Sequence[str]
    images: Sequence[int] = ()


def _sheets(paths: Sequence[Path], keys: Sequence[str], labelling: Labelling) -> list[Sheet]:
    """The tables that know the images; why the others are passed over is logged."""
    names = _Names(keys)
    tables = [table for path in paths if (table := _table(path, _title(path, paths), names))]
    sheets = [sheet for table in tables if (sheet := _sheet(table, names, labelling))]
    for kind, column in labelling.columns.items():
        if column and not any(_place(table, (column,)) is not None for table in tables):
            received = "; ".join(map(str, tables)) or "no CSV table"
            raise BadInput(
                f"columns: {kind}={column}: no table has such a column. "
                f"Tables and their columns: {received}"
            )
    return sheets


def _sheet(table: Table, names: _Names, labelling: Labelling) -> Sheet | None:
    place = _image_place(table, names, labelling)
    if place is None:
        return None
    rows = _assigned(table, place, names)
    meanings = labelling.meanings
    places = {
        kind: found
        for kind in METADATA
        if (found := _place(table, _names_of(kind, labelling))) is not None
    }
    label = _label_place(table, rows, meanings, labelling)
    if label is not None:
        places["label"] = label
    log.info(
        "table_used file=%s image=%r columns=%s mapped=%s",
        table.name,
        table.header[place],
        {kind: table.header[found] for kind, found in places.items()},
        sorted(labelling.columns),
    )
    return Sheet(table.name, table.header, places, rows, meanings)


def _names_of(kind: str, labelling: Labelling) -> tuple[str, ...]:
    """Names under which a column may stand: what the settings say, else the usual ones."""
    if kind in labelling.columns:
        return (labelling.columns[kind],) if labelling.columns[kind] else ()
    return COLUMNS[kind]


def _place(table: Table, names: Sequence[str]) -> int | None:
    """Where the first of these columns stands; case and separators matter only if they must."""
    for name in names:
        for same in (str, _plain):
            places = [i for i, column in enumerate(table.header) if same(column) == same(name)]
            if len(places) > 1:
                columns = ", ".join(_short(table.header[place]) for place in places)
                raise BadInput(
                    f"{table.name} has {len(places)} columns of one name: {columns}. Rename all "
                    "but one"
                )
            if places:
                return places[0]
    return None


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.casefold())


def _image_place(table: Table, names: _Names, labelling: Labelling) -> int | None:
    """The column that names the images, if any does."""
    candidates = [_place(table, (name,)) for name in _names_of("image_id", labelling)]
    known = {
        place: sum(names.knows(row.values[place]) for row in table.rows)
        for place in dict.fromkeys(candidates)
        if place is not None
    }
    place = max(known, key=lambda place: known[place], default=None)
    if place is None or not known[place]:
        log.info('table_passed_over file=%s why="names no image" columns=%s', table.name, table)
        return None
    hits = known[place]
    seen = {name for row in table.rows if (name := names.stem(row.values[place]))}
    guessed = "image_id" not in labelling.columns
    if guessed and max(hits / table.length, len(seen & names.stems) / len(names.stems)) < ENOUGH:
        log.warning(
            'table_passed_over file=%s why="few of its rows name images, and few images are named; '
            'give image_id=%s in columns to use it" rows=%d of=%d',
            table.name,
            table.header[place],
            hits,
            table.length,
        )
        return None
    return place


def _label_place(
    table: Table, rows: Sequence[Row], meanings: Mapping[str, str], labelling: Labelling
) -> int | None:
    """The column that holds the label: a usual one counts only if all of its values are known.

    Raises:
        BadInput: the column that the settings name has values of which no meaning is known.
    """
    named = "label" in labelling.columns
    for name in _names_of("label", labelling):
        place = _place(table, (name,))
        if place is None:
            continue
        values = Counter(row.values[place].casefold() for row in rows)
        strange = [f"{_short(value)} ({n})" for value, n in values.items() if value not in meanings]
        if strange and named:
            raise BadInput(
                f"{table.name}: column {name!r} has values that stand for neither class: "
                f"{_listed(strange)}. Name them in `malignant_values` and `benign_values`"
            )
        if not strange and any(meanings[value] for value in values):
            return place
    return None


def _assigned(table: Table, place: int, names: _Names) -> list[Row]:
    """The rows about images; what is too much or too little is counted in the log."""
    rows = [row._replace(images=names.images(row.values[place])) for row in table.rows]
    about = [row for row in rows if row.images]
    times = Counter(image for row in about for image in row.images)
    log.info(
        "table_rows file=%s rows=%d about_images=%d about_others=%d images_without_row=%d "
        "images_with_several=%d",
        table.name,
        len(rows),
        len(about),
        len(rows) - len(about),
        names.count - len(times),
        sum(count > 1 for count in times.values()),
    )
    return about


# --- names of images -----------------------------------------------------------------------------


class _Names:
    """Which images a name in a table means: a stem, a file name, or the end of a path."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.count = len(keys)
        self._paths = [_without_suffix(key) for key in keys]
        self._by_stem: dict[str, list[int]] = {}
        for index, path in enumerate(self._paths):
            self._by_stem.setdefault(path.rpartition("/")[2], []).append(index)

    @property
    def stems(self) -> set[str]:
        return set(self._by_stem)

    def stem(self, value: str) -> str:
        """The name without folders and suffix, in lower case."""
        return _without_suffix(value).rpartition("/")[2]

    def knows(self, value: str) -> bool:
        return self.stem(value) in self._by_stem

    def images(self, value: str) -> tuple[int, ...]:
        """The images that are meant; several where a bare name stands in several folders."""
        path = _without_suffix(value)
        found = self._by_stem.get(path.rpartition("/")[2], [])
        if len(found) > 1 and "/" in path:
            ends = [i for i in found if f"/{self._paths[i]}".endswith(f"/{path}")]
            ends = ends or [i for i in found if f"/{path}".endswith(f"/{self._paths[i]}")]
            return tuple(ends or found)
        return tuple(found)


def _without_suffix(name: str) -> str:
    path = name.strip().replace("\\", "/").casefold()
    stem, suffix = os.path.splitext(path)  # ruff: ignore[os-path-splitext]
    return stem if suffix in SUFFIXES else path


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A CSV file, its values without the spaces around them."""

    name: str
    header: Sequence[str]
    rows: Sequence[Row]

    @property
    def length(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return _columns(self.name, self.header)


class _Broken(Exception):
    """Why a file is no table that can be read."""


def _title(path: Path, paths: Sequence[Path]) -> str:
    """What messages call a file: its name, with its folder where another has the same."""
    alike = sum(other.name == path.name for other in paths) > 1
    return f"{path.parent.name}/{path.name}" if alike else path.name


def _table(path: Path, title: str, names: _Names) -> Table | None:
    """A table, or None if it holds nothing, or is broken and has nothing to do with the images.

    Raises:
        BadInput: it is broken, and names images.
    """
    text = ""
    try:
        text = _text(path)
        return _parsed(text, title)
    except _Broken as problem:
        if any(names.knows(word) for word in re.split(r"[\s,;|\"\x00]+", text)):
            raise BadInput(
                f"{title} names images but is not a readable CSV table: {problem}. Repair it, or "
                "remove it: where there are class folders, the images are used without it"
            ) from None
        log.warning('table_passed_over file=%s why="%s"', title, problem)
        return None


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise _Broken(f"it has over {MOST_BYTES} bytes")
    data = path.read_bytes()
    encodings = ("utf-16",) if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _parsed(text: str, title: str) -> Table:
    if "\0" in text:
        raise _Broken("it has NUL characters, as binary files have")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    # Universal line ends: Windows, Unix and old Mac files alike.
    lines = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    rows = []
    try:
        for values in lines:
            if any(map(str.strip, values)):
                rows.append(Row(lines.line_num, [value.strip() for value in values]))
    except csv.Error as error:
        raise _Broken(f"line {lines.line_num}: {error}") from None
    if not rows:
        raise _Broken("it is empty")
    header, *rows = rows
    return Table(title, header.values, [_fitted(row, len(header.values)) for row in rows])


def _fitted(row: Row, width: int) -> Row:
    """A row with as many values as the header; empty ones are added or cut at its end."""
    if any(row.values[width:]):
        raise _Broken(f"line {row.line} has {len(row.values)} values, the header has {width}")
    return row._replace(values=[*row.values, *[""] * (width - len(row.values))][:width])


# --- words for messages --------------------------------------------------------------------------


def _short(value: str, most: int = 60) -> str:
    return repr(value if len(value) <= most else f"{value[:most]}…")


def _columns(name: str, header: Sequence[str]) -> str:
    return f"{name} ({_listed([_short(column) for column in header], 40, ', ')})"


def _listed(items: Sequence[str], most: int = SHOWN, between: str = "; ") -> str:
    more = f"{between}and {len(items) - most} more" if len(items) > most else ""
    return between.join(items[:most]) + more
