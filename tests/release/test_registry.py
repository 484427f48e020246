from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial

import pytest
from children import in_children
from released import MODEL, in_threads, moves, named, opened, promote, registry, release, releases

from skin_pipeline.contracts import Interval, Judgement, dump
from skin_pipeline.errors import BadInput
from skin_pipeline.release import PREVIOUS, version_key

PREVIOUS = PREVIOUS


def rollback(store, target=PREVIOUS, **known):
    return opened(store).rollback(target, **{"by": "ops", "reason": "false alarms", **known})


@pytest.fixture
def three(store):
    """A store with three versions, each of which became the champion in turn; and their names."""
    versions = releases(store, 3)
    for version in versions:
        promote(store, version)
    return store, versions


# --- rollback ------------------------------------------------------------------------------------


def test_a_rollback_to_a_version_moves_the_champion_and_says_who_and_why(three):
    store, (first, _, third) = three
    now = rollback(store, first)
    assert opened(store).champion == now
    assert (now.version, now.previous, now.number, now.rollback) == (first, third, 4, True)
    assert (now.by, now.reason) == ("ops", "false alarms")


def test_rolling_back_to_the_previous_goes_further_back_each_time(three):
    store, (first, second, _) = three
    assert rollback(store).version == second
    assert rollback(store).version == first
    with pytest.raises(BadInput, match=f"has named no version before {first}. Name one"):
        rollback(store)
    assert named(store) == first


def test_the_previous_of_a_promotion_is_what_it_replaced(three):
    store, (first, _, third) = three
    promote(store, first)
    assert rollback(store).version == third


def test_after_a_rollback_a_promotion_is_rolled_back_to_where_it_came_from(three):
    store, (_, second, _) = three
    rollback(store)
    promote(store, release(store, b"new").version)
    assert rollback(store).version == second


def test_rolling_back_to_where_it_stands_moves_nothing(three):
    store, (_, _, third) = three
    before = opened(store).champion
    assert rollback(store, third) == before


def test_other_aliases_roll_back_too(three):
    store, (first, second, third) = three
    promote(store, first, alias="canary")
    promote(store, second, alias="canary")
    assert rollback(store, alias="canary").version == first
    assert named(store) == third


def test_what_there_is_to_roll_back_to_is_told(three):
    store, versions = three
    with pytest.raises(BadInput) as error:
        rollback(store, "none")
    assert "skin has no version none" in str(error.value)
    assert all(version in str(error.value) for version in versions)
    with pytest.raises(BadInput, match=r"skin has no shadow to roll back.*aliases: champion"):
        rollback(store, alias="shadow")


def test_a_damaged_version_is_not_rolled_back_to(three):
    store, (first, _, third) = three
    store.remove(f"{version_key(MODEL, first)}/metrics.json")
    with pytest.raises(BadInput, match=r"metrics\.json is missing"):
        rollback(store, first)
    assert named(store) == third


def test_a_plan_is_carried_out_once(three):
    store, (_, second, _) = three
    plan = opened(store).plan_rollback(PREVIOUS)
    for _ in range(2):  # as a task that was tried again would do
        opened(store).carry_out(plan, by="ops", reason="false alarms")
    assert (named(store), len(moves(store))) == (second, 4)


def test_a_plan_that_a_promotion_overtook_is_not_carried_out(three):
    store, _ = three
    plan = opened(store).plan_rollback(PREVIOUS)
    new = release(store, b"new").version
    promote(store, new)
    with pytest.raises(BadInput, match=f"to {new} meanwhile; nothing was rolled back"):
        opened(store).carry_out(plan, by="ops", reason="false alarms")
    assert named(store) == new


def test_a_rollback_that_races_with_a_promotion_leaves_a_whole_history(any_store):
    versions = releases(any_store, 12)
    promote(any_store, versions[0])
    promote(any_store, versions[1])
    for new in versions[2:]:
        start = threading.Barrier(2)

        def back(start=start):
            start.wait()
            with suppress(BadInput):
                rollback(any_store)

        def forth(new=new, start=start):
            start.wait()
            promote(any_store, new)

        in_threads(lambda act: act(), [back, forth])
        assert new in {move.version for move in moves(any_store)[:2]}
        opened(any_store).verify_alias()


