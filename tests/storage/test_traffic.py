"""How many bytes went to a store and came from it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from skin_pipeline.provenance import ProvenStore, SigningKeys
from skin_pipeline.storage import Store, Traffic


@pytest.fixture
def proven(store: Store) -> ProvenStore:
    return ProvenStore.of(store, SigningKeys())


def counted(proven: ProvenStore) -> tuple[int, int]:
    return proven.traffic.read, proven.traffic.written


def test_bytes_are_added_up() -> None:
    traffic = Traffic()
    traffic.add(read=3)
    traffic.add(written=4)
    traffic.add(read=1, written=1)
    assert (traffic.read, traffic.written) == (4, 5)


def test_counts_are_copied_to_another_process(proven: ProvenStore) -> None:
    proven.put("a/b.json", b"four")
    assert pickle.loads(pickle.dumps(proven)).traffic == proven.traffic


def test_what_is_written_counts_once(proven: ProvenStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1234567")
    proven.put("any/a", b"123")
    proven.put("any/a", b"123")  # the key was taken: nothing was written
    proven.put_file("any/b", file)
    proven.put_file("any/b", file)
    assert proven.swap("any/pointer", b"12345", None)
    assert not proven.swap("any/pointer", b"12345", "another tag")
    assert counted(proven) == (0, 3 + 7 + 5)


def test_what_is_read_counts_each_time(proven: ProvenStore) -> None:
    proven.inner.put("any/a", b"123")
    assert proven.read("any/a") == b"123"
    assert proven.local("any/a").read_bytes() == b"123"
    with proven.opened("any/a") as file:
        assert file.read() == b"123"
    assert proven.tagged("any/a")
    assert proven.tagged("any/nothing") is None
    assert counted(proven) == (4 * 3, 0)
