from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from released import (
    MODEL,
    alias_of,
    champion_of,
    in_threads,
    moves,
    named,
    opened,
    point,
    pointer,
    problems,
    promote,
    release,
    releases,
)

from skin_pipeline.contracts import Pointer, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.release import aliases, version_key
from skin_pipeline.storage import FolderStore, Store

GOLDEN = Path(__file__).parents[1] / "golden"
HISTORY = f"models/{MODEL}/moves/champion"
READERS, MOVES, READS_A_MOVE = 50, 200, 5


def history(store: Store, alias: str = "champion") -> Any:
    return [(move.number, move.version) for move in moves(store, alias)]


def test_a_pointer_carries_its_move(any_store: Store) -> None:
    first, second = releases(any_store, 2)
    promote(any_store, first, by="run 1", reason="passed the gate")
    promote(any_store, second, by="run 2", reason="better")
    now = champion_of(any_store)
    assert (now.number, now.version, now.previous) == (2, second, first)
    assert (now.by, now.reason, now.rollback) == ("run 2", "better", False)
    assert now.moved_at


def test_every_move_is_kept_newest_first(any_store: Store) -> None:
    first, second = releases(any_store, 2)
    for version in (first, second, first):
        promote(any_store, version)
    assert history(any_store) == [(3, first), (2, second), (1, first)]
    assert len(any_store.list(HISTORY)) == 3
    assert problems(any_store) == []


def test_promoting_again_moves_nothing(any_store: Store) -> None:
    (version,) = releases(any_store, 1)
    assert promote(any_store, version)
    before = opened(any_store).champion
    assert promote(any_store, version)
    assert opened(any_store).champion == before
    assert len(any_store.list(HISTORY)) == 1


def test_aliases_move_apart_from_each_other(any_store: Store) -> None:
    first, second = releases(any_store, 2)
    promote(any_store, first)
    promote(any_store, second, alias="canary")
    assert (named(any_store), named(any_store, "canary")) == (first, second)
    assert history(any_store, "canary") == [(1, second)]
    assert set(opened(any_store).unverified.pointers()) == {"champion", "canary"}


@pytest.mark.parametrize("alias", ["", "Canary", "../champion", "a/b", "-x", "x" * 50, "canary\n"])
def test_an_alias_that_is_no_name_is_refused(store: FolderStore, alias: str) -> None:
    (version,) = releases(store, 1)
    with pytest.raises(BadInput, match="an alias is a name of lower-case letters"):
        promote(store, version, alias=alias)


def test_a_move_without_a_reason_is_refused(store: FolderStore) -> None:
    (version,) = releases(store, 1)
    with pytest.raises(BadInput, match="a move needs a reason"):
        promote(store, version, reason=" \n")
    assert named(store) is None


def test_a_reason_stays_on_one_line(store: FolderStore) -> None:
    (version,) = releases(store, 1)
    promote(store, version, reason="it is\nbetter")
    assert champion_of(store).reason == "it is better"


def test_a_pointer_moves_only_from_the_version_that_is_expected(any_store: Store) -> None:
    first, second, third = releases(any_store, 3)
    assert not point(any_store, pointer(second), first)  # it names nothing yet
    assert point(any_store, pointer(first), None)
    for expected in (None, second, third):
        assert not point(any_store, pointer(second), expected)
    assert history(any_store) == [(1, first)]
    assert point(any_store, pointer(second), first)
    assert history(any_store) == [(2, second), (1, first)]


def test_a_pointer_never_comes_to_name_a_version_that_is_not_there(store: FolderStore) -> None:
    with pytest.raises(BadInput, match="no version none; nothing was moved"):
        point(store, pointer("none"), None)
    assert opened(store).champion is None


def test_a_promotion_that_expects_another_champion_moves_nothing(any_store: Store) -> None:
    first, second, third = releases(any_store, 3)
    assert promote(any_store, first, expected=None)
    assert promote(any_store, second, expected=first)
    assert not promote(any_store, third, expected=first)
    assert not promote(any_store, third, expected=None)
    assert named(any_store) == second
    assert len(moves(any_store)) == 2


