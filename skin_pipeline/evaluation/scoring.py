"""Scores images with judged models: another test set, and sets of another origin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from skin_pipeline import tables
from skin_pipeline.contracts import Dataset, Evaluation, Figures, Scored, Split
from skin_pipeline.data import manifest, splitting
from skin_pipeline.evaluation.logits import of_all, runs_of
from skin_pipeline.evaluation.metrics import Predictions, Sample, figures
from skin_pipeline.job import Work
from skin_pipeline.training import inputs, models

log = logging.getLogger(__name__)

# A function of the keys of an evaluation and of a data set: it computes the features of all images
# of the data set, as the models of the evaluation read them, and returns the features' keys.
FeaturesFor = Callable[[str, str], Sequence[str]]
# A function of the keys of an evaluation and of a split: it returns the keys of what the models of
# the evaluation say of the test images, part by part.
LogitsFor = Callable[[str, str], Sequence[str]]
# A model has met an image in training if one of these is the same: the file, the pixels, or what
# links it to other images.
SAME = ("sha256", "pixels_sha256", "patient_id", "lesion_id", "group")


class Scoring(NamedTuple):
    """What is scored: its name, its data set, and how many images were left out."""

    name: str
    dataset: str
    excluded: int


# --- a champion on a test set ---------------------------------------------------------------------


def on_test_set(
    work: Work, split: str, version: str, evaluation: str, logits_for: LogitsFor
) -> Scored:
    """Scores the models of a version on a test set, without images that they were trained on.

    Args:
        work: The making of the scores.
        split: Key of the split, which has the test set.
        version: The version, by which the scores are named.
        evaluation: Key of the evaluation of its models.
        logits_for: Returns what the models say of the images, which it makes if needed.

    Raises:
        BadInput: The models cannot score these images.
    """
    model = work.load(evaluation, Evaluation)
    if model.split == split:
        return _as_judged(work, version, evaluation)
    return _scored_again(work, split, version, evaluation, logits_for)


def _as_judged(work: Work, version: str, evaluation: str) -> Scored:
    """Returns the scores that the models got when they were judged: on this same test set."""
    model = work.load(evaluation, Evaluation)
    table = tables.read_scores(work.store, model.predictions)
    table = table.loc[table["test"], ["key", "label", "group", "probability"]]
    return written(work, evaluation, Scoring(version, model.dataset, 0), table)


def _scored_again(
    work: Work, split: str, version: str, evaluation: str, logits_for: LogitsFor
) -> Scored:
    """Scores another test set, without the images that the models were trained on."""
    document, model = work.load(split, Split), work.load(evaluation, Evaluation)
    parts = tuple(logits_for(evaluation, split))
    table = manifest.read_readable(work.store, document.table)
    work.job.expect("champion", len(table), 0)  # the work itself is that of the parts
    # All runs have the same test set.
    is_test = (table["run_0"] == splitting.TEST).to_numpy()
    # The champion would look better than it is on images that it was trained on.
    known = is_test & known_to(trained_on(work, model.split), table)
    about = Scoring(version, document.dataset, int(known.sum()))
    said = of_all(work, parts, len(table))
    found = _of_logits(work, evaluation, about, table, np.flatnonzero(is_test & ~known), said)
    return found.model_copy(update={"logits": parts})


def trained_on(work: Work, split: str) -> pd.DataFrame:
    """Returns the rows of a split's manifest that at least one run trained on or validated with.

    Validation images count too: the best epoch, the temperature and the threshold were chosen on
    them.
    """
    table = manifest.read(work.store, work.load(split, Split).table)
    sides = table.filter(regex=r"^run_\d+$")
    return table[sides.isin([splitting.TRAIN, splitting.VALIDATION]).any(axis=1)]


def known_to(trained: pd.DataFrame, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns which images (n,) of a table are known to a model.

    It knows an image that it has met in training: the file, the pixels, or another image of the
    patient or lesion. It also knows an image that is in one group with such an image now. Names of
    groups are not enough: when a new image joins two groups, one of the names is lost.

    Args:
        trained: The rows that the model was trained on, of the manifest of that time.
        table: Rows of the manifest of now (n).
    """
    known = np.zeros(len(table), bool)
    for column in SAME:
        met = set(trained[column]) - {""}
        known |= table[column].isin(met).to_numpy()
    return np.asarray(table["group"].isin(table["group"][known]))


# --- sets of another origin -----------------------------------------------------------------------


def external_source(work: Work, dataset: str, features: Sequence[str]) -> inputs.Source:
    """Returns the readable images of an external set, grouped by patient, or else by lesion."""
    document = work.load(dataset, Dataset)
    table = manifest.read_readable(work.store, document.table)
    group = table["key"]
    for column in ("lesion_id", "patient_id"):  # the last one that is known counts
        group = (column + ":" + table[column]).where(table[column] != "", group)
    return inputs.Source(work.store, table.assign(group=group), features, document.shards)


# --- any images -----------------------------------------------------------------------------------


def scored(
    work: Work, evaluation: str, scoring: Scoring, source: inputs.Source, wanted: NDArray[np.bool_]
) -> Scored:
    """Scores images by the models of an evaluation, in the way that they were judged.

    Args:
        work: The making of the scores.
        evaluation: Key of the evaluation.
        scoring: What is scored.
        source: The images (n), with the features that the models read.
        wanted: Which of them to score (n,).
    """
    model = work.load(evaluation, Evaluation)
    network = models.network_on(work.job, work.load(scoring.dataset, Dataset), model.trunk)
    runs, rows = runs_of(work, model.runs), np.flatnonzero(wanted)
    weights = (models.weights_of(work.store, run) for run in runs)
    said = models.logits_of(network, source, runs, weights, [rows] * len(runs), model.views)
    return _of_logits(work, evaluation, scoring, source.table, rows, said)


def _of_logits(
    work: Work,
    evaluation: str,
    scoring: Scoring,
    table: pd.DataFrame,
    rows: inputs.Ints,
    said: NDArray[np.float64],
) -> Scored:
    """Writes the scores of some rows of a table (n), given the logits (runs, n) of all of them."""
    # The model's own temperature: with another one its threshold would mean something else.
    temperature = work.load(evaluation, Evaluation).calibration.temperature
    probability = expit(said[:, rows].mean(axis=0) / temperature)
    wanted = table[["key", "label", "group"]].iloc[rows]
    return written(work, evaluation, scoring, wanted.assign(probability=probability))


def written(work: Work, evaluation: str, scoring: Scoring, table: pd.DataFrame) -> Scored:
    """Writes scores, and returns their document with the figures.

    Args:
        work: The making of the scores.
        evaluation: Key of the evaluation of the models that scored.
        scoring: What was scored.
        table: A row for each image with `key`, `label`, `group` and `probability`.
    """
    threshold = work.load(evaluation, Evaluation).threshold
    seen = figures(
        Predictions(table["probability"].to_numpy(), threshold),
        Sample.of(table, work.settings.seed, work.settings.prevalence_list),
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
