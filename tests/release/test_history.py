"""What somebody does who may write to the store and has no key; each of these is found out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import key_pairs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from released import MODEL, in_threads, named, promote, release, releases

from skin_pipeline import cli, steps
from skin_pipeline.config import deployment
from skin_pipeline.contracts import Pointer, dump, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.release import predict, registry, signing
from skin_pipeline.release.signing import Keys
from skin_pipeline.storage import FolderStore, digest

POINTER = f"models/{MODEL}/champion.json"
MOVES = 6


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return key_pairs.write(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Keys:
    return key_pairs.write(tmp_path_factory.mktemp("keys"), "theirs")


@pytest.fixture
def models(models, any_store, keys, monkeypatch, tmp_path):
    """Runs `models …` with both keys and a state of the test's own, on either store."""
    monkeypatch.setattr(cli, "store_of", lambda _: any_store)
    monkeypatch.setenv("SKIN_SIGNING_KEY", keys.private)
    monkeypatch.setenv("SKIN_PUBLIC_KEY", keys.public)
    monkeypatch.setenv("SKIN_STATE", str(tmp_path / "state"))
    return models


def key_of(number: int, alias: str = "champion", model: str = MODEL) -> str:
    return f"models/{model}/moves/{alias}/{number:08}.json"


def overwrite(store, key: str, content: bytes | None) -> None:
    store.remove(key)
    if content is not None:
        store.put(key, content)


def changed(content: bytes, **fields: object) -> bytes:
    return (json.dumps({**json.loads(content), **fields}, indent=2) + "\n").encode()


@dataclass
class History:
    """A signed history of six moves of the champion, over three versions, and one of the canary;
    `documents` are its moves by number, the last one being the pointer's."""

    store: object
    models: Callable[..., tuple[int, str]]
    versions: list[str]
    documents: dict[int, bytes]

    def alias(self, version: str, alias: str = "champion") -> None:
        status, said = self.models("alias", MODEL, alias, version, "--reason", "passed the gate")
        assert status == 0, said

    def verify(self) -> tuple[int, str]:
        return self.models("verify", MODEL)


@pytest.fixture
def history(any_store, models) -> History:
    versions = releases(any_store, 3)
    for version in versions:
        assert models("sign", MODEL, version)[0] == 0
    made = History(any_store, models, versions, {})
    made.alias(versions[0], "canary")
    for number in range(1, MOVES + 1):
        made.alias(versions[number % 3])
        made.documents[number] = any_store.read(POINTER)
    assert made.verify()[0] == 0
    return made


# --- attacks -------------------------------------------------------------------------------------


def put_back(history: History) -> None:
    overwrite(history.store, POINTER, history.documents[5])
    history.store.remove(key_of(6))


def put_back_openly(history: History) -> None:
    overwrite(history.store, POINTER, history.documents[5])


def put_back_far(history: History) -> None:
    overwrite(history.store, POINTER, history.documents[2])
    for number in range(3, 7):
        history.store.remove(key_of(number))


def start_anew(history: History) -> None:
    overwrite(history.store, POINTER, history.documents[1])
    for number in range(2, 7):
        history.store.remove(key_of(number))


def take_away(history: History) -> None:
    history.store.remove(POINTER)


def take_away_with_its_history(history: History) -> None:
    for key in [POINTER, *history.store.list(f"models/{MODEL}/moves/champion")]:
        history.store.remove(key)


def forge(history: History) -> bytes:
    """A pointer to an older signed version, with all that it takes but the key."""
    older = history.versions[1]
    newest = history.documents[6]
    now = {"number": 7, "version": older, "previous": json.loads(newest)["version"]}
    return changed(newest, **now, previous_sha256=digest(newest))


def forge_pointer(history: History) -> None:
    overwrite(history.store, POINTER, forge(history))


def forge_move(history: History) -> None:
    overwrite(history.store, POINTER, forge(history))
    overwrite(history.store, key_of(7), forge(history))


def forge_unsigned(history: History) -> None:
    forged = changed(forge(history), signature="", store="")
    overwrite(history.store, POINTER, forged)
    overwrite(history.store, key_of(7), forged)


def forge_as_of_before(history: History) -> None:
    """As code wrote it that knew neither chains nor signatures."""
    said = json.loads(forge(history))
    for later in ("previous_sha256", "history_sha256", "store", "signature"):
        said.pop(later, None)
    overwrite(history.store, POINTER, json.dumps(said).encode())


def aim_elsewhere(history: History) -> None:
    overwrite(history.store, POINTER, changed(history.documents[6], version=history.versions[1]))
    overwrite(history.store, key_of(6), changed(history.documents[6], version=history.versions[1]))


def strip(history: History) -> None:
    overwrite(history.store, POINTER, changed(history.documents[6], signature=""))


def forge_middle(history: History) -> None:
    first = history.versions[1]
    overwrite(history.store, key_of(3), changed(history.documents[3], version=first))
    overwrite(history.store, key_of(4), changed(history.documents[4], previous=first))


def forge_reason(history: History) -> None:
    overwrite(history.store, key_of(3), changed(history.documents[3], reason="nobody knows"))


def remove_middle(history: History) -> None:
    history.store.remove(key_of(3))


def remove_first(history: History) -> None:
    history.store.remove(key_of(1))


def renumber(history: History) -> None:
    """The third move is taken out, and what follows moves up."""
    for number in (3, 4, 5):
        later = changed(history.documents[number + 1], number=number)
        overwrite(history.store, key_of(number), later)
    history.store.remove(key_of(6))
    overwrite(history.store, POINTER, changed(history.documents[6], number=5))


