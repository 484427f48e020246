"""The step `promote`, without a network: what it does in which order, and what it never does."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import key_pairs
import pytest
from documents import dataset, evaluation, validation, verdict
from released import MODEL, champion_of, moves, named, opened, promote, release, releases, sources

from skin_pipeline import journal, steps
from skin_pipeline.contracts import RESULT, Approval, Scored, dump
from skin_pipeline.errors import BadInput, Rejected, Unavailable
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Registry, Request, aliases, chain, tasks, version_key, versions
from skin_pipeline.storage import Store

GATE, EVALUATION = "gate/7", "evaluate/7"


def put(store: Store, key: str, document: Any) -> None:
    store.put(f"{key}/{RESULT}", dump(document))


def approval(**known: Any) -> Any:
    return verdict(**{"released_as": MODEL, "evaluation": EVALUATION, **known})


@pytest.fixture
def candidate(store: Store, make_job: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A job, and an approved model that was judged when there was no champion; what was tried."""
    put(store, EVALUATION, evaluation())
    put(store, "validate/1", validation("validate/1", "ingest/1"))
    put(store, GATE, approval())
    files, data = sources(store, b"candidate"), dataset("ingest/1")
    made = opened(store).describe(files, verdict=GATE, threshold=0.4, dataset=data)
    monkeypatch.setattr(tasks, "described", lambda *_: (made, files))
    # These documents were written by no step; what is checked of real ones: see test_chain.py.
    monkeypatch.setattr(chain, "check", lambda *_: None)
    tried = []

    def try_model(job: Any, key: str, model: Path) -> None:
        assert opened(store).versions() == []
        tried.append((key, model.name))

    monkeypatch.setattr(tasks, "_try", try_model)
    return make_job(), made.version, tried


def test_a_model_is_tried_published_made_the_champion_and_written_into_the_history(
    candidate: Any,
) -> None:
    job, version, tried = candidate
    assert steps.promote(job, GATE) == version_key(MODEL, version)
    assert tried == [(EVALUATION, "model.keras")]
    now = champion_of(job.store)
    assert (now.version, now.previous, now.by) == (version, None, job.run_id)
    assert (now.reason, now.rollback) == ("passed the gate", False)
    (judged,) = opened(job.store).judgements()
    assert (judged.approved, judged.version, judged.run) == (True, version, job.run_id)
    assert judged.judged_at == approval().judged_at != job.moment


