"""What the tables beside the images say of them, whatever shape the tables have.

    reader = Reader(Labelling.of(settings))
    images = sources.find(root, reader.labels)
    known = reader.read(images)

A table is nobody's promise: it may know other images, say a thing twice, or contradict the folders.
What can be understood in one way only is used; what is not used is told by name, with the setting
that would use it. Only labels can contradict each other: several ids of an image are links, all of
which group, and of several ages the first stands.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from skin_pipeline.contracts import LABELS, Notice
from skin_pipeline.data.labelling import (
    COLUMNS,
    NEITHER,
    SHOWN,
    UNKNOWN,
    Labelling,
    Labels,
    NoLabels,
    labels_of,
    listed,
    plain_value,
    quoted,
    short,
)
from skin_pipeline.data.metadata_tables import (
    Broken,
    Clues,
    Names,
    NoTable,
    SeveralColumns,
    Table,
    plain,
    tables_of,
)
from skin_pipeline.data.sources import Found, Images
from skin_pipeline.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

METADATA = ("patient_id", "lesion_id", "sex", "age", "site")
IDS = ("patient_id", "lesion_id")
# As an id, these say that there is none: Kaggle's and spreadsheets' fillers.
NO_ID = frozenset({
    "0",
    "-1",
    "-9",
    "-99",
    "-999",
    "-9999",
    "anonymous",
    "anonymized",
    "anonymised",
})
ENOUGH = 0.5  # of the images, or of the rows: a smaller overlap of names may be chance
NOT_USED = "table_not_used"
LABELS_NOT_USED = "labels_not_used"
LEFT_OUT = "images_left_out"
# What files with somebody's predictions, or with zeros in their place, are called.
PLACEHOLDER = re.compile(
    r"submi(t|ssion)|(^|[^a-z])(sample|predict(ed|ions?)?|preds?|placeholders?|dummy|template)"
    r"([^a-z]|$)"
)
TRUTH = re.compile(r"truth|label|solution|answer|(^|[^a-z])gt([^a-z]|$)")


class Known(NamedTuple):
    """What is known of the images that can be used, and what was found and is not used."""

    images: Images
    table: pd.DataFrame


class Reader:
    """Reads the tables beside one set of images, once."""

    def __init__(self, labelling: Labelling) -> None:
        self.labelling = labelling
        self._told: _Told | None = None

    def labels(self, tables: Sequence[Path], keys: Sequence[str]) -> list[str]:
        """The class of each image according to the tables, "" where it stays out.

        Args:
            tables: files that may be tables.
            keys: path of each image below their common folder.

        Raises:
            BadInput: a table is about the images but broken or contradicts another, lacks a column
                that the labelling names, or none has labels of both classes.
        """
        files = [Found("", key, Path(key)) for key in keys]
        self._told = _Told.by(tables, files, self.labelling)
        return self._told.labels_alone()

    def read(self, images: Images) -> Known:
        """The images without those that stand for neither class, and what is known of them.

        Returns:
            The images with notices of what is not used, and a frame with the index 0 to n - 1, in
            the order of the images, and the columns `METADATA`: strings, "" where nothing is known.

        Raises:
            BadInput: as `labels`, or a table contradicts the class folders.
        """
        import pandas as pd

        told = self._told or _Told.by(images.tables, images.files, self.labelling)
        if self._told is None:
            told.compare_with_folders()
        place = {item.key: number for number, item in enumerate(told.files)}
        files = [item for item in images.files if place[item.key] not in told.left_out]
        rows = [[told.facts[place[f.key]].get(kind, "") for kind in METADATA] for f in files]
        table = pd.DataFrame(rows, columns=list(METADATA), dtype=str)
        counts = " ".join(f"{kind}={int((table[kind] != '').sum())}" for kind in METADATA)
        log.info("metadata_known images=%d %s", len(files), counts)
        notices = (*images.notices, *told.notices, *told.left_out_notices())
        return Known(Images(tuple(files), images.tables, notices), table)


# --- what the rows say ---------------------------------------------------------------------------


class Fact(NamedTuple):
    """One value of a table, and where it stands."""

    value: str
    sheet: str
    line: int
    column: str
    meaning: str = ""  # of a label

    def __str__(self) -> str:
        return f"{short(self.value)} ({self.sheet}, line {self.line}, column {self.column!r})"


@dataclass(frozen=True)
class Sheet:
    """A table that knows images: its rows about them, and what its columns hold."""

    table: Table
    image: str  # the column that names them
    rows: Sequence[int]
    images: Sequence[tuple[int, ...]]  # of each row
    places: Mapping[str, int]  # of METADATA
    labels: Labels | NoLabels | None

    @property
    def known(self) -> set[int]:
        """The images that it lists."""
        return {image for images in self.images for image in images}

    def facts(self, kind: str) -> Iterator[tuple[int, Fact]]:
        """What a column says of images."""
        place = self.places[kind]
        column = self.table.values(place)
        for row, images in zip(self.rows, self.images, strict=True):
            if column[row]:
                fact = Fact(
                    column[row], self.table.name, self.table.lines[row], self.table.header[place]
                )
                for image in images:
                    yield image, fact

    def label_facts(self) -> Iterator[tuple[int, Fact]]:
        """What the labels say of images, "" included."""
        if isinstance(self.labels, Labels):
            for at, (row, images) in enumerate(zip(self.rows, self.images, strict=True)):
                value, meaning = self.labels.values[at], self.labels.meanings[at]
                line = self.table.lines[row]
                fact = Fact(value, self.table.name, line, self.labels.column, meaning)
                for image in images:
                    yield image, fact


@dataclass
class _Told:
    """What all tables together say of the images."""

    files: Sequence[Found]
    sheets: Sequence[Sheet]
    facts: list[dict[str, str]]
    labels: dict[int, Fact]
    notices: list[Notice]
    labelling: Labelling
    placeholders: dict[int, str]  # by the sheet's number: why its labels are none

    @classmethod
    def by(cls, paths: Sequence[Path], files: Sequence[Found], labelling: Labelling) -> _Told:
        sheets, notices = _sheets(paths, [item.key for item in files], labelling)
        facts: list[dict[str, str]] = [{} for _ in files]
        for kind in METADATA:
            gather = _ids if kind in IDS else _first
            values, told = gather(kind, sheets, files)
            notices += told
            for image, value in values.items():
                facts[image][kind] = value
        placeholders = _placeholders(sheets, labelling)
        return cls(files, sheets, facts, {}, notices, labelling, placeholders)._with_labels()

    def _with_labels(self) -> _Told:
        """The labels of every source that is not a placeholder.

        Raises:
            BadInput: two rows say different things of an image.
        """
        clashes = []
        for number, sheet in enumerate(self.sheets):
            for image, fact in sheet.label_facts() if number not in self.placeholders else ():
                earlier = self.labels.setdefault(image, fact)
                both = {earlier.meaning, fact.meaning}
                if both == set(LABELS):
                    clashes.append(f"{self.files[image].key}: label is {earlier} and {fact}")
                elif NEITHER in both or not earlier.meaning:
                    # Where one table is sure and another is not, the image is not sure.
                    self.labels[image] = earlier if earlier.meaning == NEITHER else fact
        if clashes:
            raise BadInput(
                f"the tables say different things of the same image, {len(clashes)} times: "
                f"{listed(clashes)}. Correct the rows, or remove those that are wrong"
            )
        return self

    @property
    def left_out(self) -> set[int]:
        return {image for image, fact in self.labels.items() if fact.meaning == NEITHER}

    def labels_alone(self) -> list[str]:
        """The class of each image where there are no folders that say it."""
        asked = self._asked()
        sources = any(fact.meaning in LABELS for fact in self.labels.values())
        if asked or (not sources and (self.sheets or self.notices)):
            raise BadInput(self._no_labels(asked))
        self._tell_labels_not_used()
        found = [
            fact.meaning if (fact := self.labels.get(image)) and fact.meaning in LABELS else ""
            for image in range(len(self.files))
        ]
        missing = [label for label in LABELS if label not in found]
        if sources and missing:
            raise BadInput(
                f"no images of class {' and '.join(missing)}: the tables give "
                f"{len(found) - found.count('')} of {len(found)} images a label, all of the other "
                f"class. {self._told_so_far()}"
            )
        self.notices += self._without_label(found)
        return found

    def _asked(self) -> list[str]:
        """Doubts that only the settings can resolve, where the labels depend on them."""
        named = "label" in self.labelling.columns
        sure = [s for i, s in enumerate(self.sheets) if self._is_source(i)]
        return [
            f"{sheet.table.name}: {sheet.labels.reason}"
            for sheet in self.sheets
            if isinstance(sheet.labels, NoLabels)
            and sheet.labels.ask
            and (named or not any(sheet.known <= other.known for other in sure))
        ]

    def _is_source(self, number: int) -> bool:
        return isinstance(self.sheets[number].labels, Labels) and number not in self.placeholders

    def _no_labels(self, asked: Sequence[str]) -> str:
        if asked:
            return f"the labels of the images are not clear. {listed(asked)}"
        reasons = [
            f"{sheet.table.name}: {self._why_no_labels(number)}"
            for number, sheet in enumerate(self.sheets)
        ]
        reasons += [str(notice) for notice in self.notices if notice.kind == NOT_USED]
        return (
            "there are no class folders, and no column is known to hold the label. Name it in "
            "`columns` (label=COLUMN), and what its values mean in `malignant_values`, "
            f"`benign_values` and `neither_values`. {listed(reasons)}"
        )

    def _why_no_labels(self, number: int) -> str:
        sheet = self.sheets[number]
        if number in self.placeholders:
            return self.placeholders[number]
        hint = _label_hint(sheet.table, self.labelling)
        if isinstance(sheet.labels, NoLabels):
            return f"{sheet.labels.reason}{'. ' * bool(hint)}{hint}"
        if isinstance(sheet.labels, Labels):
            return f"column {sheet.labels.column!r} has no label of an image"
        return hint or f"no column looks like labels: {_columns(sheet.table)}"

    def _told_so_far(self) -> str:
        told = [str(notice) for notice in (*self.notices, *self.left_out_notices())]
        return f"Also found: {listed(told)}" if told else ""

    def _tell_labels_not_used(self) -> None:
        for number, sheet in enumerate(self.sheets):
            if number in self.placeholders or isinstance(sheet.labels, NoLabels):
                reason = f"found, not used as labels, because {self._why_no_labels(number)}"
                self.notices.append(_notice(LABELS_NOT_USED, sheet.table.name, reason))

    def _without_label(self, found: Sequence[str]) -> list[Notice]:
        """Notices of the images that no table gives a label, by what stands in its place."""
        values = Counter(
            fact.value or "(empty)" if (fact := self.labels.get(image)) else "(no row)"
            for image, label in enumerate(found)
            if not label and image not in self.left_out
        )
        reason = "left out, because no table says which class these images have"
        return [_notice(LEFT_OUT, value, reason, count) for value, count in values.items()]

    def compare_with_folders(self) -> None:
        """Leave nothing unsaid where tables and class folders differ.

        Raises:
            BadInput: a table has another label for an image than its folder.
        """
        for number, sheet in enumerate(self.sheets):
            facts = list(sheet.label_facts())
            differ = [i for i, fact in facts if fact.meaning not in {"", self.files[i].label}]
            if number in self.placeholders and not differ:
                self.placeholders.pop(number)
        self._tell_labels_not_used()
        wrong = [
            f"{self.files[image].key} lies in {self.files[image].label}/ but is {fact}"
            for image, fact in sorted(self.labels.items())
            if fact.meaning in LABELS and fact.meaning != self.files[image].label
        ]
        if wrong:
            raise BadInput(
                f"{len(wrong)} images have another label in the table than their folder says: "
                f"{listed(wrong)}. Correct the table or move the images. If the column's values "
                "mean something else, change `malignant_values` and `benign_values`; if another "
                "column holds the label, name it in `columns` (label=COLUMN), or none (label=)"
            )
        asked = [
            f"{sheet.table.name}: {sheet.labels.reason}"
            for sheet in self.sheets
            if isinstance(sheet.labels, NoLabels) and "label" in self.labelling.columns
        ]
        if asked and not any(map(self._is_source, range(len(self.sheets)))):
            raise BadInput(f"the labels of the images are not clear. {listed(asked)}")

    def left_out_notices(self) -> list[Notice]:
        """Notices of the images that stand for neither class."""
        values = Counter(self.labels[image].value for image in self.left_out)
        reason = "left out, because this stands for neither class (`neither_values`)"
        return [_notice(LEFT_OUT, value, reason, count) for value, count in sorted(values.items())]


def _notice(kind: str, subject: str, reason: str, count: int = 1) -> Notice:
    return Notice(kind=kind, subject=subject, reason=reason, count=count)


def _first(
    kind: str, sheets: Sequence[Sheet], files: Sequence[Found]
) -> tuple[dict[int, str], list[Notice]]:
    """The first value that the tables give each image; others are told."""
    found: dict[int, Fact] = {}
    differ: dict[int, str] = {}
    for sheet in sheets:
        for image, fact in sheet.facts(kind) if kind in sheet.places else ():
            if plain_value(fact.value) in UNKNOWN:
                continue
            earlier = found.setdefault(image, fact)
            if plain_value(earlier.value) != plain_value(fact.value):
                differ.setdefault(image, f"{files[image].key} is {earlier} and {fact}")
    values = {image: fact.value for image, fact in found.items()}
    if not differ:
        return values, []
    reason = f"differs between tables or rows, the first stands: {listed(list(differ.values()), 3)}"
    return values, [_notice("values_differ", kind, reason, len(differ))]


def _ids(
    kind: str, sheets: Sequence[Sheet], files: Sequence[Found]
) -> tuple[dict[int, str], list[Notice]]:
    """One id for each image: ids that stand together for any image are one."""
    ids: dict[int, dict[str, str]] = defaultdict(dict)  # by image: plain form and as written
    missing: dict[str, set[int]] = defaultdict(set)
    for sheet in sheets:
        for image, fact in sheet.facts(kind) if kind in sheet.places else ():
            if _is_no_id(fact.value):
                missing[fact.value].add(image)
            else:
                ids[image].setdefault(plain_value(fact.value), _written(fact.value))
    names = _linked(ids.values())
    values = {image: names[next(iter(known))] for image, known in ids.items()}
    notices = [
        _notice(
            "id_missing", f"{kind} {value}", "read as missing: it stands for no id", len(images)
        )
        for value, images in sorted(missing.items())
    ]
    several = [
        f"{files[image].key} has {' and '.join(map(short, known.values()))}"
        for image, known in sorted(ids.items())
        if len(known) > 1
    ]
    if several:
        reason = f"several of one image, kept together as one: {listed(several, 3)}"
        notices.append(_notice("ids_linked", kind, reason, len(several)))
    return values, notices


def _is_no_id(value: str) -> bool:
    word = plain_value(value)
    return word in UNKNOWN or word in NO_ID or not re.search(r"\w", word)


def _written(value: str) -> str:
    """An id as a table has it, without the fraction that spreadsheets add to a number."""
    return re.sub(r"^(\d+)\.0*$", r"\1", value)


def _linked(ids: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The name of each id's cluster: ids that stand together are in one.

    The name is the cluster's first id by the alphabet, whatever the order of the rows.
    """
    parent: dict[str, str] = {}
    written: dict[str, str] = {}

    def root(word: str) -> str:
        while parent[word] != word:
            parent[word] = parent[parent[word]]
            word = parent[word]
        return word

    for known in ids:
        words = list(known)
        for word in words:
            parent.setdefault(word, word)
            written[word] = min(written.get(word, known[word]), known[word])
            one, other = sorted((root(words[0]), root(word)))
            parent[other] = one
    return {word: written[root(word)] for word in parent}