def test_promotions_and_rollbacks_of_many_processes_lose_no_move(store):
    first, *others = releases(store, 9)
    promote(store, first)

    def back():
        for _ in range(5):
            with suppress(BadInput):
                rollback(store)

    in_children([*(partial(promote, store, version) for version in others), *[back] * 4])
    forth = [move.version for move in moves(store) if not move.rollback]
    assert sorted(forth) == sorted([first, *others])
    opened(store).verify_alias()


# --- verify --------------------------------------------------------------------------------------


def test_an_alias_is_verified_with_its_history(three):
    store, (_, second, third) = three
    assert opened(store).verify_alias().version == third
    with pytest.raises(BadInput, match=r"skin has no canary\. Its versions: "):
        opened(store).verify_alias("canary")
    store.remove(f"models/{MODEL}/moves/champion/00000002.json")
    with pytest.raises(BadInput, match="the moves between numbers 1 and 3 are missing"):
        opened(store).verify_alias()
    store.remove(f"{version_key(MODEL, third)}/metrics.json")
    with pytest.raises(BadInput, match=r"are missing; version .* metrics\.json is missing"):
        opened(store).verify_alias()
    assert opened(store).unverified.resolve("champion") == third
    assert opened(store).unverified.resolve(second) == second


# --- prune ---------------------------------------------------------------------------------------


def test_pruning_keeps_what_is_named_what_was_named_before_and_the_newest(any_store):
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


def test_pruning_keeps_what_a_rolled_back_alias_would_go_back_to(store):
    versions = releases(store, 4)
    for version in versions:
        promote(store, version)
    rollback(store)
    assert opened(store).prune(0, dry_run=False) == versions[:1]
    assert rollback(store).version == versions[1]


@pytest.mark.parametrize("keep", [2, 3, 100])
def test_pruning_fewer_versions_than_are_kept_removes_nothing(store, keep):
    releases(store, 2)
    assert opened(store).prune(keep, dry_run=False) == []


def test_pruning_a_negative_number_is_refused(store):
    with pytest.raises(BadInput, match=r"keep must be 0 or more\. Received: -1"):
        opened(store).prune(-1)


def test_versions_of_unknown_age_are_the_oldest_and_unreadable_ones_stay(store):
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


def replace(store, key, data):
    store.remove(key)
    store.put(key, data)


class Interposed:
    """A store in which something happens just before a manifest is removed."""

    def __init__(self, store, before_removal):
        self._store, self._before = store, before_removal

    def __getattr__(self, name):
        return getattr(self._store, name)

    def remove(self, key):
        if key.endswith("manifest.json"):
            self._before()
        self._store.remove(key)


def test_a_version_that_an_alias_comes_to_name_while_pruning_stays_whole(store):
    (version,) = releases(store, 1)
    meddled = Interposed(store, lambda: promote(store, version))
    assert opened(meddled).prune(0, dry_run=False) == []
    assert opened(store).verify_alias().version == version


# --- history of verdicts -------------------------------------------------------------------------


def judgement(minute, model=MODEL):
    nothing = Interval(value=0.8, low=0.7, high=0.9)
    moment = datetime(2026, 1, 1, 12, minute, tzinfo=timezone.utc)
    return Judgement(
        model=model,
        run=f"run {minute}",
        judged_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        approved=False,
        version=None,
        reasons=("accuracy",),
        accuracy=nothing,
        sensitivity=nothing,
        auc=nothing,
        report="gate/1/report.html",
    )


def test_judged_runs_come_newest_first_and_each_once(any_store):
    for minute in (5, 1, 9, 1):
        opened(any_store, name=judgement(minute).model).record(judgement(minute), "gate/abc")
    assert [item.run for item in opened(any_store).judgements()] == [
        "run 9",
        "run 5",
        "run 1",
    ]
    latest = opened(any_store).judgements(last=2)
    assert [item.run for item in latest] == ["run 9", "run 5"]


def test_models_are_those_that_were_judged_or_promoted(any_store):
    assert registry(any_store).models() == []
    opened(any_store, name=judgement(1, "refused-one").model).record(
        judgement(1, "refused-one"), "gate/abc"
    )
    promote(any_store, *releases(any_store, 1))
    assert registry(any_store).models() == ["refused-one", MODEL]
