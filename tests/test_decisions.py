"""Whether a person must be asked before a promotion, and who has refused a model."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from documents import evaluation, validation, verdict
from released import MODEL, named, promote, releases

from skin_pipeline import decisions, steps
from skin_pipeline.contracts import RESULT, Approval, Scored, dump
from skin_pipeline.job import Job
from skin_pipeline.release import Registry, Request
from skin_pipeline.storage import FolderStore

GATE, AGAIN = "gate/7", "gate/8"


@pytest.fixture
def job(store: FolderStore, make_job: Any) -> Job:
    """A job where a person must always approve, and a verdict that approves."""
    put(store, "evaluate/7", evaluation())
    put(store, "validate/1", validation("validate/1", "ingest/1"))
    put(store, GATE, judged())
    return with_setting(make_job(), "always")


def put(store: Any, key: str, document: Any) -> None:
    store.put(f"{key}/{RESULT}", dump(document))


def judged(**known: Any) -> Any:
    return verdict(**{"released_as": MODEL, "evaluation": "evaluate/7", **known})


def with_setting(job: Job, when: str) -> Job:
    deployment = job.deployment.model_copy(update={"approval": when})
    return dataclasses.replace(job, deployment=deployment)


def decide(job: Job, verdict: str, *, approved: bool) -> None:
    model = Registry.of(job.store, job.deployment).model(MODEL)
    champion = model.champion
    made = Approval(
        verdict=verdict,
        model=MODEL,
        champion=champion.version if champion else "",
        champion_move=champion.number if champion else 0,
        approved=approved,
        by="alice",
        at="2026-11-26T08:00:00+00:00",
        dag="skin_training",
        run="r",
        asked="a",
    )
    model.approvals.write(made)


@pytest.fixture
def moved(job: Job, monkeypatch: pytest.MonkeyPatch) -> str:
    """Meanwhile there is a champion; against it, the model is judged again. Its version."""
    (rival,) = releases(job.store, 1)
    promote(job.store, rival)
    scored = Scored(name=rival, dataset="d", evaluation="", images=0, excluded=0, problem="gone")
    put(job.store, "champion/1", scored)
    put(job.store, AGAIN, judged(champion="champion/1"))
    monkeypatch.setattr(steps, "judged_again", lambda *_: AGAIN)
    return rival


def test_a_person_is_asked_about_a_model_that_passed(job: Job) -> None:
    assert decisions.pending(job, GATE) == Request(MODEL, GATE, "", 0)


def test_where_the_setting_is_never_nothing_is_read(job: Job) -> None:
    never = with_setting(job, "never")
    assert decisions.pending(never, "gate/missing") is None
    assert decisions.refused(never, GATE) == ""


def test_nobody_is_asked_about_a_model_that_the_gate_refused(job: Job) -> None:
    put(job.store, "gate/bad", judged(approved=False, reasons=("accuracy",)))
    assert decisions.pending(job, "gate/bad") is None
    assert decisions.refused(job, "gate/bad") == "gate/bad"
    assert decisions.why(job, "gate/bad") == "accuracy"


def test_nobody_is_asked_twice(job: Job) -> None:
    decide(job, GATE, approved=True)
    assert decisions.pending(job, GATE, again=True) is None
    assert decisions.refused(job, GATE) == ""


def test_a_rejection_refuses_and_is_asked_about_only_on_demand(job: Job) -> None:
    assert decisions.refused(job, GATE) == ""
    decide(job, GATE, approved=False)
    assert decisions.why(job, GATE) == "rejected by alice"
    assert decisions.pending(job, GATE) is None
    assert decisions.pending(job, GATE, again=True) == Request(MODEL, GATE, "", 0)
    assert decisions.refused(job, GATE) == GATE


def test_after_a_move_of_the_champion_the_verdict_against_the_new_one_is_asked_about(
    job: Job, moved: str
) -> None:
    decide(job, GATE, approved=True)  # about what is no longer so
    assert decisions.pending(job, GATE) == Request(MODEL, AGAIN, moved, 1)
    decide(job, AGAIN, approved=False)
    assert decisions.refused(job, GATE) == AGAIN
    assert named(job.store) == moved


def test_who_fails_against_the_new_champion_is_refused_without_a_question(
    job: Job, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(job.store, "gate/9", judged(champion="champion/1", approved=False, reasons=("worse",)))
    monkeypatch.setattr(steps, "judged_again", lambda *_: "gate/9")
    assert decisions.pending(job, GATE) is None
    assert decisions.refused(job, GATE) == "gate/9"


def test_the_setting_first_asks_until_there_is_a_champion(job: Job, moved: str) -> None:
    assert decisions.pending(with_setting(job, "first"), GATE) is None


def test_the_setting_first_asks_about_the_first_champion(job: Job) -> None:
    assert decisions.pending(with_setting(job, "first"), GATE) == Request(MODEL, GATE, "", 0)
