"""Where the header of a table is."""

from __future__ import annotations

from pathlib import Path

from table_files import read


def test_a_table_without_a_header_may_begin_with_other_images(tmp_path: Path) -> None:
    table = read(tmp_path, "ISIC_0000003,benign\nISIC_0000007,malignant\n")
    assert table.header == ["column 1", "column 2"]
    assert list(table.values(0)) == ["ISIC_0000003", "ISIC_0000007"]
