"""The tables of docs/settings.md: the knobs of a run, and the installation's variables.

    python -m skin_pipeline settings                           # prints them
    python -m skin_pipeline settings --write docs/settings.md  # puts them between the page's marks

Their text is the fields' own descriptions, so a setting is described once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skin_pipeline.config.deployment import Deployment
from skin_pipeline.config.environment import ENV_PREFIX
from skin_pipeline.config.form import form_schema, range_of
from skin_pipeline.errors import BadInput


def settings_tables() -> str:
    """Returns two Markdown tables: the knobs of a run, and the installation's variables."""
    knobs = ["| Setting | Default | Range | What it does |", "|---|---|---|---|"]
    for name, schema in form_schema().items():
        knobs.append(
            f"| `{name}` | {_code(schema['default'])} | {range_of(schema)} | "
            f"{schema['description']} |"
        )
    variables = ["| Variable | Default | What it does |", "|---|---|---|"]
    for name, field in Deployment.model_fields.items():
        variables.append(
            f"| `{ENV_PREFIX}{name.upper()}` | {_code(field.default)} | {field.description} |"
        )
    return "\n".join([*knobs, "", *variables])


def write_tables(page: Path) -> None:
    """Replaces what is between the marks of a page by the tables; the rest of it stays.

    Raises:
        BadInput: the page cannot be read, or does not contain the marks.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{page} cannot be read: {error}") from None
    try:
        written = with_part(text, "settings", f"{settings_tables()}\n")
    except ValueError as error:
        raise BadInput(f"{page}: {error}") from None
    page.write_text(written, encoding="utf-8")


def with_part(page: str, name: str, part: str) -> str:
    """Returns a page of the documentation with a part between the marks of its name.

    Raises:
        ValueError: The page does not contain the marks.
    """
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page must contain the lines {begin.strip()} and {end.strip()}")
    return f"{before}{begin}\n{part}{end}{after}"


def _code(value: Any) -> str:
    return f"`{value}`" if value not in {"", None} else ""
