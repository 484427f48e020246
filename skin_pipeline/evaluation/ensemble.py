"""Judges the runs as one model, the mean of their logits, and each of them alone.

Nothing is chosen on the test images. For the ensemble and for each run alone, two numbers are found
on validation images: first the temperature, then the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from skin_pipeline.config import Settings, ThresholdBy
from skin_pipeline.contracts import Bin, Calibration, Figures
from skin_pipeline.data import manifest, splitting
from skin_pipeline.evaluation.metrics import Predictions, Sample, bins, figures
from skin_pipeline.evaluation.threshold import threshold_at
from skin_pipeline.intervals import Floats, Ints

# Between these the temperature is searched. Logits that need another one carry no information.
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Judging:
    """The settings that predictions are judged by; see `config.Settings`."""

    target_sensitivity: float
    threshold_by: ThresholdBy
    prevalences: tuple[float, ...]
    seed: int

    @classmethod
    def of(cls, settings: Settings) -> Judging:
        """Returns these settings of a workflow run."""
        return cls(
            settings.target_sensitivity,
            settings.threshold_by,
            settings.prevalence_list,
            settings.seed,
        )

    def sample(self, table: pd.DataFrame) -> Sample:
        """Returns the images of a table as the sample that figures are computed on."""
        return Sample.of(table, self.seed, self.prevalences)

    def threshold(self, table: pd.DataFrame, probabilities: Floats) -> float:
        """Returns the threshold that meets the target on validation images.

        Args:
            table: The split's rows of readable images (n).
            probabilities: Of the validation images, and NaN for all others (n,).
        """
        rows = table[known := np.isfinite(probabilities)]
        return threshold_at(
            self.target_sensitivity,
            probabilities[known],
            manifest.labels(rows),
            self.threshold_by,
            rows["group"].to_numpy(),
            self.seed,
        )


@dataclass(frozen=True)
class Scores:
    """Figures on the test set, and a table of all probabilities."""

    ensemble: Figures
    per_run: dict[int, Figures]
    calibration: Calibration
    predictions: pd.DataFrame

    def by_key(self) -> dict[str, float]:
        """Returns the ensemble's probability of each image, by the image's key."""
        return dict(zip(self.predictions["key"], self.predictions["probability"], strict=True))


def score(table: pd.DataFrame, logits: Floats, runs: Sequence[int], judging: Judging) -> Scores:
    """Judges the runs and their ensemble on the test images, which nothing has used before.

    Temperature and threshold are found on validation images. A run uses its own. The ensemble uses
    all images that validate at least one run; each is scored only by the runs that it validates,
    since the others may have been trained on it.

    Args:
        table: The split's rows of readable images.
        logits: Of each run and image (runs, n), columns in the order of `table`.
        runs: The numbers of the runs, in the order of `logits`.
        judging: The target for the thresholds, and how figures are made.

    Raises:
        BadInput: There are too few malignant validation images to show the target sensitivity.
    """
    sides = np.stack([table[f"run_{run}"].to_numpy() for run in runs])
    validates = sides == splitting.VALIDATION
    # All runs have the same test set.
    tests = _TestImages.of(table, sides[0] == splitting.TEST, judging)
    alone = {
        run: _calibrated(row, np.where(own, row, np.nan), table, judging)
        for run, row, own in zip(runs, logits, validates, strict=True)
    }
    mean, unseen = logits.mean(axis=0), held_out_logits(logits, validates)
    together = _calibrated(mean, unseen, table, judging)
    predictions = table[["key", "label", "group"]].assign(
        test=tests.rows,
        held_out_probability=expit(unseen / together.temperature),
        probability=together.probabilities,
        **{f"run_{run}": one.probabilities for run, one in alone.items()},
    )
    return Scores(
        tests.figures(together.probabilities, together.threshold),
        {run: tests.figures(one.probabilities, one.threshold) for run, one in alone.items()},
        _calibration(mean, together, int(np.isfinite(unseen).sum()), tests),
        predictions,
    )


@dataclass(frozen=True)
class _TestImages:
    """Which of all images (n,) are test images, and these alone."""

    rows: NDArray[np.bool_]
    sample: Sample

    @classmethod
    def of(cls, table: pd.DataFrame, rows: NDArray[np.bool_], judging: Judging) -> _TestImages:
        return cls(rows, judging.sample(table[rows]))

    def figures(self, probabilities: Floats, threshold: float) -> Figures:
        """Returns the figures of probabilities of all images (n,) on the test images."""
        return figures(Predictions(probabilities, threshold).at(self.rows), self.sample)

    def bins(self, probabilities: Floats) -> tuple[Bin, ...]:
        """Returns the test images in bins of similar probability."""
        return bins(probabilities[self.rows], self.sample.labels)


@dataclass(frozen=True)
class _Calibrated:
    """Probabilities of all images (n,), and what was found on validation images."""

    probabilities: Floats
    temperature: float
    threshold: float


def _calibrated(
    logits: Floats, unseen: Floats, table: pd.DataFrame, judging: Judging
) -> _Calibrated:
    """Returns the probabilities of `logits` (n,), calibrated on `unseen` (n,).

    `unseen` has logits of validation images, and NaN for all other images of the table (n).
    """
    known = np.isfinite(unseen)
    temperature = temperature_of(unseen[known], manifest.labels(table)[known])
    # The threshold comes second: the model that is released divides by the temperature, so that a
    # threshold on bare logits would be another one there, and miss the target.
    threshold = judging.threshold(table, np.asarray(expit(unseen / temperature)))
    return _Calibrated(np.asarray(expit(logits / temperature)), temperature, threshold)


def _calibration(logits: Floats, made: _Calibrated, images: int, tests: _TestImages) -> Calibration:
    """Returns how well the probabilities of the test images are calibrated, with the temperature
    (`bins`) and without it (`brier`, `calibration_error`)."""
    before = tests.figures(np.asarray(expit(logits)), made.threshold)
    return Calibration(
        temperature=made.temperature,
        images=images,
        bins=tests.bins(made.probabilities),
        brier=before.brier,
        calibration_error=before.calibration_error,
    )


class Rescored(NamedTuple):
    """Figures made again from a table of predictions, and which images (n,) are test images."""

    ensemble: Figures
    per_run: dict[int, Figures]
    bins: tuple[Bin, ...]
    test: NDArray[np.bool_]


def rescored(
    table: pd.DataFrame, predictions: pd.DataFrame, runs: Sequence[int], judging: Judging
) -> Rescored:
    """Makes the figures of `score` again, from the predictions that it wrote.

    Args:
        table: The split's rows of readable images.
        predictions: A row for each of them, in the same order.
        runs: The numbers of the runs.
        judging: As for `score`.
    """
    tests = _TestImages.of(table, (table[f"run_{runs[0]}"] == splitting.TEST).to_numpy(), judging)

    def judged(column: str, unseen: Floats) -> Figures:
        # The table has probabilities, which were calibrated before: no temperature is needed.
        threshold = judging.threshold(table, unseen)
        return tests.figures(predictions[column].to_numpy(np.float64), threshold)

    alone = {}
    for run in runs:
        seen = predictions[f"run_{run}"].to_numpy(np.float64)
        validates = (table[f"run_{run}"] == splitting.VALIDATION).to_numpy()
        alone[run] = judged(f"run_{run}", np.where(validates, seen, np.nan))
    together = judged("probability", predictions["held_out_probability"].to_numpy(np.float64))
    probabilities = predictions["probability"].to_numpy(np.float64)
    return Rescored(together, alone, tests.bins(probabilities), tests.rows)


def temperature_of(logits: Floats, labels: Ints) -> float:
    """Returns what logits are divided by so that probabilities are calibrated (Guo et al. 2017).

    Of many images with a probability of 0.3, about 30 % are malignant then. It is the temperature
    with the least cross-entropy on validation images, within 0.05…20: on the images that a network
    was trained on, its probabilities are far too extreme. The order of the images stays the same.

    Args:
        logits: Of images that the model was not trained on (n,).
        labels: 1 for malignant (n,).
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        # log(1 + e^x) - y x: the same as from probabilities, but large logits cannot overflow.
        return float((np.logaddexp(0, scaled) - labels * scaled).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def held_out_logits(logits: Floats, validates: NDArray[np.bool_]) -> Floats:
    """Returns the mean logit of each image over the runs that it validates (n,).

    It is NaN for an image that validates no run. A threshold that is set on these depends neither
    on training images nor on test images.

    Args:
        logits: Of each run and image (runs, n).
        validates: Whether the image validates the run (runs, n).
    """
    counts = validates.sum(axis=0)
    totals = np.where(validates, logits, 0.0).sum(axis=0)
    return np.asarray(np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0))
