"""Tables as people have them: CSV of any dialect, or a workbook, with whatever stands above it.

    names = Names(keys)
    for name, table in tables_of(path, "METADATA.CSV", Clues(names, image, columns)):
        table.header, table.values(3)  # or a NoTable, which says why it is none

What a file is called says little, so its content decides. Only the columns that may matter are
kept: a table of half a million rows and sixty columns takes no more memory than its ids and labels.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from skin_pipeline.data.contents import printable
from skin_pipeline.data.sources import SUFFIXES
from skin_pipeline.errors import Unavailable

DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 2**30
HEAD_BYTES = 2**20
HEAD_ROWS = 1000
TITLE_ROWS = 40  # PH2's workbook has twelve rows above its header
WIDE = 256  # columns: more are pixels or features, unless one of them names images
# A workbook is a zip, and its XML grows about twentyfold in memory.
MOST_XML = 64 * 2**20
MOST_CELLS = 20_000_000
MOST_WORDS = 200  # letters of an error of a library
SET = frozenset({"1", "x", "true", "yes", "y"})
FLAGS = SET | {"", "0", "false", "no", "n"}
DISTINCT = 40  # different values of a column that a message may still show
PLAIN_TEXT = frozenset({"", ".txt"})
PROSE = re.compile(r"read.?me|licen[cs]e|copying|attribution|citation|changelog|terms|notice")


class NoTable(Exception):
    """Why a file is no table that can be read; `quiet` for text that nobody would take for one."""

    def __init__(self, reason: str, *, quiet: bool = False) -> None:
        super().__init__(reason)
        self.quiet = quiet


class Broken(NoTable):
    """A table about the images cannot be read to its end."""


def plain(column: str) -> str:
    """A column's name without case and separators."""
    return re.sub(r"[\W_]+", "", column.casefold())


# --- names of images -----------------------------------------------------------------------------


class Names:
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
    # macOS keeps accents apart from their letters in names of files, and tables do not.
    path = unicodedata.normalize("NFC", name.strip().replace("\\", "/")).casefold()
    stem, suffix = os.path.splitext(path)  # ruff: ignore[os-path-splitext]
    return stem if suffix in SUFFIXES else path


@dataclass(frozen=True)
class Clues:
    """How a header is told from what stands above it: the names that columns usually have."""

    names: Names
    image: frozenset[str]  # plain names of columns that name images
    columns: frozenset[str]  # plain names of every column that matters

    def usual(self, row: Sequence[str]) -> int:
        """How many usual columns a row would have if it were the header; 0 without images."""
        cells = [_last(cell) for cell in row if cell]
        if not any(cell in self.image for cell in cells) or (len(cells) < 2 and len(row) > 1):
            return 0
        return sum(cell in self.columns for cell in cells)

    def named(self, row: Sequence[str]) -> list[int]:
        """The columns in which this row names images."""
        return [place for place, cell in enumerate(row) if cell and self.names.knows(cell)]


def _last(column: str) -> str:
    """`meta.clinical.sex` is called as `sex` is."""
    return plain(column.rpartition(".")[2])


# --- a table -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table: its header, the line of each row, and the columns that may matter."""

    name: str
    header: Sequence[str]
    lines: Sequence[int]
    columns: Mapping[int, Sequence[str]]
    samples: Mapping[int, Mapping[str, int]]  # of its first rows: how often each value stands there

    @property
    def length(self) -> int:
        return len(self.lines)

    def values(self, place: int) -> Sequence[str]:
        """The values of a column, without the spaces around them."""
        return self.columns[place]

    def place(self, names: Iterable[str]) -> int | None:
        """Where the first of these columns stands; case and separators matter only if they must.

        Raises:
            SeveralColumns: the name fits several.
        """
        for name in names:
            for same in (str, plain, _last):
                places = [i for i, column in enumerate(self.header) if same(column) == same(name)]
                if len(places) > 1:
                    raise SeveralColumns(self, places)
                if places:
                    return places[0]
        return None


class SeveralColumns(Exception):
    """Two columns of one table have the name that was asked for."""

    def __init__(self, table: Table, places: Sequence[int]) -> None:
        columns = ", ".join(repr(table.header[place]) for place in places)
        super().__init__(
            f"{table.name} has {len(places)} columns of one name: {columns}. Rename all but one"
        )


class _Record(NamedTuple):
    line: int
    values: list[str]


