"""A process killed at each of its calls to the store, and what is left then."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import key_pairs
import pytest
from released import MODEL, described, named, promote, release, releases, sources

from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import registry
from skin_pipeline.storage import FolderStore, open_store

WRITES = {"put", "put_file", "swap", "remove"}


class Deadly:
    """A store that kills the process at its nth call, before or after what the call does."""

    def __init__(self, store, nth: int = -1, *, after: bool = False) -> None:
        self._store, self._nth, self._after = store, nth, after
        self.url = store.url
        self.calls: list[str] = []

    def __getattr__(self, name: str):
        method = getattr(self._store, name)

        def call(*arguments, **more):
            self.calls.append(name)
            fatal = len(self.calls) - 1 == self._nth
            if fatal and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(*arguments, **more)
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def killed(act: Callable[[Any], object], store: Deadly) -> None:
    """Do something in another process, which must be killed by its store."""
    child = os.fork()
    if child == 0:
        try:
            act(store)
        finally:  # never back into the tests
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


# Where the store is, and of how many cuts one is tried: in S3 a try takes long.
PLACES = pytest.mark.parametrize(
    ("any_store", "step"),
    [("folder", 1), ("s3", 5), pytest.param("s3", 1, marks=pytest.mark.exhaustive)],
    indirect=["any_store"],
)


def cuts(store, act: Callable[[Any], object]) -> list[tuple[int, bool]]:
    """Where to kill an act: before its nth call of the store, or after it.

    In S3 only around the calls that change something.
    """
    counted = Deadly(store)
    act(counted)
    every = isinstance(store, FolderStore)
    return [
        (nth, after)
        for nth, name in enumerate(counted.calls)
        for after in (False, True)
        if name in WRITES or (every and not after)
    ]


def publish_and_promote(store, content: bytes) -> None:
    made = described(store, content)
    registry.publish(store, made, sources(store, content))
    registry.promote(store, made, by="run", reason="passed the gate")


def publish_signed(store, content: bytes, keys: SigningKeys) -> str:
    made = release(store, content)
    registry.sign(store, MODEL, made.version, keys)
    return made.version


def promote_signed(store, content: bytes, keys: SigningKeys) -> None:
    made = registry.release_of(store, MODEL, publish_signed(store, content, keys))
    registry.promote(store, made, by="run", reason="passed the gate", keys=keys)


def roll_back(store) -> None:
    registry.rollback(store, MODEL, registry.PREVIOUS, by="ops", reason="false alarms")


def prune(store) -> None:
    registry.prune(store, MODEL, 0, dry_run=False)


def assert_sound(store, versions: set[str]) -> None:
    """The champion is one of these; it, its history and all of these that can be seen are whole."""
    assert named(store) in versions
    registry.verify_alias(store, MODEL)
    for version in versions & set(registry.versions(store, MODEL)):
        registry.verify(store, MODEL, version)


@pytest.fixture
def deadly(any_store, request, tmp_path) -> Callable[..., Deadly]:
    """Makes stores that kill, at the same place, and with connections of their own."""

    def make(nth: int, after: bool) -> Deadly:
        if isinstance(any_store, FolderStore):
            return Deadly(any_store, nth, after=after)
        server = request.getfixturevalue("s3_server")
        where = {"endpoint": server.endpoint, "credentials": server.credentials}
        return Deadly(
            open_store(any_store.url, cache=tmp_path / "other", **where), nth, after=after
        )

    return make


@PLACES
def test_a_promotion_killed_anywhere_leaves_a_sound_champion_and_can_be_repeated(
    any_store, step, deadly
):
    first, second = releases(any_store, 2)
    promote(any_store, first)
    promote(any_store, second)
    points = cuts(any_store, partial(publish_and_promote, content=b"counted"))
    assert len(points) >= 12
    for nth, after in points[::step]:
        act = partial(publish_and_promote, content=f"new {nth} {after}".encode())
        before, moves = named(any_store), len(registry.moves(any_store, MODEL))
        killed(act, deadly(nth, after))
        new = described(any_store, act.keywords["content"]).version
        assert_sound(any_store, {before, new})
        act(any_store)
        assert_sound(any_store, {new})
        assert len(registry.moves(any_store, MODEL)) == moves + 1


@PLACES
def test_a_rollback_killed_anywhere_leaves_a_sound_champion_and_can_be_repeated(
    any_store, step, deadly
):
    first, second = releases(any_store, 2)
    promote(any_store, first)
    promote(any_store, second)
    for nth, after in cuts(any_store, roll_back)[::step]:
        promote(any_store, second)
        killed(roll_back, deadly(nth, after))
        assert_sound(any_store, {first, second})
        again = registry.Rollback(first, second)
        registry.carry_out(any_store, MODEL, again, by="ops", reason="false alarms")
        assert_sound(any_store, {first})


@PLACES
def test_pruning_killed_anywhere_leaves_no_half_version_to_be_seen(any_store, step, deadly):
    keeper, goes = releases(any_store, 2)
    promote(any_store, keeper)
    points = cuts(any_store, prune)
    assert registry.versions(any_store, MODEL) == [keeper]
    for nth, after in points[::step]:
        releases(any_store, 2)
        killed(prune, deadly(nth, after))
        assert_sound(any_store, {keeper})
        for version in registry.versions(any_store, MODEL):
            registry.verify(any_store, MODEL, version)
        prune(any_store)  # goes on where the other was stopped
        assert registry.versions(any_store, MODEL) == [keeper]
        left = [key for key in any_store.list(f"models/{MODEL}") if goes in key]
        assert left == []


@PLACES
def test_a_version_that_is_half_gone_can_be_published_again(any_store, step, deadly):
    keeper, goes = releases(any_store, 2)
    promote(any_store, keeper)
    for nth, after in cuts(any_store, prune)[::step]:
        releases(any_store, 2)
        killed(prune, deadly(nth, after))
        releases(any_store, 2)
        registry.verify(any_store, MODEL, goes)


def test_a_signed_promotion_killed_anywhere_leaves_a_signed_champion(store, tmp_path):
    keys = replace(key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    for nth, after in cuts(store, partial(promote_signed, content=b"counted", keys=keys)):
        act = partial(promote_signed, content=f"new {nth} {after}".encode(), keys=keys)
        killed(act, Deadly(store, nth, after=after))
        registry.verify_alias(store, MODEL, keys=keys)
        act(store)
        new = described(store, act.keywords["content"]).version
        assert registry.verify_alias(store, MODEL, keys=keys).version == new
    moves = len(registry.moves(store, MODEL))
    assert len(store.list(f"models/{MODEL}/moves/champion")) == moves > len(WRITES)


def test_signing_a_history_killed_anywhere_can_be_repeated(store, tmp_path):
    keys = replace(key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    sign = partial(registry.sign_history, model=MODEL, alias="champion", by="ops", keys=keys)
    version = publish_signed(store, b"signed", keys)
    promote(store, version)
    before = {key: store.read(key) for key in store.list("")}
    points = cuts(store, sign)
    assert len(points) >= 8
    for nth, after in points:
        for key in {*before, *store.list("")}:
            store.remove(key)
        for key, content in before.items():
            store.put(key, content)
        shutil.rmtree(keys.state, ignore_errors=True)
        killed(sign, Deadly(store, nth, after=after))
        sign(store)
        assert registry.verify_alias(store, MODEL, keys=keys).version == version
        assert registry.champion(store, MODEL, keys=keys).number == 2


def test_a_signed_version_whose_pruning_was_killed_is_whole_or_can_be_signed_anew(store, tmp_path):
    keys = key_pairs.write(tmp_path, "ours")
    goes = publish_signed(store, b"goes", keys)
    points = cuts(store, prune)
    assert registry.versions(store, MODEL) == []
    for nth, after in points:
        publish_signed(store, b"goes", keys)
        killed(prune, Deadly(store, nth, after=after))
        for version in registry.versions(store, MODEL):
            registry.verify(store, MODEL, version, keys)
        publish_signed(store, b"goes", keys)
        registry.verify(store, MODEL, goes, keys)
