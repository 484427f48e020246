"""Checks all that a release is made from, from the verdict down to the images, before it is made.

chain.check(store, "gate/4f1a…")         # by `promote`, before anything is published
registry.model("skin").sign("9c2e…")     # by a person, for what `promote` did not sign
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from skin_pipeline.contracts import (
    RESULT,
    Dataset,
    Evaluation,
    NearDuplicates,
    Proof,
    Release,
    Scored,
    Split,
    TrainedRun,
    Validation,
    Verdict,
    features_of,
    load,
    parse,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import rejudging
from skin_pipeline.progress import reported
from skin_pipeline.provenance import ProvenStore, SigningKeys
from skin_pipeline.release.versions import FAMILIARITY, MODEL_FILE, Version
from skin_pipeline.storage import Store, digest

log = logging.getLogger(__name__)


def results_of(store: ProvenStore, verdict: str) -> Iterator[str]:
    """Yields the key of a verdict and of each result that it is made from, each once."""
    judged = load(store, verdict, Verdict)
    model = load(store, judged.evaluation, Evaluation)
    data = load(store, judged.validation, Validation)
    runs = [load(store, key, TrainedRun) for key in model.runs]
    features = dict.fromkeys(key for run in runs for key in features_of(store, run))
    indexes = {run.features for run in runs if isinstance(run.features, str)}
    scored = tuple(filter(None, (judged.champion, *judged.external)))
    logits = (*model.logits, *(key for one in scored for key in load(store, one, Scored).logits))
    sets = data.external.values()
    found = [load(store, key, NearDuplicates) for key in data.duplicates]
    buckets = dict.fromkeys(key for item in found for key in (item.ours, item.theirs))
    yield from dict.fromkeys((
        *(verdict, judged.evaluation, judged.validation, model.split, model.dataset),
        *(*model.runs, *logits, *sorted(indexes), *features, *scored, *sets),
        *(*data.duplicates, *buckets),
    ))


def check(store: ProvenStore, verdict: str) -> None:
    """Refuses a verdict that does not follow from the results that it names.

    Every result and each of its files is compared with its proof. Every proof is compared with the
    digest that later results recorded when they read it. Then the figures are computed again from
    the predictions, and the gate's checks from the figures.

    Raises:
        BadInput: something was changed; the message names it, and both digests or figures.
    """
    judged = load(store, verdict, Verdict)
    for needed in (verdict, judged.evaluation):
        if store.prove(needed).proof is None:
            raise BadInput(
                f"{needed} does not say what it is made from: an earlier version of this code made "
                "it. Judge the model again: run evaluate and gate (in Airflow: clear evaluate "
                "and what follows it)"
            )
    keys = list(results_of(store, verdict))
    for key in reported(keys, "results verified", len(keys)):
        proof = store.prove(key).proof
        if proof is not None:
            _check_result(store, proof)
    _check_names(store, verdict, judged)
    golden(store, load(store, judged.evaluation, Evaluation).dataset)
    rejudging.check(store, verdict)
    log.info("chain_verified verdict=%s", verdict)


def _check_result(store: ProvenStore, proof: Proof) -> None:
    """Compares a result's files, and the results that it was made from, with its proof."""
    for file in proof.files:
        store.check_file(file)
    for earlier, expected in proof.made_from.items():
        found = store.prove(earlier).digest
        if expected and found != expected:
            raise BadInput(
                f"{earlier} in the store {store.url} is not the result that {proof.key} was made "
                f"from: its proof has the SHA-256 {found or '(none: it is gone)'}, {proof.key} "
                f"read {expected}. Nothing was released. Find out who changed it; then remove "
                f"{store.link(earlier)} and run the steps from there on again"
            )


def golden(store: Store, dataset: str) -> dict[str, bytes]:
    """Returns the files of a data set's golden images, by image key.

    Raises:
        BadInput: one of them is not what its name says.
    """
    found = {}
    for name, key in load(store, dataset, Dataset).golden.items():
        found[name] = store.read(key)
        if digest(found[name]) != PurePosixPath(key).stem:
            raise BadInput(
                f"{key} in the store {store.url} is not the golden image that it was: its SHA-256 "
                f"is {digest(found[name])}. No model was tried with it. Find out who changed it; "
                f"then put the right image back at {store.link(key)}"
            )
    return found


