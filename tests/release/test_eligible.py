"""Which versions may become the champion: what a run must not promote again, what a person may."""

from __future__ import annotations

from typing import Any

import pytest
from released import judged_release, opened, promote, releases

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore


def given_up(store: FolderStore) -> list[str | None]:
    """The versions that were rolled back from for good, newest first."""
    return [move.previous for move in opened(store).rolled_back()]


def roll_back(store: FolderStore) -> None:
    opened(store).rollback("previous", by="alice", reason="false alarms")


def test_each_version_that_was_rolled_back_from_is_given_up(store: FolderStore) -> None:
    versions = releases(store, 3)
    for version in versions:
        promote(store, version)
    assert given_up(store) == []
    roll_back(store)
    assert given_up(store) == [versions[2]]
    roll_back(store)
    assert given_up(store) == [versions[1], versions[2]]


def test_a_version_that_was_chosen_again_is_given_up_no_longer(store: FolderStore) -> None:
    first, second = releases(store, 2)
    promote(store, first)
    promote(store, second)
    roll_back(store)
    promote(store, second, by="bob", reason="the camera was broken")
    assert given_up(store) == []
    promote(store, first)  # and is not given up by being followed by another one
    assert given_up(store) == []
    promote(store, second)
    roll_back(store)
    assert given_up(store) == [second]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (None, "it has no verdict.json"),
        ({"approved": False, "reasons": ("accuracy: 0.7",)}, "the gate refused it: accuracy: 0.7"),
        ({"released_as": "another"}, "its verdict is on a model named another"),
    ],
)
def test_the_champion_names_no_new_version_that_did_not_pass_the_gate(
    store: FolderStore, known: dict[str, Any] | None, said: str
) -> None:
    (first, second) = releases(store, 2)
    promote(store, first)
    if known:
        second = judged_release(store, b"judged", **known)
    with pytest.raises(BadInput, match=f"it never did before, and {said}"):
        opened(store).check_by_hand(second)
    opened(store).check_by_hand(second, "canary")


def test_the_champion_names_by_hand_what_it_named_before_and_what_passed(
    store: FolderStore,
) -> None:
    first, second = releases(store, 2)
    promote(store, first)
    promote(store, second)
    third = judged_release(store, b"judged")
    for version in (first, second, third):
        opened(store).check_by_hand(version)
