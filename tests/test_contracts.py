from __future__ import annotations

import json
import math

import pytest

from skin_pipeline.contracts import (
    Changes,
    Check,
    Interval,
    Notice,
    Release,
    Validation,
    dump,
    load,
    parse,
)
from skin_pipeline.errors import BadInput

CHECK = Check(name="labels", severity="critical", observed="0", bound="all", passed=True)


def test_a_document_reads_back_as_written(store):
    written = Validation(
        dataset="ingest/1",
        external={"other": "ingest/2"},
        table="tables/1.csv",
        quarantine="validate/1/quarantine.csv",
        anchors="tables/2.csv",
        overlaps={},
        checks=(CHECK,),
        shortcuts=(),
        changes=Changes(previous=None, added=3, removed=0, relabelled=0, examples=()),
        docs="validate/1/docs/index.html",
    )
    store.put("validate/1/result.json", dump(written))
    assert load(store, "validate/1", Validation) == written


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"{}", "name: Field required"),
        (dump(CHECK).replace(b'"schema_version": 1', b'"schema_version": 2'), "schema_version"),
        (dump(CHECK).replace(b'"name"', b'"title"'), "Field required"),
        (dump(CHECK).replace(b"{", b'{"colour": "red", ', 1), "colour: Extra inputs"),
    ],
)
def test_a_damaged_or_future_document_is_refused_with_its_place(data, message):
    with pytest.raises(BadInput) as error:
        parse(data, Check, "validate/1")
    assert "validate/1 is not a Check document" in str(error.value)
    assert message in str(error.value)


def test_a_figure_that_is_not_defined_survives_json():
    nothing = Interval(value=math.nan, low=math.nan, high=math.nan)
    assert math.isnan(parse(dump(nothing), Interval, "here").value)


def test_an_absent_result_is_bad_input(store):
    with pytest.raises(BadInput):
        load(store, "validate/none", Validation)


HONEST = {
    "model": "skin-resnet50",
    "version": "4f1a2b3c4d5e6f7a8b9c",
    "verdict": "gate/4f1a2b3c4d5e6f7a8b9c",
    "synthetic": False,
    "content_digest": "53b1c0ffee",
    "labels": ["benign", "malignant"],
    "threshold": 0.4,
    "files": {"model.keras": "a" * 64},
    "published_at": "2026-11-24T12:00:00.123456+00:00",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", ["=cmd|'/c calc'!A1", "malignant"]),
        ("labels", ["malignant", "benign"]),
        ("labels", ["benign", "malignant", "other"]),
        ("model", "skin\n2026 INFO promoted"),
        ("model", "../../skin"),
        ("model", "=1"),
        ("model", "skin\u202e"),
        ("model", ""),
        ("version", "4f1a\x1b[31m"),
        ("version", "../4f1a"),
        ("verdict", "=HYPERLINK(1)"),
        ("verdict", "gate/\n"),
        ("content_digest", "<script>"),
        ("threshold", 1.5),
        ("threshold", -0.1),
        ("threshold", "NaN"),
        ("threshold", "Infinity"),
        ("files", {"../model.keras": "a" * 64}),
        ("files", {"model.keras": "=1"}),
        ("published_at", "today\n"),
    ],
)
def test_a_manifest_of_a_stranger_is_read_in_its_form_only(field, value):
    assert parse(json.dumps(HONEST).encode(), Release, "manifest.json").model == "skin-resnet50"
    hostile = json.dumps({**HONEST, field: value}).encode()
    with pytest.raises(BadInput, match=f"not a Release document.*{field}") as caught:
        parse(hostile, Release, "manifest.json")
    assert str(caught.value).isprintable()


def test_notices_of_words_of_others_are_one_line():
    told = str(Notice(kind="x", subject="a\nb\u202e", reason="\x1b[31m https://a:hunter2@h"))
    assert told.isprintable()
    assert "hunter2" not in told
