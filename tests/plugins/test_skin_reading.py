"""What pages read: names in addresses that lead nowhere else, and damage that stays where it is."""

from __future__ import annotations

from typing import Any

import pytest
import skin_reading
from fastapi import HTTPException
from many_versions import write
from skin_request import QUERY

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.operations.reading import Reading
from skin_pipeline.storage import FolderStore

ELSEWHERE = [
    "",
    ".",
    "..",
    "../skin",
    "skin/../other",
    "skin%2f..",
    "skin\n",
    "skin\x00",
    ".hidden",
    "Skin",
    "skin.json",
    "<b>",
    "a" * 101,
]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_key_is_made_from_a_name_that_no_model_has(name: str, store: FolderStore) -> None:
    write(store, versions=1)
    with pytest.raises(HTTPException) as refused:
        skin_reading.page_model(Reading(store), name)
    assert refused.value.status_code == 404


@pytest.mark.parametrize("name", [*ELSEWHERE, "skin", "0g", "4F1A", "4" * 65])
def test_no_key_is_made_from_a_name_that_no_version_has(name: str) -> None:
    with pytest.raises(HTTPException) as refused:
        skin_reading.checked_version(name)
    assert refused.value.status_code == 404


def test_names_that_exist_pass(store: FolderStore) -> None:
    (version,) = write(store, versions=1)
    assert skin_reading.page_model(Reading(store), "skin").versions() == [version]
    assert skin_reading.checked_version(version) == version


def test_damage_is_told_and_an_absent_store_ends_the_page() -> None:
    def damaged() -> int:
        raise BadInput("it is damaged")

    def away() -> int:
        raise Unavailable("no answer")

    assert skin_reading.attempt(damaged, 7) == (7, "it is damaged")
    assert skin_reading.attempt(lambda: 8, 7) == (8, "")
    with pytest.raises(Unavailable):
        skin_reading.attempt(away, 7)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("version=a&version=b&version=a&other=c", ["a", "b"]),
        ("", []),
        ("version=", []),
        ("&".join(f"version={number}" for number in range(50)), [str(n) for n in range(20)]),
        ("&".join(f"version={number}" for number in range(500)), []),
        ("version=%ff", ["\N{REPLACEMENT CHARACTER}"]),
    ],
)
def test_a_name_may_come_several_times_in_an_address(query: str, found: list[str]) -> None:
    token = QUERY.set(query)
    try:
        assert skin_reading.chosen("version") == found
    finally:
        QUERY.reset(token)


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("40", 40), ("0", 1), ("-3", 1), ("x", 1), ("9" * 30, 1)]
)
def test_anything_else_is_the_first_page(text: str, number: int) -> None:
    assert skin_reading.page_number(text) == number


def test_a_store_in_s3_is_opened_once_for_a_while(
    s3_store: Any, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIN_STORE", s3_store.url)
    monkeypatch.setenv("SKIN_S3_ENDPOINT", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    now = 600.0
    monkeypatch.setattr(skin_reading.time, "monotonic", lambda: now)
    first = skin_reading.page_store()._store
    assert skin_reading.page_store()._store is first
    now += skin_reading.OPEN_SECONDS
    assert skin_reading.page_store()._store is not first
