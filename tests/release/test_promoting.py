"""The step `promote`, without a network: what it does in which order, and what it never does."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import key_pairs
import pytest
from documents import dataset, evaluation, validation, verdict
from released import MODEL, named, promote, release, releases, sources

from skin_pipeline import journal, steps
from skin_pipeline.contracts import RESULT, Scored, dump
from skin_pipeline.errors import BadInput, Rejected, Unavailable
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import registry

GATE, EVALUATION = "gate/7", "evaluate/7"


def put(store, key, document):
    store.put(f"{key}/{RESULT}", dump(document))


def approval(**known):
    return verdict(**{"released_as": MODEL, "evaluation": EVALUATION, **known})


@pytest.fixture
def candidate(store, make_job, monkeypatch):
    """A job, and an approved model that was judged when there was no champion; what was tried."""
    put(store, EVALUATION, evaluation())
    put(store, "validate/1", validation("validate/1", "ingest/1"))
    put(store, GATE, approval())
    files, data = sources(store, b"candidate"), dataset("ingest/1")
    made = registry.describe(store, MODEL, files, verdict=GATE, threshold=0.4, dataset=data)
    monkeypatch.setattr(steps, "_release", lambda *_: (made, files))
    # These documents were written by no step; what is checked of real ones: see test_chain.py.
    monkeypatch.setattr(steps, "_check_chain", lambda *_: None)
    tried = []

    def try_model(job, key, model):
        assert registry.versions(store, MODEL) == []
        tried.append((key, model.name))

    monkeypatch.setattr(steps, "_try", try_model)
    return make_job(), made.version, tried


def test_a_model_is_tried_published_made_the_champion_and_written_into_the_history(candidate):
    job, version, tried = candidate
    assert steps.promote(job, GATE) == registry.version_key(MODEL, version)
    assert tried == [(EVALUATION, "model.keras")]
    now = registry.champion(job.store, MODEL)
    assert (now.version, now.previous, now.by) == (version, None, job.run_id)
    assert (now.reason, now.rollback) == ("passed the gate", False)
    (judged,) = registry.judgements(job.store, MODEL)
    assert (judged.approved, judged.version, judged.run) == (True, version, job.run_id)
    assert judged.judged_at == approval().judged_at != job.moment


def test_a_model_that_fails_its_trial_is_neither_published_nor_named(candidate, monkeypatch):
    job, _, _ = candidate

    def refuse(*_):
        raise BadInput("says another thing")

    monkeypatch.setattr(steps, "_try", refuse)
    with pytest.raises(BadInput, match="says another thing"):
        steps.promote(job, GATE)
    assert registry.versions(job.store, MODEL) == []
    assert named(job.store) is None
    assert registry.judgements(job.store, MODEL) == []


def test_the_champion_again_moves_nothing_and_keeps_the_judgement_that_it_has(candidate):
    job, version, tried = candidate
    steps.promote(job, GATE)
    before = registry.champion(job.store, MODEL)
    next_week = job.started + timedelta(days=7)
    later = dataclasses.replace(job, run_id="the next run", started=next_week)
    assert steps.promote(later, GATE) == registry.version_key(MODEL, version)
    assert registry.champion(job.store, MODEL) == before
    assert len(tried) == 1
    (judged,) = registry.judgements(job.store, MODEL)
    assert judged.run == job.run_id
    assert journal.changed_nothing(job.store, "the next run")


def test_a_champion_that_comes_in_at_the_last_moment_is_not_overwritten(candidate, monkeypatch):
    job, version, _ = candidate
    publish = registry.publish

    def publish_then_lose(*arguments):
        publish(*arguments)
        monkeypatch.setattr(registry, "publish", publish)
        promote(job.store, release(job.store, b"faster").version)

    monkeypatch.setattr(registry, "publish", publish_then_lose)
    again = []

    def judged_again(_, judged):
        again.append(judged.champion)
        raise Rejected("no better than the faster one")

    monkeypatch.setattr(steps, "_judged_again", judged_again)
    with pytest.raises(Rejected, match="the faster one"):
        steps.promote(job, GATE)
    assert again == [""]
    assert named(job.store) not in {None, version}
    assert len(registry.moves(job.store, MODEL)) == 1


def test_a_model_judged_against_another_champion_is_judged_again_before_it_is_published(
    candidate, monkeypatch
):
    job, _, tried = candidate
    (rival,) = releases(job.store, 1)
    promote(job.store, rival)
    monkeypatch.setattr(steps, "_judged_again", lambda *_: GATE)
    with pytest.raises(Unavailable, match=f"champion of {MODEL} moved {steps.REMATCHES} times"):
        steps.promote(job, GATE)
    assert registry.versions(job.store, MODEL) == [rival]
    assert tried == []


def test_a_model_that_was_better_than_the_champion_takes_its_place(candidate, monkeypatch):
    job, version, _ = candidate
    monkeypatch.setattr(steps, "_try", lambda *_: None)
    (rival,) = releases(job.store, 1)
    promote(job.store, rival)
    scored = Scored(
        name=rival, dataset="ingest/1", evaluation="", images=0, excluded=0, problem="gone"
    )
    put(job.store, "champion/1", scored)
    put(job.store, "gate/2", approval(champion="champion/1"))
    steps.promote(job, "gate/2")
    now = registry.champion(job.store, MODEL)
    assert (now.version, now.previous) == (version, rival)


def test_a_refused_model_is_not_even_tried(candidate):
    job, _, tried = candidate
    refused = approval(approved=False, reasons=("accuracy: 0.7",))
    put(job.store, "gate/2", refused)
    with pytest.raises(Rejected, match=r"accuracy: 0\.7"):
        steps.promote(job, "gate/2")
    assert (tried, named(job.store)) == ([], None)


# --- keys -----------------------------------------------------------------------------------------


def with_keys(job, keys, **parts):
    deployment = job.deployment.model_copy(
        update={"signing_key": keys.private, "public_key": keys.public, **parts}
    )
    signing = dataclasses.replace(job, deployment=deployment)
    for key in (GATE, EVALUATION, "validate/1") if signing.proven.keys.private else ():
        signing.proven.vouch(key)
    return signing


def test_a_version_is_signed_before_the_champion_names_it(candidate, tmp_path, monkeypatch):
    job, version, _ = candidate
    keys = key_pairs.write(tmp_path, "ours")
    signed = []
    move = registry.move

    def moved(*arguments, **known):
        signed.append(registry.is_signed(job.store, MODEL, version))
        return move(*arguments, **known)

    monkeypatch.setattr(registry, "move", moved)
    steps.promote(with_keys(job, keys), GATE)
    assert signed == [True]
    assert registry.verify_alias(job.store, MODEL, keys=keys).version == version


def test_where_signatures_are_asked_for_and_none_can_be_made_nothing_moves(candidate, tmp_path):
    job, version, _ = candidate
    keys = key_pairs.write(tmp_path, "ours")
    with pytest.raises(BadInput, match="is not signed"):
        steps.promote(with_keys(job, keys, signing_key=""), GATE)
    assert named(job.store) is None
    steps.promote(job, GATE)  # without keys it is made the champion, unsigned
    with pytest.raises(BadInput, match="is not signed"):  # which then stands, and is not enough
        steps.promote(with_keys(job, keys, signing_key=""), GATE)
    assert named(job.store) == version


def test_an_old_champion_that_was_put_back_stops_the_steps(candidate, tmp_path):
    job, _, tried = candidate
    signed = with_keys(job, key_pairs.write(tmp_path, "ours"), state=str(tmp_path / "state"))
    keys = SigningKeys.of(signed.deployment)
    for model in (MODEL, job.settings.released_as):
        pointer, documents = f"models/{model}/champion.json", []
        for content in (b"old", b"new"):
            made = release(job.store, content, model)
            registry.sign(job.store, model, made.version, keys)
            registry.promote(job.store, made, by="run", reason="passed the gate", keys=keys)
            documents.append(job.store.read(pointer))
        job.store.remove(f"models/{model}/moves/champion/00000002.json")
        job.store.swap(pointer, documents[0], job.store.tagged(pointer)[1])
    for step, key in ((steps.promote, GATE), (steps.champion, "split/1")):
        with pytest.raises(BadInput, match=r"an old pointer was put back: .* move 1 .* move 2 "):
            step(signed, key)
    assert tried == []


def test_keys_that_do_not_belong_together_stop_a_promotion_before_anything_is_written(
    candidate, tmp_path
):
    job, _, tried = candidate
    ours, theirs = (key_pairs.write(tmp_path, name) for name in ("ours", "theirs"))
    with pytest.raises(BadInput, match="is not the public half"):
        steps.promote(with_keys(job, ours, public_key=theirs.public), GATE)
    assert (tried, registry.versions(job.store, MODEL)) == ([], [])
