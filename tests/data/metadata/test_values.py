"""Which values mean the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline.data.metadata.labelling import NEITHER, Labelling
from skin_pipeline.data.metadata.values import plain_value


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
