"""The forms by which people start the DAGs, and what they entered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param, get_current_context

from skin_pipeline.config import FIRST, Settings, form_schema, may_be_empty, no_setting, range_of
from skin_pipeline.errors import BadInput

BOUNDS = ("minimum", "maximum", "exclusiveMinimum")
OPTIONAL: Any = ["null", "string"]  # an empty field is sent as null, and takes its default


def form() -> dict[str, Param]:
    """Returns the trigger form: a field for each setting of a run.

    The fields that most runs need come first and are open; Airflow folds the named sections.
    """
    return {name: _field(name, **schema) for name, schema in form_schema().items()}


def _field(name: str, *, default: Any, description: str, **schema: Any) -> Param:
    if schema.get("section") == FIRST:
        del schema["section"]
    if "enum" in schema:
        empty = f"(empty: {default})"
        schema["values_display"] = {**schema.get("values_display", {}), "null": empty}
    help_text = f"{description} {_about(name, default, schema)}"
    # If the form knows the bounds, it silently changes 50 to the maximum of 20. It does not look
    # for them under `allOf`; Airflow's server does, and refuses 50.
    limits = {limit: schema.pop(limit) for limit in BOUNDS if limit in schema}
    if limits:
        schema["allOf"] = [limits]
    # In the form, code in Markdown covers half of the line above it.
    return Param(default, description_md=help_text.replace("`", "*"), **schema)


def _about(name: str, default: Any, schema: dict[str, Any]) -> str:
    """Returns the name of a setting in `conf` and the docs, its bounds, and what empty means."""
    parts = [f"Setting `{name}`"]
    if "enum" not in schema:
        parts += filter(None, [range_of(schema)])
        if not may_be_empty(Settings.model_fields[name]):
            parts.append(f"empty for {default}")
    return f"{', '.join(parts)}."


def answers(defaults: Mapping[str, str]) -> dict[str, str]:
    """Returns what was entered into the form of the running task.

    Blanks around a value are removed; an empty field gets its default.

    Args:
        defaults: The fields of the form, each with its default.

    Raises:
        BadInput: A name is no field of the form; it may be misspelt.
    """
    context: Any = get_current_context()
    given = context["params"]
    unknown = [no_setting(name, defaults) for name in given if name not in defaults]
    if unknown:
        raise BadInput(f"{'; '.join(unknown)}. There are: {', '.join(defaults)}")
    texts = {name: str(given[name] or "").strip() for name in defaults}
    return {name: text or defaults[name] for name, text in texts.items()}


def model_field(default: str) -> Param:
    """Returns the field of a form that names the model."""
    return Param(
        default,
        title="Model",
        type=OPTIONAL,
        description_md="Name under which the model was released.",
    )
