"""Labels that are none."""

from __future__ import annotations

import pytest

from skin_pipeline.data.foreign_tables.table import Table
from skin_pipeline.data.metadata.labelling import Labelling, Labels
from skin_pipeline.data.metadata.placeholders import placeholders_among
from skin_pipeline.data.metadata.sheets import Sheet

BOTH = ("benign", "malignant")


def sheet(name: str, *meanings: str) -> Sheet:
    rows = len(meanings)
    table = Table(name, ["image", "target"], list(range(2, rows + 2)), {}, {})
    labels = Labels("target", list(meanings), list(meanings))
    return Sheet(table, "image", [(at,) for at in range(rows)], {}, labels)


@pytest.mark.parametrize(
    "name", ["sample_submission.csv", "myPredictions.csv", "dummy.xlsx [labels]"]
)
def test_a_name_of_a_file_says_that_it_holds_predictions(name: str) -> None:
    found = placeholders_among([sheet("train.csv", *BOTH), sheet(name, *BOTH)], Labelling())
    assert list(found) == [1]


def test_one_class_alone_is_no_label() -> None:
    found = placeholders_among([sheet("t.csv", "benign", "benign")], Labelling())
    assert "has one class only" in found[0]


def test_the_only_table_with_the_column_of_the_settings_is_meant() -> None:
    named = Labelling(columns={"label": ("target",)})
    assert placeholders_among([sheet("sample.csv", *BOTH)], named) == {}
