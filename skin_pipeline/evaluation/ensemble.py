"""The six runs as one model, the mean of their logits, and each of them alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from skin_pipeline.contracts import Figures
from skin_pipeline.data.splitting import TEST, VALIDATION
from skin_pipeline.evaluation.metrics import figures, threshold_at

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Figures on the test set, and a table of all probabilities."""

    ensemble: Figures
    per_run: dict[int, Figures]
    predictions: pd.DataFrame

    def by_key(self) -> dict[str, float]:
        """The ensemble's probability of each image, by its key."""
        return dict(zip(self.predictions["key"], self.predictions["probability"], strict=True))


def score(
    table: pd.DataFrame, logits: Floats, runs: list[int], target_sensitivity: float, seed: int
) -> Scores:
    """Judge the runs and their ensemble on the test images, which nothing before has read.

    Each threshold meets the target sensitivity on validation images: a run's own, and for the
    ensemble every image that validates some run, scored by those runs alone.

    Args:
        table: The split's rows of readable images.
        logits: (runs, n), columns in the order of `table`.
        runs: The numbers of the runs, in the order of `logits`.
        target_sensitivity: Share of malignant validation images to be found, 0…1.
        seed: Of the bootstrap.
    """
    labels = (table["label"] == "malignant").to_numpy(np.int64)
    sides = np.stack([table[f"run_{run}"].to_numpy() for run in runs])
    test, validation = sides[0] == TEST, sides == VALIDATION
    groups = table["group"].to_numpy()

    def judged(probabilities: Floats, threshold: float) -> Figures:
        return figures(probabilities[test], labels[test], groups[test], threshold, seed)

    per_run = {}
    for run, row, held_out in zip(runs, expit(logits), validation, strict=True):
        threshold = threshold_at(target_sensitivity, row[held_out], labels[held_out])
        per_run[run] = judged(row, threshold)
    together = np.asarray(expit(logits.mean(axis=0)))
    unseen = expit(held_out_logits(logits, validation))
    known = np.isfinite(unseen)
    threshold = threshold_at(target_sensitivity, unseen[known], labels[known])
    predictions = table[["key", "label", "group"]].assign(
        test=test,
        held_out_probability=unseen,
        probability=together,
        **{f"run_{run}": row for run, row in zip(runs, expit(logits), strict=True)},
    )
    return Scores(judged(together, threshold), per_run, predictions)


def held_out_logits(logits: Floats, is_validation: NDArray[np.bool_]) -> Floats:
    """Mean logit of each image over the runs that it validates.

    Args:
        logits: (runs, n).
        is_validation: (runs, n), whether the image validates the run.

    Returns:
        (n,), NaN for an image that validates no run. A threshold set on these has seen neither
        a training image nor a test image.
    """
    counts = is_validation.sum(axis=0)
    totals = np.where(is_validation, logits, 0.0).sum(axis=0)
    return np.asarray(np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0))
