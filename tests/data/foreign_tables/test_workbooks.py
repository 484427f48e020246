"""Workbooks: sound, huge, and broken in any part."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from table_files import CLUES, ROWS, read, workbook

from skin_pipeline.data.foreign_tables import workbooks
from skin_pipeline.data.foreign_tables.reading import tables_of
from skin_pipeline.data.foreign_tables.table import NoTable, Table


def test_a_workbook_is_read_by_its_content_a_sheet_at_a_time(tmp_path: Path) -> None:
    data = workbook(("notes", [["made by hand"]]), ("images", [["A title"], [], *ROWS]), ("e", []))
    for name in ("PH2.XLSX", "named_wrongly.csv"):
        (tmp_path / name).write_bytes(data)
        found = dict(tables_of(tmp_path / name, name, CLUES))
        table = found[f"{name} [images]"]
        assert isinstance(table, Table)
        assert list(table.values(1)) == ["123", "124"]
        assert list(table.values(2)) == ["45.5", ""]
        assert table.lines == [4, 5]
        assert isinstance(found[f"{name} [e]"], NoTable)


def altered(data: bytes, member: str, change: Callable[[bytes], bytes]) -> bytes:
    """A workbook one member of which is changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == member else old.read(name))
    return file.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def test_a_workbook_that_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    data = altered(workbook(("x", ROWS)), SHEET, lambda old: old + b" " * 80 * 2**20)
    assert len(data) < 2**20
    assert "it unpacks to" in str(read(tmp_path, data, "m.xlsx"))


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old.replace(b'ref="A1:C3"', b'ref="A1:XFD1048576"'),
        lambda old: old.replace(b'ref="A1:C3"', b'ref="A1:A1"'),
        lambda old: old.replace(b"</sheetData>", b'<row r="9"><c r="XFD9"/></row></sheetData>'),
    ],
    ids=["a false size", "too small a size", "a cell far away"],
)
def test_a_workbook_that_claims_to_be_huge_is_read_as_it_is(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    table = read(tmp_path, altered(workbook(("x", ROWS)), SHEET, change), "m.xlsx")
    assert list(table.values(1)) == ["123", "124"]


@pytest.mark.parametrize(
    "change",
    [
        lambda old: re.sub(rb"(<\?xml.*?\?>)?", rb"\1" + BOMB, old, count=1),
        lambda old: old.replace(b'r="2"', b'r="99999999999"'),
        lambda old: old.replace(b't="s"', b't="d"'),
        lambda old: old.replace(b"<v>0</v>", b"<v>999999</v>"),
        lambda old: old.replace(b"<v>45.5</v>", b"<v>4.5.5</v>"),
        lambda old: old[: len(old) // 2],
        lambda old: b"",
    ],
    ids=[
        "entities",
        "a row far away",
        "text as dates",
        "no such string",
        "no number",
        "cut",
        "nil",
    ],
)
@pytest.mark.parametrize("member", [SHEET, "xl/sharedStrings.xml", "xl/workbook.xml"])
def test_a_workbook_with_one_broken_part_is_told_and_no_stack_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, change: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(workbooks, "MOST_CELLS", 10_000)
    assert isinstance(
        read(tmp_path, altered(workbook(("x", ROWS)), member, change), "m.xlsx"), Table | NoTable
    )


def test_a_zip_whose_list_makes_the_library_raise_anything_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise struct.error("unpack requires a buffer")

    monkeypatch.setattr(zipfile, "ZipFile", broken)
    found = read(tmp_path, workbook(("x", ROWS)), "m.xlsx")
    assert "damaged (error: unpack requires a buffer)" in str(found)


def test_a_workbook_with_any_byte_changed_is_read_or_told(tmp_path: Path) -> None:
    random = np.random.RandomState(14)
    sound = workbook(("images", ROWS))
    for _ in range(150):
        data = bytearray(sound)
        for place in random.randint(0, len(data), random.randint(1, 5)):
            data[place] = random.randint(256)
        path = tmp_path / "m.xlsx"
        path.write_bytes(bytes(data))
        for _, found in tables_of(path, "m.xlsx", CLUES):
            assert isinstance(found, (Table, NoTable))
