"""What lies in the store is exchanged between two steps by somebody without a key: nothing of it is
used, and nothing is released by it."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hard_run
import key_pairs
import pytest
from attacker import Attacker
from released import opened, registry, vouch_for

from skin_pipeline import steps
from skin_pipeline.contracts import RESULT, Dataset, Evaluation, Proof, Scored, Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import scoring
from skin_pipeline.job import Job, Work
from skin_pipeline.model_file import trial
from skin_pipeline.provenance import ProvenStore, SigningKeys
from skin_pipeline.release import chain, tasks, versions
from skin_pipeline.release.versions import Version
from skin_pipeline.storage import FolderStore, digest


class Judged(NamedTuple):
    """A run up to its verdict, in a store of its own, and somebody who can write into it."""

    job: Job
    attacker: Attacker
    run: Any

    @property
    def results(self) -> list[str]:
        return list(chain.results_of(self.job.proven, self.run.verdict))

    def afresh(self, **place: str) -> Job:
        """The job of another process: what it was told before is forgotten."""
        deployment = self.job.deployment.model_copy(update=place)
        return dataclasses.replace(self.job, deployment=deployment)

    def promote(self) -> str:
        return steps.promote(self.afresh(), self.run.verdict)


class Base(NamedTuple):
    """Two stores, of which each test gets copies: a judged run without a release, and the same
    signed; the key of a verdict that refuses its model; a key pair."""

    plain: Path
    signed: Path
    refusal: str
    keys: SigningKeys


@pytest.fixture(scope="module")
def base(hard: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("judged")
    plain, signed = folder / "plain", folder / "signed"
    shutil.copytree(hard.job.store.inner.root, plain)
    shutil.rmtree(plain / "models")
    strict = hard.job.settings.model_copy(update={"min_accuracy": 0.999})
    job = dataclasses.replace(hard.job, store=FolderStore(plain), settings=strict)
    refusal = steps.gate(job, hard.evaluation, hard.validation, "", hard.external)
    shutil.copytree(plain, signed)
    keys = key_pairs.write(folder, "ours")
    deployment = hard.job.deployment.model_copy(update={"signing_key": keys.private})
    vouch_for(
        dataclasses.replace(job, store=FolderStore(signed), deployment=deployment), hard.verdict
    )
    return Base(plain, signed, refusal, keys)


@pytest.fixture
def judged(hard: Any, base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing is released yet. The trial of the model takes long, and has tests of its own."""
    monkeypatch.setattr(trial, "agree", lambda *_, **__: None)
    return in_copy(hard, base.plain, tmp_path / "store")


