"""What blanks, empty values and lists in settings and variables mean."""

from __future__ import annotations

import jsonschema
import pytest

from skin_pipeline.config import Settings, form_schema, parts, read_deployment, read_settings
from skin_pipeline.errors import BadInput


def test_a_value_given_beats_the_environment_which_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Settings().views == 2
    monkeypatch.setenv("SKIN_VIEWS", "8")
    assert Settings().views == 8
    assert Settings(views=1).views == 1


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_a_run_cannot_change_its_own_settings(name: str) -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, name, getattr(settings, name))


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
def test_a_list_in_a_setting_is_split_as_csv_is(text: str, found: list[str]) -> None:
    assert parts(text) == found


# What an empty field of the form, flag or variable means; every other setting takes its default.
EMPTY = {
    **dict.fromkeys(("external", "columns", "neither_values", "prevalences", "gated_slices"), ""),
    **{name: None for name, field in Settings.model_fields.items() if field.default is None},
    **dict.fromkeys(("min_accuracy", "min_sensitivity", "min_auc_change"), None),
}


@pytest.mark.parametrize("empty", [None, "", "  ", "\t\n"])
@pytest.mark.parametrize("name", form_schema())
def test_an_empty_field_means_none_or_where_it_needs_a_value_the_default(
    name: str, empty: str | None
) -> None:
    schema = form_schema()[name]
    assert "null" in schema["type"]
    jsonschema.validate(None, {key: schema[key] for key in schema if key != "default"})
    assert getattr(read_settings({name: empty}), name) == EMPTY.get(name, schema["default"])


@pytest.mark.parametrize("name", form_schema())
def test_an_empty_variable_means_the_same(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    usual = form_schema()[name]["default"]
    monkeypatch.setenv(f"SKIN_{name.upper()}", " ")
    assert getattr(Settings(), name) == EMPTY.get(name, usual)


def test_an_empty_field_takes_the_default_that_the_environment_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SKIN_RUNS", "9")
    monkeypatch.setenv("SKIN_DATA", "/srv/images")
    settings = read_settings({"runs": None, "data": "", "min_runs": " 7 "})
    assert (settings.runs, settings.data, settings.min_runs) == (9, "/srv/images", 7)


@pytest.mark.parametrize("name", form_schema())
def test_blanks_around_a_value_do_not_count(name: str) -> None:
    schema = form_schema()[name]
    usual = schema["default"] if schema["default"] not in {None, ""} else schema.get("maximum", "")
    if "string" in schema["type"]:
        jsonschema.validate(f" {usual}\n", {"pattern": schema.get("pattern", "")})
    if name == "gated_slices":
        return  # has to come with a bound
    read = read_settings({"gated_slices": "sex" if "slice" in name else "", name: f" {usual}\n"})
    assert getattr(read, name) == usual


def test_a_password_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_SIGNING_PASSWORD", " two blanks ")
    password = read_deployment().signing_password
    assert password is not None
    assert password.get_secret_value() == " two blanks "


def test_an_empty_variable_of_the_installation_means_none_or_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SCHEDULE", "THREADS", "S3_ENCRYPTION", "SIGNING_PASSWORD", "CACHE_GIB"):
        monkeypatch.setenv(f"SKIN_{name}", "")
    deployment = read_deployment()
    assert (deployment.schedule, deployment.threads, deployment.s3_encryption) == ("", 0, "")
    assert (deployment.signing_password, deployment.cache_gib) == (None, 20)


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(BadInput, match="data holds a user name with a password") as refused:
        read_settings({"data": "s3://ada:s3cr3tT0ken9@bucket/x"})
    assert "s3cr3tT0ken9" not in str(refused.value)
