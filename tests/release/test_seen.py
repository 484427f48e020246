"""What is remembered of a store where a verifier runs."""

from __future__ import annotations

import json
import stat
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from children import in_children
from released import champion_of, opened, promote, releases

from skin_pipeline.config import Deployment
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import seen
from skin_pipeline.storage import FolderStore, S3Store, Store


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return SigningKeys(state=str(tmp_path / "home/state"))


@pytest.fixture
def file(store: Store, keys: SigningKeys) -> Path:
    """The memory of a store whose champion was seen."""
    promote(store, *releases(store, 1))
    opened(store, keys).verify_alias()
    return seen.file_of(store, keys)


def entry(number: int, sha256: str = "0" * 64) -> seen.Seen:
    return seen.Seen(number=number, sha256=sha256, version="v", moved_at="then", seen_at="now")


def test_what_was_seen_is_the_users_alone(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".part"] == []


def test_a_memory_says_when_which_move_was_seen(
    store: FolderStore, keys: SigningKeys, file: Path
) -> None:
    (known,) = seen.recall(store, keys).unsigned.values()
    pointer = champion_of(store)
    assert (known.number, known.version, known.moved_at) == (1, pointer.version, pointer.moved_at)
    assert known.seen_at >= known.moved_at


OTHER = "it is about the store file:///elsewhere"
DAMAGE = {
    "cut short": (lambda text: text[:-9], "is not a Memory document"),
    "empty": (lambda _: "", "is not a Memory document"),
    "no text": (lambda _: "\0", "is not a Memory document"),
    "of a later schema": (lambda text: text.replace(": 1,", ": 2,", 1), "is not a Memory document"),
    "of another store": (
        lambda text: json.dumps({**json.loads(text), "place": "file:///elsewhere"}),
        OTHER,
    ),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE)
def test_a_memory_that_cannot_be_right_is_refused_and_left_as_it_is(
    store: FolderStore, keys: SigningKeys, file: Path, damage: Any, says: str
) -> None:
    file.write_text(damage(file.read_text()))
    before = file.read_bytes()
    with pytest.raises(BadInput) as refused:
        opened(store, keys).verify_alias()
    for part in (says, str(file), seen.SETTING, "models show"):
        assert part in str(refused.value)
    assert file.read_bytes() == before


def test_a_folder_in_the_place_of_a_memory_is_refused(
    store: FolderStore, keys: SigningKeys, file: Path
) -> None:
    file.unlink()
    file.mkdir()
    with pytest.raises(BadInput, match="cannot be looked up"):
        seen.recall(store, keys)


def test_each_store_has_a_memory_of_its_own(
    store: FolderStore, keys: SigningKeys, file: Path, tmp_path: Path
) -> None:
    other = FolderStore(tmp_path / "other")
    assert seen.recall(other, keys).unsigned == {}
    assert seen.file_of(other, keys) != file


def test_two_servers_with_a_bucket_of_one_name_are_two_stores(
    s3_store: S3Store, keys: SigningKeys
) -> None:
    class Elsewhere:
        url, endpoint = s3_store.url, "http://elsewhere:1"

    assert seen.file_of(cast(Store, Elsewhere()), keys) != seen.file_of(s3_store, keys)


def test_an_older_move_is_never_remembered_in_the_place_of_a_newer_one(
    store: FolderStore, keys: SigningKeys
) -> None:
    for number in (3, 2, 3):
        assert seen.remember(store, keys, "m/a", entry(number))
    assert seen.recall(store, keys).unsigned["m/a"].number == 3
    assert seen.remember(store, keys, "m/a", entry(3, "1" * 64))
    assert seen.recall(store, keys).unsigned["m/a"].sha256 == "0" * 64


def test_processes_that_remember_at_once_lose_nothing(
    store: FolderStore, keys: SigningKeys
) -> None:
    def remember(alias: str) -> None:
        for number in range(1, 21):
            seen.remember(store, keys, alias, entry(number))

    in_children([partial(remember, alias) for alias in ("m/a", "m/b", "m/a")])
    known = seen.recall(store, keys).unsigned
    assert {name: item.number for name, item in known.items()} == {"m/a": 20, "m/b": 20}


def test_where_nothing_can_be_remembered_it_is_said_and_what_is_signed_is_used(
    store: FolderStore,
    keys: SigningKeys,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    promote(store, *releases(store, 1))
    opened(store, keys).verify_alias()
    assert "move_not_remembered" in caplog.text
    assert f"name a folder that this user may write to in {seen.SETTING}" in caplog.text
    with pytest.raises(BadInput, match="No space left on device"):
        seen.accept(store, keys, {"m/a": entry(1)}, identity="", by="ops", reason="r")


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ({"SKIN_STATE": "/srv/state"}, "/srv/state"),
        ({"XDG_STATE_HOME": "/home/a/state"}, "/home/a/state/skin-pipeline"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/a"}, "/home/a/.local/state/skin-pipeline"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/a"}, "/home/a/.local/state/skin-pipeline"),
    ],
)
def test_the_folder_is_what_a_setting_or_the_desktop_standard_says(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], folder: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert SigningKeys.of(Deployment()).state == folder


def test_a_user_without_a_home_remembers_nothing(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)

    def nobody(*_: object) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    keys = SigningKeys.of(Deployment())
    assert keys.state == ""
    assert not seen.remember(store, keys, "m/a", entry(1))
