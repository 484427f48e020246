"""When a person must approve, whose decision counts, and every way to make one up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import key_pairs
import pytest
from released import MODEL, pointer

from skin_pipeline.config import read_deployment
from skin_pipeline.contracts import Approval, dump
from skin_pipeline.errors import BadInput, Rejected
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release.approvals import NO_RULE, Approvals, Request, Rule, consent, refusal
from skin_pipeline.storage import FolderStore

VERDICT = "gate/7"
ALWAYS = Rule("always")
CHAMPION = pointer("4f1a", number=3)


def approval(**known: Any) -> Approval:
    """An approval by alice, against the champion of these tests."""
    usual = {
        "verdict": VERDICT,
        "model": MODEL,
        "champion": "4f1a",
        "champion_move": 3,
        "approved": True,
        "by": "alice",
        "at": "2026-11-26T08:00:00.000000+00:00",
        "dag": "skin_training",
        "run": "manual__1",
        "asked": "a1",
    }
    return Approval(**{**usual, **known})


def made(store: FolderStore, rule: Rule = ALWAYS, keys: SigningKeys | None = None) -> Approvals:
    return Approvals(store, keys or SigningKeys(), rule)


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return key_pairs.write(tmp_path, "ours")


def only_key(store: FolderStore) -> str:
    (key,) = store.list("approvals")
    return key


# --- the rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "first", "later"),
    [("never", False, False), ("first", True, False), ("always", True, True)],
)
def test_the_setting_says_when_a_person_is_asked(when: Any, first: bool, later: bool) -> None:
    assert (Rule(when).asks(None), Rule(when).asks(CHAMPION)) == (first, later)


def test_a_deployment_names_who_may_approve(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Rule.of(read_deployment()) == NO_RULE
    monkeypatch.setenv("SKIN_APPROVAL", "first")
    monkeypatch.setenv("SKIN_APPROVERS", " alice, bob ,")
    rule = Rule.of(read_deployment())
    assert rule == Rule("first", ("alice", "bob"))
    assert (rule.allows("bob"), rule.allows("mallory"), rule.allows("")) == (True, False, False)
    assert (ALWAYS.allows("anybody"), ALWAYS.allows("")) == (True, False)


# --- which decision counts ------------------------------------------------------------------------


def test_where_no_approval_is_needed_none_is_read(store: FolderStore) -> None:
    made(store).write(approval())
    store.swap(only_key(store), b"nonsense", store.tagged(only_key(store))[1])  # type: ignore[index]
    assert made(store, NO_RULE).check(MODEL, VERDICT, CHAMPION) is None
    assert made(store, Rule("first")).check(MODEL, VERDICT, CHAMPION) is None
    with pytest.raises(BadInput, match="is not a Approval document"):
        made(store).check(MODEL, VERDICT, CHAMPION)


def test_an_approval_of_this_verdict_against_this_champion_holds(store: FolderStore) -> None:
    assert made(store).write(approval())
    assert made(store).check(MODEL, VERDICT, CHAMPION) == approval()
    first = approval(verdict="gate/1", champion="", champion_move=0)
    made(store).write(first)
    assert made(store).check(MODEL, "gate/1", None) == first


def test_without_a_decision_nothing_is_promoted_and_what_to_do_is_said(store: FolderStore) -> None:
    made(store).write(approval(verdict="gate/other"))
    with pytest.raises(
        BadInput, match=r"nobody has decided about gate/7.*clear the task `approve`"
    ):
        made(store).check(MODEL, VERDICT, CHAMPION)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": "other"}, "is for the model other, not for skin"),
        ({"champion": "77c0"}, "the champion was 77c0 (move 3), and is 4f1a (move 3) now"),
        ({"champion_move": 1}, "the champion was 4f1a (move 1), and is 4f1a (move 3) now"),
        ({"champion": "", "champion_move": 0}, "the champion was none, and is 4f1a (move 3) now"),
        ({"by": "mallory"}, "does not count: SKIN_APPROVERS names alice, bob"),
        ({"by": ""}, "by nobody"),
    ],
)
def test_an_approval_of_something_else_does_not_hold(
    store: FolderStore, changes: dict[str, Any], problem: str
) -> None:
    theirs = made(store, Rule("always", ("alice", "bob")))
    theirs.write(approval(**changes))
    with pytest.raises(BadInput) as error:
        theirs.check(MODEL, VERDICT, CHAMPION)
    assert problem in str(error.value)
    assert "Nothing was promoted" in str(error.value)


def test_an_approval_without_a_person_counts_for_nobody_even_where_all_may_approve(
    store: FolderStore,
) -> None:
    made(store).write(approval(by=""))
    with pytest.raises(BadInput, match=r"by nobody .* does not count"):
        made(store).check(MODEL, VERDICT, CHAMPION)


def test_the_newest_decision_counts(store: FolderStore) -> None:
    theirs, later = made(store), "2026-11-26T08:00:00.000001+00:00"
    theirs.write(approval(asked="z"))
    theirs.write(approval(asked="b", approved=False, at=later, note="too few images"))
    with pytest.raises(Rejected, match=r"^rejected by alice: too few images$"):
        theirs.check(MODEL, VERDICT, CHAMPION)
    theirs.write(approval(asked="c", by="bob", at="2026-11-26T09:00:00.000000+00:00"))
    found = theirs.check(MODEL, VERDICT, CHAMPION)
    assert found
    assert found.by == "bob"


def test_a_decision_is_written_once(store: FolderStore) -> None:
    assert made(store).write(approval(approved=False))
    assert not made(store).write(approval())
    with pytest.raises(Rejected):
        made(store).check(MODEL, VERDICT, CHAMPION)


def test_nobody_is_asked_again_about_what_was_decided(store: FolderStore) -> None:
    asked = Request.about(MODEL, VERDICT, CHAMPION)
    theirs = made(store)
    assert not theirs.settles(asked, again=False)
    theirs.write(approval())
    assert theirs.settles(asked, again=True)
    assert not theirs.settles(Request.about(MODEL, VERDICT, pointer("4f1a", number=5)), again=False)


def test_a_rejection_stands_until_somebody_wants_to_be_asked_again(store: FolderStore) -> None:
    asked, theirs = Request.about(MODEL, VERDICT, CHAMPION), made(store)
    theirs.write(approval(approved=False))
    assert theirs.settles(asked, again=False)
    assert not theirs.settles(asked, again=True)


def test_silence_is_no_answer_for_a_later_run(store: FolderStore) -> None:
    theirs = made(store)
    theirs.write(approval(approved=False, by=""))
    assert not theirs.settles(Request.about(MODEL, VERDICT, CHAMPION), again=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "rejected by alice"),
        ({"note": "blurred"}, "rejected by alice: blurred"),
        ({"by": "", "note": "nobody approved within 72 hours"}, "nobody approved within 72 hours"),
        ({"by": ""}, "nobody approved in time"),
    ],
)
def test_a_refusal_says_who_and_why(changes: Any, words: str) -> None:
    assert refusal(approval(approved=False, **changes)) == words


def test_a_consent_says_so_if_it_is_to_ones_own_run() -> None:
    assert consent(approval(started_by="bob")) == "approved by alice"
    own = approval(started_by="alice", note="seen")
    assert consent(own) == "approved by alice, who started the run: seen"


# --- made up --------------------------------------------------------------------------------------


def test_a_signed_approval_holds(store: FolderStore, keys: SigningKeys) -> None:
    theirs = made(store, keys=keys)
    theirs.write(approval())
    found = theirs.check(MODEL, VERDICT, CHAMPION)
    assert found
    assert found.by == "alice"


def forged(store: FolderStore, content: bytes, key: str = "") -> None:
    """Put a document where a decision is, or would be."""
    key = key or only_key(store)
    found = store.tagged(key)
    assert store.swap(key, content, found[1] if found else None)


def test_what_an_attacker_of_the_store_makes_up_is_refused(
    store: FolderStore, keys: SigningKeys, tmp_path: Path
) -> None:
    ours = made(store, keys=keys)
    ours.write(approval(approved=False))
    signed = store.read(only_key(store))

    def refused(problem: str) -> None:
        with pytest.raises(BadInput, match=problem):
            ours.check(MODEL, VERDICT, CHAMPION)

    forged(store, dump(approval()))
    refused("is not signed, but SKIN_PUBLIC_KEY is set")
    forged(store, signed.replace(b'"approved": false', b'"approved": true'))
    refused("the signature of the decision .* is not right")
    forged(store, signed.replace(b'"note": ""', b'"note": "x"'))
    refused("the signature of the decision .* is not right")
    store.remove(only_key(store))
    made(store, keys=key_pairs.write(tmp_path, "theirs")).write(approval())
    refused("the signature of the decision .* is by another key")


def test_an_approval_of_another_verdict_copied_here_is_refused(
    store: FolderStore, keys: SigningKeys
) -> None:
    ours = made(store, keys=keys)
    ours.write(approval(verdict="gate/other"))
    elsewhere = only_key(store)
    ours.write(approval(asked="n", approved=False))
    (refusing,) = [key for key in store.list("approvals") if key != elsewhere]
    here = f"{refusing.rsplit('/', 1)[0]}/a1.json"
    forged(store, store.read(elsewhere), here)
    with pytest.raises(BadInput, match="is not what it says: it is about gate/other"):
        ours.check(MODEL, VERDICT, CHAMPION)


def test_an_approval_for_another_store_is_refused(
    store: FolderStore, keys: SigningKeys, tmp_path: Path
) -> None:
    other = FolderStore(tmp_path / "other")
    made(other, keys=keys).write(approval())
    made(store, keys=keys).write(approval(verdict="gate/1"))  # gives this store its name
    forged(store, other.read(only_key(other)), only_key(other))
    with pytest.raises(BadInput, match="was signed for the store"):
        made(store, keys=keys).check(MODEL, VERDICT, CHAMPION)


def test_the_signature_of_a_move_is_none_of_an_approval(
    store: FolderStore, keys: SigningKeys
) -> None:
    from skin_pipeline.release import pointers

    theirs = made(store, keys=keys)
    theirs.write(approval(approved=False))
    forged(store, pointers.sealed(store, approval(), keys))  # as a pointer
    with pytest.raises(BadInput, match=r"the signature of the decision .* is not right"):
        theirs.check(MODEL, VERDICT, CHAMPION)


def test_where_signatures_are_required_and_none_can_be_made_nothing_is_written(
    store: FolderStore, keys: SigningKeys
) -> None:
    checking = SigningKeys(public=keys.public)
    with pytest.raises(BadInput, match="SKIN_SIGNING_KEY"):
        made(store, keys=checking).write(approval())
    assert store.list("approvals") == []
