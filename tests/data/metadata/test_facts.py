"""One value for each image, out of several tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skin_pipeline.data.foreign_tables.table import Table
from skin_pipeline.data.metadata.facts import first_values, linked_ids
from skin_pipeline.data.metadata.sheets import Sheet
from skin_pipeline.data.sources import Found

FILES = [Found("", f"{name}.jpg", Path(name)) for name in "abc"]


def sheet(kind: str, *cells: tuple[int, str]) -> Sheet:
    """A table with this column, in rows about one image each."""
    values: Sequence[str] = [value for _, value in cells]
    lines = list(range(2, len(cells) + 2))
    table = Table("t.csv", ["image", kind], lines, {1: values}, {})
    return Sheet(table, "image", [(image,) for image, _ in cells], {kind: 1}, None)


def test_the_first_value_is_used_and_another_is_reported() -> None:
    values, notices = first_values(
        "age", [sheet("age", (0, "45"), (1, "unknown")), sheet("age", (0, "46"), (1, "50"))], FILES
    )
    assert values == {0: "45", 1: "50"}
    assert [(notice.subject, notice.count) for notice in notices] == [("age", 1)]


def test_values_that_mean_the_same_do_not_differ() -> None:
    sheets = [sheet("age", (0, "45")), sheet("age", (0, "45.0"))]
    assert first_values("age", sheets, FILES) == ({0: "45"}, [])


def test_ids_that_an_image_has_together_are_one() -> None:
    values, notices = linked_ids(
        "patient_id",
        [sheet("patient_id", (0, "P2"), (1, "P1")), sheet("patient_id", (0, "P1"), (2, "-1"))],
        FILES,
    )
    assert values == {0: "P1", 1: "P1"}
    assert [notice.kind for notice in notices] == ["id_missing", "ids_linked"]
