"""The door: every step of the workflow, contract in, contract out.

Each step takes a `Job` and the keys of earlier results, and returns the key of its own. It says
what its result is made from, and calls the one function that makes it: the function of the same
name in the `tasks` module of a room. That function is imported only when there is work to do, so a
step whose result exists returns at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from skin_pipeline import journal
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    FeatureIndex,
    Scored,
    Split,
    TrainedRun,
    Validation,
    Verdict,
    stopping,
)
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job, Work
from skin_pipeline.parting import Parts, succeeded
from skin_pipeline.versions import VERSIONS

log = logging.getLogger(__name__)


# --- data -----------------------------------------------------------------------------------------


class Ingested(NamedTuple):
    """Keys of what came from outside: images, weights (or a name of Keras's), external sets."""

    dataset: str
    weights: str
    external: Mapping[str, str] = {}


def ingest(job: Job, listed: Iterable[Sequence[str]] | None = None) -> Ingested:
    """Fetches the images, decodes each once, and writes the manifest and the packed shards.

    Args:
        job: The job.
        listed: What `ingesting.listed` returned; it is called now if nobody has done so.

    Raises:
        BadInput: There are no usable images where the settings point, the metadata contradict
            themselves or the folders, or credentials are wrong.
        Unavailable: The source did not answer.
    """
    from skin_pipeline.data import ingesting
    from skin_pipeline.training import pretrained

    weights = pretrained.pin_weights(job.settings, job.store, job.roots)
    made = ingesting.ingested(job, VERSIONS["ingest"], listed)
    return Ingested(made.pop(ingesting.OWN), weights, made)


def engine(job: Job, dataset: str, weights: str) -> str:
    """Chooses what computes the network, which is measured once for each kind of machine.

    Returns the weights behind the engine, for `features`; see `probing.with_engine`.
    """
    from skin_pipeline.training import probing

    return probing.with_engine(job, dataset, weights)


def searches(
    job: Job, dataset: str, external: Mapping[str, str], most: int
) -> list[list[list[str]]]:
    """Sorts the images of large sets, and divides the search for near-duplicates; see `Parts`."""
    return Parts(job).searches(dataset, external, most)


def duplicates(job: Job, dataset: str, other: str, bucket: int) -> str:
    """Finds near-duplicates of the images in a bucket; `validate` needs these parts.

    They are searched in `dataset`. The bucket is of `other`, which is the same or an external set.
    """
    return Parts(job).near(dataset, other, bucket)


def validate(job: Job, dataset: str, external: Mapping[str, str] = {}) -> str:
    """Finds duplicates and groups, audits for shortcuts, and checks all with Great Expectations.

    Args:
        job: The job.
        dataset: Key of the data set.
        external: Keys of the external sets, by name.

    Raises:
        BadInput: A critical check failed; the message lists every one that did, and what was
            quarantined.
    """
    from skin_pipeline.data import history

    sets = dict(external)
    previous = history.before(job.store, job.settings.released_as, dataset)
    bounds = job.settings.subset("min_per_class", "max_unreadable", "max_group_share")
    inputs = {
        **{"dataset": dataset, "external": sets, "previous": previous},
        **{"duplicates": VERSIONS["duplicates"], "buckets": VERSIONS["buckets"]},
        **bounds,
        **job.settings.subset("max_shortcut_auc", "seed"),
    }

    def make(work: Work) -> Validation:
        from skin_pipeline.data import tasks

        return tasks.validate(work, dataset, sets, previous, bounds, Parts(job).all_near)

    key = job.once("validate", VERSIONS["validate"], inputs, make)
    journal.note(job.store, job.run_id, validation=key)
    result = job.load(key, Validation)
    if failed := stopping(result.checks):
        from skin_pipeline.data import tasks

        raise BadInput(
            f"the data is not fit for training: {failed}. Data Docs: "
            f"{job.store.link(result.docs)}{tasks.quarantined(job, result)}"
        )
    history.accept(job.store, job.settings.released_as, dataset, key, job.moment)
    return key


def split(job: Job, validation: str) -> str:
    """Sets the test set apart, and draws the runs' train and validation resamples.

    Raises:
        BadInput: There are too few images or groups for each side to have both classes, or the
            split leaks.
    """
    knobs = job.settings.subset("runs", "test_fraction", "validation_fraction", "balance", "seed")
    validated = job.load(validation, Validation)
    inputs = {"dataset": validated.dataset, "table": validated.table, **knobs}

    def make(work: Work) -> Split:
        from skin_pipeline.data import tasks

        return tasks.split(work, validated, knobs)

    key = job.once("split", VERSIONS["split"], inputs, make)
    if failed := stopping(job.load(key, Split).checks):
        raise BadInput(f"the split is not fit for training: {failed}")
    return key


# --- training -------------------------------------------------------------------------------------


def features(job: Job, split: str, weights: str, shard: int) -> str:
    """Computes the activations of the frozen trunk for one shard of images.

    Args:
        job: The job.
        split: Key of the split.
        weights: `imagenet`, `none`, or the key of pinned weights, behind the engine; see `engine`.
        shard: Number of the shard.

    Raises:
        BadInput: The weight file belongs to another network.
        Unavailable: Keras could not download its ImageNet weights.
    """
    from skin_pipeline.training import engines, pretrained, views

    dataset = job.load(job.load(split, Split).dataset, Dataset)
    seen = views.learned_from(job.settings)
    trunk = pretrained.trunk_of(job.settings.backbone, weights, job.settings.stages_read)
    engines.need(trunk)
    return Parts(job).features(dataset, shard, trunk, job.settings.strategy, seen)


def index(job: Job, features: Iterable[str]) -> str:
    """Lists where the activations of all images are, so that each run reads one result.

    Args:
        job: The job.
        features: Keys of the features of all shards, in the shards' order.
    """
    keys = tuple(features)

    def make(work: Work) -> FeatureIndex:
        from skin_pipeline.training import tasks

        return tasks.index(work, keys)

    return job.once("index", VERSIONS["index"], {"features": keys}, make)


def train(job: Job, split: str, features: str, run: int) -> str:
    """Trains one run, or goes on where an earlier try was stopped.

    Args:
        job: The job.
        split: Key of the split.
        features: Key of the index of all features.
        run: Number of the run, from 0.

    Raises:
        BadInput: The run diverged or learned nothing, or the machine is too small.
        Unavailable: The memory is not free now.
    """
    from skin_pipeline.training import checkpoints, strategies

    knobs = job.settings.subset(*strategies.KNOBS[job.settings.strategy])
    inputs = {"split": split, "features": features, "run": run, **knobs}

    def make(work: Work) -> TrainedRun:
        from skin_pipeline.training import tasks

        return tasks.train(work, split, features, run)

    key = job.once("train", VERSIONS["train"], inputs, make)
    checkpoints.Checkpoints(job.store, key).clear()
    return key


# --- evaluation -----------------------------------------------------------------------------------


def logits(job: Job, split: str, trained: Iterable[str], shards: Sequence[int]) -> str:
    """Scores the images of consecutive shards by trained runs; `evaluate` needs these parts."""
    return Parts(job).of_runs(split, succeeded(trained), shards)


def evaluate(job: Job, split: str, trained: Iterable[str], validation: str) -> str:
    """Judges the ensemble and each run on the test set, and builds the self-contained model.

    Args:
        job: The job.
        split: Key of the split.
        trained: Keys of the runs that succeeded.
        validation: Key of the validation of the images, which contains their shortcuts.

    Raises:
        BadInput: No run succeeded, or there are too few malignant validation images for the
            threshold.
    """
    runs = succeeded(trained)
    found = job.load(validation, Validation).shortcuts
    shortcuts = tuple(item.name for item in found if not item.passed)
    names = ("target_sensitivity", "threshold_by", "scored_views", "prevalences", "seed")
    inputs = {
        **{"split": split, "runs": runs, "shortcuts": shortcuts, "logits": VERSIONS["logits"]},
        **job.settings.subset(*names, "abstain_near", "abstain_unusual"),
    }

    def make(work: Work) -> Evaluation:
        from skin_pipeline.evaluation import tasks

        return tasks.evaluate(work, split, runs, shortcuts, Parts(job).all_of_runs)

    return job.once("evaluate", VERSIONS["evaluate"], inputs, make)


def champion(job: Job, split: str) -> str:
    """Scores the champion again, on the test set of this split; returns "" if there is none.

    Images that it was trained on are left out. That a champion cannot be scored is a result too:
    the gate decides what follows.
    """
    from skin_pipeline.release import Registry

    pointer = Registry.of(job.store, job.deployment).model(job.settings.released_as).champion
    if pointer is None:
        log.info("no_champion model=%s", job.settings.released_as)
        return ""
    inputs = {
        **{"split": split, "model": pointer.model, "champion": pointer.version},
        "logits": VERSIONS["logits"],
        **job.settings.subset("prevalences", "seed"),
    }

    def make(work: Work) -> Scored:
        from skin_pipeline.release import tasks

        return tasks.champion(work, split, pointer, Parts(job).all_of_champion)

    return job.once("champion", VERSIONS["champion"], inputs, make)


def champion_logits(job: Job, split: str, shards: Sequence[int]) -> str:
    """Scores the test images of consecutive shards by the champion; `champion` needs these parts.

    Returns "" if there is no champion, if it cannot be scored, which `champion` reports, or if it
    was judged on this test set before.
    """
    return Parts(job).of_present_champion(split, shards)


def external_logits(
    job: Job, evaluation: str, validation: str, name: str, shards: Sequence[int]
) -> str:
    """Scores the images of consecutive shards of an external set; `external` needs these parts.

    The set is the one that the validation, of the model's own data, knows by `name`.
    """
    dataset = job.load(validation, Validation).external[name]
    return Parts(job).of_external(evaluation, dataset, shards)


def external(job: Job, evaluation: str, validation: str) -> list[str]:
    """Scores the new model on each external set, without images that its own data contains.

    Args:
        job: The job.
        evaluation: Key of the model's evaluation.
        validation: Key of the validation of its data. The keys follow the names of its sets.
    """
    sets = job.load(validation, Validation).external
    return [_external(job, evaluation, validation, name) for name in sorted(sets)]


def _external(job: Job, evaluation: str, validation: str, name: str) -> str:
    knobs = job.settings.subset("prevalences", "seed")
    inputs = {"evaluation": evaluation, "validation": validation, "name": name, **knobs}

    def make(work: Work) -> Scored:
        from skin_pipeline.evaluation import tasks

        makes = Parts(job).all_of_external, Parts(job).all_features_for
        return tasks.external(work, name, evaluation, validation, *makes)

    return job.once("external", VERSIONS["external"], inputs, make)


def gate(
    job: Job, evaluation: str, validation: str, champion: str = "", external: Iterable[str] = ()
) -> str:
    """Compares the figures with the bounds; writes the verdict, the report and the model card.

    Args:
        job: The job.
        evaluation: Key of the evaluation.
        validation: Key of the validation of its data.
        champion: Key of the champion's scores on the same test set; "" if there is no champion.
        external: Keys of the scores on sets of another origin.
    """
    from skin_pipeline.release import tasks as registered

    rival = registered.rival(job, evaluation, champion)
    scores = tuple(external)
    inputs = {
        **{"evaluation": evaluation, "validation": validation},
        **{"champion": rival, "external": scores},
        "settings": job.settings.model_dump(),
    }

    def make(work: Work) -> Verdict:
        from skin_pipeline.evaluation import tasks

        return tasks.gate(work, evaluation, validation, rival, scores)

    key = job.once("gate", VERSIONS["gate"], inputs, make)
    journal.note(job.store, job.run_id, verdict=key)
    journal.log_verdict(job.load(key, Verdict))
    return key


# --- release --------------------------------------------------------------------------------------


def promote(job: Job, verdict: str) -> str:
    """Publishes the judged model as an immutable version, and points the champion to it.

    Returns the key of the champion's version. A model that is the champion already stays it; one
    that was judged against another champion than there is by now is judged again.

    Raises:
        BadInput: A key for signatures cannot be used, a version is not signed as the keys require,
            or the verdict does not follow from the results that it names.
        Rejected: The verdict is a refusal.
        Unavailable: The champion kept moving, or the store failed.
    """
    from skin_pipeline.release import tasks

    return tasks.promote(job, verdict, partial(judged_again, job))


def judged_again(job: Job, judged: Verdict) -> str:
    """Returns the key of a verdict against the champion of now."""
    split = job.load(judged.evaluation, Evaluation).split
    return gate(job, judged.evaluation, judged.validation, champion(job, split), judged.external)


def reject(job: Job, verdict: str) -> str:
    """Records the refusal in the model's history, once; returns the verdict's key."""
    from skin_pipeline.release import tasks

    return tasks.reject(job, verdict)
