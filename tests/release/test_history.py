"""What somebody does who may write to the store and has no key; each of these is found out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import key_pairs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import example, given
from hypothesis import strategies as st
from released import (
    MODEL,
    champion_of,
    in_threads,
    moves,
    named,
    opened,
    problems,
    promote,
    registry,
    release,
    releases,
)

from skin_pipeline.contracts import Pointer, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys, signing
from skin_pipeline.release import Rollback, aliases, commands, pointers, predict, seen
from skin_pipeline.storage import FolderStore, S3Store, Store, digest

GOLDEN = Path(__file__).parents[1] / "golden"
POINTER = f"models/{MODEL}/champion.json"
MOVES = 6


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> SigningKeys:
    return key_pairs.write(tmp_path_factory.mktemp("keys"), "theirs")


def key_of(number: int, alias: str = "champion", model: str = MODEL) -> str:
    return f"models/{model}/moves/{alias}/{number:08}.json"


def overwrite(store: Store, key: str, content: bytes | None) -> None:
    store.remove(key)
    if content is not None:
        store.put(key, content)


def changed(content: bytes, **fields: object) -> bytes:
    return (json.dumps({**json.loads(content), **fields}, indent=2) + "\n").encode()


@dataclass
class History:
    """A signed history of six moves of the champion, over three versions, and one of the canary;
    `documents` are its moves by number, the last one being the pointer's."""

    store: Any
    keys: SigningKeys
    versions: list[str]
    documents: dict[int, bytes]

    def verify(self) -> str:
        """What `models verify` says; it raises what it refuses."""
        return commands.run(registry(self.store, self.keys), "verify", model=MODEL, name=None)

    def promote(self, version: str, keys: SigningKeys | None = None, **known: Any) -> bool:
        more = {"by": "run", "reason": "passed the gate", **known}
        return opened(self.store, keys or self.keys).promote(version, **more)

    def anew(self, folder: Path) -> History:
        """The same, for one who never saw the store."""
        return replace(self, keys=replace(self.keys, state=str(folder)))


def build(store: Store, keys: SigningKeys, moves: int = MOVES) -> History:
    made = History(store, keys, releases(store, 3), {})
    for version in made.versions:
        opened(store, keys).sign(version)
    made.promote(made.versions[0], alias="canary")
    for number in range(1, moves + 1):
        made.promote(made.versions[number % 3])
        made.documents[number] = store.read(POINTER)
    return made


