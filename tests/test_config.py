from __future__ import annotations

import pytest

from skin_pipeline.config import Deployment, Settings, deployment, form_schema, parts, settings_from
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import S3Writing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runs": 0}, "runs: Input should be greater than or equal to 1. Received: 0"),
        ({"views": 3}, "views: Input should be 1, 2, 4 or 8. Received: 3"),
        ({"model_name": "Not A Name"}, "model_name: "),
        ({"balance": "magic"}, "balance: "),
        ({"external": "/data/isic"}, "external must be NAME=WHERE, NAME=WHERE"),
        ({"external": "a=/x, B c=/y"}, "external must be NAME=WHERE, NAME=WHERE"),
        ({"external": "a="}, "external must be NAME=WHERE, NAME=WHERE"),
        ({"columns": 'label="dx, final'}, "columns: Value error, a quote is never closed"),
        ({"malignant_values": '"'}, "malignant_values: Value error, a quote is never closed"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"runs": 2}, "min_runs (6) is more than runs (2)"),
        ({"weights": "none"}, "weights=none (a random trunk) is for synthetic data only"),
        ({"learning_rate": "fast"}, "learning_rate: "),
        ({"views": 2, "test_views": 4}, "test_views (4) is more than views (2)"),
        ({"prevalences": "0.1, few"}, "prevalences must be numbers between 0 and 1"),
        ({"prevalences": "0.1, 1"}, "Received: '0.1, 1'"),
        ({"gated_slices": "sex"}, "gated_slices needs a bound"),
        ({"min_slice_auc": 0.7}, "such a bound needs gated_slices. Received: gated_slices=''"),
        ({"min_auc": 1.5}, "min_auc: Input should be less than or equal to 1"),
        ({"min_auc_change": -2}, "min_auc_change: "),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_received(values, message):
    with pytest.raises(BadInput) as error:
        settings_from(values)
    assert message in str(error.value)


def test_every_wrong_value_is_named_at_once():
    with pytest.raises(BadInput) as error:
        settings_from({"runs": 0, "views": 3})
    assert "runs" in str(error.value)
    assert "views" in str(error.value)


def test_a_value_given_beats_the_environment_which_beats_the_default(monkeypatch):
    assert Settings().views == 4
    monkeypatch.setenv("SKIN_VIEWS", "8")
    assert Settings().views == 8
    assert Settings(views=2).views == 2


def test_a_deployment_variable_that_does_not_fit_is_named(monkeypatch):
    monkeypatch.setenv("SKIN_THREADS", "many")
    with pytest.raises(BadInput, match=r"threads.*'many'"):
        deployment()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"S3_ENCRYPTION": "rot13"}, "s3_encryption: Input should be '', 'AES256' or 'aws:kms'"),
        ({"S3_KMS_KEY": "alias/a"}, "Received: s3_encryption=''; choose aws:kms, or leave"),
        ({"S3_KMS_KEY": "alias/a", "S3_ENCRYPTION": "AES256"}, "only for s3_encryption=aws:kms"),
        ({"S3_KMS_KEY": "a\nb", "S3_ENCRYPTION": "aws:kms"}, "s3_kms_key: "),
        ({"S3_STORAGE_CLASS": "DEEP_ARCHIVE"}, "read at once, not one of GLACIER, DEEP_ARCHIVE"),
        ({"S3_STORAGE_CLASS": "glacier"}, "Received: 'glacier'; choose another"),
        ({"S3_STORAGE_CLASS": "TWO WORDS"}, "s3_storage_class: "),
        ({"S3_VERSIONING": "maybe"}, "s3_versioning: "),
    ],
)
def test_ways_to_write_that_do_not_fit_are_named(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(f"SKIN_{name}", value)
    with pytest.raises(BadInput) as error:
        deployment()
    assert message in str(error.value)


def test_ways_to_write_are_read_from_the_environment(monkeypatch):
    assert deployment().s3_writing == S3Writing()
    given = ("aws:kms", "alias/skin", "GLACIER_IR", "true")
    names = ("ENCRYPTION", "KMS_KEY", "STORAGE_CLASS", "VERSIONING")
    for name, value in zip(names, given, strict=True):
        monkeypatch.setenv(f"SKIN_S3_{name}", value)
    assert deployment().s3_writing == S3Writing("aws:kms", "alias/skin", "GLACIER_IR", True)


def test_synthetic_models_have_a_name_of_their_own():
    assert Settings(data="demo", model_name="skin").released_as == "skin-synthetic"
    assert Settings(data="some/folder", model_name="skin").released_as == "skin"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a, b,, c ,", ["a", "b", "c"]),
        ('"Melanoma, NOS", bcc', ["Melanoma, NOS", "bcc"]),
        ('label="A, b", x=y', ["label=A, b", "x=y"]),
        ('"label=A, b"', ["label=A, b"]),
        ('"he said ""x, y"""', ['he said "x, y"']),
        ("one\ntwo", ["one", "two"]),
        ('""', []),
        ('""' * 50_000, ['"' * 49_999]),
    ],
)
def test_a_list_in_a_setting_is_split_as_csv_is(text, found):
    assert parts(text) == found


def test_external_sets_are_named_places():
    assert Settings(external="isic2017=/data/i, b=s3://bucket/x=y").external_sets == {
        "isic2017": "/data/i",
        "b": "s3://bucket/x=y",
    }
    assert Settings().external_sets == {}


def test_every_knob_has_a_description_a_section_and_bounds_in_the_form():
    for name, schema in form_schema().items():
        assert schema["description"], name
        assert schema["section"] in {"Data", "Split", "Training", "Judging"}, name
        if {"integer", "number"} & set(_types(schema)):
            assert "enum" in schema or {"minimum", "exclusiveMinimum"} & schema.keys(), name
            assert "enum" in schema or "maximum" in schema, name


def _types(schema):
    return [schema["type"]] if isinstance(schema["type"], str) else schema["type"]


def test_a_bound_of_the_gate_can_be_left_empty_in_the_form():
    assert form_schema()["min_accuracy"]["type"] == ["null", "number"]
    assert settings_from({"min_accuracy": None}).min_accuracy is None


def test_a_bound_of_the_gate_can_be_left_empty_on_the_command_line_and_in_the_environment(
    monkeypatch,
):
    assert settings_from({"min_auc_change": ""}).min_auc_change is None
    monkeypatch.setenv("SKIN_MIN_ACCURACY", "")
    assert Settings().min_accuracy is None


@pytest.mark.parametrize(
    ("values", "views"),
    [({}, 4), ({"views": 1}, 1), ({"views": 8}, 8), ({"views": 8, "test_views": 2}, 2)],
)
def test_a_score_is_averaged_over_as_many_views_as_there_are_or_fewer(values, views):
    assert Settings(**values).scored_views == views


def test_lists_are_read_from_text():
    assert Settings().prevalence_list == (0.02, 0.1, 0.5)
    assert Settings(prevalences="").prevalence_list == ()
    gated = Settings(gated_slices="sex, original size,", min_slice_auc=0.6)
    assert gated.gated_features == ("sex", "original size")


def test_no_knob_has_the_name_of_a_deployment_variable():
    assert not Settings.model_fields.keys() & Deployment.model_fields.keys()
