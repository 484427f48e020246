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

BEGIN, END = "<!-- settings -->\n", "\n<!-- end of settings -->"  # around the tables, on a page


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
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise BadInput(f"{page} must contain the lines {BEGIN.strip()} and {END.strip()}")
    page.write_text(f"{before}{begin}\n{settings_tables()}\n{end}{after}", encoding="utf-8")


def _code(value: Any) -> str:
    return f"`{value}`" if value not in {"", None} else ""
