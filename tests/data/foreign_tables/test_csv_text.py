"""Tables in text files, and text that is no table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_files import GOOD, read

from skin_pipeline.data.foreign_tables import csv_text
from skin_pipeline.data.foreign_tables.table import Broken, NoTable, Table


def test_a_file_that_is_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "MOST_BYTES", 40)
    assert "over 40" in str(read(tmp_path, GOOD))


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
        assert "it names images" in str(found) or "it is JSON" in str(found)
    else:
        assert name.endswith(".csv")  # a table of one column, which names what it can


@pytest.mark.parametrize("name", ["a.txt", "b"])
def test_an_annotation_that_is_called_like_its_image_is_told(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, "0 0.5 0.5 0.2 0.3\n", name)
    assert isinstance(found, NoTable)
    assert not found.quiet


def test_a_table_with_outlines_of_lesions_in_its_cells_is_read(tmp_path: Path) -> None:
    outline = "12 3 " * 60_000  # which is more than the library takes in one cell by itself
    found = read(tmp_path, f"image,patient_id,rle\na,P1,{outline}\nb,P2,1 2\n")
    assert isinstance(found, Table)
    assert list(found.values(1)) == ["P1", "P2"]


def test_blanks_between_a_comma_and_a_quote_part_no_value(tmp_path: Path) -> None:
    found = read(tmp_path, 'image, patient_id, site\na, "P1", "torso, upper"\nb, "P2", "head"\n')
    assert isinstance(found, Table)
    assert list(found.values(1)) == ["P1", "P2"]
    assert list(found.values(2)) == ["torso, upper", "head"]


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


@pytest.mark.parametrize(("first", "lines"), [("", [2, 3]), ("sep=,\n", [3, 4])])
def test_the_line_of_a_row_is_the_one_that_an_editor_shows(
    tmp_path: Path, first: str, lines: list[int]
) -> None:
    assert list(read(tmp_path, first + GOOD).lines) == lines
