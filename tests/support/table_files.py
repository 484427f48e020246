"""Files with tables, for tests of how people's tables are read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import openpyxl

from skin_pipeline.data.foreign_tables.image_names import ImageNames
from skin_pipeline.data.foreign_tables.reading import tables_of
from skin_pipeline.data.metadata.labelling import Labelling
from skin_pipeline.data.metadata.sheets import clues_of

KEYS = ["x/a.jpg", "x/b.jpg", "x/ISIC_0000007.jpg"]
CLUES = clues_of(ImageNames(KEYS), Labelling())
GOOD = "image_name,patient_id,sex\na,P1,male\nb,P2,female\n"


def read(tmp_path: Path, content: str | bytes, name: str = "table.csv") -> Any:
    """The one table of a file, or why it is none."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ((_, found),) = tables_of(path, name, CLUES)
    return found


def workbook(*sheets: tuple[str, Iterable[Sequence[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


ROWS: list[list[Any]] = [["image_name", "patient_id", "age"], ["a", 123.0, 45.5], ["b", 124, None]]
