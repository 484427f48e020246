"""Credentials of a data source: what a log or a traceback may show of them, and what not."""

from __future__ import annotations

import dataclasses

import pytest

from skin_pipeline.credentials import KaggleCredentials

GIVEN = KaggleCredentials("ada", "0123456789abcdef", "KGAT_0123456789", origin="a connection")


def test_no_secret_is_in_the_repr() -> None:
    shown = repr(GIVEN)
    assert "'ada'" in shown
    assert "'a connection'" in shown
    assert GIVEN.key not in shown
    assert GIVEN.token not in shown


def test_credentials_cannot_be_changed_while_they_are_carried() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GIVEN.token = "another"  # type: ignore[misc]


def test_credentials_are_equal_by_all_values_including_the_secrets() -> None:
    assert dataclasses.replace(GIVEN) == GIVEN
    assert dataclasses.replace(GIVEN, key="another") != GIVEN
    assert dataclasses.replace(GIVEN, token="") != GIVEN


def test_without_an_origin_messages_name_the_caller() -> None:
    assert f"the credentials from {KaggleCredentials().origin}" == "the credentials from the caller"
