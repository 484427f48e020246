"""Models on images: the runs of a new one, the champion on today's test set, external sets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from skin_pipeline import tables
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Figures,
    Scored,
    Split,
    TrainedRun,
    Validation,
    load,
)
from skin_pipeline.data import manifest
from skin_pipeline.data.splitting import TEST, TRAIN, VALIDATION
from skin_pipeline.evaluation.metrics import figures
from skin_pipeline.intervals import Floats
from skin_pipeline.job import Job
from skin_pipeline.storage import Store
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.checkpoints import Arrays
from skin_pipeline.training.inputs import Ints
from skin_pipeline.training.plan import Source
from skin_pipeline.training.runs import scorer
from skin_pipeline.training.strategies import STRATEGIES
from skin_pipeline.training.tasks import network_on, source_of, weights_of

log = logging.getLogger(__name__)

# What makes an image known to a model: the file, the pixels, or whose it is.
SAME = ("sha256", "pixels_sha256", "patient_id", "lesion_id", "group")


def runs_of(store: Store, keys: Sequence[str]) -> list[TrainedRun]:
    """The runs with these keys, in their order."""
    return sorted((load(store, key, TrainedRun) for key in keys), key=lambda run: run.run)


def logits_of(
    network: Network,
    source: Source,
    runs: Sequence[TrainedRun],
    weights: Iterable[Arrays],
    wanted: Sequence[Ints],
    views: int,
) -> Floats:
    """Logits (runs, n) of the images of a source, averaged over views; NaN where none are wanted.

    Args:
        network: With its pretrained weights.
        source: Its features are those of the runs' strategy.
        runs: All of one strategy.
        weights: Those of each run.
        wanted: For each run the rows that it scores.
        views: Dihedral views, from the first.
    """
    strategy = runs[0].strategy
    model = STRATEGIES[strategy].model(network, "run")
    score = scorer(model, jit=strategy != "head" and network.jit)
    inputs = source.inputs(strategy, network)
    logits = np.full((len(runs), len(source.table)), np.nan)
    for own, line, rows in zip(weights, logits, wanted, strict=True):
        model.set_weights(own)
        line[rows] = score(inputs, rows, views)
    return logits


def champion(
    job: Job, key: str, version: str, evaluation: str, split: str, features: Sequence[str]
) -> Scored:
    """The champion on the test set of a split, without images that it was trained on.

    Args:
        job: The job.
        key: Of the result.
        version: Of the champion.
        evaluation: Key of its evaluation.
        split: Key of the split with the test set.
        features: Keys of the features of all shards, of the champion's network.
    """
    document, model = load(job.store, split, Split), load(job.store, evaluation, Evaluation)
    source = source_of(job, document, tuple(features))
    is_test = (source.table["run_0"] == TEST).to_numpy()
    known = is_test & known_to(trained_on(job.store, model.split), source.table)
    named = Named(version, document.dataset, int(known.sum()))
    return _scored(job, key, evaluation, named, source, is_test & ~known)


def as_judged(job: Job, key: str, version: str, evaluation: str) -> Scored:
    """The champion on the very test set that it was judged on: the same scores, found again.

    Takes what `champion` does; no feature is needed.
    """
    model = load(job.store, evaluation, Evaluation)
    table = tables.read_scores(job.store, model.predictions)
    table = table.loc[table["test"], ["key", "label", "group", "probability"]]
    return _written(job, key, evaluation, model, Named(version, model.dataset, 0), table)


def external(
    job: Job, key: str, name: str, evaluation: str, validation: str, features: Sequence[str]
) -> Scored:
    """A new model on a set of another origin, without images that its own data set holds too.

    Args:
        job: The job.
        key: Of the result.
        name: Of the set.
        evaluation: Key of the model's evaluation.
        validation: Key of the validation of the model's data, which knows the set.
        features: Keys of the features of all shards of the set, of the model's network.
    """
    checked = load(job.store, validation, Validation)
    dataset = checked.external[name]
    source = external_source(job.store, dataset, features)
    shared = set(manifest.read(job.store, checked.overlaps[name])["key"])
    known = source.table["key"].isin(shared).to_numpy()
    return _scored(job, key, evaluation, Named(name, dataset, int(known.sum())), source, ~known)


class Named(NamedTuple):
    """What is scored: its name, its data set, and how many images were left out."""

    name: str
    dataset: str
    excluded: int


def _scored(
    job: Job,
    key: str,
    evaluation: str,
    named: Named,
    source: Source,
    wanted: NDArray[np.bool_],
) -> Scored:
    """A judged model on the rows `wanted` (n,) of a source."""
    model = load(job.store, evaluation, Evaluation)
    network = network_on(job, load(job.store, named.dataset, Dataset), model.trunk)
    runs, rows = runs_of(job.store, model.runs), np.flatnonzero(wanted)
    weights = (weights_of(job.store, run) for run in runs)
    logits = logits_of(network, source, runs, weights, [rows] * len(runs), model.views)
    probability = expit(logits[:, rows].mean(axis=0) / model.calibration.temperature)
    table = source.table[["key", "label", "group"]].iloc[rows]
    return _written(job, key, evaluation, model, named, table.assign(probability=probability))


def _written(
    job: Job, key: str, evaluation: str, model: Evaluation, named: Named, table: pd.DataFrame
) -> Scored:
    """Figures of scores, and the scores in the store."""
    seen = figures(
        table["probability"].to_numpy(),
        manifest.labels(table),
        table["group"].to_numpy(object),
        model.threshold,
        job.settings.seed,
        job.settings.prevalence_list,
    )
    _log(named, seen)
    return Scored(
        name=named.name,
        dataset=named.dataset,
        evaluation=evaluation,
        images=len(table),
        excluded=named.excluded,
        figures=seen,
        predictions=tables.write(job.store, f"{key}/predictions.csv", table),
    )


def _log(named: Named, seen: Figures) -> None:
    log.info(
        'scored name="%s" images=%d excluded=%d accuracy=%.4f sensitivity=%.4f specificity=%.4f '
        "auc=%.4f",
        named.name,
        seen.images,
        named.excluded,
        seen.accuracy.value,
        seen.sensitivity.value,
        seen.specificity.value,
        seen.auc.value,
    )


def trained_on(store: Store, split: str) -> pd.DataFrame:
    """Rows of a split's manifest that some run trained on or validated with."""
    table = manifest.read(store, load(store, split, Split).table)
    sides = table.filter(regex=r"^run_\d+$")
    return table[sides.isin([TRAIN, VALIDATION]).any(axis=1)]


def known_to(trained: pd.DataFrame, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which images (n,) of a table a model has met in training: the file, the pixels, another image
    of the patient or lesion, or one that is in a group with such an image now.

    A group may have another name by now than when the model was trained, where a new image has
    joined it to another group.
    """
    known = np.zeros(len(table), bool)
    for column in SAME:
        met = set(trained[column]) - {""}
        known |= table[column].isin(met).to_numpy()
    return np.asarray(table["group"].isin(table["group"][known]))


def external_source(store: Store, dataset: str, features: Sequence[str]) -> Source:
    """All readable images of an external set; those of a patient or lesion are one group."""
    document = load(store, dataset, Dataset)
    table = manifest.read_readable(store, document.table)
    group = table["key"]
    for column in ("lesion_id", "patient_id"):
        group = (column + ":" + table[column]).where(table[column] != "", group)
    return Source(store, table.assign(group=group), features, document.shards)
