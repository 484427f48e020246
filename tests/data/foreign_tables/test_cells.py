"""Names of columns, and cells that say yes or no."""

from __future__ import annotations

import pytest

from skin_pipeline.data.foreign_tables.cells import is_set, last_part, plain


def test_names_of_columns_are_compared_without_case_and_separators() -> None:
    assert plain("Patient-ID ") == plain("patient_id") == "patientid"
    assert last_part("meta.clinical.Sex") == "sex"


@pytest.mark.parametrize("cell", ["1", "1.0", "1.000e+00", "X", "true", "Yes"])
def test_a_cell_says_yes(cell: str) -> None:
    assert is_set(cell) is True


@pytest.mark.parametrize("cell", ["", "0", "0.0", "FALSE", "n"])
def test_a_cell_says_no(cell: str) -> None:
    assert is_set(cell) is False


@pytest.mark.parametrize("cell", ["2", "0.5", "nevus", "-"])
def test_a_cell_says_something_else(cell: str) -> None:
    assert is_set(cell) is None
