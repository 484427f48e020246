from __future__ import annotations

import re
from typing import Any

import pytest
from released import MODEL, moves, named, opened, promote, releases

from skin_pipeline.release import version_key
from skin_pipeline.storage import FolderStore, Store


@pytest.fixture
def three(store: Store) -> Any:
    """Three versions: the first was the champion, the second is, the third is the canary."""
    versions = releases(store, 3)
    promote(store, versions[0])
    promote(store, versions[1])
    promote(store, versions[2], alias="canary")
    return versions


def test_all_models_are_listed_with_their_champions(
    store: FolderStore, models: Any, three: Any
) -> None:
    releases(store, 1, "other")
    status, said = models("list")
    assert status == 0
    head, *rows = (line.split() for line in said.splitlines())
    assert head[:4] == ["MODEL", "CHAMPION", "SINCE", "VERSIONS"]
    assert rows[0][:2] == ["other", "none"]
    assert (rows[1][0], rows[1][1], *rows[1][3:]) == (MODEL, three[1], "3", f"canary={three[2]}")


def test_a_pointer_that_cannot_be_read_hides_no_other_model(
    store: FolderStore, models: Any, three: Any
) -> None:
    store.put("models/broken/champion.json", b"{")
    status, said = models("list")
    assert status == 0
    assert "broken  unreadable" in said
    assert three[1] in said


def test_the_versions_of_a_model_are_listed_newest_first(models: Any, three: Any) -> None:
    status, said = models("list", MODEL)
    assert status == 0
    rows = [line.split() for line in said.splitlines()[1:]]
    assert [row[0] for row in rows] == three[::-1]
    assert [row[4:] for row in rows] == [["canary"], ["champion"], []]


def test_an_empty_store_is_no_error(models: Any) -> None:
    assert models("list") == (0, "MODEL  CHAMPION  SINCE  VERSIONS  OTHER ALIASES\n")


@pytest.mark.parametrize(("name", "number"), [([], 1), (["canary"], 2)])
def test_an_alias_is_shown_with_its_files_and_moves(
    models: Any, three: Any, name: str, number: int
) -> None:
    status, said = models("show", MODEL, *name)
    assert status == 0
    assert f"version    {three[number]}" in said
    assert "threshold  0.4 (benign / malignant)" in said
    assert "model.keras" in said
    assert "passed the gate" in said


def test_of_many_moves_the_latest_are_shown(models: Any, three: Any) -> None:
    for turn in range(14):
        models("alias", MODEL, "canary", three[turn % 2], "--reason", f"turn {turn:02}")
    said = models("show", MODEL, "canary")[1]
    assert re.findall(r"turn \d\d", said) == [f"turn {turn:02}" for turn in range(13, 3, -1)]


def test_a_version_is_shown_without_moves(models: Any, three: Any) -> None:
    status, said = models("show", MODEL, three[0])
    assert (status, "passed the gate" in said) == (0, False)


def test_all_that_aliases_name_is_verified(store: FolderStore, models: Any, three: Any) -> None:
    assert models("verify", MODEL)[1].count("is whole") == 2
    assert models("verify", MODEL, three[0]) == (
        0,
        f"Version {three[0]} of {MODEL} is whole: 2 files, not signed.\n",
    )
    store.remove(f"{version_key(MODEL, three[2])}/metrics.json")
    status, said = models("verify", MODEL)
    assert status == 1
    assert "metrics.json is missing" in said
    assert models("verify", MODEL, "champion")[0] == 0


def test_verifying_says_that_a_mover_was_killed_and_leaves_the_move_to_the_next_one(
    store: FolderStore, models: Any, three: Any
) -> None:
    key = f"models/{MODEL}/moves/champion/00000002.json"
    store.remove(key)
    status, said = models("verify", MODEL)
    assert (status, "Move 2 is in the pointer only" in said) == (0, True)
    assert not store.exists(key)
    promote(store, three[2])
    assert store.exists(key)
    assert "is in the pointer only" not in models("verify", MODEL)[1]


def test_the_champion_is_rolled_back_once(store: FolderStore, models: Any, three: Any) -> None:
    status, said = models("rollback", MODEL, "previous", "--reason", "false alarms")
    assert (status, named(store)) == (0, three[0])
    assert f"names version {three[0]} now, instead of {three[1]}" in said
    move = moves(store)[0]
    assert (move.reason, move.rollback, bool(move.by)) == ("false alarms", True, True)
    status, said = models("rollback", MODEL, three[0], "--reason", "false alarms")
    assert status == 0
    assert "already; nothing was moved" in said
    assert len(moves(store)) == 3


def test_an_alias_is_made_and_rolled_back(store: FolderStore, models: Any, three: Any) -> None:
    for version in three[:2]:
        status, said = models("alias", MODEL, "shadow", version, "--reason", "to compare")
        assert (status, named(store, "shadow")) == (0, version)
        assert f"shadow of skin names version {version} now." in said
    models("rollback", MODEL, "previous", "--alias", "shadow", "--reason", "done")
    assert (named(store, "shadow"), named(store)) == (three[0], three[1])


def test_what_nobody_approved_becomes_the_champion_on_no_command(
    store: FolderStore, models: Any, three: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIN_APPROVAL", "always")
    for command in (
        ("alias", MODEL, "champion", three[2]),
        ("rollback", MODEL, three[2]),
    ):
        status, said = models(*command, "--reason", "by hand")
        assert (status, named(store)) == (1, three[1])
        assert "nobody has decided about gate/1" in said
        assert "start the DAG skin_training" in said
    # What was the champion before may be it again.
    assert models("rollback", MODEL, "previous", "--reason", "false alarms")[0] == 0
    assert named(store) == three[0]


def test_pruning_lists_first_and_removes_when_told(
    store: FolderStore, models: Any, three: Any
) -> None:
    promote(store, three[2])  # from here on, the first is neither named nor was named before
    status, said = models("prune", MODEL, "--keep", "0")
    assert status == 0
    assert "Would remove (--yes removes them):" in said
    assert said.count(three[0]) == 1
    assert len(opened(store).versions()) == 3
    status, said = models("prune", MODEL, "--keep", "0", "--yes")
    assert "Removed:" in said
    assert set(opened(store).versions()) == set(three[1:])
    assert "No version of skin to remove." in models("prune", MODEL)[1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["list", "other"], "there is no model other in"),
        (["show", "other"], "There are: skin"),
        (["show", MODEL, "none"], "skin has no version none. Its versions: "),
        (["verify", MODEL, "none"], "skin has no version none. It has: "),
        (["rollback", MODEL, "none", "--reason", "r"], "skin has no version none. It has: "),
        (["rollback", MODEL, "previous", "--reason", " "], "a move needs a reason"),
        (["alias", MODEL, "shadow", "none", "--reason", "r"], "skin has no version none."),
        (["prune", MODEL, "--keep", "-1"], "keep must be 0 or more"),
    ],
)
def test_what_cannot_be_done_ends_with_1_and_says_what_can(
    models: Any, three: Any, command: Any, message: str
) -> None:
    status, said = models(*command)
    assert status == 1
    assert message in said
    assert "Traceback" not in said


def test_a_move_is_not_begun_without_a_reason(store: FolderStore, models: Any, three: Any) -> None:
    for command in (["rollback", MODEL, "previous"], ["alias", MODEL, "champion", three[0]]):
        with pytest.raises(SystemExit):
            models(*command)
    assert named(store) == three[1]
