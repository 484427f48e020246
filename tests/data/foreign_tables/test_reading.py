"""Which files are tables, what stands in them, and why others are none."""

from __future__ import annotations

import codecs
import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skin_pipeline.data.foreign_tables import csv_text, reading, workbooks
from skin_pipeline.data.foreign_tables.image_names import ImageNames
from skin_pipeline.data.foreign_tables.reading import tables_of
from skin_pipeline.data.foreign_tables.table import Broken, NoTable, Table
from skin_pipeline.data.metadata.labelling import Labelling
from skin_pipeline.data.metadata.sheets import clues_of
from skin_pipeline.errors import Unavailable

KEYS = ["x/a.jpg", "x/b.jpg", "x/ISIC_0000007.jpg"]
CLUES = clues_of(ImageNames(KEYS), Labelling())
GOOD = "image_name,patient_id,sex\na,P1,male\nb,P2,female\n"


def read(tmp_path: Path, content: str | bytes, name: str = "table.csv") -> Any:
    """The one table of a file, or why it is none."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ((_, found),) = tables_of(path, name, CLUES)
    return found


def workbook(*sheets: tuple[str, Iterable[Sequence[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


ROWS: list[list[Any]] = [["image_name", "patient_id", "age"], ["a", 123.0, 45.5], ["b", 124, None]]
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


def test_a_table_without_a_header_may_begin_with_other_images(tmp_path: Path) -> None:
    table = read(tmp_path, "ISIC_0000003,benign\nISIC_0000007,malignant\n")
    assert table.header == ["column 1", "column 2"]
    assert list(table.values(0)) == ["ISIC_0000003", "ISIC_0000007"]


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


def test_only_columns_that_may_matter_are_kept(tmp_path: Path) -> None:
    """ISIC 2024 has 401,059 rows of 55 columns."""
    header = ["isic_id", "target", "patient_id", *(f"tbp_lv_{i}" for i in range(50)), "biopsied"]
    row = ["a", "0", "IP_1", *(f"{i}.25" for i in range(50)), "1"]
    table = read(tmp_path, "\n".join(",".join(line) for line in (header, row, row)))
    assert sorted(table.columns) == [0, 1, 2, 53]


def test_a_huge_table_of_pixels_is_told_by_its_head_alone(tmp_path: Path) -> None:
    path = tmp_path / "hmnist_28_28_RGB.csv"
    rows = ",".join(f"pixel{i:04d}" for i in range(2352)) + ",label\n"
    rows += (",".join(["17"] * 2352) + ",4\n") * 200
    path.write_text(rows)
    with path.open("r+b") as file:
        file.truncate(3 * 2**30)  # of zeros: who read on would complain of those
    ((_, found),) = tables_of(path, path.name, CLUES)
    assert "it has 2,353 columns" in str(found)


def test_a_wide_table_that_names_images_is_read(tmp_path: Path) -> None:
    header = ",".join(["image_id", "patient_id", *(f"f{i}" for i in range(400))])
    table = read(tmp_path, f"{header}\na,P1{',1.5' * 400}\n")
    assert list(table.values(1)) == ["P1"]
    assert len(table.columns) == 2


def test_a_file_that_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "MOST_BYTES", 40)
    assert "over 40" in str(read(tmp_path, GOOD))


NO_TABLES = {
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(600), "m.xls", "old or password-protected"),
    "a damaged workbook": (workbook(("x", ROWS))[:900], "m.xlsx", "damaged"),
    "some zip": (b"PK\x03\x04" + bytes(100), "m.csv", "damaged"),
    "a web page": ("<!DOCTYPE html><html>Sign in</html>", "m.csv", "web page"),
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README", "HAM10000, a set of images.\nSee a.jpg, for instance.\n\nThanks to all.\n"),
        ("LICENSE.txt", "Permission is granted, free of charge, to any person\n" * 5),
        ("ATTRIBUTION.txt", "Hospital of A, somewhere, 2019\nHospital of B, elsewhere, 2020\n"),
        ("Makefile", "all:\n\tmake it\n"),
        ("empty.csv", ""),
        ("Icon", bytes(300)),
    ],
)
def test_a_readme_is_no_cause_for_alarm(tmp_path: Path, name: str, content: str | bytes) -> None:
    found = read(tmp_path, content, name)
    assert isinstance(found, NoTable), found
    assert found.quiet
    assert not isinstance(found, Broken)


@pytest.mark.parametrize(
    "content",
    ["image patient\na P1\nb P1\n", "x/a.jpg 0\nx/b.jpg 1\n", '{"image": "a"}\n{"image": "b"}\n'],
    ids=["blanks between", "a list with numbers", "JSON"],
)
@pytest.mark.parametrize("name", ["split.txt", "patients", "patients.csv"])
def test_text_that_names_images_without_columns_is_told(
    tmp_path: Path, content: str | bytes, name: str
) -> None:
    found = read(tmp_path, content, name)
    if isinstance(found, NoTable):
        assert not found.quiet
        assert "it names images" in str(found)
    else:
        assert name.endswith(".csv")  # a table of one column, which names what it can


def test_a_spreadsheet_of_another_kind_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "meta.ods"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("content.xml", "<office/>")
    ((_, found),) = tables_of(path, path.name, CLUES)
    assert str(found) == "it is an OpenDocument table: save it as CSV (UTF-8) or as .xlsx"


# --- hostile and broken --------------------------------------------------------------------------


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


FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD = [
    *('"', '""', "'", "\0", "\r", "\n", ",", ";", "\t", "|", "\ufeff", "\u2028", "\x1c", "\\", "="),
    *("nan", "inf", "-inf", "1e999", "1e-999", "0x1F", "1_000", "٣", "²", "½", "NULL", "#REF!"),
    *(
        "9" * 400,
        "1." + "0" * 400,
        "x" * 200_000,
        "é\udc80",
        "../../a",
        "a/" * 500,
        "=1+1",
        "🙂" * 9,
    ),
]


@FUZZ
@given(
    row=st.integers(0, 2),
    column=st.integers(0, 2),
    odd=st.sampled_from(ODD),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    name=st.sampled_from(["m.csv", "m.txt", "m"]),
)
def test_one_odd_field_in_a_sound_table_is_no_stack_trace(
    tmp_path: Path, row: int, column: int, odd: str, delimiter: str, encoding: str, name: str
) -> None:
    cells = [line.split(",") for line in GOOD.splitlines()]
    cells[row][column] = odd
    text = "\n".join(delimiter.join(line) for line in cells) + "\n"
    found = read(tmp_path, text.encode(encoding, errors="replace"), name)
    assert isinstance(found, Table | NoTable)


def test_a_name_is_the_same_whichever_way_its_accents_are_written() -> None:
    apart, together = "Le\u0301sion 1", "L\u00e9sion 1"
    assert apart != together
    assert ImageNames([f"benign/{apart}.jpg"]).images(together) == (0,)
    assert ImageNames([f"benign/{together}.jpg"]).images(f"{apart}.JPG") == (0,)


def test_a_path_means_the_image_whose_whole_folder_it_names() -> None:
    names = ImageNames(["part_1/a.jpg", "apart_1/a.jpg"])
    assert names.images("part_1/a.jpg") == (0,)
    assert names.images("a") == (0, 1)


@pytest.mark.parametrize(("first", "lines"), [("", [2, 3]), ("sep=,\n", [3, 4])])
def test_the_line_of_a_row_is_the_one_that_an_editor_shows(
    tmp_path: Path, first: str, lines: list[int]
) -> None:
    assert list(read(tmp_path, first + GOOD).lines) == lines


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


def test_a_zip_whose_list_makes_the_library_raise_anything_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise struct.error("unpack requires a buffer")

    monkeypatch.setattr(zipfile, "ZipFile", broken)
    found = read(tmp_path, workbook(("x", ROWS)), "m.xlsx")
    assert "damaged (error: unpack requires a buffer)" in str(found)


def test_a_machine_without_memory_is_not_blamed_on_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(csv_text, "table_of", broken)
    with pytest.raises(Unavailable, match=r"table\.csv could not be read: the machine has"):
        read(tmp_path, GOOD)


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