@pytest.fixture
def signed(hard: Any, base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same where every result is signed, as if the steps had had the key."""
    monkeypatch.setattr(trial, "agree", lambda *_, **__: None)
    keys = {"signing_key": base.keys.private, "public_key": base.keys.public}
    return in_copy(hard, base.signed, tmp_path / "store", **keys)


def in_copy(hard: Any, store: Any, root: Any, **keys: Any) -> Judged:
    shutil.copytree(store, root)
    deployment = hard.job.deployment.model_copy(update={"store": f"file://{root}", **keys})
    job = dataclasses.replace(hard.job, store=FolderStore(root), deployment=deployment)
    return Judged(job, Attacker(root), hard)


@pytest.fixture(params=["without keys", "with keys"])
def either(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("signed" if request.param == "with keys" else "judged")


def refused(judged: Judged, *said: str) -> str:
    with pytest.raises(BadInput) as told:
        judged.promote()
    for part in said:
        assert part in str(told.value)
    assert registry(judged.job.store).models() == []
    return str(told.value)


def test_a_run_that_nobody_touched_is_released_with_the_bytes_that_were_judged(either: Any) -> None:
    key = either.promote()
    model = load(either.job.store, either.run.evaluation, Evaluation).model
    assert either.attacker.read(f"{key}/model.keras") == either.attacker.read(model)
    assert load(either.job.store, either.run.verdict, Verdict).approved


def test_a_model_and_its_predictions_that_were_exchanged_are_not_released(either: Any) -> None:
    """The trial would agree: the predictions are those of the exchanged model."""
    result = load(either.job.store, either.run.evaluation, Evaluation)
    other = either.attacker.read(result.predictions).replace(b"malignant", b"benign")
    either.attacker.exchange(result.model, b"PK another model")
    either.attacker.exchange(result.predictions, other)
    said = refused(either, either.run.evaluation, "its step wrote")
    now = {digest(b"PK another model"), digest(other)}
    assert any(found in said for found in now)


def test_no_file_of_any_result_is_exchanged_unnoticed(either: Any) -> None:
    proofs = [either.job.proven.prove(key).proof for key in either.results]
    files = {file: found for proof in proofs for file, found in proof.files.items()}
    kinds = {re.sub(r"[0-9a-f]{20}|\d", "", file): file for file in files if "/docs/" not in file}
    assert len(kinds) > 15
    for file in kinds.values():
        either.attacker.exchange(file, either.attacker.read(file) + b" ")
        refused(either, file, files[file], digest(either.attacker.read(file)))
        either.attacker.undo()


def test_no_document_is_exchanged_unnoticed(either: Any) -> None:
    for key in either.results:
        either.attacker.exchange(f"{key}/{RESULT}", either.attacker.read(f"{key}/{RESULT}") + b"\n")
        refused(either, key)
        either.attacker.undo()


def test_no_document_is_exchanged_together_with_its_proof(either: Any) -> None:
    """Without keys, this is noticed of everything that a later result was made from."""
    for key in either.results:
        if key == either.run.verdict and not either.job.deployment.signing_key:
            continue
        document = either.attacker.document(key)
        either.attacker.forge(key, {}, made_from={})
        either.attacker.exchange(f"{key}/{RESULT}", (json.dumps(document) + "\n\n").encode())
        either.attacker.prove(key)
        refused(either, key)
        either.attacker.undo()


def test_no_proof_is_removed_unnoticed(either: Any) -> None:
    for key in either.results:
        either.attacker.strip(key)
        refused(either, key)
        either.attacker.undo()


# --- verdicts that do not follow from what they name ----------------------------------------------

FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "approved": ({"approved": True, "reasons": []}, "approved is True, computed again False"),
    "a check that passed": ({"checks": []}, "checks has 0 parts"),
    "lower bounds": ({"settings.min_accuracy": 0.1}, "made from settings"),
    "other data": ({"validation": "validate/other"}, "validate/other"),
    "no rival": ({"champion": "champion/other"}, "champion/other"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_verdict_is_refused_though_its_proof_is_right(
    judged: Any, base: Any, name: str
) -> None:
    """Without keys, too: the key names what it was made from, and the rest follows from that."""
    assert not load(judged.job.store, base.refusal, Verdict).approved
    changes, said = FORGED[name]
    judged.attacker.forge(base.refusal, {"approved": True, **changes})
    run = dataclasses.replace(judged.run, verdict=base.refusal)
    refused(judged._replace(run=run), said)


def everything_forged(judged: Judged, changes: dict[str, Any], of: str) -> None:
    """Change a document, and write all later ones so that they agree with it."""
    judged.attacker.forge(of, changes)
    for key in (judged.run.evaluation, *judged.run.external, judged.run.verdict):
        store = FolderStore(judged.attacker.root)
        proof = Proof.model_validate_json(judged.attacker.proof(key).read_bytes())
        now = {
            earlier: digest(judged.attacker.proof(earlier).read_bytes())
            for earlier in proof.made_from
        }
        assert store.exists(f"{key}/{RESULT}")
        judged.attacker.prove(key, made_from=now)


FIGURES = {
    "ensemble.accuracy.value": (0.999, "ensemble.accuracy.value is 0.999, computed again"),
    "ensemble.sensitivity.low": (0.999, "ensemble.sensitivity.low"),
    "ensemble.confusion.fn": (0, "ensemble.confusion.fn is 0"),
    "ensemble.auc.value": (1.5, "ensemble.auc.value"),
    "per_run.0.auc.value": (0.999, "per_run.0.auc.value"),
    "threshold": (0.001, "threshold is 0.001"),
    "slices": ([], "slices has 0 parts"),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_that_do_not_follow_from_the_predictions_are_refused(
    judged: Any, figure: Any
) -> None:
    value, said = FIGURES[figure]
    everything_forged(judged, {figure: value}, judged.run.evaluation)
    refused(judged, judged.run.evaluation, "does not follow from its predictions", said)


@pytest.mark.parametrize("model", ["images/another.keras", "model.keras", "evaluate/1/../2"])
def test_a_model_that_is_no_file_of_its_evaluation_is_not_released(judged: Any, model: str) -> None:
    everything_forged(judged, {"model": model}, judged.run.evaluation)
    refused(judged, model)


def test_figures_of_an_external_set_that_do_not_follow_are_refused(judged: Any) -> None:
    everything_forged(judged, {"figures.auc.value": 0.999}, judged.run.external[0])
    refused(judged, judged.run.external[0], "figures.auc.value is 0.999")


@pytest.fixture
def against_champion(judged: Any) -> Any:
    """The run judged against a champion: the same predictions under the name of another model."""
    job, run = judged.job, judged.run
    known = load(job.store, run.evaluation, Evaluation)

    def older(work: Work) -> Any:
        key = work.key
        for file in (known.model, known.predictions):
            job.store.put(file.replace(run.evaluation, key), job.store.read(file))
        places = {"predictions": f"{key}/predictions.csv", "model": f"{key}/model.keras"}
        return known.model_copy(update=places)

    inputs = job.proven.prove(run.evaluation).proof.inputs
    other = job.once("evaluate", 1, {"of": inputs}, older)

    def as_judged(work: Work) -> Scored:
        return scoring.on_test_set(work, run.split, "old", other, lambda *_: ())

    champion = job.once("champion", 1, {"split": run.split}, as_judged)
    settings = job.settings.model_copy(update={"min_auc_change": -0.5})
    verdict = steps.gate(
        dataclasses.replace(job, settings=settings), run.evaluation, run.validation, champion
    )
    comparison = load(job.store, verdict, Verdict).comparison
    assert comparison
    assert comparison.champion == "old"
    return judged._replace(run=dataclasses.replace(run, verdict=verdict)), champion


def test_a_comparison_is_made_again(against_champion: Any) -> None:
    judged, champion = against_champion
    chain.check(judged.afresh().proven, judged.run.verdict)
    for change, said in (
        ({"figures.auc.value": 0.1}, "figures.auc.value is 0.1"),
        ({"evaluation": judged.run.evaluation}, "comparison is"),
        ({"problem": "gone"}, "comparison is"),
    ):
        judged.attacker.forge(champion, change)
        proof = Proof.model_validate_json(judged.attacker.proof(judged.run.verdict).read_bytes())
        now = digest(judged.attacker.proof(champion).read_bytes())
        judged.attacker.prove(judged.run.verdict, made_from={**proof.made_from, champion: now})
        with pytest.raises(BadInput, match=re.escape(said)):
            chain.check(judged.afresh().proven, judged.run.verdict)
        judged.attacker.undo()


# --- signatures -----------------------------------------------------------------------------------


def signatures(judged: Judged) -> list[str]:
    return judged.job.store.list("signatures")


def test_a_signature_that_was_removed_is_missed(signed: Any) -> None:
    for key in signatures(signed):
        signed.attacker.remove(key)
        refused(signed, "its signature by our key is missing")
        signed.attacker.undo()


def test_a_signature_of_another_result_is_not_taken(signed: Any) -> None:
    first, *others = signatures(signed)
    for key in others:
        signed.attacker.exchange(key, signed.attacker.read(first))
        refused(signed, "is not of this content by this key")
        signed.attacker.undo()


@pytest.mark.parametrize("stamp", [b"", b"!", b"MEUCIQ==\n", b"A" * 2**20])
def test_what_is_no_signature_is_not_taken(signed: Any, stamp: Any) -> None:
    signed.attacker.exchange(signatures(signed)[0], stamp)
    refused(signed, "is not of this content by this key")


def test_a_signature_by_another_key_is_not_taken(judged: Any, tmp_path: Path) -> None:
    ours, theirs = (key_pairs.write(tmp_path, name) for name in ("mine", "theirs"))
    stranger = judged.afresh(signing_key=theirs.private).proven
    for key in judged.results:
        stranger.vouch(key)
    mine = judged._replace(job=judged.afresh(signing_key=ours.private))
    refused(mine, "its signature by our key is missing")
    named = stranger.stamper.own, mine.job.proven.stamper.own
    shutil.move(*(judged.attacker.root / "signatures" / name for name in named))
    refused(mine, "is not of this content by this key")


def test_a_signed_run_cannot_be_forged_as_a_whole(signed: Any) -> None:
    everything_forged(signed, {"mistakes": []}, signed.run.evaluation)
    refused(signed, "its signature by our key is missing")


def test_unsigned_results_are_refused_with_what_to_do(judged: Any, tmp_path: Path) -> None:
    keys = key_pairs.write(tmp_path, "ours")
    said = refused(judged._replace(job=judged.afresh(signing_key=keys.private)))
    assert "every process that runs steps needs SKIN_SIGNING_KEY" in said
    assert "models sign MODEL VERSION" in said


# --- every step -----------------------------------------------------------------------------------


def steps_after(judged: Judged) -> dict[str, tuple[str, Callable[[Job], object]]]:
    """The steps that read a result first, by what it is; none of them comes to its work."""
    run = judged.run
    gate = partial(steps.gate, evaluation=run.evaluation, validation=run.validation)
    return {
        "ingest": (run.dataset, lambda job: steps.validate(job, run.dataset)),
        "validate": (run.validation, lambda job: steps.split(job, run.validation)),
        "split": (run.split, lambda job: steps.features(job, run.split, run.weights, 0)),
        "split, features there": (
            run.split,
            lambda job: steps.train(job, run.split, run.index, 0),
        ),
        "features": (run.features[0], lambda job: steps.index(job, run.features[:1])),
        "index": (run.index, lambda job: steps.train(job, run.split, run.index, 0)),
        "train": (
            run.trained[0],
            lambda job: steps.evaluate(job, run.split, run.trained, run.validation),
        ),
        "evaluate": (
            run.evaluation,
            lambda job: steps.external(job, run.evaluation, run.validation),
        ),
        "evaluate, judged": (run.evaluation, lambda job: gate(job)),
        "external": (run.external[0], lambda job: gate(job, external=run.external)),
        "gate": (run.verdict, lambda job: steps.promote(job, run.verdict)),
        "gate, refused": (run.verdict, lambda job: steps.reject(job, run.verdict)),
    }


MOMENTS = (
    *("ingest", "validate", "split", "split, features there", "features", "index", "train"),
    *("evaluate", "evaluate, judged", "external", "gate", "gate, refused"),
)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_next_step_refuses_a_result_that_was_exchanged(either: Any, moment: Any) -> None:
    key, step = steps_after(either)[moment]
    either.attacker.exchange(f"{key}/{RESULT}", either.attacker.read(f"{key}/{RESULT}") + b"\n")
    # A step that made its result before would find it: these are made of other settings.
    other = either.afresh().settings.model_copy(update={"seed": 99, "target_sensitivity": 0.7})
    with pytest.raises(BadInput, match=f"the result {key} .* its step wrote"):
        step(dataclasses.replace(either.afresh(), settings=other))


def test_a_part_of_the_scores_that_was_exchanged_is_refused(judged: Any) -> None:
    """By another judgement of the same runs, which finds the part, and by the promotion."""
    run = judged.run
    (key,) = load(judged.job.store, run.evaluation, Evaluation).logits
    judged.attacker.exchange(f"{key}/{RESULT}", judged.attacker.read(f"{key}/{RESULT}") + b"\n")
    other = judged.afresh().settings.model_copy(update={"target_sensitivity": 0.7})
    job = dataclasses.replace(judged.afresh(), settings=other)
    with pytest.raises(BadInput, match=f"the result {key} .* its step wrote"):
        steps.evaluate(job, run.split, run.trained, run.validation)
    with pytest.raises(BadInput, match=key):
        chain.check(judged.afresh().proven, run.verdict)


@pytest.mark.parametrize("moment", MOMENTS)
def test_with_a_key_the_next_step_refuses_a_result_with_a_forged_proof(
    signed: Any, moment: Any
) -> None:
    key, step = steps_after(signed)[moment]
    signed.attacker.exchange(f"{key}/{RESULT}", signed.attacker.read(f"{key}/{RESULT}") + b"\n")
    signed.attacker.prove(key)
    with pytest.raises(BadInput, match=f"the result {key} .* its signature by our key is missing"):
        step(signed.afresh())


def test_a_forged_result_is_not_taken_for_one_that_was_made_before(signed: Any) -> None:
    run, job = signed.run, signed.afresh()
    gate = partial(steps.gate, evaluation=run.evaluation, validation=run.validation)
    key = gate(job)
    signed.attacker.exchange(f"{key}/{RESULT}", signed.attacker.read(f"{key}/{RESULT}") + b"\n")
    signed.attacker.prove(key)
    with pytest.raises(BadInput, match=f"the result {key} .* remove .*{key}"):
        gate(signed.afresh())
    shutil.rmtree(signed.attacker.root / key)
    assert gate(signed.afresh()) == key  # as it was told to


def test_a_result_that_was_put_there_before_a_signed_step_runs_is_refused(
    signed: Any, tmp_path: Path
) -> None:
    """Its key can be known in advance, from what it is made of."""
    run = signed.run
    gate = partial(steps.gate, evaluation=run.evaluation, validation=run.validation)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(signed.attacker.root, elsewhere)
    key = gate(dataclasses.replace(signed.afresh(), store=FolderStore(elsewhere)))
    shutil.copytree(elsewhere / key, signed.attacker.root / key)
    with pytest.raises(BadInput, match="its signature by our key is missing"):
        gate(signed.afresh())


def test_files_that_lie_where_a_step_will_write_are_not_adopted(judged: Any) -> None:
    run = judged.run
    other = dataclasses.replace(
        judged.afresh(), settings=judged.job.settings.model_copy(update={"min_auc": 0.2})
    )
    gate = partial(steps.gate, evaluation=run.evaluation, validation=run.validation)
    key = gate(other)
    shutil.rmtree(judged.attacker.root / key)
    judged.attacker.exchange(f"{key}/report.html", b"<script>alert(1)</script>")
    assert gate(other) == key
    report = load(other.store, key, Verdict).report
    assert report != f"{key}/report.html"
    assert b"alert(1)" not in other.store.read(report)


# --- while it is released -------------------------------------------------------------------------


def test_a_file_that_is_exchanged_after_the_check_is_not_released(
    either: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(either.job.store, either.run.evaluation, Evaluation).model
    check = chain.check

    def check_then_exchange(store: ProvenStore, verdict: str) -> None:
        check(store, verdict)
        either.attacker.exchange(model, b"PK another model")

    monkeypatch.setattr(chain, "check", check_then_exchange)
    refused(either, model, digest(b"PK another model"))


def test_a_manifest_that_is_exchanged_before_it_is_signed_is_not_signed(
    signed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign, seen = Version.sign, []

    def exchange_then_sign(version: Version, manifest: bytes) -> Any:
        key = version.manifest_key
        seen.append(version.model)
        other = {**json.loads(signed.attacker.read(key)), "threshold": 0.001}
        signed.attacker.exchange(key, json.dumps(other).encode())
        return sign(version, manifest)

    monkeypatch.setattr(Version, "sign", exchange_then_sign)
    with pytest.raises(BadInput, match=r"manifest\.json is not what was signed"):
        signed.promote()
    assert opened(signed.job.store, name=seen[0]).champion is None


def test_a_manifest_that_stands_there_with_another_threshold_is_not_taken_over(
    either: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = either.promote()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # somebody who has not seen that promotion
    shutil.rmtree(either.attacker.root / "models" / key.split("/")[1] / "moves")
    (either.attacker.root / "models" / key.split("/")[1] / "champion.json").unlink()
    other = {**json.loads(either.attacker.read(f"{key}/manifest.json")), "threshold": 0.001}
    either.attacker.exchange(f"{key}/manifest.json", json.dumps(other).encode())
    with pytest.raises(BadInput, match=r"manifest\.json was changed"):
        either.promote()


def test_a_golden_image_that_was_exchanged_tries_no_model(either: Any) -> None:
    golden = load(either.job.store, either.run.dataset, Dataset).golden
    copy = next(iter(golden.values()))
    either.attacker.exchange(copy, b"another image")
    refused(either, copy, digest(b"another image"), "is not what it was")


# --- results of before, and a person's word -------------------------------------------------------


def test_results_of_before_still_work_without_a_key_but_for_a_verdict(
    judged: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for key in judged.results:
        judged.attacker.strip(key)
    run, job = judged.run, judged.afresh()
    refused(judged, run.verdict, "an earlier version of this code made it", "run evaluate and gate")
    with caplog.at_level(logging.WARNING):
        assert steps.split(job, run.validation) == run.split
    assert f"result_not_provable key={run.validation}" in caplog.text


def test_a_person_who_signs_a_version_signs_what_it_was_made_from(
    judged: Any, tmp_path: Path, told: Callable[[], set[str]]
) -> None:
    _, model, _, version = judged.promote().split("/")
    keys = key_pairs.write(tmp_path, "ours")
    signing = judged._replace(job=judged.afresh(signing_key=keys.private))
    with pytest.raises(BadInput, match="is missing"):
        signing.job.proven.prove(judged.run.evaluation)
    assert opened(judged.job.store, keys, name=model).sign(version)
    for key in signing.results:
        signing.afresh().proven.prove(key)
    assert "results signed" in told()


def test_a_person_is_told_who_vouches_for_what_came_before(
    judged: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, model, _, version = judged.promote().split("/")
    for key in judged.results:
        judged.attacker.strip(key)
    keys = key_pairs.write(tmp_path, "ours")
    with caplog.at_level(logging.WARNING):
        assert opened(judged.job.store.inner, keys, name=model).sign(version)
    assert f"a_person_vouches model={model} version={version}" in caplog.text
    signing = judged.afresh(signing_key=keys.private)
    assert load(signing.store, judged.run.evaluation, Evaluation).dataset == judged.run.dataset
    judged.attacker.exchange(f"{judged.run.trained[0]}/weights.npz", b"others")
    with pytest.raises(BadInput, match=f"its SHA-256 is {digest(b'others')}"):
        judged.afresh(signing_key=keys.private).store.local(f"{judged.run.trained[0]}/weights.npz")


@pytest.mark.parametrize("exchanged", ["evaluate", "gate"])
def test_a_version_whose_verdict_was_exchanged_is_not_signed(
    judged: Any, tmp_path: Path, exchanged: Any
) -> None:
    _, model, _, version = judged.promote().split("/")
    key = {"evaluate": judged.run.evaluation, "gate": judged.run.verdict}[exchanged]
    judged.attacker.exchange(f"{key}/{RESULT}", judged.attacker.read(f"{key}/{RESULT}") + b"\n")
    with pytest.raises(BadInput, match=key):
        opened(judged.job.store, key_pairs.write(tmp_path, "ours"), name=model).sign(version)
    assert not opened(judged.job.store, name=model).is_signed(version)


def test_a_version_that_is_not_what_its_verdict_judged_is_not_signed(
    judged: Any, tmp_path: Path
) -> None:
    """A whole version beside the right verdict, with a name that fits what it says."""
    release, files = tasks.described(
        judged.job, judged.run.verdict, load(judged.job.store, judged.run.verdict, Verdict)
    )
    other = release.model_copy(update={"threshold": 0.001})
    said = json.loads(other.model_dump_json())
    other = other.model_copy(update={"version": versions._name(said)})
    opened(judged.job.store.inner, name=other.model).publish(other, files)
    with pytest.raises(BadInput, match=r"has the threshold 0\.001"):
        opened(judged.job.store, key_pairs.write(tmp_path, "ours"), name=other.model).sign(
            other.version
        )


@pytest.mark.exhaustive
def test_a_run_with_keys_signs_all_that_it_makes_and_reads_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other tests sign a run that was made without keys."""
    monkeypatch.setattr(trial, "agree", lambda *_, **__: None)
    keys = key_pairs.write(tmp_path, "ours")
    run = hard_run.build(tmp_path, signing_key=keys.private, public_key=keys.public)
    shutil.rmtree(tmp_path / "store/models")
    job = dataclasses.replace(run.job, store=run.job.proven.inner)
    _, model, _, version = steps.promote(job, run.verdict).split("/")
    assert opened(job.store, keys, name=model).verify(version).verdict == run.verdict
    proofs = [job.proven.prove(key).proof for key in chain.results_of(job.proven, run.verdict)]
    signed = {((proof and proof.inputs) or {})["signed_by"] for proof in proofs}
    assert signed == {job.proven.stamper.own}
    bare = ProvenStore(FolderStore(tmp_path / "store"), SigningKeys())
    attacker = Attacker(tmp_path / "store")
    blocks = [key for key in bare.list("activations") if not key.endswith(".ids.npy")]
    for block in blocks:
        attacker.exchange(block, attacker.read(block)[:-1] + b"\1")
    other = dataclasses.replace(run.job, settings=run.job.settings.model_copy(update={"l2": 0.01}))
    with pytest.raises(BadInput, match="not what a step with our key wrote"):
        steps.train(other, run.split, run.index, 0)


def test_web_pages_ask_for_no_key(signed: Any) -> None:
    """They read the same store without a job."""
    bare = FolderStore(signed.attacker.root)
    assert load(bare, signed.run.verdict, Verdict).approved
    assert not isinstance(bare, ProvenStore)
