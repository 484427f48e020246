"""What the CSV tables beside the images say of them, whatever shape the tables have.

    labelling = Labelling.of(settings)
    images = sources.find(root, labelling)
    table = read(images.tables, images.files, labelling)

A table is nobody's promise: it may know other images, say a thing twice, or contradict the folders.
What can be understood in one way only is used, and told in the log; the rest is refused by name.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        columns = "; ".join(str(sheet.table) for sheet in sheets)
        raise BadInput(
            "there are no class folders, and no column is known to hold the label. Name it in "
            "`columns` (label=COLUMN), and what its values mean in `malignant_values` and "
            f"`benign_values`. Columns: {columns}"
        )
    facts = _facts(sheets, [Found("", key, Path(key)) for key in keys])
    return [known["label"].value if "label" in known else "" for known in facts]


# --- what the rows say ---------------------------------------------------------------------------


class Fact(NamedTuple):
    """One value of a table, and where it stands."""

    value: str
    table: str
    line: int
    column: str

    def __str__(self) -> str:
        return f"{_short(self.value)} ({self.table}, line {self.line}, column {self.column!r})"


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


# --- which tables, and which of their columns ----------------------------------------------------


class Row(NamedTuple):
    """A row of a table, and the images that it means."""

    line: int
    values: Sequence[str]
    images: Sequence[int] = ()


@dataclass(frozen=True)
class Table:
    """A table, and those of its `length` rows that may name images."""

    name: str
    header: Sequence[str]
    image_places: Sequence[int]
    rows: Sequence[Row]
    length: int

    def __str__(self) -> str:
        return f"{self.name} ({_listed([_short(column) for column in self.header], 40, ', ')})"


@dataclass(frozen=True)
class Sheet:
    """A table that knows images: where its columns stand, and its rows with their images."""

    table: Table
    places: Mapping[str, int]
    rows: Sequence[Row]
    meanings: Mapping[str, str]

    def facts(self) -> Iterator[tuple[int, str, Fact]]:
        """What is known, as image, kind and fact."""
        places = [item for item in self.places.items() if item[0] != "image_id"]
        for row in self.rows:
            for kind, place in places:
                value = row.values[place]
                if kind == "label":
                    value = self.meanings[value.casefold()]
                if value.casefold() not in UNKNOWN:
                    fact = Fact(value, self.table.name, row.line, self.table.header[place])
                    for image in row.images:
                        yield image, kind, fact


def _sheets(paths: Sequence[Path], keys: Sequence[str], labelling: Labelling) -> list[Sheet]:
    """The tables that know the images; the log says why others are passed over."""
    names = _Names(keys)
    titled = zip(paths, _titles(paths), strict=True)
    tables = [table for path, title in titled if (table := _table(path, title, names, labelling))]
    sheets = [sheet for table in tables if (sheet := _sheet(table, names, labelling))]
    for kind, column in labelling.columns.items():
        if column and not any(kind in sheet.places for sheet in sheets):
            raise BadInput(
                f"columns: {kind}={column}: no table that knows the images has such a column. "
                f"Tables and their columns: {'; '.join(map(str, tables)) or 'none'}"
            )
    return sheets


def _sheet(table: Table, names: _Names, labelling: Labelling) -> Sheet | None:
    image = _image_place(table, names, guessed="image_id" not in labelling.columns)
    if image is None:
        return None
    rows = names.assigned(table.rows, image)
    places = {"image_id": image}
    for kind in METADATA:
        place = next(_places(table.header, _names_of(kind, labelling)), None)
        if place is not None:
            places[kind] = place
    label = _label_place(table, rows, labelling)
    if label is not None:
        places["label"] = label
    _refuse_twins(table, places)
    _log_used(table, places, rows, labelling)
    return Sheet(table, places, rows, labelling.meanings)


def _names_of(kind: str, labelling: Labelling) -> Sequence[str]:
    """Names under which a column may stand: the one that the settings give, else the usual."""
    column = labelling.columns.get(kind)
    return COLUMNS[kind] if column is None else [column] if column else []


def _places(header: Sequence[str], names: Sequence[str]) -> Iterator[int]:
    """Where columns of these names stand, in the order of the names.

    A name that fits exactly comes before one that fits but for case and separators.
    """
    for name in names:
        for form in (str, _plain):
            places = [i for i, column in enumerate(header) if form(column) == form(name) != ""]
            if places:
                yield places[0]
                break


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.casefold())


def _refuse_twins(table: Table, places: Mapping[str, int]) -> None:
    for place in places.values():
        name = table.header[place]
        if table.header.count(name) > 1:
            raise BadInput(f"{table.name} has several columns {name!r}. Rename all but one of them")


def _image_place(table: Table, names: _Names, *, guessed: bool) -> int | None:
    """The column that names most images, if it is not by chance."""
    named = {place: names.stems(row.values[place] for row in table.rows)
             for place in table.image_places}  # fmt: skip
    best = max(named, key=lambda place: len(named[place]), default=None)
    if best is None or not named[best]:
        log.info('table_passed_over table="%s" why="no column names the images"', table)
        return None
    images, rows = len(named[best]) / len(names), len(table.rows) / table.length
    if guessed and max(images, rows) < ENOUGH:
        log.warning(
            'table_passed_over table="%s" why="it names %.0f %% of the images in %.0f %% of its '
            'rows, maybe by chance; give image_id=%s in columns to use it"',
            *(table, 100 * images, 100 * rows, table.header[best]),
        )
        return None
    return best


def _label_place(table: Table, rows: Sequence[Row], labelling: Labelling) -> int | None:
    """The column with the label: the given one, else the first whose values are all known.

    Raises:
        BadInput: the given one has values of which it is not known what they mean.
    """
    meanings = labelling.meanings
    for place in _places(table.header, _names_of("label", labelling)):
        values = Counter(row.values[place] for row in rows if row.images)
        strange = [
            (value, n) for value, n in values.most_common() if value.casefold() not in meanings
        ]
        known = any(meanings.get(value.casefold()) for value in values)
        if known and not strange:
            return place
        shown = _listed([f"{_short(value)} {n} times" for value, n in strange], SHOWN, ", ")
        column = table.header[place]
        if strange and "label" in labelling.columns:
            raise BadInput(
                f"{table.name}: it is not known which class these values of the column {column!r} "
                f"mean: {shown}. Add each to `malignant_values` or `benign_values`"
            )
        log.info('label_passed_over file="%s" column=%r unknown="%s"', table.name, column, shown)
    return None


def _log_used(
    table: Table, places: Mapping[str, int], rows: Sequence[Row], labelling: Labelling
) -> None:
    counts = Counter(image for row in rows for image in row.images)
    log.info(
        'table_used file="%s" columns=%s given=%s rows=%d other_rows=%d repeated_images=%d '
        "ambiguous_rows=%d images=%d",
        *(table.name, {kind: table.header[place] for kind, place in places.items()}),
        *(labelling.columns, table.length, table.length - sum(bool(row.images) for row in rows)),
        *(sum(n > 1 for n in counts.values()), sum(len(row.images) > 1 for row in rows)),
        len(counts),
    )


# --- which images a name means -------------------------------------------------------------------


class Name(NamedTuple):
    """A file's name: its folders from the inner to the outer, stem, and suffix in lower case."""

    folders: tuple[str, ...]
    stem: str
    suffix: str

    @classmethod
    def of(cls, text: str) -> Name:
        """Taken apart. What is no suffix of an image belongs to the stem."""
        *folders, file = text.replace("\\", "/").split("/")
        stem, suffix = os.path.splitext(file)
        if suffix.lower() not in SUFFIXES:
            stem, suffix = file, ""
        return cls(tuple(reversed(folders)), stem, suffix.lower())

    def fit(self, file: Name) -> tuple[bool, int]:
        """How well this fits to a file of the same stem: whether nothing speaks against it, and
        the number of inner folders in common."""
        pairs = list(zip(self.folders, file.folders, strict=False))
        common = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
        return common == len(pairs) and self.suffix in {"", file.suffix}, common


