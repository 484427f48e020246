"""Scores of models on images: of the runs of a new model, of the champion, of external sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Figures,
    Scored,
    Split,
    TrainedRun,
)
from skin_pipeline.data import manifest
from skin_pipeline.data.splitting import TRAIN, VALIDATION
from skin_pipeline.evaluation.metrics import figures
from skin_pipeline.job import Work
from skin_pipeline.training import inputs, models

log = logging.getLogger(__name__)

# What makes an image known to a model: the file, the pixels, or whose it is.
SAME = ("sha256", "pixels_sha256", "patient_id", "lesion_id", "group")


def runs_of(work: Work, keys: Sequence[str]) -> list[TrainedRun]:
    """Returns the runs with these keys, in the order of their numbers."""
    return sorted((work.load(key, TrainedRun) for key in keys), key=lambda run: run.run)


class Scoring(NamedTuple):
    """What is scored: its name, its data set, and how many images were left out."""

    name: str
    dataset: str
    excluded: int


def scored(
    work: Work, evaluation: str, scoring: Scoring, source: inputs.Source, wanted: NDArray[np.bool_]
) -> Scored:
    """Scores the rows `wanted` (n,) of a source by the models of an evaluation.

    Args:
        work: The making of the scores.
        evaluation: Key of the evaluation.
        scoring: What is scored.
        source: Its features are those that the models read.
        wanted: The rows to score.
    """
    model = work.load(evaluation, Evaluation)
    network = models.network_on(work.job, work.load(scoring.dataset, Dataset), model.trunk)
    runs, rows = runs_of(work, model.runs), np.flatnonzero(wanted)
    weights = (models.weights_of(work.store, run) for run in runs)
    logits = models.logits_of(network, source, runs, weights, [rows] * len(runs), model.views)
    probability = expit(logits[:, rows].mean(axis=0) / model.calibration.temperature)
    table = source.table[["key", "label", "group"]].iloc[rows]
    return written(work, evaluation, scoring, table.assign(probability=probability))


def written(work: Work, evaluation: str, scoring: Scoring, table: pd.DataFrame) -> Scored:
    """Writes scores, and returns their document with the figures.

    Args:
        work: The making of the scores.
        evaluation: Key of the evaluation of the models that scored.
        scoring: What was scored.
        table: A row an image with `key`, `label`, `group` and `probability`.
    """
    seen = figures(
        table["probability"].to_numpy(),
        manifest.labels(table),
        table["group"].to_numpy(object),
        work.load(evaluation, Evaluation).threshold,
        work.settings.seed,
        work.settings.prevalence_list,
    )
    _log(scoring, seen)
    return Scored(
        name=scoring.name,
        dataset=scoring.dataset,
        evaluation=evaluation,
        images=len(table),
        excluded=scoring.excluded,
        figures=seen,
        predictions=work.put_table("predictions.csv", table),
    )


def _log(scoring: Scoring, seen: Figures) -> None:
    log.info(
        'scored name="%s" images=%d excluded=%d accuracy=%.4f sensitivity=%.4f specificity=%.4f '
        "auc=%.4f",
        scoring.name,
        seen.images,
        scoring.excluded,
        seen.accuracy.value,
        seen.sensitivity.value,
        seen.specificity.value,
        seen.auc.value,
    )


def trained_on(work: Work, split: str) -> pd.DataFrame:
    """Returns the rows of a split's manifest that some run trained on or validated with."""
    table = manifest.read(work.store, work.load(split, Split).table)
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


def external_source(work: Work, dataset: str, features: Sequence[str]) -> inputs.Source:
    """Returns all readable images of an external set; those of a patient or lesion are a group."""
    document = work.load(dataset, Dataset)
    table = manifest.read_readable(work.store, document.table)
    group = table["key"]
    for column in ("lesion_id", "patient_id"):
        group = (column + ":" + table[column]).where(table[column] != "", group)
    return inputs.Source(work.store, table.assign(group=group), features, document.shards)
