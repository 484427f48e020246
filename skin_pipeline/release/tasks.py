"""The work of the steps `champion`, `promote`, `reject`, and all else that asks the registry.

The door (`skin_pipeline.steps`) decides when they run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from skin_pipeline import journal
from skin_pipeline.contracts import (
    Approval,
    Dataset,
    Evaluation,
    Judgement,
    Pointer,
    Release,
    Scored,
    Split,
    Validation,
    Verdict,
)
from skin_pipeline.errors import BadInput, Rejected, Unavailable
from skin_pipeline.job import Job, Work
from skin_pipeline.release.approvals import Request, consent, refusal
from skin_pipeline.release.registry import Model, Registry
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

REMATCHES = 10  # a promotion gives up when the champion changed so many times meanwhile


def champion(
    work: Work, split: str, pointer: Pointer, logits_for: Callable[[str, str], Sequence[str]]
) -> Scored:
    """Scores the champion on the test set of a split, without images that it was trained on.

    Args:
        work: The making of the scores.
        split: Key of the split.
        pointer: The champion.
        logits_for: Returns the keys of what the runs of an evaluation say of the test images of a
            split, given the keys of both.

    Returns:
        The scores; or the reason why there are none, which the gate judges.
    """
    from skin_pipeline.evaluation import scoring

    dataset, evaluation = work.load(split, Split).dataset, ""
    try:
        model = _model(work.job, pointer.model)
        evaluation = _evaluation_of(work.job, model.release(pointer.version))
        return scoring.on_test_set(work, split, pointer.version, evaluation, logits_for)
    except BadInput as error:
        log.warning('champion_not_scored version=%s problem="%s"', pointer.version, error)
        return Scored(
            name=pointer.version,
            dataset=dataset,
            evaluation=evaluation,
            images=0,
            excluded=0,
            problem=str(error),
        )


def _model(job: Job, name: str, store: Store | None = None) -> Model:
    """Returns a model of the job's registry, opened with the keys of the deployment.

    Args:
        job: The job.
        name: The model's name.
        store: The store, where it is not the one that proves what is read from it.
    """
    return Registry.of(store or job.store, job.deployment).model(name)


def _evaluation_of(job: Job, release: Release) -> str:
    """Returns the key of the evaluation on which a version was promoted.

    Raises:
        BadInput: Its verdict is missing, or was written by another version of this code.
    """
    return job.load(release.verdict, Verdict).evaluation


def evaluation_of_champion(job: Job) -> str:
    """Returns the key of the evaluation on which a champion was promoted; "" if there is none, or
    if it cannot be read, which the step `champion` reports."""
    model = _model(job, job.settings.released_as)
    pointer = model.champion
    try:
        return _evaluation_of(job, model.release(pointer.version)) if pointer else ""
    except BadInput:
        return ""


def rival(job: Job, evaluation: str, champion: str) -> str:
    """Returns the key of the scores that a model is compared with: never its own.

    If the model is the champion already, it is compared with the one that it replaced. So on
    unchanged data and settings its own verdict is found again.
    """
    theirs = job.load(champion, Scored) if champion else None
    if theirs is None or theirs.evaluation != evaluation:
        return champion
    try:
        release = _model(job, job.settings.released_as).release(theirs.name)
        return job.load(release.verdict, Verdict).champion
    except BadInput:  # of a version of this code that wrote other documents
        return champion


def promote(job: Job, verdict: str, judge_again: Callable[[Verdict], str]) -> str:
    """Publishes the judged model and makes it the champion; see `steps.promote`.

    Nothing moves if it is the champion already, as after a run on unchanged data; its judgement
    then stays. If the champion has changed since the model was judged, the model is judged again,
    against the new champion. A model that a person rolled back is not promoted again.

    Args:
        job: The job.
        verdict: Key of the verdict.
        judge_again: Judges against the present champion; returns the key of the new verdict.
    """
    job.keys.check()
    for _ in range(REMATCHES):
        judged = job.load(verdict, Verdict)
        if not judged.approved:
            raise Rejected("; ".join(judged.reasons))
        standing = _standing(job, judged)
        if standing:
            return _kept(job, verdict, judged, standing)
        version = _moved(job, verdict, judged)
        if version:
            model = _model(job, judged.released_as)
            model.record(_judgement(job, judged, version), verdict)
            _note(job, judged, unchanged=False)
            return model.version_key(version)
        log.info("champion_moved model=%s", judged.released_as)
        verdict = judge_again(judged)
        if not job.load(verdict, Verdict).approved:
            reject(job, verdict)
    raise _restless(judged)


def _restless(judged: Verdict) -> Unavailable:
    return Unavailable(
        f"other runs moved the champion of {judged.released_as} {REMATCHES} times meanwhile; "
        "try again"
    )


def present(job: Job, verdict: str, judge_again: Callable[[Verdict], str]) -> str:
    """Returns the key of the verdict against the present champion, which `promote` comes to, too.

    Takes and raises what `promote` does.
    """
    for _ in range(REMATCHES):
        judged = job.load(verdict, Verdict)
        if not judged.approved or _standing(job, judged) or _is_current(job, judged):
            return verdict
        verdict = judge_again(judged)
    raise _restless(judged)


def request(job: Job, verdict: str, *, again: bool) -> Request | None:
    """Returns what a person must be asked before a model is promoted; None if nothing.

    Args:
        job: The job.
        verdict: Key of the verdict against the present champion; see `present`.
        again: Whether to ask even if a person rejected just this before.

    Raises:
        BadInput: A person must be asked, but the answer could not be signed.
    """
    judged = job.load(verdict, Verdict)
    model = _model(job, judged.released_as)
    champion = model.champion
    if not judged.approved or not model.rule.asks(champion) or _standing(job, judged):
        return None
    if given_up(job, verdict, judged):  # `promote` refuses it, whatever the answer is
        return None
    job.keys.check_mover()
    asked = Request.about(model.name, verdict, champion)
    return None if model.approvals.settles(asked, again=again) else asked


def rejection(job: Job, verdict: str) -> Approval | None:
    """Returns the decision by which a person rejected a model that passed the gate, or None."""
    judged = job.load(verdict, Verdict)
    model = _model(job, judged.released_as)
    if not model.rule.asks(model.champion) or _standing(job, judged):
        return None
    decision = model.approvals.newest(verdict)
    return decision if decision and not decision.approved else None


def _standing(job: Job, judged: Verdict) -> Release | None:
    """Returns the champion's manifest, if the judged model is the champion already."""
    model = _model(job, judged.released_as)
    pointer = model.champion
    if pointer is None:
        return None
    try:  # unverified, only to find out which model it is; the last line checks the signature
        evaluation = _evaluation_of(job, model.unverified.release(pointer.version))
    except BadInput:  # of a version of this code that wrote other documents
        return None
    if evaluation != judged.evaluation:
        return None
    log.info("already_champion model=%s version=%s", pointer.model, pointer.version)
    return model.release(pointer.version)


