"""What the settings say of labels, and which values mean the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline.config import Settings
from skin_pipeline.data.metadata.columns import mapping_of
from skin_pipeline.data.metadata.labelling import NEITHER, Labelling
from skin_pipeline.data.metadata.values import plain_value
from skin_pipeline.errors import BadInput


def test_a_value_with_a_comma_is_named_in_quotes() -> None:
    labelling = Labelling.of(
        Settings(malignant_values='"Melanoma, NOS", bcc', benign_values='nevus,"Nevus, ""blue"""')
    )
    assert labelling.meaning("melanoma,  nos") == "malignant"
    assert labelling.meaning("BCC") == "malignant"
    assert labelling.meaning('nevus, "blue"') == "benign"
    assert labelling.meaning("nos") is None


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("", {}),
        ("patient_id=Patient No, label=dx", {"patient_id": ("Patient No",), "label": ("dx",)}),
        ("label=", {"label": ()}),
        ("label=MEL, label=NV", {"label": ("MEL", "NV")}),
        ("image_id=derm,image_id=clinic", {"image_id": ("derm", "clinic")}),
        ('label="Diagnosis, final", sex=s', {"label": ("Diagnosis, final",), "sex": ("s",)}),
        ('"label=Diagnosis, final"', {"label": ("Diagnosis, final",)}),
        ("label=a=b", {"label": ("a=b",)}),
    ],
)
def test_a_mapping_names_the_column_of_each_kind(
    text: str, mapping: dict[str, tuple[str, ...]]
) -> None:
    assert mapping_of(text) == mapping


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Patient No", "is no KIND=COLUMN"),
        ("patient=x", "is no KIND=COLUMN"),
        ("sex=a, sex=b", "names a kind twice"),
        ("label=, label=b", "names a kind twice"),
        ("label=b, label=", "names a kind twice"),
    ],
)
def test_a_malformed_mapping_is_told(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        mapping_of(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"malignant_values": "1", "benign_values": "0, 1.0"}, "benign_values both have 1"),
        ({"neither_values": "nevus"}, "benign_values and neither_values both have nevus"),
    ],
)
def test_a_value_for_two_classes_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Labelling.of(Settings(**values))


def test_who_names_a_value_as_a_class_need_not_take_it_from_the_default() -> None:
    labelling = Labelling.of(Settings(malignant_values="1, indeterminate/malignant"))
    assert labelling.meaning("Indeterminate/Malignant") == "malignant"
    assert labelling.meaning("indeterminate") == NEITHER


def test_the_defaults_are_those_of_the_settings() -> None:
    assert Labelling() == Labelling.of(Settings())


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        *((value, "malignant") for value in ("1", "1.0", "1.000000000000000000e+00", "Malignant")),
        *((value, "benign") for value in ("0", "0.0", "0.000e+00", "-0", "FALSE", " Nevus ")),
        *((value, "") for value in ("", "NA", "unknown", "N/A")),
        *((value, NEITHER) for value in ("Indeterminate", "indeterminate/benign")),
        *((value, None) for value in ("2", "0.5", "mel", "10")),
    ],
)
def test_values_mean_the_same_however_they_are_written(value: str, meaning: str | None) -> None:
    assert Labelling().meaning(value) == meaning


@given(st.integers(-(10**18), 10**18), st.integers(0, 5))
def test_a_number_is_one_whether_written_as_integer_or_float(number: int, zeros: int) -> None:
    assert plain_value(f"{number}.{'0' * zeros}") == plain_value(str(number)) == str(number)


@given(st.text(max_size=30))
def test_any_text_has_a_plain_form_that_stays(text: str) -> None:
    assert plain_value(plain_value(text)) == plain_value(text)


@pytest.mark.parametrize(
    ("given", "meaning"), [("benign_values", "benign"), ("malignant_values", "malignant")]
)
def test_a_usual_value_of_neither_class_may_be_given_to_a_class(given: str, meaning: str) -> None:
    values: dict[str, Any] = {given: "indeterminate"}
    labelling = Labelling.of(Settings(**values))
    assert labelling.meaning("Indeterminate") == meaning
    assert labelling.meaning("uncertain") == NEITHER
