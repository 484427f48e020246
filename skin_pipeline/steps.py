"""The steps of the workflow: contract in, contract out.

Each takes a `Job` and keys of earlier results, and returns the key of its own. A step whose
result exists returns at once, so the rooms that do the work are imported only when there is work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from skin_pipeline import config, journal, tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    LABELS,
    Check,
    Dataset,
    Evaluation,
    Features,
    Judgement,
    Pointer,
    Release,
    Scored,
    Split,
    TrainedRun,
    Trunk,
    Validation,
    Verdict,
    load,
)
from skin_pipeline.data import history, metadata, sources
from skin_pipeline.errors import BadInput, Rejected, Unavailable
from skin_pipeline.job import Job, address, scratch
from skin_pipeline.provenance.signing import NONE, SigningKeys
from skin_pipeline.training import backbone
from skin_pipeline.training.checkpoints import Checkpoints
from skin_pipeline.training.strategies import CACHED, KNOBS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

MOST_TASKS = 512  # of one step: Airflow's scheduler makes a row of each at once
BOUNDS = ("min_per_class", "max_unreadable", "max_group_share")  # that the images are checked by
REMATCHES = 10  # champions that may come in between before a promotion gives up
# Raised when a step's code gives another result from the same inputs.
VERSIONS = {
    "ingest": 3,
    "validate": 4,
    "split": 2,
    "features": 2,
    "train": 2,
    "evaluate": 4,
    "champion": 2,
    "external": 1,
    "gate": 4,
}


class Ingested(NamedTuple):
    """Everything that came from outside, pinned: the images, the trunk's weights, and the external
    sets, each as `NAME=KEY`."""

    dataset: str
    weights: str
    external: tuple[str, ...] = ()


def ingest(job: Job) -> Ingested:
    """Fetch the images, decode each once, and write the manifest and the packed shards.

    Raises:
        BadInput: nothing usable stands where the settings point, the metadata contradict
            themselves or the folders, or credentials are wrong.
        Unavailable: the source did not answer.
    """
    settings = job.settings
    weights = backbone.pin_weights(settings, job.store, job.roots)
    external = [
        f"{name}={_ingested(job, where, settings.model_copy(update={'columns': ''}))}"
        for name, where in settings.external_sets.items()
    ]
    return Ingested(_ingested(job, settings.data, settings), weights, tuple(external))


def _ingested(job: Job, where: str, settings: Settings) -> str:
    labelling = metadata.Labelling.of(settings)
    # The usual values are no names of folders: 0 and 1 are as often parts of a large set.
    named = labelling.meanings if settings.names_values else {}
    classes = {name: meaning for name, meaning in named.items() if meaning in LABELS}
    job.fetch()
    with sources.folder_of(job, where) as contents:
        reader = metadata.Reader(labelling)
        images = sources.find(contents, reader.labels, classes)
        inputs = {
            "content": images.digest,
            "synthetic": where == config.DEMO,
            "labelling": address(asdict(labelling)),
            **settings.subset("image_size", "field_of_view", "shard_size", "masks"),
        }
        key = job.once(
            "ingest",
            VERSIONS["ingest"],
            inputs,
            lambda key: _ingest(job, key, where, images, reader.read(images)),
        )
        _tell_news(job, key, images)
        return key


def _tell_news(job: Job, key: str, images: sources.Images) -> None:
    """Log what lies beside the images and lay not there when the result was made: it is of the same
    images, so it was not made again."""
    known = load(job.store, key, Dataset).notices
    for found in images.notices:
        if found not in known:
            log.warning('beside_the_images what="%s"', found)


def _ingest(
    job: Job, key: str, where: str, asked: sources.Images, known: metadata.Known
) -> Dataset:
    from skin_pipeline.data import manifest

    settings, images = job.settings, known.images
    job.expect("ingest", len(images.files))
    with scratch() as folder:
        built = manifest.build(
            images,
            job.store,
            size=settings.image_size,
            field_of_view=settings.field_of_view,
            shard_size=settings.shard_size,
            folder=folder,
            processes=config.threads(job.deployment),
            with_masks=settings.masks == "warn",
        )
    table = built.table.join(known.table).reset_index(drop=True)
    asked.check_unchanged(zip(table["key"], table["sha256"], strict=True))
    notices = images.notices + manifest.mask_notices(built.masks, settings.masks != "warn")
    manifest.log_outcomes(table)
    for found in notices:
        place = (found.kind, found.subject, found.count, found.reason)
        log.warning('%s subject="%s" count=%d reason="%s"', *place)
    classes = table["label"].value_counts()
    return Dataset(
        source=where,
        synthetic=where == config.DEMO,
        content_digest=images.digest,
        table=tables.write(job.store, f"{key}/manifest.csv", table),
        shards=built.shards,
        thumbnails=built.thumbnails,
        golden=manifest.golden(table, images, job.store),
        image_size=settings.image_size,
        field_of_view=settings.field_of_view,
        classes={str(label): int(count) for label, count in classes.items()},
        unreadable=int((~table["readable"]).sum()),
        notices=notices,
    )


def validate(job: Job, dataset: str, external: Iterable[str] = ()) -> str:
    """Find duplicates and groups, audit for shortcuts, and check all with Great Expectations.

    Args:
        job: The job.
        dataset: Key of the data set.
        external: External sets as `NAME=KEY`, from `ingest`.

    Raises:
        BadInput: a critical check failed; the message lists every one that did, and what was
            quarantined.
    """
    sets = dict(item.split("=", 1) for item in external)
    previous = history.before(job.store, job.settings.released_as, dataset)
    knobs = job.settings.subset(*BOUNDS, "max_shortcut_auc", "seed")
    key = job.once(
        "validate",
        VERSIONS["validate"],
        {"dataset": dataset, "external": sets, "previous": previous, **knobs},
        lambda key: _validate(job, key, dataset, sets, previous),
    )
    journal.note(job.store, job.run_id, validation=key)
    result = load(job.store, key, Validation)
    failed = _failed(result.checks)
    if failed:
        docs = job.store.link(result.docs)
        raise BadInput(
            f"the data is not fit for training: {failed}. Data Docs: {docs}"
            + _quarantined(job, result)
        )
    history.accept(job.store, job.settings.released_as, dataset, key, job.moment)
    return key


def _validate(
    job: Job, key: str, dataset: str, sets: dict[str, str], previous: str | None
) -> Validation:
    from skin_pipeline.data import audit, changes, validation

    settings = job.settings
    job.expect("validate", sum(_images(job, key) for key in (dataset, *sets.values())))
    table, known, overlaps = _grouped(job, key, dataset, sets, previous)
    shortcuts = audit.audit(table, settings.max_shortcut_auc, settings.seed)
    with scratch() as folder:
        checks = validation.check_manifest(table, folder, **settings.subset(*BOUNDS))
        docs = _put_folder(job, f"{key}/docs", folder)
    validation.log_checks(checks)
    columns = ["key", "label", "bytes", "problem"]
    return Validation(
        dataset=dataset,
        external=sets,
        overlaps=overlaps,
        table=tables.put(job.store, table),
        quarantine=tables.write(
            job.store, f"{key}/quarantine.csv", table.loc[~table["readable"], columns]
        ),
        anchors=tables.put(job.store, known.reset_index()),
        checks=checks,
        shortcuts=shortcuts,
        changes=changes.against(job.store, table, previous),
        docs=f"{docs}/index.html",
    )


def _images(job: Job, dataset: str) -> int:
    """How many images a data set has."""
    return sum(load(job.store, dataset, Dataset).classes.values())


def _grouped(
    job: Job, key: str, dataset: str, sets: dict[str, str], previous: str | None
) -> tuple[pd.DataFrame, pd.Series[str], dict[str, str]]:
    """The manifest with duplicates, external sets and groups; the anchors of all images so far;
    and what is shared with each external set."""
    from skin_pipeline.data import duplicates, grouping

    processes = config.threads(job.deployment)
    ours = duplicates.Side.of(job.store, load(job.store, dataset, Dataset))
    table = ours.table
    table["duplicates"] = grouping.clusters(table, duplicates.within(ours, processes))
    theirs = {
        name: duplicates.Side.of(job.store, load(job.store, place, Dataset))
        for name, place in sets.items()
    }
    shared = {name: duplicates.between(ours, side, processes) for name, side in theirs.items()}
    overlaps = {
        name: tables.write(
            job.store,
            f"{key}/overlap-{name}.csv",
            duplicates.overlap(ours.table, theirs[name].table, pairs),
        )
        for name, pairs in shared.items()
    }
    table["external"] = duplicates.names_of(table, shared)
    table["group"] = grouping.groups(table)
    known = grouping.known_anchors(job.store, previous)
    table["anchor"] = grouping.anchors(table, known)
    return table, grouping.remembered(table, known), overlaps


def _failed(checks: tuple[Check, ...]) -> str:
    """The critical checks that failed, for a message; "" for none."""
    failed = [item for item in checks if not item.passed and item.severity == "critical"]
    return "; ".join(f"{c.name}: {c.observed}, asked for {c.bound}" for c in failed)


def _put_folder(job: Job, key: str, folder: Path) -> str:
    """Put every file of a folder below `key`; returns the key."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            job.store.put_file(f"{key}/{path.relative_to(folder).as_posix()}", path)
    return key


