from __future__ import annotations

import math

import pytest

from skin_pipeline.contracts import Changes, Check, Interval, Validation, dump, load, parse
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
