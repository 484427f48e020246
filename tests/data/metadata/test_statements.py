"""All that the tables say of the images, and what they contradict."""

from __future__ import annotations

from pathlib import Path

import pytest

from skin_pipeline.data.metadata.labelling import Labelling
from skin_pipeline.data.metadata.statements import Statements
from skin_pipeline.data.sources import Found
from skin_pipeline.errors import BadInput

FILES = [Found("benign", "a.jpg", Path("a")), Found("malignant", "b.jpg", Path("b"))]


def said(folder: Path, *tables: str) -> Statements:
    paths = []
    for number, content in enumerate(tables):
        paths.append(folder / f"{number}.csv")
        paths[-1].write_text(content)
    return Statements.of(paths, FILES, Labelling())


def test_tables_alone_say_the_class_of_each_image(tmp_path: Path) -> None:
    assert said(tmp_path, "image,dx\na,benign\nb,malignant\n").labels_alone() == [
        "benign",
        "malignant",
    ]


def test_tables_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    tables = ("image,dx\na,benign\nb,malignant\n", "image,dx\na,malignant\nb,benign\n")
    with pytest.raises(BadInput, match="say different things of the same image, 2 times"):
        said(tmp_path, *tables)


def test_a_table_that_contradicts_a_folder_is_refused(tmp_path: Path) -> None:
    found = said(tmp_path, "image,dx\na,malignant\nb,benign\n")
    with pytest.raises(BadInput, match=r"a\.jpg is in benign/, but the table says 'malignant'"):
        found.compare_with_folders()


def test_an_image_that_one_table_calls_unclear_is_left_out(tmp_path: Path) -> None:
    tables = ("image,dx\na,benign\nb,malignant\n", "image,dx\na,indeterminate\nb,malignant\n")
    assert said(tmp_path, *tables).left_out == {0}
