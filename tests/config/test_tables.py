"""The tables of all settings, printed and written to a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from skin_pipeline import cli
from skin_pipeline.config import Deployment, Settings, settings_tables, write_tables
from skin_pipeline.errors import BadInput

PAGE = "# Settings\n\n<!-- settings -->\n{}\n<!-- end of settings -->\n\nThe end.\n"


def test_the_tables_name_every_setting_and_every_variable() -> None:
    lines = settings_tables().splitlines()
    for name in Settings.model_fields:
        assert [line for line in lines if line.startswith(f"| `{name}` | ")], name
    for name in Deployment.model_fields:
        assert [line for line in lines if line.startswith(f"| `SKIN_{name.upper()}` | ")], name


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    assert capsys.readouterr().out == f"{settings_tables()}\n"


@pytest.mark.parametrize("before", ["", "| old |\n|---|\n"])
def test_the_command_writes_them_between_the_marks_of_a_page(tmp_path: Path, before: str) -> None:
    page = tmp_path / "settings.md"
    page.write_text(PAGE.format(before))
    for _ in "twice":
        assert cli.main(["settings", "--write", str(page)]) == 0
        assert page.read_text() == PAGE.format(f"\n{settings_tables()}\n")


def test_a_page_without_marks_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "settings.md"
    with pytest.raises(BadInput, match="cannot be read"):
        write_tables(page)
    for text in ("", "<!-- settings -->\n", "\n<!-- end of settings -->\n<!-- settings -->\n"):
        page.write_text(text)
        with pytest.raises(BadInput, match="must contain the lines"):
            write_tables(page)
        assert page.read_text() == text
