"""The schema of every knob, in the dialect of Airflow's trigger form."""

from __future__ import annotations

from typing import Any

from skin_pipeline.config.reading import read_settings
from skin_pipeline.config.settings import Settings


def form_schema() -> dict[str, dict[str, Any]]:
    """Returns the JSON schema of every knob, in the dialect of Airflow's trigger form.

    Returns:
        A dict from knob name to `type`, `title`, `description`, `section`, bounds and `default`.
        Every knob may be null, which `Settings` reads as empty: the form sends it for a field that
        was emptied, and requires a value where a type has no null.
    """
    properties = Settings.model_json_schema()["properties"]
    defaults = read_settings({})
    return {
        name: {**_optional(schema), "default": getattr(defaults, name)}
        for name, schema in properties.items()
    }


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    # Lets the schema take null, and blanks around text, as well.
    options = schema.pop("anyOf", [])
    schema |= next((option for option in options if option["type"] != "null"), {})
    schema["type"] = ["null", schema["type"]]
    schema.pop("minLength", None)
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "pattern" in schema:
        schema["pattern"] = with_blanks(schema["pattern"])
    return schema


def with_blanks(pattern: str) -> str:
    """Returns a pattern that also takes blanks around what it takes, and nothing at all."""
    return rf"^\s*(?:{pattern.removeprefix('^').removesuffix('$')})?\s*$"


def range_of(schema: dict[str, Any]) -> str:
    """Returns what a knob takes, as Markdown for people; "" for any text."""
    if "enum" in schema:
        return " · ".join(f"`{item}`" for item in schema["enum"] if item is not None)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is None:
        return ""
    return f"{'over ' if 'exclusiveMinimum' in schema else ''}{low:,} to {schema['maximum']:,}"
