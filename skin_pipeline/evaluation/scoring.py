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
from skin_pipeline.contracts import Answered, Dataset, Evaluation, Figures, Scored, Split
from skin_pipeline.data import manifest, splitting
from skin_pipeline.evaluation import answering
from skin_pipeline.evaluation.logits import of_all
from skin_pipeline.evaluation.metrics import Predictions, Sample, figures
from skin_pipeline.intervals import Floats
from skin_pipeline.job import Work

log = logging.getLogger(__name__)

# A function of the keys of an evaluation and of a split or an external set: it returns the keys of
# what the models of the evaluation say of the test images, or of the set's, part by part.
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
    return scored(work, evaluation, about, table, is_test & ~known, parts)


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


def external_table(work: Work, dataset: str) -> pd.DataFrame:
    """Returns the readable images of an external set: key, label, and group, which is the patient,
    or else the lesion, or else the image itself."""
    columns = ("key", "label", "patient_id", "lesion_id")
    table = manifest.read_readable(work.store, work.load(dataset, Dataset).table, columns)
    group = table["key"]
    for column in ("lesion_id", "patient_id"):  # the last one that is known counts
        group = (column + ":" + table[column]).where(table[column] != "", group)
    return table[["key", "label"]].assign(group=group)


# --- any images -----------------------------------------------------------------------------------


def scored(
    work: Work,
    evaluation: str,
    scoring: Scoring,
    table: pd.DataFrame,
    wanted: NDArray[np.bool_],
    parts: tuple[str, ...],
    familiarity: Floats | None = None,
) -> Scored:
    """Scores images by the models of an evaluation, in the way that they were judged.

    Args:
        work: The making of the scores.
        evaluation: Key of the evaluation.
        scoring: What is scored.
        table: The images (n), each with `key`, `label` and `group`.
        wanted: Which of them count (n,).
        parts: Keys of what the models say of all of them, in the order of the images.
        familiarity: Of all of them (n,), NaN if it is not known; None to leave it out.
    """
    said, rows = of_all(work, parts, len(table)), np.flatnonzero(wanted)
    # The model's own temperature: with another one its threshold would mean something else.
    temperature = work.load(evaluation, Evaluation).calibration.temperature
    probability = expit(said[:, rows].mean(axis=0) / temperature)
    seen = table[["key", "label", "group"]].iloc[rows].assign(probability=probability)
    if familiarity is not None:
        seen = seen.assign(familiarity=familiarity[rows])
    return written(work, evaluation, scoring, seen).model_copy(update={"logits": parts})


def written(work: Work, evaluation: str, scoring: Scoring, table: pd.DataFrame) -> Scored:
    """Writes scores, and returns their document with the figures.

    Args:
        work: The making of the scores.
        evaluation: Key of the evaluation of the models that scored.
        scoring: What was scored.
        table: A row for each image with `key`, `label`, `group`, `probability`, and `familiarity`
            if what the model reaches with abstention is wanted too.
    """
    model = work.load(evaluation, Evaluation)
    predictions = Predictions(table["probability"].to_numpy(), model.threshold)
    sample = Sample.of(table, work.settings.seed, work.settings.prevalence_list)
    seen = figures(predictions, sample)
    _log(scoring, seen)
    return Scored(
        name=scoring.name,
        dataset=scoring.dataset,
        evaluation=evaluation,
        images=len(table),
        excluded=scoring.excluded,
        figures=seen,
        predictions=work.put_table("predictions.csv", table),
        answered=answered(table, model),
    )


def answered(table: pd.DataFrame, model: Evaluation) -> tuple[Answered, ...]:
    """Returns what a model reaches if it abstains; nothing for a table without `familiarity`.

    Args:
        table: A row for each image with `label`, `probability` and perhaps `familiarity`.
        model: The evaluation of the model that scored.
    """
    if "familiarity" not in table:
        return ()
    seen = Predictions(table["probability"].to_numpy(), model.threshold)
    familiarity = table["familiarity"].to_numpy(np.float64)
    return answering.curve(seen, manifest.labels(table), familiarity, model.abstention)


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