# --- labels that are none ------------------------------------------------------------------------


def _placeholders(sheets: Sequence[Sheet], labelling: Labelling) -> dict[int, str]:
    """Sheets whose labels are no source, by their number, and why.

    Where the settings name the column and only such sheets have it, they are what is meant: but not
    one called a submission beside others.
    """
    found = {
        number: reason
        for number, sheet in enumerate(sheets)
        if isinstance(sheet.labels, Labels) and (reason := _placeholder(sheet, sheets))
    }
    sources = [n for n, sheet in enumerate(sheets) if isinstance(sheet.labels, Labels)]
    if "label" not in labelling.columns or len(sources) > len(found):
        return found
    named = {n: reason for n, reason in found.items() if _named_placeholder(sheets[n])}
    return named if len(named) < len(found) else {}


def _named_placeholder(sheet: Sheet) -> bool:
    stem = Path(sheet.table.name.rpartition(" [")[0] or sheet.table.name).stem
    return bool(PLACEHOLDER.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).lower()))


def _placeholder(sheet: Sheet, sheets: Sequence[Sheet]) -> str:
    """Why a sheet's labels may be placeholders; "" if they look real."""
    assert isinstance(sheet.labels, Labels)
    column, values = sheet.labels.column, {v for v in sheet.labels.values if v}
    if _named_placeholder(sheet):
        return (
            f"by its name it holds placeholders or predictions (column {column!r}); if these are "
            "the labels, rename the file"
        )
    if len(sheet.labels.classes) < 2 and NEITHER not in sheet.labels.meanings:
        return (
            f"column {column!r} has one class only ({listed(sorted(map(short, values)))}), as "
            f"placeholders have; if these are the labels, give label={quoted(column)} in "
            "`columns`, or move the rows into the table that has both classes"
        )
    for other in sheets:
        if other.labels is None and _lists_without_label(other, sheet, sheets):
            return (
                f"column {column!r} is about images that {other.table.name} lists without a label: "
                "somebody's predictions, or placeholders; if these are the labels, put `labels` "
                "into the file's name"
            )
    return ""


