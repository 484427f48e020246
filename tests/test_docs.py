"""What the pages in docs/ say is compared with what they speak of."""

from __future__ import annotations

import shutil
from pathlib import Path

from skin_pipeline.config import write_tables

DOCS = Path(__file__).parents[1] / "docs"


def test_the_tables_of_all_settings_are_those_that_the_code_makes(tmp_path: Path) -> None:
    """If not: `python -m skin_pipeline settings --write docs/settings.md`."""
    page = DOCS / "settings.md"
    made = tmp_path / page.name
    shutil.copy(page, made)
    write_tables(made)
    assert page.read_text(encoding="utf-8") == made.read_text(encoding="utf-8")
