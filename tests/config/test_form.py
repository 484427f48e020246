"""The trigger form: complete, and it takes what the settings take."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from skin_pipeline.config import FIRST, Settings, form_schema, range_of, read_settings
from skin_pipeline.errors import BadInput


def test_every_knob_has_a_description_a_section_and_bounds_in_the_form() -> None:
    for name, schema in form_schema().items():
        assert schema["description"], name
        assert schema["section"] in {FIRST, "Data", "Split", "Training", "Judging"}, name
        assert "_" not in schema["title"], name
        if {"integer", "number"} & set(_types(schema)):
            assert "enum" in schema or {"minimum", "exclusiveMinimum"} & schema.keys(), name
            assert "enum" in schema or "maximum" in schema, name


def _types(schema: dict[str, Any]) -> list[str]:
    return [schema["type"]] if isinstance(schema["type"], str) else schema["type"]


def test_a_form_as_it_is_opened_gives_the_defaults() -> None:
    defaults = {name: schema["default"] for name, schema in form_schema().items()}
    assert read_settings(defaults) == Settings()


def test_the_pattern_of_a_field_refuses_what_it_did_before() -> None:
    pattern = form_schema()["model_name"]["pattern"]
    for refused in ("Skin", "-a", "a b", "a\nb", "a" * 50):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(refused, {"pattern": pattern})
        with pytest.raises(BadInput, match="model_name"):
            read_settings({"model_name": refused})


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("views", "`1` · `2` · `4` · `8`"),
        ("l2", "0.0 to 10.0"),
        ("learning_rate", "over 0.0 to 1.0"),
        ("min_per_class", "10 to 1,000,000"),
        ("data", ""),
    ],
)
def test_people_are_shown_what_a_knob_takes(name: str, taken: str) -> None:
    assert range_of(form_schema()[name]) == taken