def _lists_without_label(other: Sheet, sheet: Sheet, sheets: Sequence[Sheet]) -> bool:
    """Whether `other` is a test set (columns as the training set's, without its labels) and `sheet`
    has labels of nothing else."""
    if sheet.places or TRUTH.search(sheet.table.name.lower()):
        return False
    return sheet.known <= other.known and any(
        isinstance(train.labels, Labels)
        and len(set(train.places) & set(other.places)) >= 2
        and not train.known & sheet.known
        for train in sheets
    )


def _label_hint(table: Table, labelling: Labelling) -> str:
    """The settings that would read a column of labels under an unusual name; "" for none."""
    usual = {plain(name) for names in COLUMNS.values() for name in names}
    hints = []
    for place, counts in table.samples.items():
        name = table.header[place]
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


# --- which tables and which columns --------------------------------------------------------------


def _sheets(
    paths: Sequence[Path], keys: Sequence[str], labelling: Labelling
) -> tuple[list[Sheet], list[Notice]]:
    """The tables that know the images, and notices of the others."""
    names = Names(keys)
    clues = _clues(names, labelling)
    tables: list[Table] = []
    notices: list[Notice] = []
    for path in paths if keys else ():
        for title, found in tables_of(path, _title(path, paths), clues):
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
            notices.append(_notice(NOT_USED, table.name, reason))
    return sheets, notices


