"""Which column has the labels."""

from __future__ import annotations

import pytest

from skin_pipeline.data.foreign_tables.table import Table
from skin_pipeline.data.metadata.label_columns import labels_of
from skin_pipeline.data.metadata.labelling import Labelling, Labels, NoLabels


def table(**columns: list[str]) -> Table:
    cells = dict(enumerate(columns.values()))
    rows = len(cells[0])
    return Table("t.csv", list(columns), list(range(2, rows + 2)), cells, {})


@pytest.mark.parametrize("column", ["target", "benign_malignant", "dx"])
def test_a_usual_column_of_known_values_has_the_labels(column: str) -> None:
    found = labels_of(table(image=["a", "b"], **{column: ["benign", "1"]}), Labelling())
    assert isinstance(found, Labels)
    assert (found.column, list(found.meanings)) == (column, ["benign", "malignant"])


def test_no_column_looks_like_labels() -> None:
    assert labels_of(table(image=["a", "b"], age=["40", "50"]), Labelling()) is None


def test_predictions_are_no_labels() -> None:
    found = labels_of(table(image=["a", "b"], target=["0.2", "0.9"]), Labelling())
    assert isinstance(found, NoLabels)
    assert not found.ask
    assert "predictions" in found.reason


def test_columns_that_contradict_each_other_are_a_doubt() -> None:
    columns = {"target": ["0", "1"], "benign_malignant": ["malignant", "benign"]}
    found = labels_of(table(image=["a", "b"], **columns), Labelling())
    assert isinstance(found, NoLabels)
    assert found.ask
    assert "the opposite of 2 images" in found.reason


def test_the_settings_may_say_that_no_column_has_the_labels() -> None:
    none = Labelling(columns={"label": ()})
    assert labels_of(table(image=["a", "b"], target=["0", "1"]), none) is None