def tables_of(path: Path, title: str, clues: Clues) -> list[tuple[str, Table | NoTable]]:
    """The tables of a file: one, or one a sheet of a workbook; or why there is none.

    Args:
        path: the file, whatever it is called.
        title: what messages call it.
        clues: what its columns may be called, and which images there are.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        _refuse_foreign(head, path)
        if head.startswith(b"PK\x03\x04"):
            return _sheets(path, title, clues)
        return [(title, _text_table(path, title, head, clues))]
    except NoTable as problem:
        return [(title, problem)]
    except OSError as error:
        return [(title, NoTable(f"it cannot be read ({error.strerror or error})"))]
    except MemoryError:
        raise Unavailable(
            f"{title} could not be read: the machine has no memory left. Give the task more"
        ) from None
    except Exception as error:  # whatever a stranger's bytes make the libraries raise
        return [(title, NoTable(f"it cannot be read ({_said(error)}): save it as CSV (UTF-8)"))]


def _said(error: Exception) -> str:
    """An error's name and words, in one short line."""
    return printable(" ".join(f"{type(error).__name__}: {error}".split()))[:MOST_WORDS]


def _read(records: Iterable[_Record], name: str, clues: Clues) -> Table:
    """The table that a file's records are, once its header is found."""
    rows = iter(records)
    head = list(islice(rows, HEAD_ROWS))
    if not head:
        raise NoTable("it is empty", quiet=True)
    header, first = _header([record.values for record in head], clues)
    _refuse_wide(header, head[first:], clues)
    samples = {place: _sample(head[first:], place) for place in range(len(header))}
    kept = _kept(header, head[first:], samples, clues)
    columns: dict[int, list[str]] = {place: [] for place in kept}
    lines = []
    seen: dict[str, str] = {}
    for line, values in chain(head[first:], rows):
        if any(values[len(header) :]):
            raise NoTable(f"line {line} has {len(values)} values, the header has {len(header)}")
        lines.append(line)
        for place in kept:
            value = values[place] if place < len(values) else ""
            columns[place].append(seen.setdefault(value, value))
    return Table(name, header, lines, columns, samples)


def _header(rows: Sequence[Sequence[str]], clues: Clues) -> tuple[list[str], int]:
    """The names of the columns, and the row at which the data begin.

    The row with the most usual names is the header; without one, the row above the first that names
    an image; without that too, the columns are numbered.
    """
    usual = [clues.usual(row) for row in rows[:TITLE_ROWS]]
    if any(usual):
        place = usual.index(max(usual))
        return _named(rows[place]), place + 1
    about = next((i for i, row in enumerate(rows) if clues.named(row)), None)
    if about is None:
        place = _first_of_usual_width(rows)
        return _named(rows[place]), place + 1
    column = clues.named(rows[about])[0]
    shape = _shape(rows[about][column])
    for place in range(about - 1, -1, -1):
        row = rows[place]
        cell = row[column] if column < len(row) else ""
        if cell and _shape(cell) != shape:
            return _named(row), place + 1
    first = next(i for i, row in enumerate(rows) if len(row) > column and row[column])
    return [f"column {i + 1}" for i in range(max(map(len, rows[first:])))], first


def _named(row: Sequence[str]) -> list[str]:
    """A header in which no column is without a name."""
    return [name or f"column {place + 1}" for place, name in enumerate(row)]


def _shape(name: str) -> str:
    """The same for names that differ only in their numbers."""
    return re.sub(r"\d+", "0", _without_suffix(name).rpartition("/")[2])


def _first_of_usual_width(rows: Sequence[Sequence[str]]) -> int:
    width = Counter(map(len, rows)).most_common(1)[0][0]
    return next(i for i, row in enumerate(rows) if len(row) == width)


def _refuse_wide(header: Sequence[str], rows: Sequence[_Record], clues: Clues) -> None:
    if len(header) > WIDE and not any(clues.named(record.values) for record in rows):
        raise NoTable(
            f"it has {len(header):,} columns, as tables of pixels or features have, and none of "
            "them names an image"
        )


def _sample(rows: Sequence[_Record], place: int) -> dict[str, int]:
    """How often each value stands in a column's first rows; {} if there are too many to show."""
    counts = Counter(row.values[place] if place < len(row.values) else "" for row in rows)
    return dict(counts.most_common()) if len(counts) <= DISTINCT else {}


def _kept(
    header: Sequence[str],
    rows: Sequence[_Record],
    samples: Mapping[int, Mapping[str, int]],
    clues: Clues,
) -> list[int]:
    """Columns that may matter: usual ones, those that name images, and those of 0 and 1."""
    naming = {place for record in rows for place in clues.named(record.values)}
    return [
        place
        for place, name in enumerate(header)
        if {plain(name), _last(name)} & clues.columns
        or place in naming
        or (samples[place] and all(_flag(value) in FLAGS for value in samples[place]))
    ]


def _flag(value: str) -> str:
    """`1.0` and `1` are one."""
    value = value.casefold()
    return str(int(float(value))) if re.fullmatch(r"[01]\.0*(e[+-]?0+)?", value) else value