def _quarantined(job: Job, result: Validation) -> str:
    from skin_pipeline.data import manifest

    problems = list(manifest.read(job.store, result.quarantine)["problem"])
    if not problems:
        return ""
    shown = "; ".join(problems[:5]) + ("; …" if len(problems) > 5 else "")
    place = job.store.link(result.quarantine)
    return f". {len(problems)} quarantined: {shown}. All of them: {place}"


def split(job: Job, validation: str) -> str:
    """Set the test set apart and draw the runs' train/validation resamples.

    Raises:
        BadInput: too few images or groups for the sides to have both classes, or the split leaks.
    """
    knobs = job.settings.subset("runs", "test_fraction", "validation_fraction", "balance", "seed")
    data = load(job.store, validation, Validation)
    key = job.once(
        "split",
        VERSIONS["split"],
        {"dataset": data.dataset, "table": data.table, **knobs},
        lambda key: _split(job, key, data, knobs),
    )
    checks = load(job.store, key, Split).checks
    failed = [
        f"{c.name}: {c.observed}" for c in checks if c.severity == "critical" and not c.passed
    ]
    if failed:
        raise BadInput(f"the split is not fit for training: {'; '.join(failed)}")
    return key


def _split(job: Job, key: str, result: Validation, knobs: dict[str, Any]) -> Split:
    from skin_pipeline.data import manifest, splitting, validation

    job.expect("split", _images(job, result.dataset), knobs["runs"])
    table = splitting.split(manifest.read(job.store, result.table), **knobs)
    counts = splitting.counts(table)
    stratification = splitting.stratification(table)
    for run, sides in counts.items():
        log.info(
            "split run=%s %s %s",
            run,
            " ".join(f"{k}={v}" for k, v in sorted(sides.items())),
            " ".join(f"{k}_error={v:.3f}" for k, v in sorted(stratification[run].items())),
        )
    with scratch() as folder:
        checks = validation.check_split(table, folder)
        docs = _put_folder(job, f"{key}/docs", folder)
    validation.log_checks(checks)
    return Split(
        dataset=result.dataset,
        table=tables.write(job.store, f"{key}/manifest.csv", table),
        runs=job.settings.runs,
        counts=counts,
        stratification=stratification,
        checks=checks,
        docs=f"{docs}/index.html",
    )


