"""Computes figures with intervals, from probabilities and labels.

sample = Sample.of(table, seed)                                  # the test images
seen = figures(Predictions(probabilities, threshold), sample)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.contracts import Bin, Figures, Interval, Predictive
from skin_pipeline.data import manifest
from skin_pipeline.intervals import (
    UPPER,
    Floats,
    Ints,
    Statistic,
    auc_statistic,
    independent,
    proportion,
    resampled,
    share,
)

Rows = NDArray[np.bool_] | Ints | slice
PREVALENCES = (0.02, 0.1, 0.5)
BINS = 10
NOTHING = slice(0)  # selects no image


@dataclass(frozen=True)
class Predictions:
    """What a model predicts of a sample of images.

    Attributes:
        probabilities: That each image is malignant (n,), 0…1.
        threshold: Images with this probability or a higher one are classified as malignant.
    """

    probabilities: Floats
    threshold: float

    @property
    def malignant(self) -> NDArray[np.bool_]:
        """Which images (n,) are classified as malignant."""
        return np.asarray(self.probabilities >= self.threshold)

    @property
    def known(self) -> bool:
        """Whether every probability is a number."""
        return bool(np.isfinite(self.probabilities).all())

    def at(self, rows: Rows) -> Predictions:
        """Returns the predictions of some of the images."""
        return Predictions(self.probabilities[rows], self.threshold)


@dataclass(frozen=True)
class Sample:
    """The images that figures are computed on: a test set, or a part of one.

    Attributes:
        labels: 1 for malignant (n,).
        groups: Names of the images' groups (n,); the bootstrap draws whole groups.
        seed: Of the bootstrap.
        prevalences: Shares of malignant images, 0…1 without the ends, for PPV and NPV.
    """

    labels: Ints
    groups: NDArray[Any]
    seed: int
    prevalences: Sequence[float] = PREVALENCES

    @classmethod
    def of(
        cls, table: pd.DataFrame, seed: int, prevalences: Sequence[float] = PREVALENCES
    ) -> Sample:
        """Returns the images of a table with the columns `label` and `group`."""
        groups = table["group"].to_numpy(object)
        return cls(manifest.labels(table), groups, seed, prevalences)

    @property
    def malignant(self) -> NDArray[np.bool_]:
        """Which images (n,) are malignant."""
        return np.asarray(self.labels == 1)

    @property
    def independent(self) -> int:
        """How many independent observations the rarer class has; see `intervals.independent`."""
        return independent(self.labels, self.groups)

    def at(self, rows: Rows) -> Sample:
        """Returns some of the images."""
        return replace(self, labels=self.labels[rows], groups=self.groups[rows])


def figures(predictions: Predictions, sample: Sample) -> Figures:
    """Returns all figures of a model on a sample of images.

    Accuracy, sensitivity, specificity and precision have Wilson intervals, the other figures one
    from a bootstrap over groups. If a probability or the threshold is NaN, so are all figures.
    """
    images = len(sample.labels)
    if not predictions.known or math.isnan(predictions.threshold):
        # On no images every figure is NaN. Figures of the other images alone would hide the fault.
        predictions, sample = predictions.at(NOTHING), sample.at(NOTHING)
    outcomes = _outcomes(predictions.malignant, sample.malignant)
    tp, fn, fp, tn = (int(count) for count in outcomes.sum(axis=0))
    sensitivity, specificity = proportion(tp, tp + fn), proportion(tn, tn + fp)
    balanced_accuracy, f1, auc, brier, calibration_error = _bootstrapped(
        predictions.probabilities, sample, outcomes
    )
    return Figures(
        images=images,
        threshold=predictions.threshold,
        confusion={"tp": tp, "fn": fn, "fp": fp, "tn": tn},
        accuracy=proportion(tp + tn, len(sample.labels)),
        balanced_accuracy=balanced_accuracy,
        sensitivity=sensitivity,
        specificity=specificity,
        precision=proportion(tp, tp + fp),
        f1=f1,
        auc=auc,
        brier=brier,
        calibration_error=calibration_error,
        predictive=tuple(
            _predictive(sensitivity, specificity, item) for item in sample.prevalences
        ),
    )


def _bootstrapped(probabilities: Floats, sample: Sample, outcomes: Floats) -> list[Interval]:
    """Returns balanced accuracy, F1, AUC, Brier score and calibration error, with intervals.

    The images of a patient resemble one another, so they are no independent observations: the
    bootstrap draws whole groups. All five use the same draws, so that these are made once.
    """
    statistic = _statistic(probabilities, sample.labels, outcomes)
    *shares, errors, distances = resampled(statistic, sample.groups, sample.seed).T
    return [
        *(share(values, sample.independent) for values in shares),
        _calibration_error(errors, distances),
    ]


def bins(probabilities: Floats, labels: Ints, count: int = BINS) -> tuple[Bin, ...]:
    """Returns the images in bins of similar probability, from the lowest to the highest.

    Args:
        probabilities: Of the images (n,), 0…1.
        labels: 1 for malignant (n,).
        count: Number of bins, each with about as many images. Equal probabilities are in the same
            bin, so there may be fewer.
    """
    numbers = _bin_numbers(probabilities, count)
    return tuple(
        Bin(
            images=int(rows.sum()),
            probability=float(probabilities[rows].mean()),
            malignant=proportion(int((labels[rows] == 1).sum()), int(rows.sum())),
        )
        for rows in (numbers == number for number in np.unique(numbers))
    )


def _bin_numbers(probabilities: Floats, count: int) -> Ints:
    """Returns the number of each probability's bin (n,).

    It depends on how many probabilities are lower, so that equal ones are in the same bin.
    """
    lower = np.searchsorted(np.sort(probabilities), probabilities)
    return np.asarray(lower * count // max(len(probabilities), 1))


def _outcomes(predicted: NDArray[np.bool_], malignant: NDArray[np.bool_]) -> Floats:
    """Returns 1 where an image is a true positive, false negative, false positive or true negative
    (n, 4), in this order, and 0 elsewhere."""
    kinds = [
        predicted & malignant,
        ~predicted & malignant,
        predicted & ~malignant,
        ~predicted & ~malignant,
    ]
    return np.stack(kinds, axis=1).astype(np.float64)


def _statistic(probabilities: Floats, labels: Ints, outcomes: Floats) -> Statistic:
    """Returns a function from how often each image counts (m, n) to figures (m, 6).

    They are balanced accuracy, F1, AUC, Brier score, calibration error, and how far the bins moved
    from where they are when each image counts once.
    """
    auc = auc_statistic(probabilities, labels)
    excess = probabilities - labels
    in_bin = _bin_numbers(probabilities, BINS)[:, None] == np.arange(BINS)
    excesses = excess[:, None] * in_bin

    def statistic(times: Floats) -> Floats:
        tp, fn, fp, tn = (times @ outcomes).T
        images = times.sum(axis=1)
        with np.errstate(invalid="ignore"):
            seen = excesses.sum(axis=0) / np.float64(len(labels))
            drawn = times @ excesses / images[:, None]
            figures = [
                (tp / (tp + fn) + tn / (tn + fp)) / 2,
                2 * tp / (2 * tp + fp + fn),
                auc(times),
                times @ excess**2 / images,
                np.abs(drawn).sum(axis=1),
                np.abs(drawn - seen).sum(axis=1),
            ]
        return np.stack(figures, axis=1)

    return statistic


def _calibration_error(errors: Floats, distances: Floats) -> Interval:
    """Returns the calibration error, from (1 + draws,), with a 95 % interval.

    Chance alone moves shares away from probabilities, so the error of a sample is too high on
    average. The upper end is a percentile of the draws, whose errors are higher still. For the
    lower end, the distance that chance may have moved the bins is subtracted: by the triangle
    inequality, the true error is not lower. If the lower end is 0, the probabilities may well be
    calibrated. The interval contains the true error in at least 95 % of test sets.
    """
    value = float(errors[0])
    if len(errors) == 1:
        return Interval(value=value, low=math.nan, high=math.nan)
    low = value - np.quantile(distances[1:], UPPER)
    high = np.quantile(errors[1:], UPPER)
    return Interval(value=value, low=float(np.clip(low, 0, value)), high=float(max(high, value)))


def _predictive(sensitivity: Interval, specificity: Interval, prevalence: float) -> Predictive:
    """Returns PPV and NPV by Bayes' rule.

    Each end of their intervals is computed from the same end of both given intervals, so that they
    contain the true value in more than 95 % of test sets.
    """
    ends = ("value", "low", "high")
    pairs = {end: (getattr(sensitivity, end), getattr(specificity, end)) for end in ends}
    ppv = {end: _share_correct(a, b, prevalence) for end, (a, b) in pairs.items()}
    npv = {end: _share_correct(b, a, 1 - prevalence) for end, (a, b) in pairs.items()}
    return Predictive(prevalence=prevalence, ppv=Interval(**ppv), npv=Interval(**npv))


def _share_correct(recognised: float, excluded: float, prevalence: float) -> float:
    """Returns which share of the images that are predicted to be of a class are of it.

    Args:
        recognised: The share of the images of the class that are predicted to be of it.
        excluded: The share of the other images that are not.
        prevalence: The share of the class among all images.
    """
    correct, wrong = recognised * prevalence, (1 - excluded) * (1 - prevalence)
    return correct / (correct + wrong) if correct + wrong else math.nan
