"""How a knob is declared: a pydantic field that also knows its section of the trigger form."""

from __future__ import annotations

from typing import Any

from pydantic import Field

FIRST = ""  # the section of the trigger form that is open: what most runs need

Bound = float | None  # of the gate; None requires nothing


def knob(
    default: Any,
    section: str,
    description: str,
    labels: dict[str, str] | None = None,
    **bounds: Any,
) -> Any:
    """Returns a pydantic field with its section of the trigger form.

    Args:
        default: Its default.
        section: Its section; `FIRST` for what most runs need.
        description: What it does.
        labels: How the form shows the values to choose from, where not as they are.
        bounds: Its bounds, and its `title` for people, which is made from its name otherwise.
    """
    extra: dict[str, Any] = {"section": section, **({"values_display": labels} if labels else {})}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


def number(value: Any) -> Any:
    """Returns the number that a text contains, and any other value unchanged.

    Pydantic does so by itself for numbers with bounds, and not for a choice of a few (`Literal`),
    whose values come as text from variables and flags.
    """
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def least(figure: str, default: float | None = None, **more: Any) -> Any:
    """Returns the knob of a lower bound of the gate on a figure in 0…1."""
    description = f"The gate's bound on {figure}; empty for none."
    more = {"section": "Judging", "title": f"Smallest {figure}", **more}
    return knob(default, description=description, ge=0.0, le=1.0, **more)


def gain(figure: str, default: float | None = None) -> Any:
    """Returns the knob of a bound on the change of a figure against the champion's."""
    description = (
        f"The {figure} must exceed the champion's on the same test images by more than this; "
        "empty for none."
    )
    title = f"Smallest change of {figure}"
    return knob(default, "Judging", description, ge=-1.0, le=1.0, title=title)
