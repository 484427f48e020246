from __future__ import annotations

import os
import subprocess
import sys

import jsonschema
import pytest

from skin_pipeline.config import (
    FIRST,
    Deployment,
    Settings,
    form_schema,
    parts,
    read_deployment,
    read_settings,
    threads,
)
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
        ({"colour": "red"}, "colour is no setting. Received: 'red'"),
        ({"image_siz": 64}, "image_siz is no setting; the nearest is image_size. Received: 64"),
        ({"imagesize": 64}, "the nearest is image_size"),
        ({"Min-Accuracy": 0.7}, "the nearest is min_accuracy"),
        ({"sensitivity": 0.7}, "the nearest is min_sensitivity"),
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
        read_settings(values)
    assert message in str(error.value)


def test_every_wrong_value_is_named_at_once():
    with pytest.raises(BadInput) as error:
        read_settings({"runs": 0, "views": 3})
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
        read_deployment()


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
        read_deployment()
    assert message in str(error.value)


def test_ways_to_write_are_read_from_the_environment(monkeypatch):
    assert read_deployment().s3_writing == S3Writing()
    given = ("aws:kms", "alias/skin", "GLACIER_IR", "true")
    names = ("ENCRYPTION", "KMS_KEY", "STORAGE_CLASS", "VERSIONING")
    for name, value in zip(names, given, strict=True):
        monkeypatch.setenv(f"SKIN_S3_{name}", value)
    assert read_deployment().s3_writing == S3Writing("aws:kms", "alias/skin", "GLACIER_IR", True)


def test_synthetic_models_have_a_name_of_their_own():
    assert Settings(data="demo", model_name="skin").released_as == "skin-synthetic"
    assert Settings(data="some/folder", model_name="skin").released_as == "skin"


@pytest.mark.parametrize(
    ("data", "synthetic"), [("demo", True), ("demo/set", False), ("x/demo", False)]
)
def test_only_what_is_drawn_here_is_synthetic(data, synthetic):
    assert Settings(data=data).synthetic is synthetic
    assert Settings(data=data).released_as.endswith("-synthetic") is synthetic


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_a_run_cannot_change_its_own_settings(name):
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, name, getattr(settings, name))


@pytest.mark.parametrize(("set_to", "used"), [(0, 12), (1, 1), (5, 5)])
def test_a_task_uses_as_many_threads_as_it_was_given_or_all_cores(monkeypatch, set_to, used):
    monkeypatch.setattr("skin_pipeline.config.os.cpu_count", lambda: 12)
    assert threads(Deployment(threads=set_to)) == used


def test_the_size_of_local_copies_is_in_gibibytes():
    assert Deployment(cache_gib=1.5).cache_bytes == 1_610_612_736


def test_a_part_of_the_settings_has_their_values_by_name():
    settings = Settings(views=8, test_views=2)
    assert settings.subset("views", "scored_views") == {"views": 8, "scored_views": 2}


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
        assert schema["section"] in {FIRST, "Data", "Split", "Training", "Judging"}, name
        assert "_" not in schema["title"], name
        if {"integer", "number"} & set(_types(schema)):
            assert "enum" in schema or {"minimum", "exclusiveMinimum"} & schema.keys(), name
            assert "enum" in schema or "maximum" in schema, name


def _types(schema):
    return [schema["type"]] if isinstance(schema["type"], str) else schema["type"]


# What an empty field of the form, flag or variable means; every other setting takes its default.
EMPTY = {
    **dict.fromkeys(("external", "columns", "neither_values", "prevalences", "gated_slices"), ""),
    **{name: None for name, field in Settings.model_fields.items() if field.default is None},
    **dict.fromkeys(("min_accuracy", "min_sensitivity", "min_auc_change"), None),
}


@pytest.mark.parametrize("empty", [None, "", "  ", "\t\n"])
@pytest.mark.parametrize("name", form_schema())
def test_an_empty_field_means_none_or_where_it_needs_a_value_the_default(name, empty):
    schema = form_schema()[name]
    assert "null" in schema["type"]
    jsonschema.validate(None, {key: schema[key] for key in schema if key != "default"})
    assert getattr(read_settings({name: empty}), name) == EMPTY.get(name, schema["default"])