def _no_table(title: str, problem: NoTable) -> list[Notice]:
    """What is told of a file that is no table: nothing but a line in the log of a readme.

    Raises:
        BadInput: it is a broken table about the images.
    """
    if isinstance(problem, Broken):
        raise BadInput(
            f"{title} names images but is not a readable table: {problem}. Repair it, or remove "
            "it: where there are class folders, the images are used without it"
        )
    log.info('table_passed_over file=%s why="%s"', title, problem)
    if problem.quiet:
        return []
    return [_notice(NOT_USED, title, f"found, not used, because {problem}")]


def _clues(names: Names, labelling: Labelling) -> Clues:
    by_kind = {kind: {plain(name) for name in labelling.names(kind)} for kind in COLUMNS}
    usual = {plain(name) for name in COLUMNS["image_id"]}
    images = frozenset(by_kind["image_id"] | usual)
    return Clues(names, images, images.union(*by_kind.values()))


def _refuse_missing_columns(tables: Sequence[Table], labelling: Labelling) -> None:
    for kind, columns in labelling.columns.items():
        for column in columns:
            if not any(_place(table, (column,)) is not None for table in tables):
                received = "; ".join(map(_columns, tables)) or "no table"
                raise BadInput(
                    f"columns: {kind}={quoted(column)}: no table has such a column. "
                    f"Tables and their columns: {received}"
                )


