"""Which tables are about the images."""

from __future__ import annotations

from pathlib import Path

import pytest

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
