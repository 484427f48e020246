"""The columns that are looked for, and how the settings name others."""

from __future__ import annotations

import pytest

from skin_pipeline.config import Settings
from skin_pipeline.data.manifest import TEXTS
from skin_pipeline.data.metadata.columns import COLUMNS, IDS, METADATA, TRAITS, mapping_of
from skin_pipeline.data.validation.manifest_suite import COLUMNS as CHECKED
from skin_pipeline.errors import BadInput


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


def test_a_column_is_in_the_manifest_and_checked_and_named_in_the_settings() -> None:
    assert METADATA == ("patient_id", "lesion_id", "sex", "age", "site")
    assert (*IDS, *TRAITS) == METADATA
    assert set(METADATA) <= set(TEXTS)
    assert set(METADATA) <= set(CHECKED)
    described = Settings.model_fields["columns"].description
    assert described is not None
    assert f"Known: {', '.join(COLUMNS)}. " in described