def swap(history: History) -> None:
    overwrite(history.store, key_of(2), history.documents[3])
    overwrite(history.store, key_of(3), history.documents[2])


def put_beside(history: History) -> None:
    history.store.put(key_of(3).replace("00000003", "3"), history.documents[2])


def invent(history: History) -> None:
    history.store.put(key_of(7), forge(history))


def copy_from_alias(history: History) -> None:
    canary = history.store.read(f"models/{MODEL}/canary.json")
    overwrite(history.store, POINTER, changed(canary, alias="champion", number=6))


def lengthen(history: History) -> None:
    overwrite(history.store, POINTER, history.documents[6] + b" ")


def rename_the_store(history: History) -> None:
    overwrite(history.store, "store.json", changed(b"{}", schema_version=1, store="0" * 32))


def unname_the_store(history: History) -> None:
    history.store.remove("store.json")


@dataclass(frozen=True)
class Attack:
    """What is done; what `models verify` says; whether one who never saw the store finds it too;
    whether it changes what the pointer is, so that nobody may act on it."""

    act: Callable[[History], None]
    says: str
    at_first_sight: bool = True
    pointer: bool = True


OLD = "an old pointer was put back"
UNSIGNED, WRONG = "is not signed, but SKIN_PUBLIC_KEY is set", "the signature of move"
ATTACKS = [
    Attack(put_back, OLD, at_first_sight=False),
    Attack(put_back_openly, OLD),
    Attack(put_back_far, OLD, at_first_sight=False),
    Attack(start_anew, OLD, at_first_sight=False),
    Attack(take_away, "names nothing"),
    Attack(take_away_with_its_history, "names nothing", at_first_sight=False),
    Attack(forge_pointer, WRONG),
    Attack(forge_move, WRONG),
    Attack(forge_unsigned, UNSIGNED),
    Attack(forge_as_of_before, UNSIGNED),
    Attack(aim_elsewhere, WRONG),
    Attack(strip, UNSIGNED),
    Attack(lengthen, WRONG),
    Attack(copy_from_alias, WRONG),
    Attack(renumber, WRONG),
    Attack(forge_middle, "is not the move that number 4 followed", pointer=False),
    Attack(forge_reason, "is not the move that number 4 followed", pointer=False),
    Attack(remove_middle, "the moves between numbers 2 and 4 are missing", pointer=False),
    Attack(remove_first, "the moves before number 2 are missing", pointer=False),
    Attack(swap, "00000002.json is not what it says: move 3", pointer=False),
    Attack(put_beside, "3.json is no move", pointer=False),
    Attack(invent, "is a move that the pointer did not make", pointer=False),
    Attack(rename_the_store, "was signed for the store"),
    Attack(unname_the_store, "a store without a name (store.json)"),
]
NAMES = [attack.act.__name__ for attack in ATTACKS]


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
@pytest.mark.parametrize("any_store", ["folder"], indirect=True)
def test_an_attack_is_found_out_by_verify_and_nobody_acts_on_such_a_pointer(
    history, attack, monkeypatch, tmp_path
):
    before = set(history.store.list(""))
    attack.act(history)
    left = {key: history.store.read(key) for key in history.store.list("")}
    status, said = history.verify()
    assert status == 1
    assert attack.says in said
    assert "Traceback" not in said
    if attack.pointer:
        for name, act in ACTS.items():
            with pytest.raises(BadInput) as refused:
                act(history, Keys.of(deployment()))
            assert attack.says in str(refused.value) or "names nothing" in str(refused.value), name
    assert {key: history.store.read(key) for key in history.store.list("")} == left
    assert before  # there was something to lose
    monkeypatch.setenv("SKIN_STATE", str(tmp_path / "of one who never saw it"))
    assert (history.verify()[0] == 1) == attack.at_first_sight


@pytest.mark.parametrize("act", [put_back, take_away_with_its_history, forge_move, remove_middle])
@pytest.mark.parametrize("any_store", ["s3"], indirect=True)
def test_an_attack_is_found_out_in_s3(history, act):
    act(history)
    status, said = history.verify()
    assert status == 1
    assert next(attack.says for attack in ATTACKS if attack.act is act) in said


def _promote(history: History, keys: Keys) -> None:
    made = registry.release_of(history.store, MODEL, history.versions[2])
    registry.promote(history.store, made, by="run", reason="passed the gate", keys=keys)


def _champion_step(history: History, keys: Keys) -> None:
    registry.champion(history.store, MODEL, keys=keys)


ACTS: dict[str, Callable[[History, Keys], object]] = {
    "predict": lambda history, keys: predict.resolve(history.store, MODEL, keys=keys),
    "promote": _promote,
    "plan": lambda history, keys: registry.plan_rollback(
        history.store, MODEL, history.versions[2], keys=keys
    ),
    "rollback": lambda history, keys: registry.rollback(
        history.store, MODEL, history.versions[2], by="ops", reason="r", keys=keys
    ),
    "carry out": lambda history, keys: registry.carry_out(
        history.store,
        MODEL,
        registry.Rollback(history.versions[2], history.versions[0]),
        by="ops",
        reason="r",
        keys=keys,
    ),
    "prune": lambda history, keys: registry.prune(
        history.store, MODEL, 0, dry_run=False, keys=keys
    ),
    "champion": _champion_step,
}
