"""Changing an object: no change of another process is lost, and nothing is written for nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore, update

KEY = "counts/one.txt"


def test_a_change_is_given_what_is_there(store: FolderStore) -> None:
    seen: list[bytes | None] = []

    def appended(data: bytes | None) -> bytes:
        seen.append(data)
        return (data or b"") + b"x"

    update(store, KEY, appended)
    update(store, KEY, appended)
    assert seen == [None, b"x"]
    assert store.read(KEY) == b"xx"


def test_changes_of_many_at_once_are_all_kept(store: FolderStore) -> None:
    def count(number: int) -> None:
        update(store, KEY, lambda data: (data or b"") + bytes([number]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(24)))
    assert sorted(store.read(KEY)) == list(range(24))


def test_nothing_is_written_if_there_is_nothing_to_change(store: FolderStore) -> None:
    update(store, KEY, lambda data: None)
    assert store.list("") == []


def test_an_error_of_the_change_changes_nothing(store: FolderStore) -> None:
    store.swap(KEY, b"before", None)

    def refuse(data: bytes | None) -> bytes:
        raise BadInput("not like this")

    with pytest.raises(BadInput, match="not like this"):
        update(store, KEY, refuse)
    assert store.read(KEY) == b"before"
