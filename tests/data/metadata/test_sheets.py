"""Which tables are about the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from skin_pipeline.data.foreign_tables.table import NoTable
from skin_pipeline.data.metadata import sheets
from skin_pipeline.data.metadata.labelling import Labelling
from skin_pipeline.data.metadata.sheets import sheets_of
from skin_pipeline.errors import BadInput

KEYS = ["a.jpg", "b.jpg"]


def written(folder: Path, content: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(content)
    return folder / name


def test_a_table_gives_facts_with_their_places(tmp_path: Path) -> None:
    path = written(tmp_path, "image,patient,dx\nother,P0,nevus\nb,P2,1\na,,0\n")
    (sheet,), notices = sheets_of([path], KEYS, Labelling())
    assert not notices
    assert (sheet.image, sheet.known, list(sheet.images)) == ("image", {0, 1}, [(1,), (0,)])
    assert [(image, str(fact)) for image, fact in sheet.facts("patient_id")] == [
        (1, "'P2' (t.csv, line 3, column 'patient')")
    ]
    assert list(sheet.facts("age")) == []
    assert [(image, fact.meaning, fact.line) for image, fact in sheet.label_facts()] == [
        (1, "malignant", 3),
        (0, "benign", 4),
    ]


def test_a_table_about_other_images_is_named_in_a_notice(tmp_path: Path) -> None:
    path = written(tmp_path, "image,patient\nx,P1\ny,P2\n")
    sheets, (notice,) = sheets_of([path], KEYS, Labelling())
    assert not sheets
    assert "it names no image" in notice.reason


def test_a_column_that_no_table_has_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "image,patient\na,P1\n")
    with pytest.raises(BadInput, match=r"columns: site=Where: no table has such a column"):
        sheets_of([path], KEYS, Labelling(columns={"site": ("Where",)}))


def test_names_that_are_written_in_another_way_are_shown_beside_those_of_the_images(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "image,patient\n1,P1\n2,P2\n")
    _, (notice,) = sheets_of([path], ["001.jpg", "002.jpg"], Labelling())
    assert "it names no image: it has '1', '2', and the images are '001', '002'" in notice.reason


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ('{"name": "a", "meta": {"age": %d}}', "it is JSON"),
        ("image,patient\nx%d,P%d\n", "it names no image"),
        ("a.jpg is one of %d\n" * 3, "it names images, but no separator fits"),
    ],
)
def test_descriptions_beside_each_image_are_told_in_one_line(
    tmp_path: Path, description: str, why: str
) -> None:
    paths = [written(tmp_path, description.replace("%d", f"{i}"), f"I_{i}") for i in range(10, 40)]
    paths.append(written(tmp_path, "country,capital\nFrance,Paris\n", "countries.csv"))
    _, (many, one) = sheets_of(paths, KEYS, Labelling())
    assert (many.subject, many.count) == ("I_10, I_11, I_12, and 27 more", 30)
    assert why in many.reason
    assert (one.subject, one.count) == ("countries.csv", 1)


def test_each_of_a_few_tables_is_told_by_name(tmp_path: Path) -> None:
    paths = [written(tmp_path, "image,patient\nx,P1\n", f"{i}.csv") for i in range(9)]
    _, notices = sheets_of(paths, KEYS, Labelling())
    assert [notice.subject for notice in notices] == [f"{i}.csv" for i in range(9)]


def test_thousands_of_descriptions_take_no_time_that_grows_with_their_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"ISIC_{i}" for i in range(3_000)]
    asked = 0
    real = type(paths[0]).name.fget  # type: ignore[attr-defined]

    def name(self: Path) -> str:
        nonlocal asked
        asked += 1
        return str(real(self))

    monkeypatch.setattr(sheets, "tables_of", lambda _path, title, _clues: [(title, NoTable("x"))])
    monkeypatch.setattr(type(paths[0]), "name", property(name))
    _, (notice,) = sheets_of(paths, KEYS, Labelling())
    assert notice.count == 3_000
    assert asked < 10 * len(paths)


def test_a_table_of_lesions_is_told_as_such_even_if_two_of_its_columns_have_one_name(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, "lesion_id,lesion_id,MEL\nL1,L1,1\nL2,L2,0\n")
    _, (notice,) = sheets_of([path], KEYS, Labelling())
    assert "it names no image, but has a row for each lesion_id" in notice.reason