def _place(table: Table, names: Sequence[str]) -> int | None:
    try:
        return table.place(names)
    except SeveralColumns as problem:
        raise BadInput(str(problem)) from None


def _sheet(table: Table, names: Names, labelling: Labelling) -> Sheet | str:
    """The table's rows about images, or why it has none that can be used."""
    found = _image_places(table, names, labelling)
    if isinstance(found, str):
        return found
    images = [
        tuple(dict.fromkeys(i for place in found for i in names.images(table.values(place)[row])))
        for row in range(table.length)
    ]
    rows = [row for row, about in enumerate(images) if about]
    places = {
        kind: place
        for kind in METADATA
        if (place := _place(table, labelling.names(kind))) is not None
    }
    try:
        labels = labels_of(table, rows, labelling)
    except SeveralColumns as problem:
        raise BadInput(str(problem)) from None
    if not places and labels is None:
        return (
            "it names images and nothing that is known by its column. Name the columns in "
            f"`columns`, such as patient_id=COLUMN. {_label_hint(table, labelling)}"
            f"{_columns(table)}"
        )
    sheet = Sheet(
        table, table.header[found[0]], rows, [images[row] for row in rows], places, labels
    )
    _log_use(sheet, names, labelling)
    return sheet


def _image_places(table: Table, names: Names, labelling: Labelling) -> list[int] | str:
    """The columns that name the images, or why there is none."""
    candidates = [_place(table, (name,)) for name in labelling.names("image_id")]
    known = {
        place: sum(map(names.knows, table.values(place)))
        for place in dict.fromkeys(candidates)
        if place is not None
    }
    if "image_id" in labelling.columns:
        return [place for place in known if known[place]] or _names_no_image(table, names, known)
    place = max(known, key=lambda place: known[place], default=None)
    if place is None or not known[place]:
        return _names_no_image(table, names, known)
    seen = {names.stem(value) for value in table.values(place)}
    share = max(known[place] / table.length, len(seen & names.stems) / len(names.stems))
    if share < ENOUGH:
        return (
            f"few of its rows name images ({known[place]} of {table.length}), and few images are "
            f"named; give image_id={quoted(table.header[place])} in `columns` to use it"
        )
    return [place]


