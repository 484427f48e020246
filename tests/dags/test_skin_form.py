"""The form shows each setting of a run."""

from __future__ import annotations

from skin_form import form

from skin_pipeline.config import form_schema


def test_the_form_has_a_field_for_each_knob_with_its_text_as_markdown() -> None:
    fields = form()
    for name, schema in form_schema().items():
        assert fields[name].value == schema["default"]
        shown = fields[name].schema["description_md"]
        assert shown.startswith(schema["description"].replace("`", "*"))  # code hides other lines
        assert "description" not in fields[name].schema