def is_set(value: str) -> bool | None:
    """Whether a cell that says yes or no says yes; None if it says something else."""
    flag = _flag(value)
    return flag in SET if flag in FLAGS else None


# --- text ----------------------------------------------------------------------------------------


def _refuse_foreign(head: bytes, path: Path) -> None:
    """Raise for a file that is something else than a table, as its first bytes tell."""
    wanted = path.suffix.lower() not in PLAIN_TEXT
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise NoTable(
            "it is an old or password-protected Excel workbook: save it as CSV (UTF-8) or as "
            ".xlsx without a password"
        )
    if head.startswith(b"version https://git-lfs"):
        raise NoTable("it is only a pointer of Git LFS: fetch the file itself with `git lfs pull`")
    if start.startswith((b"<!doctype html", b"<html")):
        raise NoTable("it is a web page, perhaps of a download that failed")
    if start.startswith((b"<?xml", b"{\\rtf", b"%pdf")):
        raise NoTable("it is a document and no table: save it as CSV", quiet=not wanted)
    # A single NUL in a table is told with its line.
    binary = head.count(b"\0") > len(head) / 10 and not head.startswith(b"PK\x03\x04")
    if binary and not _utf16(head):
        raise NoTable("it has NUL characters, as binary files have", quiet=not wanted)


def _utf16(head: bytes) -> str:
    """The encoding of text that takes two or four bytes a character; "" of any other."""
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
        (codecs.BOM_UTF32_BE, "utf-32"),
    ):
        if head.startswith(mark):
            return encoding
    piece = head[:2048]
    if len(piece) >= 4 and b"\0" in piece:
        zeros = [piece[side::2].count(0) / len(piece[side::2]) for side in (0, 1)]
        if min(zeros) < 0.05 and max(zeros) > 0.7:
            return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return ""


def _encoding(path: Path, head: bytes) -> str:
    """UTF-8 if the whole file is; else what Windows writes in the West."""
    if encoding := _utf16(head):
        return encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    undefined = False
    with path.open("rb") as file:
        try:
            while block := file.read(HEAD_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
            return "utf-8-sig"
        except UnicodeDecodeError:
            undefined = any(byte in block for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))
    return "latin-1" if undefined else "cp1252"


def _text_table(path: Path, title: str, head: bytes, clues: Clues) -> Table:
    size = path.stat().st_size
    text = head.decode(_utf16(head) or "utf-8-sig", errors="replace")
    whole = size <= len(head)
    lines = _complete_lines(text, whole)
    if not whole and not lines:
        raise NoTable(f"its first line has over {HEAD_BYTES:,} bytes")
    delimiter, skip = _delimiter(lines, clues)
    sniffed = [record.values for record in _lenient(lines[skip:], delimiter)]
    if not sniffed:
        raise NoTable("it is empty", quiet=True)
    header, first = _header(sniffed, clues)
    _refuse_wide(header, [_Record(0, row) for row in sniffed[first:]], clues)
    _refuse_prose(path, header, sniffed, clues, lines)
    try:
        if size > MOST_BYTES:
            raise NoTable(f"it has {size:,} bytes, over {MOST_BYTES:,}: leave out what is no id")
        encoding = _encoding(path, head)
        with path.open(encoding=encoding, errors="replace", newline=None) as file:
            return _read(_records(file, delimiter, skip), title, clues)
    except NoTable as problem:
        # Of a text with commas in it nobody expects a table; of one that names images anybody does.
        expected = path.suffix.lower() not in PLAIN_TEXT or clues.usual(header)
        if expected and _about_images(lines, clues):
            raise Broken(str(problem)) from None
        raise


def _about_images(lines: Sequence[str], clues: Clues) -> bool:
    words = (word for line in lines for word in re.split(r"[\s,;:|\"'{}\[\]()\0]+", line))
    return any(word and clues.names.knows(word) for word in words)


def _complete_lines(text: str, whole: bool) -> list[str]:
    # Universal line ends: Windows, Unix and old Mac files alike.
    lines = io.StringIO(text, newline=None).readlines()
    return lines if whole else lines[:-1]


def _records(file: IO[str], delimiter: str, skip: int) -> Iterator[_Record]:
    """The rows of a file that are not empty.

    Raises:
        NoTable: a line is not CSV.
    """
    reader = csv.reader(_without_nul(islice(file, skip, None)), delimiter=delimiter, strict=True)
    try:
        for values in reader:
            row = [value.strip() for value in values]
            if any(row):
                yield _Record(reader.line_num + skip, row)
    except csv.Error as error:
        raise NoTable(f"line {reader.line_num + skip}: {error}") from None