def whole(store: Store) -> dict[str, bytes]:
    return {key: store.read(key) for key in store.list("")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A history in a folder, and all that is in its store and its state: made once."""
    folder = tmp_path_factory.mktemp("built")
    keys = replace(key_pairs.write(folder, "ours"), state=str(folder / "state"))
    made = build(FolderStore(folder / "store"), keys)
    made.verify()
    state = seen.file_of(made.store, keys)
    return made, whole(made.store), state.read_bytes()


def reset(made: History, contents: dict[str, bytes], state: bytes) -> None:
    """Puts a store and what was seen of it back to what they were."""
    for key in {*contents, *made.store.list("")}:
        if not made.store.exists(key) or made.store.read(key) != contents.get(key):
            overwrite(made.store, key, contents.get(key))
    seen.file_of(made.store, made.keys).write_bytes(state)


@pytest.fixture
def history(built: Any) -> History:
    """That history as it was made, whatever another test did to it."""
    reset(*built)
    made: History = built[0]
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


def graft(history: History) -> None:
    """A fifth move that was signed, but is not the one that the sixth followed."""
    overwrite(history.store, POINTER, history.documents[4])
    for number in (5, 6):
        history.store.remove(key_of(number))
    forgetful = replace(history.keys, state="")
    history.promote(json.loads(history.documents[5])["version"], forgetful, reason="another")
    overwrite(history.store, POINTER, history.documents[6])
    overwrite(history.store, key_of(6), history.documents[6])


def invent(history: History) -> None:
    history.store.put(key_of(7), forge(history))


def copy_from_alias(history: History) -> None:
    canary = history.store.read(f"models/{MODEL}/canary.json")
    overwrite(history.store, POINTER, changed(canary, alias="champion", number=6))


def lengthen(history: History) -> None:
    overwrite(history.store, POINTER, history.documents[6] + b" ")


def bend(history: History) -> None:
    """The other half of the signature, which is as right in the eyes of most libraries."""
    signature = json.loads(history.documents[6])["signature"]
    r, s = utils.decode_dss_signature(bytes.fromhex(signature))
    other = utils.encode_dss_signature(r, ec.SECP256R1().group_order - s).hex()
    for key in (POINTER, key_of(6)):
        overwrite(history.store, key, changed(history.documents[6], signature=other))


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
    Attack(bend, WRONG),
    Attack(copy_from_alias, WRONG),
    Attack(renumber, WRONG),
    Attack(forge_middle, "is not the move that number 4 followed", pointer=False),
    Attack(forge_reason, "is not the move that number 4 followed", pointer=False),
    Attack(remove_middle, "the moves between numbers 2 and 4 are missing", pointer=False),
    Attack(remove_first, "the moves before number 2 are missing", pointer=False),
    Attack(swap, "00000002.json is not what it says: move 3", pointer=False),
    Attack(graft, "is not the move that number 6 followed", pointer=False),
    Attack(put_beside, "3.json is no move", pointer=False),
    Attack(invent, "is a move that the pointer did not make", pointer=False),
    Attack(rename_the_store, "was signed for the store"),
    Attack(unname_the_store, "a store without a name (store.json)"),
]
NAMES = [attack.act.__name__ for attack in ATTACKS]


@pytest.mark.parametrize("attack", ATTACKS, ids=NAMES)
def test_an_attack_is_found_out_by_verify_and_nobody_acts_on_such_a_pointer(
    history: History, attack: Attack, tmp_path: Path
) -> None:
    attack.act(history)
    left = whole(history.store)
    with pytest.raises(BadInput) as refused:
        history.verify()
    assert attack.says in str(refused.value)
    for name, act in ACTS.items() if attack.pointer else ():
        with pytest.raises(BadInput) as refused:
            act(history, history.keys)
        assert re.search(f"{re.escape(attack.says)}|{OLD}", str(refused.value)), name
    assert whole(history.store) == left
    if attack.at_first_sight:
        with pytest.raises(BadInput):
            history.anew(tmp_path).verify()
    else:  # and this is all that such a one does not find
        history.anew(tmp_path).verify()


def test_attacks_are_found_out_in_s3(s3_store: S3Store, built: Any, tmp_path: Path) -> None:
    keys = replace(built[0].keys, state=str(tmp_path))
    history = build(s3_store, keys)
    history.verify()
    contents, state = whole(s3_store), seen.file_of(s3_store, keys).read_bytes()
    for act in (put_back, take_away_with_its_history, forge_move, remove_middle):
        act(history)
        with pytest.raises(BadInput) as refused:
            history.verify()
        assert next(attack.says for attack in ATTACKS if attack.act is act) in str(refused.value)
        reset(history, contents, state)
    assert "is whole" in history.verify()


ACTS: dict[str, Callable[[History, SigningKeys], object]] = {
    "predict": lambda history, keys: predict.resolve(opened(history.store, keys)),
    "champion": lambda history, keys: opened(history.store, keys).champion,
    "promote": lambda history, keys: history.promote(history.versions[2], keys),
    "plan": lambda history, keys: opened(history.store, keys).plan_rollback(history.versions[2]),
    "rollback": lambda history, keys: opened(history.store, keys).rollback(
        history.versions[2], by="ops", reason="r"
    ),
    "carry out": lambda history, keys: opened(history.store, keys).carry_out(
        plan(history), by="ops", reason="r"
    ),
    "prune": lambda history, keys: opened(history.store, keys).prune(0, dry_run=False),
}


def plan(history: History) -> Rollback:
    return Rollback(history.versions[2], history.versions[0])


def test_the_signature_of_another_model_is_worth_nothing(history: History) -> None:
    made = release(history.store, b"other", "other")
    opened(history.store, history.keys, name="other").sign(made.version)
    opened(history.store, history.keys, name="other").promote(made.version, by="run", reason="r")
    foreign = history.store.read("models/other/champion.json")
    overwrite(history.store, POINTER, foreign)
    with pytest.raises(BadInput, match="is damaged: it says champion of other"):
        predict.resolve(opened(history.store, history.keys))
    overwrite(history.store, POINTER, changed(foreign, model=MODEL))
    with pytest.raises(BadInput, match=WRONG):
        predict.resolve(opened(history.store, history.keys))


def test_the_signature_of_another_kind_of_document_is_worth_nothing(history: History) -> None:
    plain = changed(history.documents[6], signature="")
    other = signing.sign_bytes(plain, "result", history.keys)
    overwrite(history.store, POINTER, changed(plain, signature=other))
    with pytest.raises(BadInput, match=WRONG):
        history.verify()
    ours = signing.sign_bytes(plain, pointers.KIND, history.keys)
    assert signing.signed_by(history.keys.trusted() or b"", plain, pointers.KIND, ours)


@pytest.mark.parametrize("with_its_name", [False, True])
def test_what_was_signed_for_another_store_is_refused_in_this_one(
    history: History, tmp_path: Path, with_its_name: bool
) -> None:
    other = build(FolderStore(tmp_path / "other"), replace(history.keys, state=""), moves=8)
    for key, content in whole(other.store).items():
        if with_its_name or key != "store.json":
            overwrite(history.store, key, content)
    says = "is another store than the one" if with_its_name else "was signed for the store"
    with pytest.raises(BadInput, match=says):
        history.verify()
    with pytest.raises(BadInput, match=says):
        predict.resolve(opened(history.store, history.keys))


def test_two_signed_moves_under_one_number_are_told(history: History, tmp_path: Path) -> None:
    sixth, seen_here = history.documents[6], history.versions[0]
    put_back(history)  # and one who never saw the sixth move makes another
    history.anew(tmp_path).promote(history.versions[1])
    assert history.store.read(POINTER) != sixth
    with pytest.raises(BadInput, match="there are two moves under one number") as refused:
        predict.resolve(opened(history.store, history.keys))
    assert digest(sixth) in str(refused.value)
    assert seen_here in str(refused.value)


def test_a_longer_history_that_leaves_out_what_was_seen_is_told(
    history: History, tmp_path: Path
) -> None:
    put_back(history)
    for version in (1, 2, 0):
        history.anew(tmp_path).promote(history.versions[version])
    with pytest.raises(BadInput, match="does not lead back to what was seen here"):
        predict.resolve(opened(history.store, history.keys))


def test_a_pointer_signed_by_another_key_is_refused_until_the_history_is_signed_by_ours(
    history: History, theirs: SigningKeys
) -> None:
    version = history.versions[1]
    where = {"alias": "champion", "by": "x", "reason": "r"}
    assert opened(history.store, SigningKeys(private=theirs.private)).move(version, **where)
    with pytest.raises(BadInput, match=f"{WRONG}.*models sign {MODEL}"):
        predict.resolve(opened(history.store, history.keys))
    said = commands.run(registry(history.store, history.keys), "sign", model=MODEL, version=None)
    assert f"champion of {MODEL}: signed version {version} and the history so far, up to" in said
    assert f"canary of {MODEL}: signed already." in said
    assert predict.resolve(opened(history.store, history.keys)).release.version == version
    history.verify()


def test_a_replay_after_a_rollback_and_a_rollback_are_told_apart(history: History) -> None:
    back = opened(history.store, history.keys).rollback(history.versions[1], by="ops", reason="r")
    assert f"It was rolled back on purpose: move {back.number}" in history.verify()
    # The fourth move led to the same version.
    overwrite(history.store, POINTER, history.documents[4])
    for number in range(5, back.number + 1):
        history.store.remove(key_of(number))
    assert named(history.store) == back.version
    with pytest.raises(BadInput) as refused:
        history.verify()
    for part in (OLD, "has move 4", f"move {back.number}", back.moved_at, "This is no rollback"):
        assert part in str(refused.value)
    assert "on purpose: move" not in str(refused.value)


def test_what_is_not_to_be_trusted_is_shown_and_said_to_be_so(history: History) -> None:
    shown = partial(commands.run, registry(history.store, history.keys))
    assert shown("list", model=None).splitlines()[1].endswith("  yes")
    assert "pointer    signed with the trusted key" in shown("show", model=MODEL, name=None)
    put_back(history)
    assert f"  NO: {OLD}" in shown("list", model=None)
    said = shown("show", model=MODEL, name=None)
    assert f"pointer    NOT TRUSTED: {OLD}" in said
    assert history.versions[2] in said
    said = commands.run(registry(history.store, SigningKeys()), "show", model=MODEL, name=None)
    assert "pointer    not verified: SKIN_PUBLIC_KEY names no key" in said
    assert said.count("  not checked  ") == 5


# --- any tampering -------------------------------------------------------------------------------


class Shelf:
    """A store in memory, at the place of another one."""

    def __init__(self, url: str, contents: dict[str, bytes]) -> None:
        self.url, self.contents = url, dict(contents)

    def exists(self, key: str) -> bool:
        return key in self.contents

    def read(self, key: str) -> bytes:
        return self.contents[key]

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        found = self.contents.get(key)
        return None if found is None else (found, digest(found))

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.contents if key.startswith(f"{prefix}/"))


KEYS = [POINTER, "store.json", *(key_of(number) for number in range(1, MOVES + 2))]
FIELDS = {
    "number": st.integers(-1, 9),
    "version": st.sampled_from(["0", "1", "2", "x"]),
    "previous": st.sampled_from(["0", "1", "2", None]),
    "reason": st.text(max_size=3),
    "by": st.text(max_size=3),
    "moved_at": st.sampled_from(["", "2026-11-24T12:00:00+00:00"]),
    "rollback": st.booleans(),
    "alias": st.sampled_from(["champion", "canary"]),
    "previous_sha256": st.sampled_from(["", "0" * 64]),
    "history_sha256": st.sampled_from(["", "0" * 64]),
    "store": st.sampled_from(["", "0" * 32]),
    "signature": st.sampled_from(["", "00"]),
    "more": st.integers(),
}
EDITS = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: st.tuples(st.just(name), FIELDS[name]))
TAMPERING = st.one_of(
    st.tuples(st.just("remove"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("replace"), st.sampled_from(KEYS), st.integers(1, MOVES)),
    st.tuples(st.just("swap"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
    st.tuples(st.just("edit"), st.sampled_from(KEYS), EDITS),
    st.tuples(st.just("blank"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("cut"), st.just(POINTER), st.integers(0, MOVES)),
)


def tamper(shelf: Shelf, documents: dict[int, bytes], how: str, key: str, what: Any) -> None:
    there = shelf.contents
    if how == "remove":
        there.pop(key, None)
    elif how == "replace":
        there[key] = documents[what]
    elif how == "swap":
        one, other = there.pop(key, None), there.pop(what, None)
        there.update({k: v for k, v in ((what, one), (key, other)) if v is not None})
    elif how == "edit" and key in there:
        there[key] = changed(there[key], **dict([what]))
    elif how == "blank" and key in there:
        there[key] += b" "
    elif how == "cut":
        tamper(shelf, documents, *(("replace", POINTER, what) if what else ("remove", POINTER, 0)))
        for number in range(what + 1, MOVES + 1):
            there.pop(key_of(number), None)


def earlier_state(shelf: Shelf, original: dict[str, bytes], documents: Any) -> int | None:
    """The number of the move after which the store was as it is now; None if it never was."""
    there = {key: content for key, content in shelf.contents.items() if "/moves/champion/" in key}
    name = shelf.contents.get("store.json", b"").strip()  # blanks do not make it another
    if name != original["store.json"].strip():
        return None
    for number in range(MOVES + 1):
        moves = {key_of(n): documents[n] for n in range(1, number + 1)}
        unwritten = {key: content for key, content in moves.items() if key != key_of(number)}
        pointer = documents.get(number)
        if shelf.contents.get(POINTER) == pointer and there in (moves, unwritten):
            return number
    return None


def told(shelf: Shelf, keys: SigningKeys) -> list[str]:
    try:
        return problems(cast(Store, shelf), keys=keys)
    except BadInput as error:
        return [str(error)]


@given(st.lists(TAMPERING, min_size=1, max_size=4))
@example([("remove", key_of(6), None)])
@example([("cut", POINTER, 5)])
@example([("replace", POINTER, 5)])
@example([("blank", POINTER, None)])
@example([("edit", "store.json", ("store", "0" * 32))])
def test_any_tampering_is_noticed_but_an_earlier_state_by_one_who_never_saw_a_later(
    built: Any, harms: Any
) -> None:
    made, original, state = built
    seen.file_of(made.store, made.keys).write_bytes(state)  # whatever other tests saw
    shelf = Shelf(made.store.url, original)
    for harm in harms:
        tamper(shelf, made.documents, *harm)
    earlier = earlier_state(shelf, original, made.documents)
    if any("/champion" in key for key in shelf.contents):  # else all that is left is nothing
        assert (told(shelf, replace(made.keys, state="")) == []) == (earlier is not None), harms
    assert (told(shelf, made.keys) == []) == (earlier == MOVES), harms


# --- verify never writes -------------------------------------------------------------------------


class ReadOnly:
    """A store that takes nothing."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        assert name not in {"put", "put_file", "copy", "swap", "remove"}, f"{name} was called"
        return getattr(self._store, name)


@pytest.mark.parametrize("harm", [lambda _: None, lambda it: it.store.remove(key_of(6)), put_back])
@pytest.mark.parametrize("with_keys", [True, False])
def test_verify_never_writes_into_the_store(
    history: History, harm: Any, with_keys: bool, tmp_path: Path
) -> None:
    harm(history)
    keys = history.keys if with_keys else SigningKeys(state=str(tmp_path))
    reading = replace(history, store=ReadOnly(history.store), keys=keys)
    if harm is put_back and with_keys:
        with pytest.raises(BadInput, match=OLD):
            reading.verify()
    else:
        assert "is whole" in reading.verify()


def mislead(history: History) -> None:
    """What the champion named before its last move seems to be another version."""
    first = changed(history.documents[5], version=history.versions[1])
    overwrite(history.store, key_of(5), first)


@pytest.mark.parametrize("harm", [mislead, forge_middle, remove_middle, graft])
def test_a_history_that_was_changed_says_neither_where_to_go_back_nor_what_to_keep(
    history: History, harm: Any
) -> None:
    harm(history)
    before = whole(history.store)
    rollback = opened(history.store, history.keys).plan_rollback
    with pytest.raises(BadInput, match="it is not known what it named before"):
        rollback("previous")
    with pytest.raises(BadInput, match="it is not known what it named before"):
        opened(history.store, history.keys).prune(0, dry_run=False)
    assert whole(history.store) == before
    named_by_hand = rollback(history.versions[1])
    assert named_by_hand == Rollback(history.versions[1], history.versions[0])


# --- stores from before --------------------------------------------------------------------------


@pytest.fixture
def unsigned(store: Store, built: Any, tmp_path: Path) -> History:
    """A history of four moves that were made without keys, of versions that are signed."""
    keys = replace(built[0].keys, state=str(tmp_path / "state"))
    made = History(store, keys, releases(store, 3), {})
    for number, index in enumerate([0, 1, 2, 1], 1):
        promote(store, made.versions[index])
        made.documents[number] = store.read(POINTER)
    for version in made.versions:
        opened(store, keys).sign(version)
    return made


def test_a_history_without_signatures_is_signed_by_the_command_that_the_refusal_names(
    unsigned: History,
) -> None:
    for act in (lambda it, _: it.verify(), *ACTS.values()):
        with pytest.raises(BadInput, match=UNSIGNED) as refused:
            act(unsigned, unsigned.keys)
    (command,) = re.findall(r"where the private key is: (.*)$", str(refused.value))
    assert command == f"python -m skin_pipeline models sign {MODEL}"
    said = commands.run(registry(unsigned.store, unsigned.keys), "sign", model=MODEL, version=None)
    assert "and the history so far, up to move 4, SHA-256 " in said
    now, before = moves(unsigned.store)[:2]
    assert (now.version, now.number) == (before.version, 5)
    assert now.history_sha256 in now.reason
    assert now.reason.removeprefix("signed ") in said
    assert "(moves: 5, signed with the trusted key)" in unsigned.verify()
    again = commands.run(registry(unsigned.store, unsigned.keys), "sign", model=MODEL, version=None)
    assert again == f"champion of {MODEL}: signed already."
    shown = commands.run(registry(unsigned.store, unsigned.keys), "show", model=MODEL, name=None)
    assert re.findall(r"^\d  .*  (yes|later)  ", shown, re.MULTILINE) == ["yes", *["later"] * 4]


def test_a_rollback_after_the_history_was_signed_goes_where_it_would_have_gone(
    unsigned: History,
) -> None:
    expected = aliases.before(opened(unsigned.store).unverified.documents())
    opened(unsigned.store, unsigned.keys).sign_history("champion", "ops")
    now = opened(unsigned.store, unsigned.keys).rollback("previous", by="ops", reason="r")
    assert now.version == expected
    unsigned.verify()


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("change", [{"reason": "x"}, {"moved_at": "yesterday"}])
def test_what_was_signed_of_an_old_history_cannot_be_changed(
    unsigned: History, tmp_path: Path, number: int, change: Any
) -> None:
    opened(unsigned.store, unsigned.keys).sign_history("champion", "ops")
    unsigned.anew(tmp_path / "new").verify()
    overwrite(unsigned.store, key_of(number), changed(unsigned.documents[number], **change))
    with pytest.raises(BadInput, match="the moves before 5 are not those that it signed"):
        unsigned.anew(tmp_path / "newer").verify()


def test_a_version_that_is_not_signed_is_not_vouched_for_by_signing_its_alias(
    store: FolderStore, built: Any
) -> None:
    (version,) = releases(store, 1)
    promote(store, version)
    with pytest.raises(BadInput, match=f"{version} of {MODEL} is not signed"):
        commands.run(registry(store, built[0].keys), "sign", model=MODEL, version=None)
    assert champion_of(store).number == 1


def test_an_old_pointer_is_not_signed_over(history: History) -> None:
    put_back(history)
    overwrite(history.store, POINTER, changed(history.documents[5], signature=""))
    with pytest.raises(BadInput, match=OLD):
        commands.run(registry(history.store, history.keys), "sign", model=MODEL, version=None)


def test_histories_of_before_go_on_without_keys_and_are_chained_from_then_on(
    any_store: Store,
) -> None:
    old = (GOLDEN / "pointer-before-moves.json").read_bytes()
    any_store.put(POINTER, old)
    versions = releases(any_store, 2)
    for version in versions:
        promote(any_store, version)
    newest, first, zeroth = opened(any_store).unverified.documents()
    assert (zeroth.content, first.move.previous_sha256) == (old, digest(old))
    assert newest.move.previous_sha256 == first.sha256
    assert problems(any_store) == []
    overwrite(any_store, key_of(0), changed(old, reason="x"))
    assert "is not the move that number 1 followed" in problems(any_store)[0]


# --- movers --------------------------------------------------------------------------------------


def test_a_mover_without_a_private_key_is_told_what_to_set_before_anything_moves(
    history: History,
) -> None:
    before, keys = whole(history.store), replace(history.keys, private="")
    for name in ("promote", "plan", "rollback", "carry out"):
        with pytest.raises(BadInput, match=r"SKIN_PUBLIC_KEY is set, .* but SKIN_SIGNING_KEY is"):
            ACTS[name](history, keys)
    assert whole(history.store) == before
    assert predict.resolve(opened(history.store, keys)).release.version == history.versions[0]


def test_nobody_moves_on_from_an_old_pointer_even_without_keys(store: FolderStore) -> None:
    versions = releases(store, 4)
    for version in versions[:3]:
        promote(store, version)
    newest = store.read(POINTER)
    overwrite(store, POINTER, store.read(key_of(2)))
    with pytest.raises(BadInput, match="the history goes on to move 3") as refused:
        promote(store, versions[3])
    assert f"copy {key_of(3)} to the pointer" in str(refused.value)
    overwrite(store, POINTER, newest)
    assert promote(store, versions[3])
    assert problems(store) == []


def test_nobody_moves_on_from_a_pointer_that_is_not_the_move_that_was_written_down(
    store: FolderStore,
) -> None:
    versions = releases(store, 3)
    for version in versions[:2]:
        promote(store, version)
    overwrite(store, key_of(2), changed(store.read(key_of(2)), reason="x"))
    with pytest.raises(BadInput, match=r"00000002\.json is not the move that made "):
        promote(store, versions[2])


def test_of_signed_movers_who_race_one_wins_and_what_was_seen_is_never_newer_than_the_store(
    history: History, tmp_path: Path
) -> None:
    keys = replace(history.keys, state=str(tmp_path))
    for _ in range(4):
        expected = named(history.store)

        def compete(version: str, expected: Any = expected) -> None:
            where = {"alias": "champion", "by": "x", "reason": "r", "expected": expected}
            opened(history.store, keys).move(version, **where)
            opened(history.store, keys).pointer("champion")

        in_threads(compete, [version for version in history.versions * 2 if version != expected])
    assert len(moves(history.store)) == MOVES + 4
    replace(history, keys=keys).verify()


# --- a store that was restored -------------------------------------------------------------------


def accept(history: History, reason: str = "the disk failed") -> str:
    arguments = {"model": MODEL, "name": None, "accept_older": reason}
    return commands.run(registry(history.store, history.keys), "verify", **arguments)


def test_a_store_that_was_restored_on_purpose_is_accepted_with_a_reason_that_is_kept(
    history: History,
) -> None:
    put_back_far(history)
    before = whole(history.store)
    with pytest.raises(BadInput, match=f"models verify {MODEL} --accept-older REASON"):
        history.verify()
    said = accept(history)
    assert re.search(r"skin/champion has move 2 .* though move 6 .* was seen at", said)
    assert whole(history.store) == before
    (kept,) = seen.recall(history.store, history.keys).accepted
    assert kept.now
    assert (kept.reason, kept.seen.number, kept.now.number) == ("the disk failed", 6, 2)
    assert history.promote(history.versions[0])
    assert "(moves: 3, signed" in history.verify()
    assert "Nothing is older than what was seen here." in accept(history)


def test_an_alias_that_went_with_the_backup_is_forgotten_when_that_is_accepted(
    history: History,
) -> None:
    take_away_with_its_history(history)
    assert "skin/champion has no move, though move 6" in accept(history)
    assert "champion" not in history.verify()


@pytest.mark.parametrize("harm", [forge_move, take_away, remove_middle, unname_the_store])
def test_only_the_age_of_a_store_is_accepted(history: History, harm: Any) -> None:
    harm(history)
    with suppress(BadInput):
        accept(history)
    with pytest.raises(BadInput):
        history.verify()
    assert seen.recall(history.store, history.keys).of(history.keys)["skin/canary"].number == 1


def test_nothing_older_is_accepted_without_a_reason(history: History) -> None:
    put_back(history)
    with pytest.raises(BadInput, match="it needs a reason"):
        accept(history, " ")
    with pytest.raises(BadInput, match=OLD):
        history.verify()


# --- without keys --------------------------------------------------------------------------------


def test_verify_without_keys_notices_an_old_pointer_too(history: History, tmp_path: Path) -> None:
    keyless = replace(history, keys=SigningKeys(state=str(tmp_path)))
    assert "not verified against a key" in keyless.verify()
    put_back(history)
    with pytest.raises(BadInput, match=OLD):
        keyless.verify()


def test_a_forged_number_seen_without_keys_does_not_bar_the_signed_moves(history: History) -> None:
    forged = changed(history.documents[6], number=10**9, signature="", previous_sha256="")
    known = parse(forged, Pointer, "forged")
    keyless = SigningKeys(state=history.keys.state)
    assert seen.remember(
        history.store, keyless, f"{MODEL}/champion", seen.seen_now(known, digest(forged))
    )
    assert "is whole" in history.verify()
    assert history.promote(history.versions[1])
