"""What an address may ask for, and which store a page reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import skin_connections
import skin_reading
from fastapi import HTTPException
from released import releases
from skin_request import QUERY

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.operations.reading import Reading
from skin_pipeline.storage import FolderStore


@pytest.fixture
def asked() -> Iterator[Any]:
    """Sets what the address asks for."""
    token = QUERY.set("")
    yield QUERY.set
    QUERY.reset(token)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", []),
        ("version=a&version=b", ["a", "b"]),
        ("version=b&other=c&version=a", ["b", "a"]),
        ("version=a&version=b&version=a", ["a", "b"]),
        ("version=&version=a", ["a"]),
        ("version=%3Cb%3E", ["<b>"]),
        ("version=a%00b", ["a\0b"]),
        ("version=%ff", ["\N{REPLACEMENT CHARACTER}"]),
        ("&".join(f"version={number}" for number in range(30)), list(map(str, range(20)))),
        ("&".join(["version=a"] * 101), []),  # more fields than anybody ticks
    ],
)
def test_what_is_chosen_is_each_value_once_in_order_and_at_most_twenty(
    asked: Any, query: str, found: list[str]
) -> None:
    asked(query)
    assert skin_reading.chosen("version") == found


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("40", 40), ("999999", 999_999)]
    + [(text, 1) for text in ("", "0", "-1", "01", "1.5", "1e3", "٣", "1000000", "2\n", "x")],
)
def test_a_page_number_that_is_none_is_the_first_page(text: str, number: int) -> None:
    assert skin_reading.page_number(text) == number


@pytest.mark.parametrize(
    ("name", "fits"),
    [("0", True), ("53b1c0ffee", True), ("a" * 64, True)]
    + [
        (name, False)
        for name in ("", "a" * 65, "A", "g", "..", "a/b", "a\n", "a.json", "<b>", "%2e", "../a")
    ],
)
def test_only_hexadecimal_digits_name_a_version(name: str, fits: bool) -> None:
    if fits:
        assert skin_reading.checked_version(name) == name
        return
    with pytest.raises(HTTPException) as refused:
        skin_reading.checked_version(name)
    assert refused.value.status_code == 404


@pytest.mark.parametrize(
    "name", ["", "other", "..", "skin/versions", "../models/skin", "skin\n", "Skin", "-skin", "."]
)
def test_a_model_that_the_store_has_nothing_of_is_not_there(empty: FolderStore, name: str) -> None:
    releases(empty, 1)
    with pytest.raises(HTTPException) as refused:
        skin_reading.page_model(Reading(empty), name)
    assert refused.value.status_code == 404
    assert skin_reading.page_model(Reading(empty), "skin").name == "skin"


def test_only_damage_is_the_problem_of_a_part_of_a_page() -> None:
    def damaged() -> str:
        raise BadInput("result.json is damaged")

    def away() -> str:
        raise Unavailable("the store does not answer")

    assert skin_reading.attempt(lambda: "read", "instead") == ("read", "")
    assert skin_reading.attempt(damaged, "instead") == ("instead", "result.json is damaged")
    with pytest.raises(Unavailable):
        skin_reading.attempt(away, "instead")


# --- the store -----------------------------------------------------------------------------------


@pytest.fixture
def opened(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Has one item for each time that the configured store was opened."""
    times: list[int] = []

    def opens() -> FolderStore:
        times.append(len(times))
        return store

    monkeypatch.setattr(skin_connections, "open_configured_store", opens)
    skin_reading._opened.cache_clear()
    yield times
    skin_reading._opened.cache_clear()


def test_a_folder_is_opened_for_each_page(
    opened: list[int], store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIN_STORE", store.url)
    assert skin_reading.page_store().url == store.url
    skin_reading.page_store()
    assert len(opened) == 2


def test_s3_is_opened_once_a_minute_and_again_for_other_settings(
    opened: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setenv("SKIN_STORE", "s3://models")
    for seconds, times in ((0.0, 1), (59.0, 1), (60.0, 2)):
        now[0] = seconds
        skin_reading.page_store()
        assert len(opened) == times
    monkeypatch.setenv("SKIN_STORE", "s3://others")
    skin_reading.page_store()
    assert len(opened) == 3


def test_few_open_stores_are_kept(opened: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    for name in ("one", "two", "three", "one"):
        monkeypatch.setenv("SKIN_STORE", f"s3://{name}")
        skin_reading.page_store()
    assert len(opened) == 4  # the first one was dropped for the third


def test_one_page_does_not_see_the_listing_of_another(
    empty: FolderStore,
) -> None:
    before = skin_reading.page_store()
    assert list(before.list("models/skin")) == []
    releases(empty, 1)
    assert list(before.list("models/skin")) == []
    assert list(skin_reading.page_store().list("models/skin"))
