"""Writes the parts of the documentation that are made from the code, between its pages' marks.

    make docs

docs/settings.md gets the tables of all settings, docs/operating.md the runbook, and docs/logs.md
the events of the logs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.config import with_part, write_tables
from skin_pipeline.operations import runbook

ROOT = Path(__file__).parents[1]
SOURCES = ("skin_pipeline", "dags", "plugins")
LEVELS = ("debug", "info", "warning", "error", "exception", "log")


class Event(NamedTuple):
    """A line that the code may log: its text before the values are put in, and where it is."""

    text: str
    level: str
    file: str

    @property
    def name(self) -> str:
        """The first word, which is the stable name of the event."""
        return self.text.split(" ")[0]


def main(root: Path = ROOT) -> None:
    """Writes all of them."""
    write_tables(root / "docs/settings.md")
    page = root / "docs/operating.md"
    page.write_text(runbook.written_into(page.read_text(encoding="utf-8")), encoding="utf-8")
    page = root / "docs/logs.md"
    page.write_text(events_written_into(page.read_text(encoding="utf-8"), root), encoding="utf-8")


def events(root: Path = ROOT) -> list[Event]:
    """Returns all events that the code logs, sorted by name."""
    found = (
        event
        for folder in SOURCES
        for path in sorted((root / folder).rglob("*.py"))
        for event in _events_of(path, path.relative_to(root).as_posix())
    )
    return sorted(found)


def _events_of(path: Path, name: str) -> Iterator[Event]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        on, level = node.func.value, node.func.attr
        if isinstance(on, ast.Name) and on.id == "log" and level in LEVELS:
            yield from (Event(text, level, name) for text in _texts(node, level))


def _texts(call: ast.Call, level: str) -> list[str]:
    """Returns the texts that a call may log: two, where one is chosen by a condition."""
    message = call.args[1 if level == "log" else 0]
    nodes = [message.body, message.orelse] if isinstance(message, ast.IfExp) else [message]
    return [str(node.value) for node in nodes if isinstance(node, ast.Constant)]


def events_written_into(page: str, root: Path = ROOT) -> str:
    """Returns a page with the table of events between its marks."""
    rows = ["| Event | What a line has | Where |", "|---|---|---|"]
    grouped: dict[tuple[str, str], str] = {}
    for event in events(root):
        grouped.setdefault((event.name, event.text.partition(" ")[2]), event.file)
    rows += [_row(*key, file) for key, file in grouped.items()]
    return with_part(page, "events", "\n".join(rows) + "\n")


def _row(name: str, values: str, file: str) -> str:
    shown = values.replace("|", "\\|")
    first = "*kind of the notice*" if name == "%s" else f"`{name}`"
    return f"| {first} | {f'`{shown}`' if shown else ''} | `{file}` |"


if __name__ == "__main__":
    main()
