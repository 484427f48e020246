"""What the settings say of labels, and which values mean the same."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from skin_pipeline.config import Settings
from skin_pipeline.contracts import address
from skin_pipeline.data.metadata.labelling import NEITHER, Labelling
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
    ("values", "message"),
    [
        ({"malignant_values": "1", "benign_values": "0, 1.0"}, "benign_values both have 1"),
        (
            {"malignant_values": "Melanoma, NOS", "benign_values": "Nevus, NOS"},
            'both have nos. .* in quotes: "Melanoma, NOS"',
        ),
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
    ("given", "meaning"), [("benign_values", "benign"), ("malignant_values", "malignant")]
)
def test_a_usual_value_of_neither_class_may_be_given_to_a_class(given: str, meaning: str) -> None:
    values: dict[str, Any] = {given: "indeterminate"}
    labelling = Labelling.of(Settings(**values))
    assert labelling.meaning("Indeterminate") == meaning
    assert labelling.meaning("uncertain") == NEITHER


def test_the_keys_of_data_sets_that_are_in_stores_stay() -> None:
    """A data set is found again by its content and its labelling."""
    assert address(asdict(Labelling())) == "d9b2cbac4ea571afd8f7"
    named = Settings(columns="patient_id=X, label=MEL, label=NV", malignant_values="mel,bcc")
    assert address(asdict(Labelling.of(named))) == "2e58b0f72ba4bb0b64d7"