def test_a_model_that_fails_its_trial_is_neither_published_nor_named(
    candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _, _ = candidate

    def refuse(*_: object) -> None:
        raise BadInput("says another thing")

    monkeypatch.setattr(tasks, "_try", refuse)
    with pytest.raises(BadInput, match="says another thing"):
        steps.promote(job, GATE)
    assert opened(job.store).versions() == []
    assert named(job.store) is None
    assert opened(job.store).judgements() == []


def test_the_champion_again_moves_nothing_and_keeps_the_judgement_that_it_has(
    candidate: Any,
) -> None:
    job, version, tried = candidate
    steps.promote(job, GATE)
    before = opened(job.store).champion
    next_week = job.started + timedelta(days=7)
    later = dataclasses.replace(job, run_id="the next run", started=next_week)
    assert steps.promote(later, GATE) == version_key(MODEL, version)
    assert opened(job.store).champion == before
    assert len(tried) == 1
    (judged,) = opened(job.store).judgements()
    assert judged.run == job.run_id
    assert journal.changed_nothing(job.store, "the next run")


def test_a_champion_that_comes_in_at_the_last_moment_is_not_overwritten(
    candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, version, _ = candidate
    publish = versions.publish

    def publish_then_lose(*arguments: Any) -> Any:
        manifest = publish(*arguments)
        monkeypatch.setattr(versions, "publish", publish)
        promote(job.store, release(job.store, b"faster").version)
        return manifest

    monkeypatch.setattr(versions, "publish", publish_then_lose)
    again = []

    def judged_again(_: Any, judged: Any) -> None:
        again.append(judged.champion)
        raise Rejected("no better than the faster one")

    monkeypatch.setattr(steps, "judged_again", judged_again)
    with pytest.raises(Rejected, match="the faster one"):
        steps.promote(job, GATE)
    assert again == [""]
    assert named(job.store) not in {None, version}
    assert len(moves(job.store)) == 1


def test_a_modeljudged_against_another_champion_isjudged_again_before_it_is_published(
    candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _, tried = candidate
    (rival,) = releases(job.store, 1)
    promote(job.store, rival)
    monkeypatch.setattr(steps, "judged_again", lambda *_: GATE)
    with pytest.raises(Unavailable, match=f"moved the champion of {MODEL} {tasks.REMATCHES} times"):
        steps.promote(job, GATE)
    assert opened(job.store).versions() == [rival]
    assert tried == []


def test_a_model_that_was_better_than_the_champion_takes_its_place(
    candidate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, version, _ = candidate
    monkeypatch.setattr(tasks, "_try", lambda *_: None)
    (rival,) = releases(job.store, 1)
    promote(job.store, rival)
    scored = Scored(
        name=rival, dataset="ingest/1", evaluation="", images=0, excluded=0, problem="gone"
    )
    put(job.store, "champion/1", scored)
    put(job.store, "gate/2", approval(champion="champion/1"))
    steps.promote(job, "gate/2")
    now = champion_of(job.store)
    assert (now.version, now.previous) == (version, rival)


def test_a_refused_model_is_not_even_tried(candidate: Any) -> None:
    job, _, tried = candidate
    refused = approval(approved=False, reasons=("accuracy: 0.7",))
    put(job.store, "gate/2", refused)
    with pytest.raises(Rejected, match=r"accuracy: 0\.7"):
        steps.promote(job, "gate/2")
    assert (tried, named(job.store)) == ([], None)


@pytest.fixture
def rolled_back(candidate: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The candidate was the champion, and alice rolled it back; a run finds its verdict again."""
    job, version, _ = candidate
    monkeypatch.setattr(tasks, "_try", lambda *_: None)
    (rival,) = releases(job.store, 1)
    promote(job.store, rival)
    scored = Scored(
        name=rival, dataset="ingest/1", evaluation="", images=0, excluded=0, problem="gone"
    )
    put(job.store, "champion/1", scored)
    put(job.store, "gate/2", approval(champion="champion/1"))
    steps.promote(job, "gate/2")
    opened(job.store).rollback("previous", by="alice", reason="false alarms")
    return job, version, rival


def test_a_version_that_was_rolled_back_is_not_promoted_again_by_a_run_on_unchanged_data(
    rolled_back: Any,
) -> None:
    job, version, rival = rolled_back
    with pytest.raises(Rejected) as refused:
        steps.promote(job, "gate/2")
    assert str(refused.value).startswith(
        f"version {version} was rolled back by alice: false alarms; to promote it again, move"
    )
    assert named(job.store) == rival


def test_looser_bounds_do_not_bring_back_a_version_that_was_rolled_back(rolled_back: Any) -> None:
    job, _, _ = rolled_back
    put(job.store, "gate/3", approval(champion="champion/1", settings={"min_accuracy": 0.5}))
    with pytest.raises(Rejected, match="was rolled back by alice"):
        steps.promote(job, "gate/3")


def test_nobody_is_asked_about_a_version_that_was_rolled_back(rolled_back: Any) -> None:
    job, _, rival = rolled_back
    deployment = job.deployment.model_copy(update={"approval": "always"})
    asking = dataclasses.replace(job, deployment=deployment)
    assert tasks.request(asking, "gate/2", again=True) is None
    opened(job.store).move(rival, by="carol", reason="on second thoughts")
    put(job.store, "evaluate/8", evaluation())
    put(job.store, "gate/8", approval(champion="champion/1", evaluation="evaluate/8"))
    assert tasks.request(asking, "gate/8", again=True) is not None


def test_another_model_is_promoted_after_a_rollback(
    rolled_back: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, version, _ = rolled_back
    put(job.store, "evaluate/8", evaluation())
    put(job.store, "gate/8", approval(champion="champion/1", evaluation="evaluate/8"))
    files, data = sources(job.store, b"another"), dataset("ingest/1")
    other = opened(job.store).describe(files, verdict="gate/8", threshold=0.4, dataset=data)
    monkeypatch.setattr(tasks, "described", lambda *_: (other, files))
    steps.promote(job, "gate/8")
    assert named(job.store) == other.version != version


def test_a_person_brings_back_a_version_that_was_rolled_back(rolled_back: Any) -> None:
    job, version, _ = rolled_back
    promote(job.store, version, by="bob", reason="the camera was broken")
    assert steps.promote(job, "gate/2") == version_key(MODEL, version)


# --- keys -----------------------------------------------------------------------------------------


def with_keys(job: Any, keys: SigningKeys, **parts: Any) -> Any:
    deployment = job.deployment.model_copy(
        update={"signing_key": keys.private, "public_key": keys.public, **parts}
    )
    signing = dataclasses.replace(job, deployment=deployment)
    for key in (GATE, EVALUATION, "validate/1") if signing.proven.keys.private else ():
        signing.proven.vouch(key)
    return signing


def test_a_version_is_signed_before_the_champion_names_it(
    candidate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, version, _ = candidate
    keys = key_pairs.write(tmp_path, "ours")
    signed = []
    move = aliases.move

    def moved(*arguments: Any, **known: Any) -> Any:
        signed.append(opened(job.store).is_signed(version))
        return move(*arguments, **known)

    monkeypatch.setattr(aliases, "move", moved)
    steps.promote(with_keys(job, keys), GATE)
    assert signed == [True]
    assert opened(job.store, keys).verify_alias().version == version


def test_where_signatures_are_asked_for_and_none_can_be_made_nothing_moves(
    candidate: Any, tmp_path: Path
) -> None:
    job, version, _ = candidate
    keys = key_pairs.write(tmp_path, "ours")
    with pytest.raises(BadInput, match="is not signed"):
        steps.promote(with_keys(job, keys, signing_key=""), GATE)
    assert named(job.store) is None
    steps.promote(job, GATE)  # without keys it is made the champion, unsigned
    with pytest.raises(BadInput, match="is not signed"):  # which then stands, and is not enough
        steps.promote(with_keys(job, keys, signing_key=""), GATE)
    assert named(job.store) == version


def test_an_old_champion_that_was_put_back_stops_the_steps(candidate: Any, tmp_path: Path) -> None:
    job, _, tried = candidate
    signed = with_keys(job, key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    keys = SigningKeys.of(signed.deployment)
    for model in (MODEL, job.settings.released_as):
        pointer, documents = f"models/{model}/champion.json", []
        for content in (b"old", b"new"):
            made = release(job.store, content, model)
            opened(job.store, keys, name=model).sign(made.version)
            opened(job.store, keys, name=model).promote(
                made.version, by="run", reason="passed the gate"
            )
            documents.append(job.store.read(pointer))
        job.store.remove(f"models/{model}/moves/champion/00000002.json")
        job.store.swap(pointer, documents[0], job.store.tagged(pointer)[1])
    for step, key in ((steps.promote, GATE), (steps.champion, "split/1")):
        with pytest.raises(BadInput, match=r"an old pointer was put back: .* move 1 .* move 2 "):
            step(signed, key)
    assert tried == []


def test_keys_that_do_not_belong_together_stop_a_promotion_before_anything_is_written(
    candidate: Any, tmp_path: Path
) -> None:
    job, _, tried = candidate
    ours, theirs = (key_pairs.write(tmp_path, name) for name in ("ours", "theirs"))
    with pytest.raises(BadInput, match="is not the public half"):
        steps.promote(with_keys(job, ours, public_key=theirs.public), GATE)
    assert (tried, opened(job.store).versions()) == ([], [])


# --- approval -------------------------------------------------------------------------------------


def asking(job: Any, when: str = "always", **known: Any) -> Any:
    deployment = job.deployment.model_copy(update={"approval": when, **known})
    return dataclasses.replace(job, deployment=deployment)


def decide(job: Any, approved: bool = True, verdict: str = GATE, **known: Any) -> Approval:
    """Write a person's decision, against the champion of now."""
    model = Registry.of(job.store, job.deployment).model(MODEL)
    champion = model.champion
    usual = {
        **{"verdict": verdict, "model": MODEL, "approved": approved, "by": "alice"},
        **{"champion": champion.version if champion else "", "asked": f"{verdict[-1]}{approved}"},
        "champion_move": champion.number if champion else 0,
        "at": "2026-11-26T08:00:00.000000+00:00",
        **{"dag": "skin_training", "run": job.run_id},
    }
    made = Approval(**{**usual, **known})
    model.approvals.write(made)
    return made


def test_without_an_approval_nothing_is_tried_published_or_moved(candidate: Any) -> None:
    job, _, tried = candidate
    with pytest.raises(BadInput, match="nobody has decided about gate/7"):
        steps.promote(asking(job), GATE)
    assert (tried, opened(job.store).versions(), named(job.store)) == ([], [], None)
    assert opened(job.store).judgements() == []


def test_an_approved_model_is_promoted_and_the_history_says_by_whom(candidate: Any) -> None:
    job, version, _ = candidate
    job = asking(job)
    decide(job, note="seen")
    steps.promote(job, GATE)
    now = champion_of(job.store)
    assert (now.version, now.by) == (version, f"{job.run_id}, approved by alice")
    assert now.reason == "passed the gate; approved by alice: seen"


def test_a_rejected_model_is_not_promoted_and_its_history_says_by_whom_once(
    candidate: Any,
) -> None:
    job, version, tried = candidate
    job = asking(job)
    decide(job, approved=False, note="too few")
    with pytest.raises(Rejected, match=r"^rejected by alice: too few$"):
        steps.promote(job, GATE)
    assert (tried, named(job.store)) == ([], None)
    for _ in range(2):
        steps.reject(job, GATE)
    (judged,) = opened(job.store).judgements()
    assert (judged.approved, judged.version, judged.reasons) == (
        *(False, None),
        ("rejected by alice: too few",),
    )
    # Somebody changes their mind: the history has both.
    decide(job, at="2026-11-26T09:00:00.000000+00:00")
    steps.promote(job, GATE)
    assert [each.approved for each in opened(job.store).judgements()] == [False, True]
    assert named(job.store) == version


@pytest.fixture
def moved(candidate: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str, str]:
    """A model that was approved before there was a champion; the champion of now; the version.

    Judged again, against that champion, it passes too: `gate/8`.
    """
    job = asking(candidate[0])
    monkeypatch.setattr(tasks, "_try", lambda *_: None)
    decide(job)
    (rival,) = releases(job.store, 1)
    promote(job.store, rival)
    scored = Scored(
        name=rival, dataset="ingest/1", evaluation="", images=0, excluded=0, problem="gone"
    )
    put(job.store, "champion/1", scored)
    put(job.store, "gate/8", approval(champion="champion/1"))
    monkeypatch.setattr(steps, "judged_again", lambda *_: "gate/8")
    files = sources(job.store, b"candidate")
    made = opened(job.store).describe(
        files, verdict="gate/8", threshold=0.4, dataset=dataset("ingest/1")
    )
    monkeypatch.setattr(tasks, "described", lambda *_: (made, files))
    return job, rival, made.version


def test_an_approval_does_not_hold_for_the_verdict_against_a_later_champion(moved: Any) -> None:
    job, rival, version = moved
    with pytest.raises(BadInput, match="nobody has decided about gate/8"):
        steps.promote(job, GATE)
    assert named(job.store) == rival
    decide(job, verdict="gate/8")
    steps.promote(job, GATE)
    assert named(job.store) == version


def test_a_promotion_uses_its_approval_up(moved: Any) -> None:
    """After the champion was moved back, the model needs to be asked about again."""
    job, rival, _ = moved
    decide(job, verdict="gate/8")
    steps.promote(job, "gate/8")
    promote(job.store, rival)
    with pytest.raises(BadInput, match=r"does not hold any more: .*move 1.*move 3"):
        steps.promote(job, "gate/8")
    assert named(job.store) == rival


def test_nobody_is_asked_about_a_model_that_a_person_rolled_back(moved: Any) -> None:
    job, rival, _ = moved
    decide(job, verdict="gate/8")
    steps.promote(job, "gate/8")
    opened(job.store).rollback(rival, by="carol", reason="false alarms")
    assert tasks.request(job, "gate/8", again=True) is None
    with pytest.raises(Rejected, match="was rolled back by carol"):
        steps.promote(job, "gate/8")


def test_first_asks_for_the_first_champion_only(moved: Any) -> None:
    job, _, version = moved
    first = asking(job, "first")
    steps.promote(first, GATE)
    assert named(job.store) == version
    assert champion_of(job.store).by == job.run_id


def test_first_asks_while_there_is_no_champion(candidate: Any) -> None:
    with pytest.raises(BadInput, match="SKIN_APPROVAL=first"):
        steps.promote(asking(candidate[0], "first"), GATE)


def test_what_is_the_champion_already_needs_no_approval(candidate: Any) -> None:
    job, version, _ = candidate
    steps.promote(job, GATE)
    assert steps.promote(asking(job), GATE) == version_key(MODEL, version)
    assert tasks.request(asking(job), GATE, again=True) is None


def test_who_approved_must_be_named_also_when_it_is_promoted(candidate: Any) -> None:
    job = asking(candidate[0], approvers="bob")
    decide(job)
    with pytest.raises(BadInput, match="SKIN_APPROVERS names bob"):
        steps.promote(job, GATE)


def test_a_forged_approval_promotes_nothing(candidate: Any, tmp_path: Path) -> None:
    job, _, tried = candidate
    job = asking(with_keys(job, key_pairs.write(tmp_path, "ours")))
    decide(dataclasses.replace(job, deployment=candidate[0].deployment))  # without a key
    with pytest.raises(BadInput, match="is not signed, but SKIN_PUBLIC_KEY is set"):
        steps.promote(job, GATE)
    assert tried == []


def test_nobody_is_asked_where_the_answer_could_not_be_signed(
    candidate: Any, tmp_path: Path
) -> None:
    keys = key_pairs.write(tmp_path, "ours")
    job = asking(with_keys(candidate[0], keys))
    assert tasks.request(job, GATE, again=False) == Request(MODEL, GATE, "", 0)
    checking = asking(with_keys(candidate[0], SigningKeys(public=keys.public)))
    with pytest.raises(BadInput, match="SKIN_SIGNING_KEY is not"):
        tasks.request(checking, GATE, again=False)


# --- approval, and moves by hand ------------------------------------------------------------------


def test_no_other_path_makes_what_nobody_approved_the_champion(candidate: Any) -> None:
    job, _, _ = candidate
    old, new = releases(job.store, 2)
    promote(job.store, old)
    model = Registry.of(job.store, asking(job).deployment).model(MODEL)
    for path in (
        lambda: model.promote(new, by="x", reason="by hand"),
        lambda: model.move(new, by="x", reason="by hand"),
        lambda: model.rollback(new, by="x", reason="by hand"),
    ):
        with pytest.raises(BadInput, match="nobody has decided about gate/1"):
            path()
    assert named(job.store) == old
    assert model.promote(new, "canary", by="x", reason="another alias")
    decide(job, approved=False, verdict="gate/1", note="blurred")
    with pytest.raises(BadInput, match="must not become the champion: rejected by alice: blurred"):
        model.promote(new, by="x", reason="by hand")
    assert named(job.store) == old
    decide(job, verdict="gate/1", at="2026-11-26T09:00:00.000000+00:00")
    assert model.promote(new, by="x", reason="by hand")
    # Back to what was the champion before: nobody has to be asked.
    model.rollback("previous", by="x", reason="false alarms")
    assert named(job.store) == old
