"""Which files are tables, what stands in them, and why others are none."""

from __future__ import annotations

import codecs
import struct
import zipfile
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest
from table_files import CLUES, GOOD, ROWS, read, workbook

from skin_pipeline.data.foreign_tables import csv_text, reading, workbooks
from skin_pipeline.data.foreign_tables.reading import tables_of
from skin_pipeline.data.foreign_tables.table import NoTable, Table
from skin_pipeline.errors import Unavailable

SHAPES = {
    "as it should be": GOOD,
    "a title above": f"My data set, version 2\n\nmade in 2020; with care\n{GOOD}",
    "several rows above": "\n".join(["note;with;marks"] * 12) + "\n" + GOOD,
    "sep= in the first line": "sep=;\n" + GOOD.replace(",", ";"),
    "sep= in quotes": '"sep=;"\n' + GOOD.replace(",", ";"),
    "sep= after a BOM": codecs.BOM_UTF8 + b"sep=\t\r\n" + GOOD.replace(",", "\t").encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a BOM": GOOD.encode("utf-16-le"),
    "UTF-16 without a BOM, other order": GOOD.encode("utf-16-be"),
    "UTF-32": GOOD.encode("utf-32"),
    "another separator in the quoted header": GOOD.replace("sex", '"sex; or gender; or both; or"'),
    "a bar in the quoted header": GOOD.replace("sex", '"a|b|c|d|e"'),
    "a line end in the quoted header": GOOD.replace("sex", '"sex\nof the patient"'),
    "the header twice": GOOD + GOOD,
    "no header": GOOD.partition("\n")[2],
    "a foot": GOOD + "2 rows\n",
}


@pytest.mark.parametrize("name", ["META.CSV", "meta.tab", "meta.txt", "HAM10000_metadata", "m.TSV"])
@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_a_table_is_read_whatever_it_is_called_and_however_it_is_written(
    tmp_path: Path, content: str | bytes, name: str
) -> None:
    table = read(tmp_path, content, name)
    assert isinstance(table, Table), table
    assert list(table.values(0))[:2] == ["a", "b"]
    header = content != SHAPES["no header"]
    assert table.header[1] == ("patient_id" if header else "column 2")
    if header:
        assert list(table.values(1))[:2] == ["P1", "P2"]


def test_a_huge_table_of_pixels_is_told_by_its_head_alone(tmp_path: Path) -> None:
    path = tmp_path / "hmnist_28_28_RGB.csv"
    rows = ",".join(f"pixel{i:04d}" for i in range(2352)) + ",label\n"
    rows += (",".join(["17"] * 2352) + ",4\n") * 200
    path.write_text(rows)
    with path.open("r+b") as file:
        file.truncate(3 * 2**30)  # of zeros: who read on would complain of those
    ((_, found),) = tables_of(path, path.name, CLUES)
    assert "it has 2,353 columns" in str(found)


NO_TABLES = {
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(600), "m.xls", "old or password-protected"),
    "a damaged workbook": (workbook(("x", ROWS))[:900], "m.xlsx", "damaged"),
    "some zip": (b"PK\x03\x04" + bytes(100), "m.csv", "damaged"),
    "a web page": ("<!DOCTYPE html><html>Sign in</html>", "m.csv", "web page"),
    "a table of a web site": ("<html><table><tr><td>a", "m.xls", "save it as CSV"),
    "JSON": ('{"image": "a", "patient": "P1"}\n', "a", "it is JSON"),
    "a list in JSON": ('[\n {"image": "a"}]', "m.csv", "it is JSON"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\noid", "m.csv", "git lfs pull"),
    "a binary file": (bytes(range(256)) * 8 + bytes(600), "m.csv", "NUL characters"),
    "one endless line": ("x," * 2**20, "m.csv", "first line has over"),
}


@pytest.mark.parametrize(("content", "name", "why"), NO_TABLES.values(), ids=NO_TABLES)
def test_what_is_no_table_is_told_with_the_reason(
    tmp_path: Path, content: str | bytes, name: str, why: str
) -> None:
    found = read(tmp_path, content, name)
    assert isinstance(found, NoTable)
    assert why in str(found)
    assert not found.quiet


def test_a_spreadsheet_of_another_kind_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "meta.ods"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("content.xml", "<office/>")
    ((_, found),) = tables_of(path, path.name, CLUES)
    assert str(found) == "it is an OpenDocument table: save it as CSV (UTF-8) or as .xlsx"


# --- whatever a stranger's bytes make the libraries raise -----------------------------------------

RAISED = [
    struct.error("unpack requires a buffer of 4 bytes"),
    KeyError("[Content_Types].xml"),
    RecursionError("too deep"),
    TypeError("expected str"),
    UnicodeDecodeError("utf-16", b"\xff", 0, 1, "truncated data"),
    ZeroDivisionError("by zero\nand a second line"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("module", "function"),
    [
        (reading, "_refuse_foreign"),
        (csv_text, "table_of"),
        (csv_text, "header_of"),
        (workbooks, "_refuse_unsafe"),
    ],
)
def test_a_table_that_makes_a_library_raise_anything_is_told_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    module: ModuleType,
    function: str,
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(module, function, broken)
    path = tmp_path / "m.csv"
    path.write_bytes(workbook(("x", ROWS)) if module is workbooks else GOOD.encode())
    ((name, found),) = tables_of(path, "m.csv", CLUES)
    assert name == "m.csv"
    assert isinstance(found, NoTable)
    assert not found.quiet
    assert f"cannot be read ({type(error).__name__}: " in str(found)
    assert "\n" not in str(found)


def test_a_machine_without_memory_is_not_blamed_on_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(csv_text, "table_of", broken)
    with pytest.raises(Unavailable, match=r"table\.csv could not be read: the machine has"):
        read(tmp_path, GOOD)