@pytest.mark.parametrize("name", form_schema())
def test_an_empty_variable_means_the_same(monkeypatch, name):
    usual = form_schema()[name]["default"]
    monkeypatch.setenv(f"SKIN_{name.upper()}", " ")
    assert getattr(Settings(), name) == EMPTY.get(name, usual)


def test_an_empty_field_takes_the_default_that_the_environment_gives(monkeypatch):
    monkeypatch.setenv("SKIN_RUNS", "9")
    monkeypatch.setenv("SKIN_DATA", "/srv/images")
    settings = read_settings({"runs": None, "data": "", "min_runs": " 7 "})
    assert (settings.runs, settings.data, settings.min_runs) == (9, "/srv/images", 7)


def test_a_form_as_it_is_opened_gives_the_defaults():
    defaults = {name: schema["default"] for name, schema in form_schema().items()}
    assert read_settings(defaults) == Settings()


@pytest.mark.parametrize("name", form_schema())
def test_blanks_around_a_value_do_not_count(name):
    schema = form_schema()[name]
    usual = schema["default"] if schema["default"] not in {None, ""} else schema.get("maximum", "")
    if "string" in schema["type"]:
        jsonschema.validate(f" {usual}\n", {"pattern": schema.get("pattern", "")})
    if name == "gated_slices":
        return  # has to come with a bound
    read = read_settings({"gated_slices": "sex" if "slice" in name else "", name: f" {usual}\n"})
    assert getattr(read, name) == usual


def test_the_pattern_of_a_field_refuses_what_it_did_before():
    pattern = form_schema()["model_name"]["pattern"]
    for refused in ("Skin", "-a", "a b", "a\nb", "a" * 50):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(refused, {"pattern": pattern})
        with pytest.raises(BadInput, match="model_name"):
            read_settings({"model_name": refused})


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("SKIN_IMAGESIZE", "SKIN_IMAGESIZE is no setting; the nearest is SKIN_IMAGE_SIZE"),
        ("SKIN_STOR", "the nearest is SKIN_STORE"),
        ("skin_min_accurracy", "the nearest is SKIN_MIN_ACCURACY"),
        ("SKIN_QQQQ", 'problem="SKIN_QQQQ is no setting"'),
    ],
)
def test_a_variable_that_is_no_setting_is_warned_of_with_the_nearest(
    monkeypatch, caplog, variable, problem
):
    monkeypatch.setenv(variable, "1")
    read_deployment()
    assert problem in caplog.text


def test_variables_that_are_read_are_not_warned_of(monkeypatch, caplog):
    for name in (*Settings.model_fields, *Deployment.model_fields):
        monkeypatch.setenv(f"SKIN_{name.upper()}", "")
    monkeypatch.setenv("SKIN_KAGGLE_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("SKIN_TEST_DATA", "/shared")
    read_deployment()
    assert "unknown_variable" not in caplog.text


def test_a_password_is_taken_as_it_is(monkeypatch):
    monkeypatch.setenv("SKIN_SIGNING_PASSWORD", " two blanks ")
    assert read_deployment().signing_password.get_secret_value() == " two blanks "


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


def test_an_empty_variable_of_the_installation_means_none_or_the_default(monkeypatch):
    for name in ("SCHEDULE", "THREADS", "S3_ENCRYPTION", "SIGNING_PASSWORD", "CACHE_GIB"):
        monkeypatch.setenv(f"SKIN_{name}", "")
    deployment = read_deployment()
    assert (deployment.schedule, deployment.threads, deployment.s3_encryption) == ("", 0, "")
    assert (deployment.signing_password, deployment.cache_gib) == (None, 20)


@pytest.mark.parametrize("name", ["malignant_values", "benign_values"])
def test_values_of_one_class_are_enough_to_name_folders_by(name):
    assert not Settings().names_values
    assert Settings(**{name: "somebody's own"}).names_values


def test_a_store_below_the_folder_one_works_in_is_taken(tmp_path):
    """As `make demo` names it, from a shell that says in `PWD` where it is."""
    store = f"file://{tmp_path}/var/store"
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from skin_pipeline.config import read_deployment as d; print(d().store)",
        ],
        cwd=tmp_path,
        env={**os.environ, "PWD": str(tmp_path), "SKIN_STORE": store},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == store