def _kept(job: Job, key: str, judged: Verdict, standing: Release) -> str:
    """Returns the key of the version of a model that is the champion already.

    Its judgement is recorded here if an earlier try was killed before it did that.
    """
    model = _model(job, standing.model)
    if standing.verdict == key:
        model.record(_judgement(job, judged, standing.version), key)
    _note(job, judged, unchanged=standing.verdict != key or _is_old(job, judged))
    return model.version_key(standing.version)


def _moved(job: Job, key: str, judged: Verdict) -> str | None:
    """Publishes a version and makes it the champion; returns None if nothing was moved.

    Nothing is moved if the champion is no longer the one that the model was compared with.
    """
    from skin_pipeline.release import chain  # imports pandas: only if there is a model to publish

    if not _is_current(job, judged):
        return None  # before a version is written that no alias would name
    if problem := given_up(job, key, judged):
        raise Rejected(problem)
    rival, model = _rival(job, judged), _model(job, judged.released_as)
    approval = model.approvals.check(model.name, key, model.champion)
    chain.check(job.proven, key)
    release, files = described(job, key, judged)
    # Without the proofs of the store: `publish` compares each file with the digest in the manifest,
    # which `described` took from the proofs that `chain.check` has just checked.
    bare = _model(job, judged.released_as, job.proven.inner)
    bare.publish(release, files, lambda file: _try(job, judged.evaluation, file))
    model.release(release.version)  # raises if it must be signed, and there was no key to do it
    by, reason = job.run_id, "passed the gate"
    if approval:
        by, reason = f"{by}, approved by {approval.by}", f"{reason}; {consent(approval)}"
    won = model.move(release.version, by=by, reason=reason, expected=rival)
    return release.version if won else None


