"""The journal of a run: what it has made, in whatever order and however often it is noted."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest
from models_server import DUPLICATES, SPLIT, UNFIT, VALIDATION, write_data

from skin_pipeline import journal
from skin_pipeline.contracts import Check, Notice
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore, Store

RUN = "manual__2026-07-01T09:00:00+00:00"


def of_run(store: Store, run: str) -> journal.Journal:
    """Returns the journal of a run that has one."""
    made = journal.of_run(store, run)
    assert made is not None
    return made


def test_a_run_that_has_made_nothing_has_no_journal(any_store: Store) -> None:
    assert journal.of_run(any_store, RUN) is None


def test_keys_come_together_and_the_latest_counts(any_store: Store) -> None:
    journal.note(any_store, RUN, validation="validate/1")
    journal.note(any_store, RUN, split="split/1", verdict="gate/1")
    journal.note(any_store, RUN, validation="validate/2")
    made = of_run(any_store, RUN)
    assert (made.run, made.validation, made.split, made.verdict) == (
        RUN,
        "validate/2",
        "split/1",
        "gate/1",
    )


def test_telling_the_same_again_writes_nothing(any_store: Store) -> None:
    journal.note(any_store, RUN, validation="validate/1")
    before = of_run(any_store, RUN)
    journal.note(any_store, RUN, validation="validate/1")
    assert of_run(any_store, RUN) == before


def test_a_journal_says_when_it_was_written_last(store: FolderStore) -> None:
    before = datetime.now(timezone.utc)
    journal.note(store, RUN, validation="validate/1")
    first = datetime.fromisoformat(of_run(store, RUN).noted_at)
    journal.note(store, RUN, split="split/1")
    second = datetime.fromisoformat(of_run(store, RUN).noted_at)
    assert before <= first < second <= datetime.now(timezone.utc)


def test_runs_have_journals_of_their_own(any_store: Store) -> None:
    journal.note(any_store, RUN, validation="validate/1")
    journal.note(any_store, "other", validation="validate/2")
    assert of_run(any_store, RUN).validation == "validate/1"


def test_nothing_is_lost_when_steps_write_at_once(any_store: Store) -> None:
    keys = {"validation": "validate/1", "split": "split/1", "verdict": "gate/1"}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: journal.note(any_store, RUN, **dict([item])), keys.items()))
    assert keys.items() <= of_run(any_store, RUN).model_dump().items()


def test_an_unknown_kind_of_result_is_refused(store: FolderStore) -> None:
    with pytest.raises(ValueError, match="colour"):
        journal.note(store, RUN, colour="red")
    assert journal.of_run(store, RUN) is None


def test_the_data_of_a_run_says_warnings_with_figures_and_by_name(store: FolderStore) -> None:
    write_data(store)
    data = journal.data_of(store, VALIDATION, SPLIT)
    assert data.faults == ()
    assert data.warnings == (
        f"{DUPLICATES}: 3 found (a.jpg = <b>.jpg), required none",
        "border ring colour alone predicts the label: AUC 0.790 [0.760, 0.820], "
        "required at most 0.65",
    )
    assert data.warning_names == (DUPLICATES, "shortcut: border ring colour")
    assert [check.name for check in data.checks][-1] == "no group on two sides of a run"


def test_data_that_failed_has_faults_and_no_split(store: FolderStore) -> None:
    write_data(store)
    data = journal.data_of(store, UNFIT)
    assert data.split is None
    assert [fault.split(":")[0] for fault in data.faults] == ["duplicates have one label"]


@pytest.mark.parametrize("severity", ["critical", "warning"])
@pytest.mark.parametrize("passed", [True, False])
def test_what_was_found_of_the_split_is_told_like_what_was_found_of_the_images(
    store: FolderStore, severity: str, passed: bool
) -> None:
    write_data(store)
    data = journal.data_of(store, VALIDATION, SPLIT)
    check = Check(name="sides", severity=severity, observed="2", bound="0", passed=passed)
    assert data.split is not None
    told = dataclasses.replace(data, split=data.split.model_copy(update={"checks": (check,)}))
    words = ("sides: 2, required 0",)
    failed = {severity} if not passed else set()
    assert told.faults == (words if "critical" in failed else ())
    assert told.warnings[1:2] == (words if "warning" in failed else data.warnings[1:2])
    assert ("sides" in told.warning_names) is ("warning" in failed)


def test_a_validation_that_is_not_there_is_bad_input(store: FolderStore) -> None:
    with pytest.raises(BadInput):
        journal.data_of(store, VALIDATION)


def test_notices_are_shown_by_kind_up_to_a_bound_and_counted_beyond_it(store: FolderStore) -> None:
    write_data(store)
    data = journal.data_of(store, VALIDATION, SPLIT)
    many = [Notice(kind="files_skipped", subject=f"{n}.dcm", reason="not read") for n in range(25)]
    one = Notice(kind="table_not_used", subject="a.csv", reason="names no image")
    dataset = data.dataset.model_copy(update={"notices": (*many, one)})
    told = dataclasses.replace(data, dataset=dataset)
    assert [(n.title, len(n.lines), n.more) for n in told.noticed] == [
        ("Files skipped", 20, 5),
        ("Table not used", 1, 0),
    ]
    assert told.warning_names[-2:] == ("files skipped: 25", "table not used: 1")
