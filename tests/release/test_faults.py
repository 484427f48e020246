"""A process killed at each of its calls to the store, and what is left then."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import key_pairs
import pytest
from released import (
    MODEL,
    champion_of,
    described,
    moves,
    named,
    opened,
    promote,
    release,
    releases,
    sources,
)

from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import PREVIOUS, Rollback
from skin_pipeline.storage import FolderStore, Store, open_store

WRITES = {"put", "put_file", "copy", "swap", "remove"}


class Deadly:
    """A store that kills the process at its nth call, before or after what the call does."""

    def __init__(self, store: Any, nth: int = -1, *, after: bool = False) -> None:
        self._store, self._nth, self._after = store, nth, after
        self.url = store.url
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*arguments: Any, **more: Any) -> Any:
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


def cuts(store: Store, act: Callable[[Any], object]) -> list[tuple[int, bool]]:
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


def publish_and_promote(store: Store, content: bytes) -> None:
    made = described(store, content)
    opened(store).publish(made, sources(store, content))
    opened(store).promote(made.version, by="run", reason="passed the gate")


def publish_signed(store: Store, content: bytes, keys: SigningKeys) -> str:
    made = release(store, content)
    opened(store, keys).sign(made.version)
    return made.version


def promote_signed(store: Store, content: bytes, keys: SigningKeys) -> None:
    made = opened(store).release(publish_signed(store, content, keys))
    opened(store, keys).promote(made.version, by="run", reason="passed the gate")


def roll_back(store: Store) -> None:
    opened(store).rollback(PREVIOUS, by="ops", reason="false alarms")


def prune(store: Store) -> None:
    opened(store).prune(0, dry_run=False)


def assert_sound(store: Store, versions: set[str]) -> None:
    """The champion is one of these; it, its history and all of these that can be seen are whole."""
    assert named(store) in versions
    opened(store).verify_alias()
    for version in versions & set(opened(store).versions()):
        opened(store).verify(version)


@pytest.fixture
def deadly(
    any_store: Store, request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., Deadly]:
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
    any_store: Store, step: Any, deadly: Any
) -> None:
    first, second = releases(any_store, 2)
    promote(any_store, first)
    promote(any_store, second)
    points = cuts(any_store, partial(publish_and_promote, content=b"counted"))
    assert len(points) >= 12
    for nth, after in points[::step]:
        act = partial(publish_and_promote, content=f"new {nth} {after}".encode())
        before, count = champion_of(any_store).version, len(moves(any_store))
        killed(act, deadly(nth, after))
        new = described(any_store, act.keywords["content"]).version
        assert_sound(any_store, {before, new})
        act(any_store)
        assert_sound(any_store, {new})
        assert len(moves(any_store)) == count + 1


@PLACES
def test_a_rollback_killed_anywhere_leaves_a_sound_champion_and_can_be_repeated(
    any_store: Store, step: Any, deadly: Any
) -> None:
    first, second = releases(any_store, 2)
    promote(any_store, first)
    promote(any_store, second)
    for nth, after in cuts(any_store, roll_back)[::step]:
        promote(any_store, second)
        killed(roll_back, deadly(nth, after))
        assert_sound(any_store, {first, second})
        again = Rollback(first, second)
        opened(any_store).carry_out(again, by="ops", reason="false alarms")
        assert_sound(any_store, {first})


@PLACES
def test_pruning_killed_anywhere_leaves_no_half_version_to_be_seen(
    any_store: Store, step: Any, deadly: Any
) -> None:
    keeper, goes = releases(any_store, 2)
    promote(any_store, keeper)
    points = cuts(any_store, prune)
    assert opened(any_store).versions() == [keeper]
    for nth, after in points[::step]:
        releases(any_store, 2)
        killed(prune, deadly(nth, after))
        assert_sound(any_store, {keeper})
        for version in opened(any_store).versions():
            opened(any_store).verify(version)
        prune(any_store)  # goes on where the other was stopped
        assert opened(any_store).versions() == [keeper]
        left = [key for key in any_store.list(f"models/{MODEL}") if goes in key]
        assert left == []


@PLACES
def test_a_version_that_is_half_gone_can_be_published_again(
    any_store: Store, step: Any, deadly: Any
) -> None:
    keeper, goes = releases(any_store, 2)
    promote(any_store, keeper)
    for nth, after in cuts(any_store, prune)[::step]:
        releases(any_store, 2)
        killed(prune, deadly(nth, after))
        releases(any_store, 2)
        opened(any_store).verify(goes)


def test_a_signed_promotion_killed_anywhere_leaves_a_signed_champion(
    store: FolderStore, tmp_path: Path
) -> None:
    keys = replace(key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    for nth, after in cuts(store, partial(promote_signed, content=b"counted", keys=keys)):
        act = partial(promote_signed, content=f"new {nth} {after}".encode(), keys=keys)
        killed(act, Deadly(store, nth, after=after))
        opened(store, keys).verify_alias()
        act(store)
        new = described(store, act.keywords["content"]).version
        assert opened(store, keys).verify_alias().version == new
    count = len(moves(store))
    assert len(store.list(f"models/{MODEL}/moves/champion")) == count > len(WRITES)


def test_signing_a_history_killed_anywhere_can_be_repeated(
    store: FolderStore, tmp_path: Path
) -> None:
    keys = replace(key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    version = publish_signed(store, b"signed", keys)
    promote(store, version)

    def sign(store: Store) -> None:
        opened(store, keys).sign_history("champion", "ops")

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
        assert opened(store, keys).verify_alias().version == version
        assert champion_of(store, keys).number == 2


def test_a_signed_version_whose_pruning_was_killed_is_whole_or_can_be_signed_anew(
    store: FolderStore, tmp_path: Path
) -> None:
    keys = key_pairs.write(tmp_path, "ours")
    goes = publish_signed(store, b"goes", keys)
    points = cuts(store, prune)
    assert opened(store).versions() == []
    for nth, after in points:
        publish_signed(store, b"goes", keys)
        killed(prune, Deadly(store, nth, after=after))
        for version in opened(store).versions():
            opened(store, keys).verify(version)
        publish_signed(store, b"goes", keys)
        opened(store, keys).verify(goes)
