"""Documents are read as they were written, or refused with the place of the fault."""

from __future__ import annotations

import math

import pytest

from skin_pipeline.contracts import Changes, Check, Interval, Validation, address, dump, load, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore

CHECK = Check(name="labels", severity="critical", observed="0", bound="all", passed=True)


def test_a_document_reads_back_as_written(store: FolderStore) -> None:
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
def test_a_damaged_or_future_document_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(BadInput) as error:
        parse(data, Check, "validate/1")
    assert "validate/1 is not a Check document" in str(error.value)
    assert message in str(error.value)


def test_a_figure_that_is_not_defined_survives_json() -> None:
    nothing = Interval(value=math.nan, low=math.nan, high=math.nan)
    assert math.isnan(parse(dump(nothing), Interval, "here").value)


def test_an_absent_result_is_bad_input(store: FolderStore) -> None:
    with pytest.raises(BadInput):
        load(store, "validate/none", Validation)


def test_the_same_inputs_have_the_same_address_in_any_order() -> None:
    """Results of today must be found tomorrow: the address itself is fixed here."""
    assert address({"a": 1, "b": ["ä", None]}) == address({"b": ["ä", None], "a": 1})
    assert address({"a": 1}) == "015abd7f5cc57a2dd94b"
    assert address({"a": 1}) != address({"a": 1.5})
