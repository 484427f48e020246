"""A table in memory."""

from __future__ import annotations

import pytest

from skin_pipeline.data.foreign_tables.table import SeveralColumns, Table

TABLE = Table("t.csv", ["image", "Sex", "meta.age", "Age"], [2, 3, 5], {0: "abc", 1: "fmf"}, {})


@pytest.mark.parametrize(
    ("names", "position"),
    [(["image"], 0), (["sex"], 1), (["none", "SEX"], 1), (["Age"], 3), (["none"], None)],
)
def test_a_column_is_found_by_the_first_name_that_fits(
    names: list[str], position: int | None
) -> None:
    assert TABLE.position(names) == position


def test_two_columns_of_one_name_are_no_choice() -> None:
    twice = Table("t.csv", ["image", "patient id", "Patient-ID"], [], {}, {})
    with pytest.raises(SeveralColumns, match=r"t\.csv has 2 columns of one name: 'patient id'"):
        twice.position(["patient_id"])


def test_some_rows_of_a_table_are_a_table_with_their_lines() -> None:
    some = TABLE.only([0, 2])
    assert (some.length, some.lines, some.header) == (2, [2, 5], TABLE.header)
    assert [list(some.values(at)) for at in some.columns] == [["a", "c"], ["f", "f"]]
    assert TABLE.only([0, 1, 2]) is TABLE
