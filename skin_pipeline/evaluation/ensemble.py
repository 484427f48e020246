"""The six runs as one model, the mean of their logits, and each of them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from skin_pipeline.contracts import Bin, Calibration, Figures
from skin_pipeline.data import manifest
from skin_pipeline.data.splitting import TEST, VALIDATION
from skin_pipeline.evaluation.metrics import bins, figures, threshold_at
from skin_pipeline.intervals import Floats, Ints

TEMPERATURES = (0.05, 20.0)  # outside, the logits say nothing that a temperature could mend


@dataclass(frozen=True)
class Judging:
    """The settings that scores are judged by; see `config.Settings`."""

    target_sensitivity: float
    threshold_by: Literal["point", "lower_bound"]
    prevalences: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class Scores:
    """Figures on the test set, and a table of all probabilities."""

    ensemble: Figures
    per_run: dict[int, Figures]
    calibration: Calibration
    predictions: pd.DataFrame

    def by_key(self) -> dict[str, float]:
        """The ensemble's probability of each image, by its key."""
        return dict(zip(self.predictions["key"], self.predictions["probability"], strict=True))


def score(table: pd.DataFrame, logits: Floats, runs: Sequence[int], judging: Judging) -> Scores:
    """Judge the runs and their ensemble on the test images, which nothing before has read.

    Temperature and threshold are found on validation images: a run's own, and for the ensemble
    every image that validates some run, scored by those runs alone.

    Args:
        table: The split's rows of readable images.
        logits: (runs, n), columns in the order of `table`.
        runs: The numbers of the runs, in the order of `logits`.
        judging: The target that thresholds are to meet, and how figures are made.

    Raises:
        BadInput: too few malignant validation images to show the target sensitivity.
    """
    sides = np.stack([table[f"run_{run}"].to_numpy() for run in runs])
    validation = sides == VALIDATION
    labels = manifest.labels(table)
    tests = _TestSet(labels, table["group"].to_numpy(object), sides[0] == TEST, judging)
    alone = {
        run: _calibrated(row, np.where(held_out, row, np.nan), labels, judging)
        for run, row, held_out in zip(runs, logits, validation, strict=True)
    }
    unseen = held_out_logits(logits, validation)
    together = _calibrated(logits.mean(axis=0), unseen, labels, judging)
    predictions = table[["key", "label", "group"]].assign(
        test=tests.test,
        held_out_probability=expit(unseen / together.temperature),
        probability=together.probabilities,
        **{f"run_{run}": one.probabilities for run, one in alone.items()},
    )
    return Scores(
        tests.figures(together.probabilities, together.threshold),
        {run: tests.figures(one.probabilities, one.threshold) for run, one in alone.items()},
        _calibration(logits.mean(axis=0), together, int(np.isfinite(unseen).sum()), tests),
        predictions,
    )


@dataclass(frozen=True)
class _TestSet:
    """Labels and groups (n,) of all images, and which of them are test images."""

    labels: Ints
    groups: NDArray[np.object_]
    test: NDArray[np.bool_]
    judging: Judging

    def figures(self, probabilities: Floats, threshold: float) -> Figures:
        """Figures of probabilities (n,) on the test images."""
        return figures(
            probabilities[self.test],
            self.labels[self.test],
            self.groups[self.test],
            threshold,
            self.judging.seed,
            self.judging.prevalences,
        )


@dataclass(frozen=True)
class _Calibrated:
    """Probabilities (n,) of all images, and what was found on validation images."""

    probabilities: Floats
    temperature: float
    threshold: float


def _calibrated(logits: Floats, unseen: Floats, labels: Ints, judging: Judging) -> _Calibrated:
    """Calibrate logits (n,) by those of validation images (n,), NaN for others."""
    known = np.isfinite(unseen)
    temperature = temperature_of(unseen[known], labels[known])
    held_out = np.asarray(expit(unseen[known] / temperature))
    target = judging.target_sensitivity
    threshold = threshold_at(target, held_out, labels[known], by=judging.threshold_by)
    return _Calibrated(np.asarray(expit(logits / temperature)), temperature, threshold)


def _calibration(logits: Floats, made: _Calibrated, images: int, tests: _TestSet) -> Calibration:
    """How far the probabilities of the test images are shares, with and without temperature."""
    before = tests.figures(np.asarray(expit(logits)), made.threshold)
    return Calibration(
        temperature=made.temperature,
        images=images,
        bins=bins(made.probabilities[tests.test], tests.labels[tests.test]),
        brier=before.brier,
        calibration_error=before.calibration_error,
    )


class Rescored(NamedTuple):
    """Figures made again from a table of predictions; which images (n,) are test images."""

    ensemble: Figures
    per_run: dict[int, Figures]
    bins: tuple[Bin, ...]
    test: NDArray[np.bool_]


def rescored(
    table: pd.DataFrame, predictions: pd.DataFrame, runs: Sequence[int], judging: Judging
) -> Rescored:
    """The figures that `score` made, from the predictions that it wrote.

    Args:
        table: The split's rows of readable images.
        predictions: A row for each of them, in the same order.
        runs: The numbers of the runs.
        judging: As for `score`.
    """
    labels = manifest.labels(table)
    test = (table[f"run_{runs[0]}"] == TEST).to_numpy()
    tests = _TestSet(labels, table["group"].to_numpy(object), test, judging)

    def judged(column: str, unseen: Floats) -> Figures:
        known = np.isfinite(unseen)
        threshold = threshold_at(
            judging.target_sensitivity, unseen[known], labels[known], by=judging.threshold_by
        )
        return tests.figures(predictions[column].to_numpy(np.float64), threshold)

    alone = {}
    for run in runs:
        seen = predictions[f"run_{run}"].to_numpy(np.float64)
        validates = (table[f"run_{run}"] == VALIDATION).to_numpy()
        alone[run] = judged(f"run_{run}", np.where(validates, seen, np.nan))
    together = judged("probability", predictions["held_out_probability"].to_numpy(np.float64))
    probabilities = predictions["probability"].to_numpy(np.float64)[test]
    return Rescored(together, alone, bins(probabilities, labels[test]), test)


def temperature_of(logits: Floats, labels: Ints) -> float:
    """What logits are divided by so that probabilities are shares (Guo et al. 2017).

    The one with the least cross-entropy on validation images, within 0.05…20. It changes no order.

    Args:
        logits: (n,) of images that nothing was trained on.
        labels: (n,), 1 for malignant.
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        # From logits, without overflow: log(1 + e^x) - y x.
        return float((np.logaddexp(0, scaled) - labels * scaled).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


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
