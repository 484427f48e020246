"""Labels in a column for each class."""

from __future__ import annotations

from skin_pipeline.config import Settings
from skin_pipeline.data.foreign_tables.table import Table
from skin_pipeline.data.metadata.labelling import Labelling, Labels, NoLabels
from skin_pipeline.data.metadata.one_hot import exclusive, of_flags, one_hot

LABELLING = Labelling.of(Settings(malignant_values="MEL", benign_values="NV", neither_values="UNK"))


def table(header: str, *rows: str) -> Table:
    columns = {at: [row.split(",")[at] for row in rows] for at in range(len(header.split(",")))}
    return Table("t.csv", header.split(","), list(range(2, len(rows) + 2)), columns, {})


def test_exactly_one_column_is_set_in_each_row() -> None:
    found = one_hot(table("MEL,NV,UNK", "1,0,0", "0,1.0,0", "0,0,x"), LABELLING)
    assert isinstance(found, Labels)
    assert list(found.values) == ["MEL", "NV", "UNK"]
    assert list(found.meanings) == ["malignant", "benign", "neither"]


def test_two_columns_that_the_settings_do_not_know_are_no_classes() -> None:
    assert one_hot(table("male,female", "1,0", "0,1"), LABELLING) is None


def test_a_class_that_the_settings_do_not_know_is_a_doubt() -> None:
    found = one_hot(table("MEL,NV,BCC", "1,0,0", "0,1,0", "0,0,1"), LABELLING)
    assert isinstance(found, NoLabels)
    assert found.ask
    assert "'BCC' (1)" in found.reason


def test_an_image_of_both_classes_has_no_label() -> None:
    found = of_flags(table("MEL,NV", "1,1", "0,1"), [0, 1], LABELLING)
    assert isinstance(found, NoLabels)
    assert "both classes" in found.reason


def test_columns_are_exclusive_until_one_is_set_together_with_another() -> None:
    assert exclusive(table("MEL,NV,BCC", "1,0,1", "0,1,0"), 0) == [1]
    assert exclusive(table("MEL,age", "1,40", "0,50"), 1) == []