def _check_names(store: ProvenStore, key: str, judged: Verdict) -> None:
    """Refuses a verdict or an evaluation that names other results than its key was made from."""
    model = load(store, judged.evaluation, Evaluation)
    said: dict[str, dict[str, Any]] = {
        key: {
            "evaluation": judged.evaluation,
            "validation": judged.validation,
            "champion": judged.champion,
            "external": list(judged.external),
            "settings": judged.settings,
        },
        judged.evaluation: {"split": model.split, "runs": list(model.runs)},
    }
    for result, names in said.items():
        proof = store.prove(result).proof
        inputs = proof.inputs if proof else None
        for name, value in names.items() if inputs else ():
            if inputs and inputs[name] != value:
                raise BadInput(
                    f"{result} was made from {name}={inputs[name]!r}, and says it was made from "
                    f"{value!r}. Nothing was released; find out who changed it"
                )
    sets = {load(store, judged.validation, Validation).dataset, model.dataset}
    sets.add(load(store, model.split, Split).dataset)
    if len(sets) > 1:
        raise BadInput(
            f"{key} judges a model by several data sets at once: {', '.join(sorted(sets))}. "
            "Nothing was released; run the gate again"
        )


def sign(version: Version) -> bool:
    """Signs a published version because a person vouches for it. Returns whether this call did.

    Every byte of it is verified. If its verdict is still in the store, all that it was made from is
    checked as `promote` does; if not, the log says that only the person vouches. The results that
    it was made from are signed too: steps with a key read signed results only, and the next run
    compares its model with this one.

    Raises:
        BadInput: it is damaged, it does not follow from its verdict, the key cannot be used, or
            another key has signed it.
    """
    version.keys.own()
    # Read without keys, because the version need not be signed yet.
    unsigned = replace(version, keys=SigningKeys())
    manifest = unsigned.verified()
    release = parse(manifest, Release, version.name)
    bare = ProvenStore.of(version.store, unsigned.keys)
    if not version.store.exists(f"{release.verdict}/{RESULT}"):
        log.warning(
            "a_person_vouches model=%s version=%s: its verdict is not in the store",
            *(version.model, version.name),
        )
    else:
        _check_release(bare, release)
        _vouch(ProvenStore.of(version.store, version.keys), bare, release)
    return version.sign(manifest)


def _check_release(store: ProvenStore, release: Release) -> None:
    """Checks a version against its verdict, if the verdict has a proof of what it is made from."""
    judged = load(store, release.verdict, Verdict)
    evaluation = load(store, judged.evaluation, Evaluation)
    proofs = [store.prove(key).proof for key in (release.verdict, judged.evaluation)]
    if None in proofs:
        log.warning(
            "a_person_vouches model=%s version=%s: its verdict is of an earlier version of this "
            "code and has no proof",
            *(release.model, release.version),
        )
        return
    check(store, release.verdict)
    wanted = {
        name: store.digest_of(key) for name, key in sources(release.verdict, judged, evaluation)
    }
    for name, expected in wanted.items():
        if release.files.get(name) != expected:
            raise BadInput(
                f"{name} of version {release.version} of {release.model} has the SHA-256 "
                f"{release.files.get(name)}, and its verdict judged {expected}. It is not signed"
            )
    said, found = (
        f"the threshold {one.threshold} and the abstention {one.abstention}"
        for one in (release, evaluation)
    )
    if said != found or not judged.approved:
        raise BadInput(
            f"version {release.version} of {release.model} has {said}; its verdict (approved: "
            f"{judged.approved}) judged {found}. It is not signed"
        )


def sources(key: str, verdict: Verdict, evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Yields the name of each file of a version, and the key that it is copied from."""
    yield MODEL_FILE, evaluation.model
    if evaluation.familiarity:
        yield FAMILIARITY, evaluation.familiarity
    yield "metrics.json", f"{verdict.evaluation}/{RESULT}"
    yield "predictions.csv", evaluation.predictions
    yield "verdict.json", f"{key}/{RESULT}"
    yield "report.html", verdict.report
    yield "card.md", verdict.card
    yield "card.json", verdict.card_data


def _vouch(store: ProvenStore, bare: ProvenStore, release: Release) -> None:
    """Signs the results that a version was made from, if all of them are still there."""
    try:
        keys = set(results_of(bare, release.verdict))
    except BadInput as gone:
        log.warning('results_not_signed version=%s reason="%s"', release.version, gone)
        return
    for key in tuple(keys):  # named in proofs only, as an external set's features
        proof = bare.prove(key).proof
        keys.update(proof.made_from if proof else ())
    count = sum(map(store.vouch, reported(sorted(keys), "results signed", len(keys))))
    if count:
        log.info("a_person_vouches results=%d version=%s", count, release.version)
