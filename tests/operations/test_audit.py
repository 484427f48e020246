"""The audit table: all that was done, newest first, read only as far as somebody looks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from released import MODEL, moves, opened, promote, releases

from skin_pipeline.contracts import Action, Approval, Interval, Judgement, dump
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.operations import actions
from skin_pipeline.operations.audit import UNDER_WAY, Entry, Wanted, page, table
from skin_pipeline.storage import FolderStore

FIGURE = Interval(value=0.8, low=0.7, high=0.9)


def judge(store: FolderStore, number: int, model: str = MODEL, **known: Any) -> None:
    """Record a judged run, each a minute after the one before."""
    judged_at = f"2026-07-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00+00:00"
    usual = {
        "model": model,
        "run": f"scheduled__{judged_at}",
        "judged_at": judged_at,
        "approved": False,
        "version": None,
        "reasons": (f"accuracy of {number}",),
        "accuracy": FIGURE,
        "sensitivity": FIGURE,
        "auc": Interval(value=float("nan"), low=float("nan"), high=float("nan")),
        "report": f"gate/{number}/report.html",
    }
    opened(store, name=model).record(Judgement(**{**usual, **known}), f"gate{number:08}")


def act(store: FolderStore, run: str, at: str, **known: Any) -> Action:
    """The intent of an action."""
    usual = {
        "kind": "rollback",
        "model": MODEL,
        "subject": "champion",
        "plan": "champion: from version 77c0 to version 4f1a",
        "by": "alice",
        "reason": "false alarms",
        "dag": "skin_rollback",
        "run": run,
        "at": at,
    }
    return Action(**{**usual, **known})


def rows(store: FolderStore, **wanted: str) -> list[Entry]:
    return list(table(store, Wanted(**wanted)))


@pytest.fixture
def full(store: FolderStore) -> FolderStore:
    """Two moves, a rollback, three judgements, an approval and two actions."""
    first, second = releases(store, 2)
    promote(store, first, by="scheduled__2026-07-01T00:00:00+00:00")
    promote(store, second, by="manual__2026-07-02T00:00:00+00:00, approved by bob")
    opened(store).rollback("previous", by="alice, manual__3", reason="false alarms")
    for number in range(3):
        judge(store, number)
    approval = Approval(
        verdict="gate/1",
        model=MODEL,
        champion="",
        approved=True,
        by="bob",
        at="2026-07-05T00:00:00+00:00",
        dag="skin_training",
        run="manual__2",
        asked="1",
    )
    store.put("approvals/aa/1.json", dump(approval))
    with actions.recorded(store, act(store, "manual__3", "2026-07-06T00:00:00+00:00")) as doing:
        doing.result = "champion names 4f1a again"
    killed = act(store, "manual__4", "2026-07-07T00:00:00+00:00", kind="acknowledge", by="carol")
    store.put(f"{actions.key_of(killed)}/{actions.INTENT}", dump(killed))
    return store


def test_all_kinds_are_in_one_table_newest_first(full: FolderStore) -> None:
    found = rows(full)
    assert [entry.at for entry in found] == sorted((item.at for item in found), reverse=True)
    assert [entry.kind for entry in found] == [
        *("move", "move", "move", "action", "action", "approval"),
        *("judgement", "judgement", "judgement"),
    ]


def test_a_move_says_from_where_to_where_why_by_whom_and_in_which_run(full: FolderStore) -> None:
    back, gate, first = rows(full, kind="move")
    done = moves(full)
    assert back.what == f"champion: rolled back from version {done[0].previous} to version " + (
        done[0].version
    )
    assert (back.by, back.why, back.result) == ("alice, manual__3", "false alarms", "move 3")
    assert (back.dag, back.run) == ("skin_rollback", "manual__3")
    assert (gate.dag, gate.run) == ("skin_training", "manual__2026-07-02T00:00:00+00:00")
    assert first.what == f"champion: moved from nothing to version {done[2].version}"
    assert {entry.model for entry in (back, gate, first)} == {MODEL}


def test_an_action_says_what_became_of_it_or_that_it_did_not_end(full: FolderStore) -> None:
    killed, done = rows(full, kind="action")
    assert (killed.by, killed.result) == ("carol", UNDER_WAY)
    assert killed.what == "acknowledge: champion: from version 77c0 to version 4f1a"
    assert (done.by, done.result) == ("alice", "champion names 4f1a again")
    with (
        pytest.raises(Unavailable),
        actions.recorded(full, act(full, "manual__5", "2026-07-08T00:00:00+00:00")),
    ):
        raise Unavailable("the store does not answer")
    assert rows(full, kind="action")[0].result == "failed: the store does not answer"


def test_judgements_and_approvals_say_what_was_decided(full: FolderStore) -> None:
    judgement = rows(full, kind="judgement")[0]
    assert judgement.what == "gate: sensitivity 0.800 [0.700, 0.900]"  # no AUC, no figure
    assert (judgement.why, judgement.result) == ("accuracy of 2", "refused")
    assert judgement.report == "gate/2/report.html"
    (approval,) = rows(full, kind="approval")
    assert (approval.by, approval.result, approval.run) == ("bob", "approved", "manual__2")


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"model": MODEL}, 9),
        ({"model": "another"}, 0),
        ({"by": "ALICE"}, 2),
        ({"text": "4F1A again"}, 1),
        ({"since": "2026-07-06", "until": "2026-07-06"}, 1),
        ({"until": "2026-07-01"}, 3),
        ({"kind": "judgement", "text": "accuracy of 1"}, 1),
    ],
)
def test_the_table_is_filtered(full: FolderStore, wanted: dict[str, str], count: int) -> None:
    assert len(rows(full, **wanted)) == count


@pytest.mark.parametrize(
    ("wanted", "said"),
    [({"kind": "x"}, "kind is one of"), ({"since": "2026-02-30"}, "since is a day such as")],
)
def test_what_cannot_be_wanted_is_refused(wanted: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Wanted(**wanted)


DAMAGED = (
    "approvals/aa/1.json",
    "models/{model}/champion.json",
    "models/{model}/moves/champion/00000002.json",
    "models/{model}/judged/20260701T000100+0000-gate00000001.json",
)


@pytest.mark.parametrize("key", DAMAGED)
def test_a_damaged_document_is_a_row_that_says_so(full: FolderStore, key: str) -> None:
    path = full.root / key.format(model=MODEL)
    before = len(rows(full))
    if not path.exists():
        (path,) = (full.root / f"models/{MODEL}/judged").glob("20260701T000100*")
    path.write_bytes(b"{}")
    found = rows(full)
    (damaged,) = [entry for entry in found if entry.unread]
    assert "cannot be read" in damaged.result
    assert len(found) in {before, before + 1}  # a damaged pointer stands beside its move


def test_a_damaged_action_is_a_row_that_says_so(full: FolderStore) -> None:
    newest, older = actions.folders(full)
    (full.root / newest / actions.INTENT).write_bytes(b"{}")
    (full.root / older / actions.OUTCOME).write_bytes(b"{}")
    damaged, half = rows(full, kind="action")
    assert damaged.unread
    assert "cannot be read" in damaged.result
    assert half.what.startswith("rollback: champion")
    assert "cannot be read" in half.result


def test_a_move_whose_history_lacks_it_is_in_the_table_once(full: FolderStore) -> None:
    (full.root / f"models/{MODEL}/moves/champion/00000003.json").unlink()
    assert [entry.result for entry in rows(full, kind="move")] == ["move 3", "move 2", "move 1"]


def test_others_are_mixed_in_by_time(full: FolderStore) -> None:
    event = Entry("2026-07-05T12:00:00+00:00", "airflow", by="eve", what="skin_alias: trigger")
    found = [entry.kind for entry in table(full, Wanted(until="2026-07-10"), [event])]
    assert found[:4] == ["action", "action", "airflow", "approval"]


def test_a_page_of_thousands_reads_only_what_it_shows(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the disk is not what is tested
    for number in range(2000):
        judge(store, number)
    read: list[str] = []

    class Counting(FolderStore):
        def read(self, key: str) -> bytes:
            read.append(key)
            return super().read(key)

    entries, more = page(table(Counting(store.root), Wanted()), 2, 50)
    assert [entry.why for entry in entries] == [f"accuracy of {1949 - n}" for n in range(50)]
    assert more
    assert len(read) <= 102
    read.clear()
    early = list(islice(table(Counting(store.root), Wanted(until="2026-07-01")), 3))
    assert early[0].why == "accuracy of 1439"
    assert len(read) <= 4  # the days after it were left out by their keys


def test_the_last_page_says_that_there_is_no_more(full: FolderStore) -> None:
    def entries() -> Iterator[Entry]:
        return table(full, Wanted())

    assert [len(page(entries(), number, 4)[0]) for number in (1, 2, 3, 4)] == [4, 4, 1, 0]
    assert [page(entries(), number, 4)[1] for number in (1, 2, 3)] == [True, True, False]
