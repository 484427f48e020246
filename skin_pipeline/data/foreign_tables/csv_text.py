"""Reads tables in text files: finds the encoding and the separator, and tells tables from prose."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

from skin_pipeline.data.foreign_tables.assembling import table_of
from skin_pipeline.data.foreign_tables.header import TITLE_ROWS, Clues, header_of, refuse_wide
from skin_pipeline.data.foreign_tables.table import HEAD_ROWS, Broken, NoTable, Record, Table

DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 2**30
HEAD_BYTES = 2**20
# Of one cell. The library's own bound of 128 KiB is less than the outline of a large lesion takes.
MOST_CELL = 2**25
csv.field_size_limit(MOST_CELL)
PLAIN_TEXT = frozenset({"", ".txt"})
PROSE = re.compile(r"read.?me|licen[cs]e|copying|attribution|citation|changelog|terms|notice")


def text_table(path: Path, title: str, head: bytes, clues: Clues) -> Table:
    """Returns the table in a text file.

    Args:
        path: The file.
        title: Its name in messages.
        head: Its first `HEAD_BYTES` bytes, from which its shape is recognised.
        clues: The usual names of columns, and the images.

    Raises:
        Broken: It is a table about the images, but cannot be read to its end.
        NoTable: It is no table.
    """
    size = path.stat().st_size
    text = head.decode(utf16(head) or "utf-8-sig", errors="replace")
    whole = size <= len(head)
    lines = _complete_lines(text, whole)
    if not whole and not lines:
        raise NoTable(f"its first line has over {HEAD_BYTES:,} bytes")
    delimiter, skip = _delimiter(lines, clues)
    sniffed = [record.values for record in _lenient(lines[skip:], delimiter)]
    if not sniffed:
        raise NoTable("it is empty", quiet=True)
    header, first = header_of(sniffed, clues)
    refuse_wide(header, [Record(0, row) for row in sniffed[first:]], clues)
    _refuse_prose(path, header, sniffed, clues, lines)
    try:
        if size > MOST_BYTES:
            raise NoTable(f"it has {size:,} bytes, over {MOST_BYTES:,}: leave out what is no id")
        encoding = _encoding(path, head)
        with path.open(encoding=encoding, errors="replace", newline=None) as file:
            return table_of(_records(file, delimiter, skip), title, clues)
    except NoTable as problem:
        # A text file that names images is most likely a table, and must not be ignored. Others may
        # be prose with commas.
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


def _records(file: IO[str], delimiter: str, skip: int) -> Iterator[Record]:
    """Yields the rows of a file that are not empty.

    Raises:
        NoTable: A line is not CSV.
    """
    lines = _without_nul(islice(file, skip, None))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for values in reader:
            row = [value.strip() for value in values]
            if any(row):
                yield Record(reader.line_num + skip, row)
    except csv.Error as error:
        raise NoTable(f"line {reader.line_num + skip}: {error}") from None


def _without_nul(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise NoTable(f"line {number} has NUL characters, as binary files have")
        yield line


def _lenient(lines: Sequence[str], delimiter: str) -> list[Record]:
    """Returns the first rows, as far as they can be read, to recognise what the file is."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows = []
    try:
        for values in islice(reader, HEAD_ROWS):
            row = [value.strip() for value in values]
            if any(row):
                rows.append(Record(reader.line_num, row))
    except csv.Error:
        pass  # the strict reader reaches the same line later, and reports it
    return rows


def _delimiter(lines: Sequence[str], clues: Clues) -> tuple[str, int]:
    """Returns the separator of the columns, and how many lines to skip (Excel's line `sep=;`)."""
    said = re.fullmatch(r'"?sep=(.)"?[\s,;]*', lines[0]) if lines else None
    if said:
        return said[1], 1
    return max(DELIMITERS, key=lambda delimiter: _fit(lines[:200], delimiter, clues)), 0


def _fit(lines: Sequence[str], delimiter: str, clues: Clues) -> tuple[float, ...]:
    """Rates a delimiter by the first lines: usual names, names of images, rows of equal length."""
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
    """Raises `NoTable` for a readme or a licence: text without columns that names no image."""
    if path.suffix.lower() not in PLAIN_TEXT or clues.usual(header):
        return
    even = sum(len(row) == len(header) for row in rows) / len(rows)
    named = any(clues.named(row) for row in rows if len(row) > 1)
    prose = PROSE.search(path.stem.lower())
    if named or not (prose or len(header) < 3 or even < 0.8):
        return
    if not prose and _about_images(lines, clues):
        raise NoTable(
            "it names images, but no separator fits all of its lines. If it is a "
            "table, save it as CSV with a header"
        )
    # What is called like an image may be its annotation: `labels/a.txt` beside `images/a.jpg`.
    raise NoTable("it is text without columns", quiet=not clues.names.knows(path.stem))


def _encoding(path: Path, head: bytes) -> str:
    """Returns UTF-8 if the whole file is valid UTF-8; otherwise the western encoding of Windows."""
    if encoding := utf16(head):
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


def utf16(head: bytes) -> str:
    """Returns the encoding of UTF-16 or UTF-32; "" for any other."""
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
