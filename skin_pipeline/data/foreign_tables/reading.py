"""Reads the tables in a file: CSV of any dialect, or a workbook.

    clues = Clues(ImageNames(keys), image, columns)
    for name, table in tables_of(path, "METADATA.CSV", clues):
        table.header, table.values(3)  # unless it is a `NoTable`, which says why

The content of a file decides how it is read, because its suffix is often wrong.
"""

from __future__ import annotations

import re
from pathlib import Path

from skin_pipeline.data.foreign_tables.csv_text import HEAD_BYTES, PLAIN_TEXT, text_table, utf16
from skin_pipeline.data.foreign_tables.header import Clues
from skin_pipeline.data.foreign_tables.table import NoTable, Table, in_one_line
from skin_pipeline.data.foreign_tables.workbooks import workbook_tables
from skin_pipeline.errors import Unavailable


def tables_of(path: Path, title: str, clues: Clues) -> list[tuple[str, Table | NoTable]]:
    """Returns the tables of a file: one, or one for each sheet of a workbook.

    Args:
        path: The file, whatever its suffix.
        title: Its name in messages.
        clues: The usual names of columns, and the images.

    Returns:
        The name of each table, and the table or the reason why it cannot be read.

    Raises:
        Unavailable: There is not enough memory.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        _refuse_foreign(head, path)
        if head.startswith(b"PK\x03\x04"):
            return workbook_tables(path, title, clues)
        return [(title, text_table(path, title, head, clues))]
    except NoTable as problem:
        return [(title, problem)]
    except OSError as error:
        return [(title, NoTable(f"it cannot be read ({error.strerror or error})"))]
    except MemoryError:
        raise Unavailable(
            f"{title} could not be read: the machine has no memory left. Give the task more"
        ) from None
    except Exception as error:  # a broken file can make the libraries raise nearly anything
        said = in_one_line(error)
        return [(title, NoTable(f"it cannot be read ({said}): save it as CSV (UTF-8)"))]


def _refuse_foreign(head: bytes, path: Path) -> None:
    """Raises `NoTable` if the first bytes of a file show that it is something else."""
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
        raise NoTable(
            "it is a web page: of a download that failed, or a table of a web site (then save it "
            "as CSV)"
        )
    if re.match(rb'\{\s*"|\[\s*[\[{"]', start):
        raise NoTable("it is JSON: if it describes the images, export it as CSV")
    if start.startswith((b"<?xml", b"{\\rtf", b"%pdf")):
        raise NoTable("it is a document and no table: save it as CSV", quiet=not wanted)
    # A single NUL may be an accident in a table: reading it reports the line.
    binary = head.count(b"\0") > len(head) / 10 and not head.startswith(b"PK\x03\x04")
    if binary and not utf16(head):
        raise NoTable("it has NUL characters, as binary files have", quiet=not wanted)
