"""Credentials for Kaggle, without what copying adds."""

from __future__ import annotations

import json

import pytest

from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.data.sources.kaggle_credentials import checked, found
from skin_pipeline.errors import BadInput

KEY = "0123456789abcdef" * 2
TOKEN = "KGAT_0123456789abcdef"
WHOLE = KaggleCredentials("ada", KEY, origin="here")


@pytest.mark.parametrize(
    "given",
    [
        WHOLE,
        KaggleCredentials(" ada ", f'"{KEY}"', origin="here"),
        KaggleCredentials("", json.dumps({"username": "ada", "key": KEY}), origin="here"),
    ],
    ids=["as they are", "spaces and quotes", "the whole file as the key"],
)
def test_what_copying_adds_is_removed(given: KaggleCredentials) -> None:
    assert checked(given) == WHOLE


def test_a_token_in_the_place_of_a_key_is_a_token() -> None:
    assert checked(KaggleCredentials("ada", TOKEN, origin="here")).token == TOKEN


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (KaggleCredentials("ada", "", origin="here"), "from here contain no key and no token"),
        (KaggleCredentials("", KEY, origin="here"), "a key without the user name"),
        (KaggleCredentials("ada@example.org", KEY, origin="here"), "an e-mail address"),
        (KaggleCredentials("ada", f"{KEY}\nX", origin="here"), "spaces, line breaks or letters"),
    ],
)
def test_what_is_missing_or_wrong_is_named_without_the_secret(
    given: KaggleCredentials, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as error:
        checked(given)
    assert KEY not in str(error.value)


def test_a_token_of_the_environment_goes_before_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    assert found() == KaggleCredentials(token=TOKEN, origin="KAGGLE_API_TOKEN")
