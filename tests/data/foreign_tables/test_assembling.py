"""Which columns of a table are kept."""

from __future__ import annotations

from pathlib import Path

from table_files import read


def test_only_columns_that_may_matter_are_kept(tmp_path: Path) -> None:
    """ISIC 2024 has 401,059 rows of 55 columns."""
    header = ["isic_id", "target", "patient_id", *(f"tbp_lv_{i}" for i in range(50)), "biopsied"]
    row = ["a", "0", "IP_1", *(f"{i}.25" for i in range(50)), "1"]
    table = read(tmp_path, "\n".join(",".join(line) for line in (header, row, row)))
    assert sorted(table.columns) == [0, 1, 2, 53]


def test_a_wide_table_that_names_images_is_read(tmp_path: Path) -> None:
    header = ",".join(["image_id", "patient_id", *(f"f{i}" for i in range(400))])
    table = read(tmp_path, f"{header}\na,P1{',1.5' * 400}\n")
    assert list(table.values(1)) == ["P1"]
    assert len(table.columns) == 2
