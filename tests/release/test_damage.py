"""What lies in the store loses bits, or is gone, after a promotion."""

from __future__ import annotations

from typing import Any

import pytest
from released import MODEL, opened, promote, release

from skin_pipeline.errors import BadInput
from skin_pipeline.release import version_key
from skin_pipeline.storage import FolderStore, Store

POINTER = f"models/{MODEL}/champion.json"
FILES = ["manifest.json", "metrics.json", "model.keras"]


@pytest.fixture
def place(any_store: Store) -> str:
    """The folder of the champion, which another one was before."""
    for content in (b"old", b"new"):
        version = release(any_store, content).version
        promote(any_store, version)
    return version_key(MODEL, version)


def replace(store: Store, key: str, data: bytes) -> None:
    """Change what is never changed."""
    store.remove(key)
    store.put(key, data)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("name", FILES)
def test_a_bit_flipped_in_any_file_of_the_champion_is_told(
    any_store: Store, elsewhere: Store, place: Any, name: str
) -> None:
    key = f"{place}/{name}"
    data = any_store.read(key)
    any_store.local(key)
    for at in (0, len(data) // 2, len(data) - 2):
        replace(elsewhere, key, flipped(data, at))
        with pytest.raises(BadInput, match=name):
            opened(any_store).verify_alias()
    replace(elsewhere, key, data)
    opened(any_store).verify_alias()


@pytest.mark.parametrize("name", FILES)
def test_any_file_that_the_champion_lacks_is_told(
    any_store: Store, elsewhere: Store, place: Any, name: str
) -> None:
    key = f"{place}/{name}"
    data = any_store.read(key)
    any_store.local(key)
    elsewhere.remove(key)
    with pytest.raises(BadInput, match=r"has no version|is missing"):
        opened(any_store).verify_alias()
    any_store.put(key, data)
    opened(any_store).verify_alias()


def test_a_bit_flipped_in_a_pointer_is_told_and_written_down_nowhere(
    any_store: Store, place: Any
) -> None:
    data, keys = any_store.read(POINTER), any_store.list("")
    step = 1 if isinstance(any_store, FolderStore) else 40
    for at in range(0, len(data), step):
        replace(any_store, POINTER, flipped(data, at))
        with pytest.raises(BadInput):
            opened(any_store).verify_alias()
        assert any_store.list("") == keys
    replace(any_store, POINTER, data)
    opened(any_store).verify_alias()
