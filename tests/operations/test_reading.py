"""A store as pages read it: how often it is asked, what is remembered, and that nothing is
written."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from skin_pipeline.errors import BadInput
from skin_pipeline.operations import reading
from skin_pipeline.operations.reading import Memory, Reading
from skin_pipeline.storage import FolderStore, Store

UNCHANGING = "models/skin/judged/1.json"
POINTER = "models/skin/champion.json"


class Counted:
    """A store that counts what it is asked for."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.asked = inner, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self.inner, name)


@pytest.fixture
def counted(store: FolderStore) -> Counted:
    for key in (UNCHANGING, POINTER, "models/skin/versions/1/manifest.json", "models/skin0/a.json"):
        store.put(key, key.encode())
    return Counted(store)


def opened(counted: Counted, memory: Memory | None = None) -> Reading:
    return Reading(counted, memory or Memory())


def test_a_listing_is_made_once_for_all_folders_below_it(counted: Counted) -> None:
    store = opened(counted)
    assert len(store.list("models")) == 4
    for folder in ("models", "models/skin", "models/skin/versions", "models/sk", "models/skin0"):
        assert store.list(folder) == counted.inner.list(folder)
        assert store.list(f"{folder}/") == counted.inner.list(folder)
    assert store.exists(POINTER)
    assert not store.exists("models/skin")
    assert not store.exists("models/skin/other.json")
    assert counted.asked.keys() == {"url", "endpoint", "list"}
    assert counted.asked["list"] == 1


def test_the_listing_of_a_folder_says_nothing_about_its_neighbour(counted: Counted) -> None:
    store = opened(counted)
    store.list("models/skin")
    assert store.list("models/skin0") == ["models/skin0/a.json"]
    assert counted.asked["list"] == 2


def test_the_listing_of_the_whole_store_serves_all(counted: Counted) -> None:
    store = opened(counted)
    assert store.list("") == counted.inner.list("")
    assert store.list("models/skin/judged") == [UNCHANGING]
    assert counted.asked["list"] == 1


def test_what_never_changes_is_read_once_and_what_changes_each_time(counted: Counted) -> None:
    memory = Memory()
    for _ in range(3):
        assert opened(counted, memory).read(UNCHANGING) == UNCHANGING.encode()
        assert opened(counted, memory).read(POINTER) == POINTER.encode()
    assert counted.asked["read"] == 1 + 3


def test_two_stores_do_not_share_what_is_remembered(store: FolderStore, tmp_path: Path) -> None:
    other, memory = FolderStore(tmp_path / "other"), Memory()
    store.put(UNCHANGING, b"one")
    other.put(UNCHANGING, b"two")
    assert [Reading(s, memory).read(UNCHANGING) for s in (store, other)] == [b"one", b"two"]


@pytest.mark.parametrize(
    "key",
    [
        POINTER,
        "incidents/4f1a.json",
        "runs/4f1a.json",
        "datasets/skin/current.json",
        "store.json",
        "actions/1/outcome.json",
        "models/skin/removals/4f1a",
    ],
)
def test_no_document_that_changes_is_remembered(key: str) -> None:
    assert not reading.UNCHANGING.fullmatch(key)


def test_the_memory_ends_and_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    made: list[str] = []

    def keep(memory: Memory, name: str, size: int) -> None:
        memory.kept(name, lambda: made.append(name), lambda _: size)

    memory = Memory(whole=100, seconds=10)
    for name in ("a", "b", "a", "c", "b", "a"):  # c leaves no room for b, used before a
        keep(memory, name, 40)
    assert made == ["a", "b", "c", "b", "a"]
    now = 9.9
    keep(memory, "a", 40)
    assert len(made) == 5
    now = 10.1
    keep(memory, "a", 40)
    assert len(made) == 6


def test_a_large_document_is_not_kept() -> None:
    made: list[int] = []
    for _ in range(2):
        Memory().kept("a", lambda: made.append(1), lambda _: reading.LARGEST_BYTES + 1)
    assert len(made) == 2


def test_documents_of_a_bucket_are_fetched_at_once_and_a_missing_one_is_told_later(
    s3_store: Store,
) -> None:
    s3_store.put(UNCHANGING, b"one")
    store = Reading(s3_store, Memory())
    store.fetch([UNCHANGING, "models/skin/judged/2.json", POINTER])
    s3_store.remove(UNCHANGING)
    assert store.read(UNCHANGING) == b"one"
    with pytest.raises(BadInput):
        store.read("models/skin/judged/2.json")


def test_nothing_can_be_written(store: FolderStore, tmp_path: Path) -> None:
    pages, file = Reading(store), tmp_path / "file"
    file.write_bytes(b"x")
    for write in (
        lambda: pages.put("a/b", b"x"),
        lambda: pages.put_file("a/b", file),
        lambda: pages.copy("a/a", "a/b", ""),
        lambda: pages.swap("a/b", b"x", None),
        lambda: pages.remove("a/b"),
    ):
        with pytest.raises(NotImplementedError, match="pages only read"):
            write()
    assert store.list("") == []
