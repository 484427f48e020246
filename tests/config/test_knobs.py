"""How a knob is declared: its section, the texts of its form field, and choices given as text."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic.fields import FieldInfo

from skin_pipeline.config import knobs


def test_a_knob_knows_its_section_and_the_names_of_its_choices() -> None:
    field: FieldInfo = knobs.knob("a", "Data", "Which.", labels={"a": "a: the first"}, title="Some")
    assert field.json_schema_extra == {
        "section": "Data",
        "values_display": {"a": "a: the first"},
    }
    assert (field.default, field.description, field.title) == ("a", "Which.", "Some")


@pytest.mark.parametrize(
    ("given", "taken"), [("8", 8), (8, 8), ("-1", "-1"), ("8.0", "8.0"), ("", ""), (None, None)]
)
def test_the_text_of_a_whole_number_is_the_number(given: Any, taken: Any) -> None:
    assert knobs.number(given) == taken


def test_bounds_of_the_gate_are_empty_unless_they_have_a_default() -> None:
    assert knobs.least("recall").default is None
    assert knobs.least("recall", 0.5, section=knobs.FIRST).json_schema_extra == {"section": ""}
    assert knobs.gain("recall").title == "Smallest change of recall"