def _without_nul(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise NoTable(f"line {number} has NUL characters, as binary files have")
        yield line


def _lenient(lines: Sequence[str], delimiter: str) -> list[_Record]:
    """The first rows as far as they can be read: enough to see what the file is."""
    reader = csv.reader(lines, delimiter=delimiter)
    rows = []
    try:
        for values in islice(reader, HEAD_ROWS):
            row = [value.strip() for value in values]
            if any(row):
                rows.append(_Record(reader.line_num, row))
    except csv.Error:
        pass  # the strict reader comes to the same line, and says what is wrong with it
    return rows


def _delimiter(lines: Sequence[str], clues: Clues) -> tuple[str, int]:
    """What parts the columns, and how many lines only say so (`sep=;`, as Excel writes it)."""
    told = re.fullmatch(r'"?sep=(.)"?[\s,;]*', lines[0]) if lines else None
    if told:
        return told[1], 1
    return max(DELIMITERS, key=lambda delimiter: _fit(lines[:200], delimiter, clues)), 0


def _fit(lines: Sequence[str], delimiter: str, clues: Clues) -> tuple[float, ...]:
    """How well a delimiter parts the first lines: usual names, names of images, even rows."""
    rows = [record.values for record in _lenient(lines, delimiter)]
    if not rows:
        return (0.0,)
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width, even = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    usual = max(map(clues.usual, rows[:TITLE_ROWS]))
    named = sum(bool(clues.named(row)) for row in rows if len(row) > 1)
    return float(usual), float(named), even / len(rows), float(width)


def _refuse_prose(
    path: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    clues: Clues,
    lines: Sequence[str],
) -> None:
    """Raise for a readme or a licence: text without a table's columns that names no image."""
    if path.suffix.lower() not in PLAIN_TEXT or clues.usual(header):
        return
    even = sum(len(row) == len(header) for row in rows) / len(rows)
    named = any(clues.named(row) for row in rows if len(row) > 1)
    prose = PROSE.search(path.stem.lower())
    if named or not (prose or len(header) < 3 or even < 0.8):
        return
    if not prose and _about_images(lines, clues):
        raise NoTable(
            "it names images, but nothing that parts columns is the same in its lines. If it is a "
            "table, save it as CSV with a header"
        )
    raise NoTable("it is text without columns", quiet=True)


# --- workbooks -----------------------------------------------------------------------------------


def _sheets(path: Path, title: str, clues: Clues) -> list[tuple[str, Table | NoTable]]:
    """Each sheet of a workbook that is not empty."""
    _refuse_hostile(path)
    try:
        import openpyxl

        # A file object: of a path, the library asks for a suffix that it knows.
        with (
            path.open("rb") as file,
            closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as book,
        ):
            names = [
                title if len(book.worksheets) == 1 else f"{title} [{sheet.title}]"
                for sheet in book.worksheets
            ]
            read = [
                (name, _sheet(sheet, name, clues))
                for name, sheet in zip(names, book.worksheets, strict=True)
            ]
    except Exception as error:  # what a stranger's workbook makes of the library can be anything
        raise NoTable(
            f"the workbook cannot be read ({_said(error)}): save it as CSV (UTF-8)"
        ) from None
    return read


def _sheet(sheet: Any, name: str, clues: Clues) -> Table | NoTable:
    rows = _cells(sheet)
    about = False
    try:
        head = list(islice(rows, HEAD_ROWS))
        about = any(clues.named(record.values) for record in head)
        return _read(chain(head, rows), name, clues)
    except NoTable as problem:
        return Broken(str(problem)) if about else problem


def _refuse_hostile(path: Path) -> None:
    """Raise for a zip that is no workbook, or one that grows too much."""
    try:
        with zipfile.ZipFile(path) as packed:
            sizes = {item.filename: item.file_size for item in packed.infolist()}
    except OSError:
        raise
    except Exception as error:
        raise NoTable(f"it is a workbook or a zip that is damaged ({_said(error)})") from None
    if "xl/workbook.xml" not in sizes:
        kind = "an OpenDocument table" if "content.xml" in sizes else "a zip and no workbook"
        raise NoTable(f"it is {kind}: save it as CSV (UTF-8) or as .xlsx")
    unpacked = sum(sizes.values())
    if unpacked > MOST_XML:
        raise NoTable(
            f"it unpacks to {unpacked:,} bytes, over {MOST_XML:,}: save it as CSV (UTF-8)"
        )


def _cells(sheet: Any) -> Iterator[_Record]:
    """The rows of a sheet that are not empty, as text."""
    sheet.reset_dimensions()  # what a file says of its own size may be wrong
    cells = 0
    for line, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row) + 1
        if cells > MOST_CELLS:
            raise NoTable(f"a sheet has over {MOST_CELLS:,} cells: save it as CSV (UTF-8)")
        values = [_cell(value) for value in row]
        while values and not values[-1]:
            values.pop()
        if values:
            yield _Record(line, values)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value).strip()
