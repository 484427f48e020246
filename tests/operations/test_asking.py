"""What a person reads before they decide, and what is written down of the answer."""

from __future__ import annotations

import re
from typing import Any

import judged_run
import pytest
from documents import validation
from released import MODEL

from skin_pipeline.contracts import Interval
from skin_pipeline.job import Job
from skin_pipeline.operations import actions, asking
from skin_pipeline.release import Approvals, Request, Rule
from skin_pipeline.storage import FolderStore

MODEL_ASKED = "skin-resnet50"
ASKED = Request(MODEL_ASKED, judged_run.GATE, "8c1f02d7aa31", 4)


def answer(**known: Any) -> asking.Answer:
    usual = {
        "approved": True,
        "by": "alice",
        "note": "looks right",
        "at": "2026-11-26T08:00:00.000000+00:00",
        "dag": "skin_training",
        "run": "manual__1",
        "asked": "a1",
        "started_by": "bob",
    }
    return asking.Answer(**{**usual, **known})


@pytest.fixture
def job(make_job: Any) -> Job:
    made: Job = make_job()
    return made


def judge(store: Any, **changes: Any) -> judged_run.Judged:
    """Write a run that passed, with its verdict."""
    judged = judged_run.write(store, **{"approved": True, "reasons": (), **changes})
    judged_run.put(store, judged.verdict.evaluation, judged.evaluation)
    judged_run.put(store, judged_run.GATE, judged.verdict)
    return judged


def ask(job: Job, request: Request = ASKED, report: str = "https://a/report") -> asking.Question:
    return asking.about_model(job, request, hours=72, report=report)


# --- the question ---------------------------------------------------------------------------------


def test_the_figures_stand_beside_the_champions_with_the_paired_change(job: Job) -> None:
    judged = judge(job.store, comparison=judged_run.comparison())
    subject, body = ask(job)
    assert subject == "Approve skin-resnet50? It would replace champion 8c1f02d7aa31."
    figures, compared = judged.evaluation.ensemble, judged_run.comparison()
    theirs = compared.champion_figures
    row = (
        f"| sensitivity | {figures.sensitivity} | {theirs.sensitivity} | +0.060 [+0.010, +0.110] |"
    )
    assert row in body
    assert f"| AUC | {figures.auc} | {theirs.auc} | -0.050 [-0.070, -0.030] |" in body
    assert "17 are right only now, 11 were right only before (p = 0.345)" in body
    assert "4 that it was trained on are left out" in body
    assert "within 72 hours" in body
    assert "[Report](https://a/report)" in body
    assert "| specificity |" in body


def test_a_first_model_has_no_columns_for_a_champion(job: Job) -> None:
    judge(job.store)
    subject, body = ask(job, ASKED._replace(champion="", champion_move=0), report="")
    assert subject.endswith("It would become the first champion.")
    assert "| On 240 test images | This model |" in body
    assert "Champion |" not in body
    assert "There is no comparison with a champion." in body
    assert "Report" not in body


def test_every_check_and_every_warning_about_the_data_is_listed(job: Job) -> None:
    judged = judge(job.store)
    _, body = ask(job)
    for check in judged.verdict.checks:
        mark = "passed" if check.passed else "**failed**"
        assert f"- {mark}: `{check.described()}`" in body
    assert "**Warnings about the data**\n\n- `" in body
    assert "border ring colour" in body


def test_of_many_warnings_some_are_shown_and_the_others_counted(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(job.store)
    monkeypatch.setattr(asking, "WARNINGS", 1)
    _, body = ask(job)
    assert re.search(r"- and [1-9]\d* more, in the report", body)


def test_where_nothing_is_wrong_with_the_data_that_is_said(job: Job) -> None:
    quiet = validation(judged_run.VALIDATION, judged_run.DATASET, checks=(), shortcuts=())
    judged_run.put(job.store, judged_run.VALIDATION, quiet)
    judge(job.store)
    assert "**Warnings about the data**: none" in ask(job).body


def test_synthetic_data_is_said_in_the_first_words(job: Job) -> None:
    judge(job.store, evaluation={"synthetic": True})
    assert ask(job).subject.startswith("[synthetic data] Approve ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("site: [a](http://x) <b>", "`site: [a](http://x) <b>`"),
        ("a` ![i](//x) `b", "`a' ![i](//x) 'b`"),
        ("one\n# two", r"`one\n# two`"),
        ("", "` `"),
    ],
)
def test_text_of_others_makes_no_markup(text: str, shown: str) -> None:
    assert asking.code(text) == shown


def test_a_change_that_is_not_defined_is_said() -> None:
    nothing = float("nan")
    assert asking.change(Interval(value=nothing, low=nothing, high=nothing)) == "not defined"


# --- the answer -----------------------------------------------------------------------------------


def decided(job: Job) -> Approvals:
    return Approvals(job.store, job.keys, Rule("always"))


def test_an_answer_becomes_an_approval_and_an_action(job: Job) -> None:
    made = asking.decide(job, ASKED, answer())
    assert decided(job).newest(ASKED.verdict) == made
    assert (made.approved, made.by, made.note, made.started_by) == (
        *(True, "alice", "looks right"),
        "bob",
    )
    assert (made.model, made.champion, made.champion_move) == (MODEL_ASKED, "8c1f02d7aa31", 4)
    (action,) = actions.latest(job.store)
    assert (action.intent.kind, action.intent.by, action.intent.reason) == (
        *("approve", "alice"),
        "looks right",
    )
    assert action.intent.subject == ASKED.verdict
    assert "may replace 8c1f02d7aa31 as champion of skin-resnet50" in action.intent.plan
    assert action.outcome
    assert (action.outcome.done, action.outcome.result) == (True, "approved")


def test_a_rejection_is_written_down_as_one(job: Job) -> None:
    asking.decide(job, ASKED, answer(approved=False, by="", note="nobody approved"))
    found = decided(job).newest(ASKED.verdict)
    assert found
    assert (found.approved, found.by) == (False, "")
    (action,) = actions.latest(job.store)
    assert (action.intent.kind, action.intent.by) == ("reject", "")
    assert action.outcome
    assert action.outcome.result == "rejected"


def test_the_intent_is_there_even_if_the_approval_could_not_be_written(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("full")

    monkeypatch.setattr(Approvals, "write", fail)
    with pytest.raises(OSError, match="full"):
        asking.decide(job, ASKED, answer())
    (action,) = actions.latest(job.store)
    assert action.outcome
    assert (action.outcome.done, action.outcome.result) == (False, "full")


def test_an_answer_about_a_budget_is_an_action(job: Job) -> None:
    asking.decide_budget(job, "split/1", answer(approved=False))
    (action,) = actions.latest(job.store)
    assert (action.intent.kind, action.intent.subject) == ("reject", "split/1")
    assert action.intent.plan == "the run ends before anything is computed"
    assert not list(job.store.list("approvals"))


def test_the_question_about_a_budget_names_both_figures() -> None:
    subject, body = asking.about_budget(MODEL, "expected: 3 core-hours", 3.0, 1.0)
    assert subject == f"Run {MODEL}? It is expected to exceed its budget."
    assert "expected to take 3 core-hours; the budget (SKIN_BUDGET_CORE_HOURS) is 1." in body
    assert "`expected: 3 core-hours`" in body


def test_an_empty_store_has_no_answer(store: FolderStore, job: Job) -> None:
    assert decided(job).newest(ASKED.verdict) is None