def _names_no_image(table: Table, names: Names, tried: Mapping[int, int]) -> str:
    """Why a table is not used that names images in no usual column."""
    hits = {
        place: sum(map(names.knows, table.values(place)))
        for place in table.columns
        if place not in tried
    }
    found = sorted((place for place in hits if hits[place]), key=lambda place: -hits[place])
    if not found:
        return f"it names no image. {_columns(table)}"
    lines = [f"image_id={quoted(table.header[p])} (it names {hits[p]} images)" for p in found[:3]]
    return (
        "no column of a usual name names images. To use it, give in `columns` "
        f"{' or '.join(lines)}. {_columns(table)}"
    )


def _log_use(sheet: Sheet, names: Names, labelling: Labelling) -> None:
    """What of a table is used; what is too much or too little is counted."""
    table = sheet.table
    columns = {kind: table.header[place] for kind, place in sheet.places.items()}
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
        table.length,
        len(sheet.rows),
        table.length - len(sheet.rows),
        names.count - len(times),
        sum(count > 1 for count in times.values()),
    )


def _title(path: Path, paths: Sequence[Path]) -> str:
    """What messages call a file: its name, with its folder where another has the same."""
    alike = sum(other.name == path.name for other in paths) > 1
    name = f"{path.parent.name}/{path.name}" if alike else path.name
    return name.encode("utf-8", "replace").decode()  # a name need not be valid Unicode


def _columns(table: Table) -> str:
    columns = listed([short(column) for column in table.header], 4 * SHOWN, ", ")
    return f"{table.name} has the columns {columns}"
