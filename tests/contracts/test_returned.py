"""The documents of labels that came back."""

from __future__ import annotations

import pytest

from skin_pipeline.contracts import ReturnedLabel, ReturnedLabels, dump, parse
from skin_pipeline.errors import BadInput

ROW = {"image": "a.jpg", "line": 2, "value": "1", "label": "malignant", "at": "2026-11-26"}


def test_a_document_comes_back_as_it_was_written() -> None:
    row = ReturnedLabel(**ROW, digest="a" * 64, facts={"patient_id": "007"})
    said = ReturnedLabels(
        model="skin",
        file="march.csv",
        sha256="b" * 64,
        labelling="c",
        at="2026-11-26",
        run="manual",
        taken=(row,),
        pending=(ReturnedLabel(**ROW),),
        refused=(),
    )
    assert parse(dump(said), ReturnedLabels, "here") == said


@pytest.mark.parametrize("change", [{"label": "maybe"}, {"digest": "4f1a"}])
def test_what_is_no_label_is_refused(change: dict[str, str]) -> None:
    text = ReturnedLabel(**ROW).model_copy(update=change).model_dump_json().encode()
    with pytest.raises(BadInput):
        parse(text, ReturnedLabel, "here")


def test_words_of_others_are_made_safe() -> None:
    row = ReturnedLabel(**{**ROW, "value": "a\nb\u202e"})
    assert "\n" not in row.value
    assert "\u202e" not in row.value
