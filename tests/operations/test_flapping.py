"""What comes and goes is an incident when m of the last n observations were bad."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from skin_pipeline.contracts import EventKind
from skin_pipeline.operations import flapping
from skin_pipeline.operations.flapping import AT_ONCE, DRIFT, PASSING, Rule
from skin_pipeline.storage import FolderStore

SUBJECT = "skin_training ingest"


def bad(store: FolderStore, run: str, rule: Rule = PASSING) -> bool:
    return flapping.opens(store, "task_failed", SUBJECT, rule, run=run)


def good(store: FolderStore, run: str) -> bool:
    return flapping.ends(store, "task_failed", SUBJECT, run=run)


@pytest.mark.parametrize(
    ("seen", "opens"),
    [("B", False), ("BB", True), ("BGB", True), ("BGGB", False), ("BGGBGB", True), ("GB", False)],
)
def test_two_bad_ones_of_the_last_three_open_it(store: FolderStore, seen: str, opens: bool) -> None:
    for run, each in enumerate(seen[:-1]):
        (bad if each == "B" else good)(store, str(run))
    assert bad(store, "last") is opens


@pytest.mark.parametrize(
    ("seen", "over"), [("BBG", False), ("BBGG", True), ("BBGBG", False), ("BGBGG", True)]
)
def test_two_good_ones_in_a_row_end_it(store: FolderStore, seen: str, over: bool) -> None:
    found = [(bad if each == "B" else good)(store, str(run)) for run, each in enumerate(seen)]
    assert found[-1] is over


def test_a_run_that_looks_again_replaces_what_it_saw(store: FolderStore) -> None:
    assert [bad(store, "1"), bad(store, "1"), bad(store, "1")] == [False] * 3
    assert bad(store, "2")


def test_what_was_never_seen_to_come_and_go_is_over_at_once_and_leaves_nothing(
    store: FolderStore,
) -> None:
    assert good(store, "1")
    assert store.list(flapping.FOLDER) == []


def test_drift_is_over_after_two_calm_runs(store: FolderStore) -> None:
    assert flapping.opens(store, "drift", "m", DRIFT, run="1")
    assert not flapping.ends(store, "drift", "m", run="2")
    assert flapping.ends(store, "drift", "m", run="3")


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_all_but_what_may_pass_opens_at_once(kind: Any) -> None:
    assert flapping.rule_of(kind, passing=True) == PASSING
    assert flapping.rule_of(kind).opens == 1
    assert flapping.rule_of(kind) == (DRIFT if kind == "drift" else AT_ONCE)
