"""Removal of old versions: what goes, and what stays whatever happens meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from released import MODEL, opened, promote, release, releases

from skin_pipeline.contracts import dump
from skin_pipeline.errors import BadInput
from skin_pipeline.release import PREVIOUS, version_key
from skin_pipeline.storage import FolderStore, Store

PREVIOUS = PREVIOUS


def test_pruning_keeps_what_is_named_what_was_named_before_and_the_newest(any_store: Store) -> None:
    versions = releases(any_store, 8)
    for version in versions[1:4]:
        promote(any_store, version)  # 3, and 2 before it
    promote(any_store, versions[5], alias="canary")
    going = [versions[0], versions[1], versions[4], versions[6]]
    assert opened(any_store).prune(1) == going
    assert len(opened(any_store).versions()) == 8  # nothing goes unless told so
    assert opened(any_store).prune(1, dry_run=False) == going
    assert set(opened(any_store).versions()) == set(versions) - set(going)
    for version in going:
        assert any_store.list(version_key(MODEL, version)) == []
    for alias in ("champion", "canary"):
        opened(any_store).verify_alias(alias)
    assert opened(any_store).rollback(PREVIOUS, by="ops", reason="r").version


def test_pruning_keeps_what_a_rolled_back_alias_would_go_back_to(store: FolderStore) -> None:
    versions = releases(store, 4)
    for version in versions:
        promote(store, version)
    opened(store).rollback(PREVIOUS, by="ops", reason="r")
    assert opened(store).prune(0, dry_run=False) == versions[:1]
    assert opened(store).rollback(PREVIOUS, by="ops", reason="r").version == versions[1]


@pytest.mark.parametrize("keep", [2, 3, 100])
def test_pruning_fewer_versions_than_are_kept_removes_nothing(
    store: FolderStore, keep: int
) -> None:
    releases(store, 2)
    assert opened(store).prune(keep, dry_run=False) == []


def test_pruning_a_negative_number_is_refused(store: FolderStore) -> None:
    with pytest.raises(BadInput, match=r"keep must be 0 or more\. Received: -1"):
        opened(store).prune(-1)


def test_versions_of_unknown_age_are_the_oldest_and_unreadable_ones_stay(
    store: FolderStore,
) -> None:
    (new,) = releases(store, 1)
    old = release(store, b"old").version
    key = f"{version_key(MODEL, old)}/manifest.json"
    without = opened(store).release(old).model_copy(update={"published_at": ""})
    replace(store, key, dump(without))
    future = release(store, b"future").version
    key = f"{version_key(MODEL, future)}/manifest.json"
    replace(store, key, store.read(key).replace(b'"schema_version": 1', b'"schema_version": 2'))
    assert opened(store).prune(1, dry_run=False) == [old]
    assert opened(store).versions() == sorted([new, future])


def replace(store: Store, key: str, data: bytes) -> None:
    store.remove(key)
    store.put(key, data)


class Interposed:
    """A store in which something happens just before a manifest is removed."""

    def __init__(self, store: Any, before_removal: Any) -> None:
        self._store, self._before = store, before_removal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def remove(self, key: str) -> None:
        if key.endswith("manifest.json"):
            self._before()
        self._store.remove(key)


def test_a_version_that_an_alias_comes_to_name_while_pruning_stays_whole(
    store: FolderStore,
) -> None:
    (version,) = releases(store, 1)
    meddled = Interposed(store, lambda: promote(store, version))
    assert opened(meddled).prune(0, dry_run=False) == []
    assert opened(store).verify_alias().version == version