def given_up(job: Job, key: str, judged: Verdict) -> str:
    """Returns who rolled the judged model back, and what to do; "" if nobody did.

    On unchanged data and settings a run makes the same model again, which would be promoted with
    the old verdict. It is recognised by its evaluation, so that looser bounds do not help either.
    """
    for move in _model(job, judged.released_as).rolled_back():
        if move.previous and _is_of(job, move.previous, key, judged):
            log.warning('not_promoted_again version=%s by="%s"', move.previous, move.by)
            return (
                f"version {move.previous} was rolled back by {move.by}: {move.reason}; to promote "
                "it again, move the alias by hand, with the DAG skin_alias"
            )
    return ""


def _is_of(job: Job, version: str, key: str, judged: Verdict) -> bool:
    """Returns whether a version is the judged model."""
    try:
        release = _model(job, judged.released_as).unverified.release(version)
        return _evaluation_of(job, release) == judged.evaluation
    except BadInput:  # it was pruned, or is of older code: the same model has the same name
        return described(job, key, judged)[0].version == version


def _rival(job: Job, judged: Verdict) -> str | None:
    """Returns the version of the champion that a model was compared with; None for none."""
    return job.load(judged.champion, Scored).name if judged.champion else None


def _is_current(job: Job, judged: Verdict) -> bool:
    """Returns whether a model was compared with what is the champion now."""
    pointer = _model(job, judged.released_as).champion
    return _rival(job, judged) == (pointer.version if pointer else None)


def described(job: Job, key: str, verdict: Verdict) -> tuple[Release, dict[str, str]]:
    """Returns the manifest of a version, and for each file the key that it is copied from."""
    from skin_pipeline.release import chain

    result = job.load(verdict.evaluation, Evaluation)
    files = dict(chain.sources(key, verdict, result))
    release = _model(job, verdict.released_as).describe(
        files,
        verdict=key,
        threshold=result.threshold,
        dataset=job.load(result.dataset, Dataset),
        known={name: job.proven.digest_of(source) for name, source in files.items()},
        abstention=result.abstention,
    )
    return release, files


def _try(job: Job, evaluation: str, model: Path) -> None:
    """Refuses a model file whose scores of the golden images differ from those of `evaluate`."""
    from skin_pipeline import tables
    from skin_pipeline.evaluation import gate
    from skin_pipeline.model_file import trial
    from skin_pipeline.release import chain

    result = job.load(evaluation, Evaluation)
    golden = chain.golden(job.store, result.dataset)
    table = tables.read_scores(job.store, result.predictions)
    trial.agree(
        model,
        golden,
        dict(zip(table["key"], table["probability"], strict=True)),
        tolerance=gate.SMOKE_TOLERANCE,
        threads=job.threads,
    )
    log.info("model_tried evaluation=%s images=%d", evaluation, len(golden))


def reject(job: Job, verdict: str) -> str:
    """Records a refusal in the model's history, once: the gate's, or that of a person.

    Returns the verdict's key.
    """
    judged = job.load(verdict, Verdict)
    decision = rejection(job, verdict) if judged.approved else None
    model, refused, once = _model(job, judged.released_as), _judgement(job, judged, None), verdict
    if decision:  # beside the verdict's own judgement, if it has one or ever gets one
        told = {"approved": False, "reasons": (refusal(decision),), "judged_at": decision.at}
        refused, once = refused.model_copy(update=told), decision.asked
    new = model.record(refused, once)
    _note(job, judged, unchanged=not new and _is_old(job, judged))
    log.warning('refused model=%s reasons="%s"', judged.released_as, "; ".join(refused.reasons))
    return verdict


def _is_old(job: Job, judged: Verdict) -> bool:
    """Returns whether an earlier run made this verdict."""
    return judged.judged_at != job.moment


def _note(job: Job, judged: Verdict, *, unchanged: bool) -> None:
    """Notes for the pages of this run whether it changed nothing."""
    if unchanged:
        log.info("nothing_changed model=%s judged_at=%s", judged.released_as, judged.judged_at)
    journal.note(job.store, job.run_id, unchanged=unchanged)


def _judgement(job: Job, verdict: Verdict, version: str | None) -> Judgement:
    figures = job.load(verdict.evaluation, Evaluation).ensemble
    return Judgement(
        model=verdict.released_as,
        run=job.run_id,
        judged_at=verdict.judged_at,
        approved=verdict.approved,
        version=version,
        reasons=verdict.reasons,
        accuracy=figures.accuracy,
        sensitivity=figures.sensitivity,
        auc=figures.auc,
        report=verdict.report,
        docs=job.load(verdict.validation, Validation).docs,
    )