class _Names:
    """The images' names, to find out which images a name in a table means."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._files = [Name.of(key) for key in keys]
        self._with_stem: dict[str, list[int]] = {}
        for index, file in enumerate(self._files):
            self._with_stem.setdefault(file.stem, []).append(index)

    def __len__(self) -> int:
        return len(self._with_stem)

    def stems(self, texts: Iterable[str]) -> set[str]:
        """The stems of images that these texts name."""
        return {stem for text in texts if (stem := Name.of(text).stem) in self._with_stem}

    def assigned(self, rows: Sequence[Row], place: int) -> list[Row]:
        """The rows with the images that they mean: where a stem has several, a path decides.

        A row whose path or suffix is another one means an image only if no row fits it better:
        of `train/a` and `test/a`, the file `train/a.jpg` is the first.
        """
        closest = [self._closest(Name.of(row.values[place])) for row in rows]
        fitting = {image for fits, images in closest if fits for image in images}
        return [
            row._replace(images=[image for image in images if fits or image not in fitting])
            for row, (fits, images) in zip(rows, closest, strict=True)
        ]

    def _closest(self, name: Name) -> tuple[bool, list[int]]:
        """The images that fit best, and whether nothing speaks against them."""
        images = self._with_stem.get(name.stem, [])
        fits = [name.fit(self._files[image]) for image in images]
        best = max(fits, default=(False, 0))
        return best[0], [image for image, fit in zip(images, fits, strict=True) if fit == best]


# --- the files -----------------------------------------------------------------------------------


class _Unreadable(Exception):
    """A file is no table, for the reason given."""


def _table(path: Path, title: str, names: _Names, labelling: Labelling) -> Table | None:
    """The table in a file; None of one that cannot be read but names no image anyway.

    Raises:
        BadInput: it cannot be read, and names images.
    """
    data = _bytes(path, title)
    try:
        return _parsed(_text(data), title, names, labelling)
    except _Unreadable as error:
        if _mentions(data, names):
            raise BadInput(
                f"{title} names images, but is not a readable CSV table: {error}. Repair it, or "
                "remove it if it is not needed"
            ) from None
        log.warning('table_passed_over file="%s" why="%s, and it names no image"', title, error)
        return None


def _bytes(path: Path, title: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(
            f"{title} cannot be read: {error.strerror}. Permit it, or remove it"
        ) from None
    if len(data) > MOST_BYTES:
        raise BadInput(f"{title} has over {MOST_BYTES} bytes. Keep only the rows of the images")
    return data


def _text(data: bytes) -> str:
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.encoding != "utf-8":
            raise _Unreadable("it is no UTF-16, though it begins like it") from None
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _parsed(text: str, title: str, names: _Names, labelling: Labelling) -> Table:
    if "\0" in text:
        raise _Unreadable("it has NUL characters")
    lines = _rows(text)
    header = next(lines, Row(0, ())).values
    places = list(_places(header, _names_of("image_id", labelling)))
    rows, length = [], 0
    for row in lines:
        if any(row.values[len(header) :]):
            raise _Unreadable(
                f"line {row.line} has {len(row.values)} fields, the header has {len(header)}"
            )
        length += 1
        whole = [*row.values, *[""] * (len(header) - len(row.values))]
        if names.stems(whole[place] for place in places):
            rows.append(row._replace(values=whole))
    return Table(title, header, places, rows, length)


def _rows(text: str) -> Iterator[Row]:
    """The rows that are not blank."""
    lines = csv.reader(
        io.StringIO(text, newline=""),  # which takes any system's line ends
        delimiter=_delimiter(text),
        skipinitialspace=True,
        strict=True,
    )
    try:
        for values in lines:
            row = Row(lines.line_num, [value.strip() for value in values])
            if any(row.values):
                yield row
    except csv.Error as error:
        raise _Unreadable(f"line {lines.line_num}: {error}") from None


def _delimiter(text: str) -> str:
    """The one that takes the header apart most; a comma if none does."""
    header = re.sub(
        '"[^"]*"', "", next(filter(None, map(str.strip, text[:65536].splitlines())), "")
    )
    return max(DELIMITERS, key=header.count)


def _mentions(data: bytes, names: _Names) -> bool:
    """Whether a broken table has any image's name between its delimiters."""
    text = data.replace(b"\0", b"").decode("latin-1")
    return bool(names.stems(map(str.strip, re.split(r"[\s\"',;|]+", text))))


def _titles(paths: Sequence[Path]) -> list[str]:
    """The shortest names that tell the files apart."""
    folder = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [Path(os.path.relpath(path, folder)).as_posix() for path in paths]


# --- what people read ----------------------------------------------------------------------------


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _listed(items: Sequence[str], most: int = SHOWN, between: str = "; ") -> str:
    rest = len(items) - most
    return between.join(items[:most]) + (f" and {rest} more" if rest > 0 else "")