def shard_numbers(job: Job, dataset: str) -> list[int]:
    """The shards of a data set's images."""
    return list(range(len(load(job.store, dataset, Dataset).shards)))


def shard_groups(job: Job, dataset: str, most: int = MOST_TASKS) -> list[list[int]]:
    """The shards of a data set's images for each features task: one, or more where there are more
    shards than tasks. The size of a shard stays, and so do memory and what is in the cache.

    Args:
        job: The job.
        dataset: Key of the data set.
        most: Most tasks that Airflow may make of it, at least 1.
    """
    return grouped(shard_numbers(job, dataset), most)


def grouped(numbers: list[int], most: int) -> list[list[int]]:
    """Numbers in their order as at most so many lists, none empty, as equally long as can be."""
    count = min(len(numbers), most)
    ends = [len(numbers) * place // count for place in range(count + 1)] if count else [0]
    return [numbers[start:end] for start, end in pairwise(ends)]


def features(job: Job, split: str, weights: str, shard: int) -> str:
    """Activations of the frozen trunk for one shard of images.

    Args:
        job: The job.
        split: Key of the split.
        weights: `imagenet`, `none`, or the key of pinned weights, from `ingest`.
        shard: Number of the shard.

    Raises:
        BadInput: the weight file belongs to another network.
        Unavailable: Keras could not download its ImageNet weights.
    """
    dataset = load(job.store, load(job.store, split, Split).dataset, Dataset)
    settings = job.settings
    trunk = backbone.trunk_of(settings.backbone, weights)
    return _features(job, dataset, shard, trunk, settings.strategy, settings.views)


def _features(
    job: Job, dataset: Dataset, shard: int, trunk: Trunk, strategy: str, views: int
) -> str:
    """Activations of one shard of any data set, of which a strategy's models read some kinds."""

    def make(key: str) -> Features:
        from skin_pipeline.training import tasks

        most = min(job.settings.shard_size, sum(dataset.classes.values()))
        job.expect("features", most, views)
        return tasks.features(job, key, dataset, shard, trunk, kinds, views)

    kinds = CACHED[strategy]
    inputs = {
        "images": dataset.shards[shard],
        "trunk": trunk.model_dump(),
        "kinds": kinds,
        "views": views,
    }
    return job.once("features", VERSIONS["features"], inputs, make)


def train(job: Job, split: str, features: Iterable[str], run: int) -> str:
    """Train one run, or go on where an earlier try was stopped.

    Args:
        job: The job.
        split: Key of the split.
        features: Keys of the features of all shards, in the shards' order.
        run: Number of the run, from 0.

    Raises:
        BadInput: the run diverged or learned nothing, or the machine is too small.
        Unavailable: the memory is not free now.
    """
    features = tuple(features)
    knobs = job.settings.subset(*KNOBS[job.settings.strategy])
    inputs = {"split": split, "features": features, "run": run, **knobs}
    key = job.once(
        "train", VERSIONS["train"], inputs, lambda key: _train(job, key, split, features, run)
    )
    Checkpoints(job.store, key).clear()
    return key


def _train(job: Job, key: str, split: str, features: tuple[str, ...], run: int) -> TrainedRun:
    from skin_pipeline.training import tasks

    settings = job.settings
    images = _images(job, load(job.store, split, Split).dataset)
    if settings.strategy == "head":
        job.expect("train", images, settings.epochs)
    else:
        job.expect(settings.strategy, images, settings.tune_epochs + settings.epochs)
    return tasks.train(job, key, split, features, run)


def evaluate(job: Job, split: str, trained: Iterable[str], validation: str) -> str:
    """Judge the ensemble and each run on the test set, and build the self-contained model.

    Args:
        job: The job.
        split: Key of the split.
        trained: Keys of the runs that succeeded.
        validation: Key of the validation of the images, which knows their shortcuts.

    Raises:
        BadInput: no run succeeded, or too few malignant validation images for the threshold.
    """
    runs = tuple(sorted(trained))
    if not runs:
        raise BadInput("evaluate: no training run succeeded; see the logs of the train tasks")
    found = load(job.store, validation, Validation).shortcuts
    shortcuts = tuple(item.name for item in found if not item.passed)
    names = ("target_sensitivity", "threshold_by", "scored_views", "prevalences", "seed")
    inputs = {"split": split, "runs": runs, "shortcuts": shortcuts, **job.settings.subset(*names)}
    return job.once(
        "evaluate",
        VERSIONS["evaluate"],
        inputs,
        lambda key: _evaluate(job, key, split, runs, shortcuts),
    )


def _evaluate(
    job: Job, key: str, split: str, keys: tuple[str, ...], shortcuts: tuple[str, ...]
) -> Evaluation:
    from skin_pipeline.evaluation import tasks

    images = _images(job, load(job.store, split, Split).dataset)
    job.expect("evaluate", images, len(keys) * job.settings.scored_views)
    return tasks.evaluate(job, key, split, keys, shortcuts)


def champion(job: Job, split: str) -> str:
    """Score the champion again, on the test set of this split; "" if there is no champion.

    Images that it was trained on are left out. A champion that cannot be scored is a result too:
    the gate decides what follows.
    """
    from skin_pipeline.release import registry

    pointer = registry.champion(
        job.store, job.settings.released_as, keys=SigningKeys.of(job.deployment)
    )
    if pointer is None:
        log.info("no_champion model=%s", job.settings.released_as)
        return ""
    inputs = {
        "split": split,
        "model": pointer.model,
        "champion": pointer.version,
        **job.settings.subset("prevalences", "seed"),
    }
    return job.once(
        "champion",
        VERSIONS["champion"],
        inputs,
        lambda key: _champion(job, key, split, pointer),
    )


def _champion(job: Job, key: str, split: str, pointer: Pointer) -> Scored:
    from skin_pipeline.evaluation import scoring

    dataset, evaluation = load(job.store, split, Split).dataset, ""
    try:
        evaluation = _evaluation_of(job, pointer, SigningKeys.of(job.deployment))
        if load(job.store, evaluation, Evaluation).split == split:
            return scoring.as_judged(job, key, pointer.version, evaluation)
        features = _features_for(job, evaluation, dataset)
        job.expect("champion", _images(job, dataset), job.settings.runs)
        return scoring.champion(job, key, pointer.version, evaluation, split, features)
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


def _evaluation_of(job: Job, pointer: Pointer, keys: SigningKeys = NONE) -> str:
    """Key of the evaluation on which a version was promoted.

    Raises:
        BadInput: a document is missing, another version of this code wrote it, or it is not signed
            as the keys ask for.
    """
    from skin_pipeline.release import registry

    release = registry.release_of(job.store, pointer.model, pointer.version, keys)
    return load(job.store, release.verdict, Verdict).evaluation


def _features_for(job: Job, evaluation: str, dataset: str) -> list[str]:
    """Activations of all images of a data set, as the models of an evaluation read them.

    Raises:
        BadInput: the models see images in another way than the data set holds them.
    """
    model, images = load(job.store, evaluation, Evaluation), load(job.store, dataset, Dataset)
    made_for = load(job.store, model.dataset, Dataset)
    for name in ("image_size", "field_of_view"):
        theirs, ours = getattr(made_for, name), getattr(images, name)
        if theirs != ours:
            raise BadInput(f"its {name} is {theirs}, that of the images here {ours}")
    return [
        _features(job, images, shard, model.trunk, model.strategy, model.views)
        for shard in range(len(images.shards))
    ]


def external(job: Job, evaluation: str, validation: str) -> list[str]:
    """Score the new model on each external set; images that our own data holds are left out.

    Args:
        job: The job.
        evaluation: Key of the model's evaluation.
        validation: Key of the validation of its data, which names the sets.

    Returns:
        A key for each set, in the order of their names.
    """
    sets = load(job.store, validation, Validation).external
    return [_external(job, evaluation, validation, name) for name in sorted(sets)]


def _external(job: Job, evaluation: str, validation: str, name: str) -> str:
    from skin_pipeline.evaluation import scoring

    def make(key: str) -> Scored:
        dataset = load(job.store, validation, Validation).external[name]
        features = _features_for(job, evaluation, dataset)
        job.expect("external", _images(job, dataset), job.settings.runs)
        return scoring.external(job, key, name, evaluation, validation, features)

    knobs = job.settings.subset("prevalences", "seed")
    inputs = {"evaluation": evaluation, "validation": validation, "name": name, **knobs}
    return job.once("external", VERSIONS["external"], inputs, make)


def gate(
    job: Job, evaluation: str, validation: str, champion: str = "", external: Iterable[str] = ()
) -> str:
    """Judge the figures against the bounds; write the verdict, the report and the model card.

    Args:
        job: The job.
        evaluation: Key of the evaluation.
        validation: Key of the validation of its data.
        champion: Key of the champion's scores on the same test set; "" if there is no champion.
        external: Keys of the scores on sets of another origin.
    """
    names = {
        "evaluation": evaluation,
        "validation": validation,
        "champion": _rival(job, evaluation, champion),
        "external": tuple(external),
    }
    inputs = {**names, "settings": job.settings.model_dump()}
    key = job.once("gate", VERSIONS["gate"], inputs, lambda key: _gate(job, key, names))
    journal.note(job.store, job.run_id, verdict=key)
    verdict = load(job.store, key, Verdict)
    for check in verdict.checks:
        log.log(
            logging.INFO if check.passed else logging.WARNING,
            'gate check="%s" value="%s" bound="%s" verdict="%s"',
            check.name,
            check.value,
            check.bound,
            "passed" if check.passed else "failed",
        )
    log.info("verdict approved=%s model=%s", verdict.approved, verdict.released_as)
    return key


def _rival(job: Job, evaluation: str, champion: str) -> str:
    """Key of the scores to compare with: never the model's own.

    A model that is the champion already is compared with the one that it was promoted against, so
    that on unchanged data and settings its verdict is found again.
    """
    from skin_pipeline.release import registry

    theirs = load(job.store, champion, Scored) if champion else None
    if theirs is None or theirs.evaluation != evaluation:
        return champion
    try:
        keys = SigningKeys.of(job.deployment)
        release = registry.release_of(job.store, job.settings.released_as, theirs.name, keys)
        return load(job.store, release.verdict, Verdict).champion
    except BadInput:  # of a version of this code that wrote other documents
        return champion


def _gate(job: Job, key: str, names: dict[str, Any]) -> Verdict:
    from skin_pipeline.evaluation import verdict

    return verdict.write(job, key, **names)


def promote(job: Job, verdict: str) -> str:
    """Publish the judged model as an immutable version and point the champion to it.

    Nothing moves if it is the champion already, which a run on unchanged data comes to; the model
    then keeps the judgement that it has. If there is another champion by now than the one it was
    judged against, it is judged again against that.

    Returns:
        The key of the champion's version.

    Raises:
        BadInput: a key for signatures cannot be used, a version is not signed as they ask for, or
            the verdict does not follow from what it names.
        Rejected: the verdict is a refusal.
        Unavailable: the champion kept moving, or the store failed.
    """
    from skin_pipeline.release import registry

    SigningKeys.of(job.deployment).check()
    for _ in range(REMATCHES):
        judged = load(job.store, verdict, Verdict)
        if not judged.approved:
            raise Rejected("; ".join(judged.reasons))
        standing = _standing(job, judged)
        if standing:
            return _kept(job, verdict, judged, standing)
        version = _moved(job, verdict, judged)
        if version:
            registry.record(job.store, _judgement(job, judged, version), verdict)
            _tell(job, judged, unchanged=False)
            return registry.version_key(judged.released_as, version)
        verdict = _judged_again(job, judged)
    raise Unavailable(f"the champion of {judged.released_as} moved {REMATCHES} times meanwhile")


def _moved(job: Job, key: str, judged: Verdict) -> str | None:
    """Publish a version and make it the champion in the place of the one that it was judged
    against; None if there is another by now."""
    from skin_pipeline.release import registry

    keys = SigningKeys.of(job.deployment)
    rival = load(job.store, judged.champion, Scored).name if judged.champion else None
    pointer = registry.champion(job.store, judged.released_as, keys=keys)
    if rival != (pointer.version if pointer else None):
        return None  # before a version is written that nobody will name
    _check_chain(job, key)
    release, files = _release(job, key, judged)
    # Of the bare store: the files are copied and compared with the digests that `_release` took
    # from the chain, and what is signed is the manifest that was made from these.
    store = job.proven.inner
    trial = partial(_try, job, judged.evaluation)
    manifest = registry.publish(store, release, files, trial)
    if keys.private:
        registry.sign_manifest(store, release.model, release.version, keys, manifest)
    registry.release_of(job.store, release.model, release.version, keys)  # is it signed?
    won = registry.move(
        job.store,
        release.model,
        release.version,
        alias=registry.CHAMPION,
        by=job.run_id,
        reason="passed the gate",
        expected=rival,
        keys=keys,
    )
    return release.version if won else None


def _check_chain(job: Job, verdict: str) -> None:
    """Refuse a verdict that does not follow from what it names, down to the images."""
    from skin_pipeline.release import chain

    chain.check(job.proven, verdict)


def _try(job: Job, evaluation: str, model: Path) -> None:
    """Refuse a model file that does not say of the golden images what `evaluate` recorded."""
    from skin_pipeline.evaluation.gate import SMOKE_TOLERANCE
    from skin_pipeline.model_file import trial
    from skin_pipeline.release import chain

    result = load(job.store, evaluation, Evaluation)
    golden = chain.golden(job.store, result.dataset)
    table = tables.read_scores(job.store, result.predictions)
    trial.agree(
        model,
        golden,
        dict(zip(table["key"], table["probability"], strict=True)),
        tolerance=SMOKE_TOLERANCE,
        threads=config.threads(job.deployment),
    )
    log.info("model_tried evaluation=%s images=%d", evaluation, len(golden))


def _judged_again(job: Job, judged: Verdict) -> str:
    """Key of a verdict against the champion of now; a refusal is recorded."""
    log.info("champion_moved model=%s", judged.released_as)
    split = load(job.store, judged.evaluation, Evaluation).split
    key = gate(job, judged.evaluation, judged.validation, champion(job, split), judged.external)
    if not load(job.store, key, Verdict).approved:
        reject(job, key)
    return key


def _kept(job: Job, key: str, judged: Verdict, standing: Release) -> str:
    """Key of the version of a model that is the champion already; it has its judgement."""
    from skin_pipeline.release import registry

    if standing.verdict == key:  # of which a try that was stopped may have kept no record
        registry.record(job.store, _judgement(job, judged, standing.version), key)
    _tell(job, judged, unchanged=standing.verdict != key or _is_old(job, judged))
    return registry.version_key(standing.model, standing.version)


def _is_old(job: Job, judged: Verdict) -> bool:
    """Whether an earlier run came to this verdict."""
    return judged.judged_at != job.moment


def _tell(job: Job, judged: Verdict, *, unchanged: bool) -> None:
    """Note whether an earlier run had come to the same, so that this one changed nothing."""
    if unchanged:
        log.info("nothing_changed model=%s judged_at=%s", judged.released_as, judged.judged_at)
    journal.note(job.store, job.run_id, unchanged=unchanged)


def _standing(job: Job, judged: Verdict) -> Release | None:
    """The champion, if the judged model is the champion already."""
    from skin_pipeline.release import registry

    keys = SigningKeys.of(job.deployment)
    pointer = registry.champion(job.store, judged.released_as, keys=keys)
    if pointer is None:
        return None
    try:
        evaluation = _evaluation_of(job, pointer)
    except BadInput:  # of a version of this code that wrote other documents
        return None
    if evaluation != judged.evaluation:
        return None
    log.info("already_champion model=%s version=%s", pointer.model, pointer.version)
    return registry.release_of(job.store, pointer.model, pointer.version, keys)


def _release(job: Job, key: str, verdict: Verdict) -> tuple[Release, dict[str, str]]:
    from skin_pipeline.release import chain, registry

    result = load(job.store, verdict.evaluation, Evaluation)
    dataset = load(job.store, result.dataset, Dataset)
    files = dict(chain.sources(key, verdict, result))
    release = registry.describe(
        job.store,
        verdict.released_as,
        files,
        verdict=key,
        threshold=result.threshold,
        dataset=dataset,
        known={name: job.proven.digest_of(place) for name, place in files.items()},
    )
    return release, files


def reject(job: Job, verdict: str) -> str:
    """Record the refusal in the model's history, once; returns the verdict's key."""
    from skin_pipeline.release import registry

    judged = load(job.store, verdict, Verdict)
    new = registry.record(job.store, _judgement(job, judged, None), verdict)
    _tell(job, judged, unchanged=not new and _is_old(job, judged))
    log.warning('refused model=%s reasons="%s"', judged.released_as, "; ".join(judged.reasons))
    return verdict


def _judgement(job: Job, verdict: Verdict, version: str | None) -> Judgement:
    figures = load(job.store, verdict.evaluation, Evaluation).ensemble
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
        docs=load(job.store, verdict.validation, Validation).docs,
    )
