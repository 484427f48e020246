"""The list of scored images: each belongs to one chunk, whoever else is under way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skin_pipeline.contracts import Ledger, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.monitoring import ledger
from skin_pipeline.monitoring.ledger import Entry
from skin_pipeline.storage import FolderStore, Store

SKIN = "skin", "4f1a"


def entries(*numbers: int, place: str = "p") -> list[Entry]:
    return [Entry(f"{place}{number}", f"id{number}") for number in numbers]


def parts(store: Store) -> tuple[str, ...]:
    """The parts of the ledger."""
    key = "scoring/skin/ledger/4f1a.json"
    return parse(store.read(key), Ledger, key).parts


def test_a_version_with_the_profile_of_a_site_has_a_ledger_of_its_own(store: FolderStore) -> None:
    ledger.claim(store, "skin", ledger.scorer("4f1a"), {"a": entries(1)})
    ledger.claim(store, "skin", ledger.scorer("4f1a", "clinic-b"), {"b": entries(1)})
    assert ledger.read(store, *SKIN).owners == {"id1": "a"}
    assert ledger.read(store, "skin", ledger.scorer("4f1a", "clinic-b")).owners == {"id1": "b"}


def test_an_image_belongs_to_the_chunk_that_came_first(store: FolderStore) -> None:
    first = ledger.claim(store, *SKIN, {"a": entries(1, 2), "b": entries(2, 3)})
    assert first == {"a": {"id1", "id2"}, "b": {"id3"}}
    assert ledger.claim(store, *SKIN, {"c": entries(3, 4)}) == {"c": {"id4"}}


def test_the_same_chunk_gets_the_same_answer_again_and_writes_nothing(store: FolderStore) -> None:
    first = ledger.claim(store, *SKIN, {"a": entries(1, 2)})
    ledger.claim(store, *SKIN, {"b": entries(2, 3)})
    before = store.list("")
    assert ledger.claim(store, *SKIN, {"a": entries(1, 2)}) == first
    assert store.list("") == before


def test_an_image_under_another_name_is_known_there_the_next_time(store: FolderStore) -> None:
    ledger.claim(store, *SKIN, {"a": entries(1)})
    assert not ledger.read(store, *SKIN).holds("q1")
    assert ledger.claim(store, *SKIN, {"b": entries(1, place="q")}) == {"b": set()}
    known = ledger.read(store, *SKIN)
    assert known.holds("p1")
    assert known.holds("q1")


def test_each_version_has_its_own_list(store: FolderStore) -> None:
    ledger.claim(store, *SKIN, {"a": entries(1)})
    assert not ledger.read(store, "skin", "77c0").holds("p1")
    assert not ledger.read(store, "other", "4f1a").holds("p1")


def test_a_place_changes_with_source_name_and_state() -> None:
    places = {
        ledger.place_of(*about)
        for about in (("s", "n", "1"), ("s", "n", "2"), ("s", "m", "1"), ("t", "n", "1"))
    }
    assert len(places) == 4
    assert ledger.place_of("s", "n", "1") in places


def test_many_batches_leave_few_parts_and_nothing_is_lost(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MOST_PARTS", 3)
    for number in range(10):
        claimed = ledger.claim(store, *SKIN, {f"c{number}": entries(number, number + 1)})
        assert claimed == {f"c{number}": {f"id{number + 1}", *(["id0"] if not number else [])}}
    assert len(parts(store)) <= 3
    kept = [key for key in store.list("scoring/skin/ledger") if key.endswith(".txt")]
    assert sorted(kept) == sorted(parts(store))  # what was put together is gone
    known = ledger.read(store, *SKIN)
    assert known.owners == {"id0": "c0", **{f"id{n + 1}": f"c{n}" for n in range(10)}}
    assert all(known.holds(f"p{number}") for number in range(11))


def test_a_place_whose_bytes_changed_unseen_loses_no_owner(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MOST_PARTS", 1)
    ledger.claim(store, *SKIN, {"a": [Entry("p", "id1")]})
    ledger.claim(store, *SKIN, {"b": [Entry("p", "id2")]})
    assert ledger.read(store, *SKIN).owners == {"id1": "a", "id2": "b"}


def test_batches_at_once_share_no_image(any_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_PARTS", 2)  # so that parts are removed while others read

    def claim(number: int) -> set[str]:
        name = f"c{number}"
        return ledger.claim(any_store, *SKIN, {name: entries(*range(number, number + 20))})[name]

    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(claim, range(6)))
    assert sum(map(len, claimed)) == len(set().union(*claimed)) == 25


def test_a_part_that_is_missing_for_good_is_an_error(store: FolderStore) -> None:
    ledger.claim(store, *SKIN, {"a": entries(1)})
    store.remove(parts(store)[0])
    with pytest.raises(BadInput, match="there is no scoring/skin/ledger/"):
        ledger.read(store, *SKIN)
