"""Rollback of an alias: to what, and what stops it."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from children import in_children
from released import MODEL, in_threads, moves, named, opened, promote, release, releases

from skin_pipeline.errors import BadInput
from skin_pipeline.release import PREVIOUS, version_key
from skin_pipeline.storage import FolderStore, Store

PREVIOUS = PREVIOUS


def rollback(store: Store, target: Any = PREVIOUS, **known: Any) -> Any:
    return opened(store).rollback(target, **{"by": "ops", "reason": "false alarms", **known})


@pytest.fixture
def three(store: Store) -> Any:
    """A store with three versions, each of which became the champion in turn; and their names."""
    versions = releases(store, 3)
    for version in versions:
        promote(store, version)
    return store, versions


def test_a_rollback_to_a_version_moves_the_champion_and_says_who_and_why(three: Any) -> None:
    store, (first, _, third) = three
    now = rollback(store, first)
    assert opened(store).champion == now
    assert (now.version, now.previous, now.number, now.rollback) == (first, third, 4, True)
    assert (now.by, now.reason) == ("ops", "false alarms")


def test_rolling_back_to_the_previous_goes_further_back_each_time(three: Any) -> None:
    store, (first, second, _) = three
    assert rollback(store).version == second
    assert rollback(store).version == first
    with pytest.raises(BadInput, match=f"has named no version before {first}. Name one"):
        rollback(store)
    assert named(store) == first


def test_the_previous_of_a_promotion_is_what_it_replaced(three: Any) -> None:
    store, (first, _, third) = three
    promote(store, first)
    assert rollback(store).version == third


def test_after_a_rollback_a_promotion_is_rolled_back_to_where_it_came_from(three: Any) -> None:
    store, (_, second, _) = three
    rollback(store)
    promote(store, release(store, b"new").version)
    assert rollback(store).version == second


def test_rolling_back_to_where_it_stands_moves_nothing(three: Any) -> None:
    store, (_, _, third) = three
    before = opened(store).champion
    assert rollback(store, third) == before


def test_other_aliases_roll_back_too(three: Any) -> None:
    store, (first, second, third) = three
    promote(store, first, alias="canary")
    promote(store, second, alias="canary")
    assert rollback(store, alias="canary").version == first
    assert named(store) == third


def test_what_there_is_to_roll_back_to_is_told(three: Any) -> None:
    store, versions = three
    with pytest.raises(BadInput) as error:
        rollback(store, "none")
    assert "skin has no version none" in str(error.value)
    assert all(version in str(error.value) for version in versions)
    with pytest.raises(BadInput, match=r"skin has no shadow to roll back.*aliases: champion"):
        rollback(store, alias="shadow")


def test_a_damaged_version_is_not_rolled_back_to(three: Any) -> None:
    store, (first, _, third) = three
    store.remove(f"{version_key(MODEL, first)}/metrics.json")
    with pytest.raises(BadInput, match=r"metrics\.json is missing"):
        rollback(store, first)
    assert named(store) == third


def test_a_plan_is_carried_out_once(three: Any) -> None:
    store, (_, second, _) = three
    plan = opened(store).plan_rollback(PREVIOUS)
    for _ in range(2):  # as a task that was tried again would do
        opened(store).carry_out(plan, by="ops", reason="false alarms")
    assert (named(store), len(moves(store))) == (second, 4)


def test_a_plan_that_a_promotion_overtook_is_not_carried_out(three: Any) -> None:
    store, _ = three
    plan = opened(store).plan_rollback(PREVIOUS)
    new = release(store, b"new").version
    promote(store, new)
    with pytest.raises(BadInput, match=f"to {new} meanwhile; nothing was rolled back"):
        opened(store).carry_out(plan, by="ops", reason="false alarms")
    assert named(store) == new


def test_a_rollback_that_races_with_a_promotion_leaves_a_whole_history(any_store: Store) -> None:
    versions = releases(any_store, 12)
    promote(any_store, versions[0])
    promote(any_store, versions[1])
    for new in versions[2:]:
        start = threading.Barrier(2)

        def back(start: Any = start) -> None:
            start.wait()
            with suppress(BadInput):
                rollback(any_store)

        def forth(new: Any = new, start: Any = start) -> None:
            start.wait()
            promote(any_store, new)

        in_threads(lambda act: act(), [back, forth])
        assert new in {move.version for move in moves(any_store)[:2]}
        opened(any_store).verify_alias()


def test_promotions_and_rollbacks_of_many_processes_lose_no_move(store: FolderStore) -> None:
    first, *others = releases(store, 9)
    promote(store, first)

    def back() -> None:
        for _ in range(5):
            with suppress(BadInput):
                rollback(store)

    in_children([*(partial(promote, store, version) for version in others), *[back] * 4])
    forth = [move.version for move in moves(store) if not move.rollback]
    assert sorted(forth) == sorted([first, *others])
    opened(store).verify_alias()
