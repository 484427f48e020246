"""What is made from the code stands in the documentation as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

import write_docs

ROOT = Path(__file__).parents[2]


def test_every_line_of_a_log_begins_with_the_name_of_an_event() -> None:
    found = write_docs.events()
    assert len(found) > 80
    odd = [e for e in found if not re.fullmatch(r"[a-z][a-z0-9_]+", e.name) and e.name != "%s"]
    assert odd == []


def test_the_documentation_has_the_events_of_now() -> None:
    page = (ROOT / "docs/logs.md").read_text()
    assert write_docs.events_written_into(page) == page, "run make docs"


def test_both_texts_of_a_choice_are_events(tmp_path: Path) -> None:
    module = tmp_path / "dags/x.py"
    module.parent.mkdir()
    module.write_text(
        'log.info("kept n=%d" if kept else "gone n=%d", 1)\nlog.log(10, "other a=%s")\n'
    )
    found = write_docs.events(tmp_path)
    assert [(event.name, event.level) for event in found] == [
        ("gone", "info"),
        ("kept", "info"),
        ("other", "log"),
    ]