@pytest.mark.parametrize(
    ("any_store", "rounds"),
    [("folder", 100), ("s3", 10), pytest.param("s3", 100, marks=pytest.mark.exhaustive)],
    indirect=["any_store"],
)
@pytest.mark.parametrize("count", [2, 20])
def test_of_promoters_who_expect_the_same_champion_one_wins(
    any_store: Store, count: int, rounds: int
) -> None:
    versions = releases(any_store, count + 1)
    for _ in range(rounds):
        before = named(any_store)
        others = [version for version in versions if version != before][:count]
        start, won = threading.Barrier(count), list[str]()

        def compete(version: str, before: Any = before, start: Any = start, won: Any = won) -> None:
            start.wait()
            if point(any_store, pointer(version), before):
                won.append(version)

        in_threads(compete, others)
        assert won == [named(any_store)]
    assert len(moves(any_store)) == rounds
    assert problems(any_store) == []


def test_a_move_that_others_always_overtake_gives_up(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = releases(store, 2)
    promote(store, first)
    tried = []
    monkeypatch.setattr(aliases, "point", lambda *_: tried.append(1))
    with pytest.raises(Unavailable, match=f"moved champion of {MODEL} {aliases.ATTEMPTS} times"):
        promote(store, second)
    assert len(tried) == aliases.ATTEMPTS >= 10
    assert named(store) == first


def test_promoters_who_expect_nothing_all_get_their_turn(any_store: Store) -> None:
    versions = releases(any_store, 6)
    in_threads(lambda version: promote(any_store, version), versions)
    assert {move.version for move in moves(any_store)} == set(versions)
    assert problems(any_store) == []


def test_readers_never_see_a_missing_or_mixed_version(any_store: Store) -> None:
    versions = releases(any_store, 4)
    after = dict(zip(versions, versions[1:] + versions[:1], strict=True))
    whole = {version: opened(any_store).release(version) for version in versions}
    promote(any_store, versions[0])
    turns, over = threading.Semaphore(0), threading.Event()

    def write() -> None:
        try:
            for _ in range(MOVES):
                version = after[champion_of(any_store).version]
                opened(any_store).move(version, by="test", reason="r")
                turns.release(READS_A_MOVE)
        finally:
            over.set()
            turns.release(READERS)

    def read() -> None:
        seen = 0
        while turns.acquire() and not over.is_set():
            now = champion_of(any_store)
            assert opened(any_store).release(now.version) == whole[now.version]
            assert now.number == 1 or after[str(now.previous)] == now.version
            assert now.number >= seen
            seen = now.number

    in_threads(lambda act: act(), [write, *[read] * READERS])
    assert champion_of(any_store).number == MOVES + 1
    assert problems(any_store) == []


def test_a_move_that_was_not_written_down_is_seen_all_the_same(any_store: Store) -> None:
    first, second = releases(any_store, 2)
    promote(any_store, first)
    any_store.remove(f"{HISTORY}/00000001.json")  # as if its mover had been killed
    assert history(any_store) == [(1, first)]
    promote(any_store, second)
    assert history(any_store) == [(2, second), (1, first)]
    assert len(any_store.list(HISTORY)) == 2


def test_a_mover_that_finds_the_pointer_where_it_wants_it_writes_the_move_down(
    any_store: Store,
) -> None:
    (version,) = releases(any_store, 1)
    promote(any_store, version)
    any_store.remove(f"{HISTORY}/00000001.json")  # as if its mover had been killed
    assert promote(any_store, version)
    assert any_store.list(HISTORY) == [f"{HISTORY}/00000001.json"]


def test_looking_for_problems_writes_nothing_down(any_store: Store) -> None:
    promote(any_store, *releases(any_store, 1))
    any_store.remove(f"{HISTORY}/00000001.json")
    assert problems(any_store) == []
    assert any_store.list(HISTORY) == []


def rewrite(store: Store, number: int, **changes: Any) -> None:
    key = f"{HISTORY}/{number:08}.json"
    newest = json.loads(store.read(f"{HISTORY}/00000003.json"))
    document = {**newest, "number": number, **changes}
    store.remove(key)
    store.put(key, json.dumps(document).encode())


def drop(store: Store, number: int) -> None:
    store.remove(f"{HISTORY}/{number:08}.json")


BROKEN = {
    "a gap": (lambda store: drop(store, 2), "between numbers 1 and 3"),
    "no start": (lambda store: drop(store, 1), "before number 2 are"),
    "an invented move": (lambda store: rewrite(store, 4), "did not make"),
    "another move": (lambda store: rewrite(store, 3, reason="x"), "is not the move"),
    "a wrong turn": (lambda store: rewrite(store, 2, version="x"), "the one before to x"),
    "no pointer": (lambda store: store.remove(f"models/{MODEL}/champion.json"), "names nothing"),
}


@pytest.mark.parametrize(("harm", "said"), BROKEN.values(), ids=BROKEN)
def test_a_history_that_does_not_fit_together_is_told(
    store: FolderStore, harm: Any, said: str
) -> None:
    for version in releases(store, 3):
        promote(store, version)
    harm(store)
    assert any(said in problem for problem in problems(store))


def test_a_history_that_has_another_move_under_the_pointers_number_stops_the_next_move(
    store: FolderStore,
) -> None:
    *versions, last = releases(store, 4)
    for version in versions:
        promote(store, version)
    rewrite(store, 3, reason="invented")
    for version in (versions[-1], last):  # also one that only looks whether it is there
        with pytest.raises(BadInput, match=r"00000003\.json is not the move that made"):
            promote(store, version)
    assert named(store) == versions[-1]


def test_what_an_alias_named_before_a_rollback_is_not_what_was_given_up(store: FolderStore) -> None:
    first, second, third = releases(store, 3)
    for version in (first, second, third):
        promote(store, version)
    alias = alias_of(store)
    assert aliases.before(alias.documents()) == second
    opened(store).rollback(second, by="test", reason="worse in use")
    assert aliases.before(alias.documents()) == first
    opened(store).rollback(first, by="test", reason="worse in use")
    assert aliases.before(alias.documents()) is None


def test_an_alias_that_was_taken_away_goes_on_in_its_history(store: FolderStore) -> None:
    first, second = releases(store, 2)
    promote(store, first)
    store.remove(f"models/{MODEL}/champion.json")
    promote(store, second)
    assert history(store) == [(2, second), (1, first)]
    assert problems(store) == []


def test_a_pointer_from_before_moves_were_counted_is_read_and_goes_on(any_store: Store) -> None:
    data = (GOLDEN / "pointer-before-moves.json").read_bytes()
    old = parse(data, Pointer, "golden")
    assert (old.alias, old.number, old.rollback) == ("champion", 0, False)
    any_store.put(f"models/{MODEL}/champion.json", data)
    (version,) = releases(any_store, 1)
    promote(any_store, version)
    assert history(any_store) == [(1, version), (0, old.version)]
    assert moves(any_store)[1].reason == "passed the gate"
    assert problems(any_store) == []


@pytest.mark.parametrize("change", [(b'"schema_version": 1', b'"schema_version": 2'), (b"{", b"")])
def test_a_pointer_that_cannot_be_read_is_never_overwritten(any_store: Store, change: Any) -> None:
    (version,) = releases(any_store, 1)
    foreign = dump(pointer(version)).replace(*change)
    any_store.put(f"models/{MODEL}/champion.json", foreign)
    for act in (
        lambda: promote(any_store, version),
        lambda: opened(any_store).rollback(version, by="test", reason="r"),
        lambda: opened(any_store).prune(0, dry_run=False),
    ):
        with pytest.raises(BadInput, match=r"champion\.json is not a Pointer document"):
            act()
    assert any_store.read(f"models/{MODEL}/champion.json") == foreign
    assert opened(any_store).versions() == [version]


@pytest.mark.parametrize(
    ("known", "says"),
    [({"model": "another"}, "champion of another"), ({"alias": "canary"}, f"canary of {MODEL}")],
)
def test_a_pointer_that_belongs_elsewhere_is_told_and_not_followed(
    store: FolderStore, known: Any, says: str
) -> None:
    (version,) = releases(store, 1)
    store.put(f"models/{MODEL}/champion.json", dump(pointer(version, **known)))
    for act in (
        lambda: opened(store).champion,
        lambda: opened(store).verify_alias(),
        lambda: promote(store, version),
    ):
        with pytest.raises(BadInput, match=rf"champion\.json is damaged: it says {says}"):
            act()


def test_a_pointer_to_a_version_that_is_gone_can_be_promoted_over(any_store: Store) -> None:
    lost = release(any_store, b"lost")
    promote(any_store, lost.version)
    any_store.remove(f"{version_key(MODEL, lost.version)}/manifest.json")
    with pytest.raises(BadInput, match=f"no version {lost.version}"):
        opened(any_store).verify_alias()
    (version,) = releases(any_store, 1)
    promote(any_store, version)
    assert opened(any_store).verify_alias().version == version
