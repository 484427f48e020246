"""Do the intervals cover, and does the gate hold? Found out on simulated test sets whose truth is
known.

The sets are like the real one: about 230 images, half of them malignant, of 153 patients with 1 to
9 images; within a patient scores of a class correlate by .3, as those of a trained model did. So
what is covered is a model's figure on new images of new patients, as they come. Wilson's intervals
take images as independent: they are tried on such, and on the sets with patients only for what the
gate needs of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, ndtr, ndtri

from skin_pipeline import intervals
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Evaluation
from skin_pipeline.evaluation import comparison, metrics
from skin_pipeline.evaluation.comparison import compare
from skin_pipeline.evaluation.gate import Case, judge
from skin_pipeline.evaluation.metrics import Predictions, Sample

SETS = 2_000
PATIENTS = 153
IMAGES_OF_A_PATIENT = np.repeat([1, 2, 3, 4, 5, 6, 9], [523, 182, 45, 19, 5, 2, 1])
WITHIN = 0.3


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """A tenth of the draws will do for a standard error, and each count is met many times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 100)
        patch.setattr(intervals, "proportion", cache(intervals.proportion))
        patch.setattr(metrics, "proportion", intervals.proportion)
        patch.setattr(comparison, "mcnemar", cache(comparison.mcnemar))
        yield


@dataclass(frozen=True)
class Model:
    """One with normal scores, of the same spread in both classes; its true figures."""

    sensitivity: float
    specificity: float

    @property
    def distance(self) -> Any:
        return ndtri(self.sensitivity) + ndtri(self.specificity)

    @property
    def auc(self) -> Any:
        return ndtr(self.distance / np.sqrt(2))

    @property
    def accuracy(self) -> Any:
        return (self.sensitivity + self.specificity) / 2

    @property
    def balanced_accuracy(self) -> Any:
        return self.accuracy

    def predictions(self, labels: Any, noise: Any) -> Predictions:
        scores = self.distance * (labels - 0.5) + noise
        return Predictions(expit(scores), expit(self.distance / 2 - ndtri(self.sensitivity)))


def drawn(seed: Any) -> tuple[Any, Any, Any, Any]:
    """Of a test set its labels, groups, and the noise in the scores of two like models."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(PATIENTS), rng.choice(IMAGES_OF_A_PATIENT, PATIENTS))

    def noise(within: Any) -> Any:
        shared, own = rng.normal(size=PATIENTS)[groups], rng.normal(size=len(groups))
        return np.sqrt(within) * shared + np.sqrt(1 - within) * own

    labels = (noise(0.5) > 0).astype(np.int64)
    ours, others = noise(WITHIN), noise(WITHIN)
    return labels, groups, ours, 0.6 * ours + 0.8 * others


# --- coverage ------------------------------------------------------------------------------------

CHALLENGER, CHAMPION = Model(sensitivity=0.85, specificity=0.72), Model(0.82, 0.70)
FIGURES = ("sensitivity", "specificity", "accuracy", "balanced_accuracy", "auc")
DIFFERENCES = ("sensitivity", "accuracy", "auc")


@pytest.fixture(scope="module")
def missed() -> tuple[Any, Any]:
    """How often the truth lay below and above the interval of a figure."""
    below: Counter[str] = Counter()
    above: Counter[str] = Counter()
    for seed in range(SETS):
        labels, groups, ours, theirs = drawn(seed)
        challenger = CHALLENGER.predictions(labels, ours)
        champion = CHAMPION.predictions(labels, theirs)
        sample = Sample(labels, groups, seed)
        alone = metrics.figures(challenger, sample)
        change = compare(challenger, champion, sample, version="v", excluded=0)
        seen = {name: (getattr(alone, name), getattr(CHALLENGER, name)) for name in FIGURES}
        for name in DIFFERENCES:
            truth = getattr(CHALLENGER, name) - getattr(CHAMPION, name)
            seen[f"change of {name}"] = getattr(change, name), truth
        below.update(name for name, (interval, truth) in seen.items() if truth < interval.low)
        above.update(name for name, (interval, truth) in seen.items() if truth > interval.high)
    return below, above


@pytest.mark.parametrize(
    "name", ["balanced_accuracy", "auc", *(f"change of {name}" for name in DIFFERENCES)]
)
def test_95_percent_intervals_cover_in_95_percent_of_test_sets(
    missed: tuple[Any, Any], name: Any
) -> None:
    below, above = missed
    assert 0.93 <= 1 - (below[name] + above[name]) / SETS <= 0.97


@pytest.mark.parametrize("truth", [0.75, 0.8, 0.85, 0.9, 0.95])
def test_the_interval_of_a_sensitivity_covers_in_95_percent_of_test_sets(truth: float) -> None:
    found = np.random.default_rng(0).binomial(116, truth, SETS)
    seen = [intervals.proportion(int(hits), 116) for hits in found]
    assert 0.93 <= np.mean([item.low <= truth <= item.high for item in seen]) <= 0.97


@pytest.mark.parametrize("name", FIGURES)
def test_the_lower_end_alone_is_seldom_too_high(missed: tuple[Any, Any], name: str) -> None:
    below, _ = missed
    assert below[name] / SETS <= 0.035


def calibrated(rng: Any, images: int, sharpness: float) -> tuple[Any, Any]:
    """Probabilities and labels; at a sharpness of 1 probabilities are shares."""
    logits = rng.normal(0, 1.5, images)
    return expit(sharpness * logits), (rng.uniform(size=images) < expit(logits)).astype(np.int64)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_the_interval_of_the_calibration_error_covers_at_the_least(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    bins = metrics.bins(*calibrated(rng, 500_000, sharpness))
    truth = np.mean([abs(item.probability - item.malignant.value) for item in bins])
    covered = 0
    for seed in range(SETS // 5):
        scores, labels = calibrated(rng, 230, sharpness)
        sample = Sample(labels, np.arange(230), seed)
        seen = metrics.figures(Predictions(scores, 0.5), sample).calibration_error
        covered += int(seen.low <= truth <= seen.high)
    assert covered >= 0.93 * SETS / 5


# --- the gate ------------------------------------------------------------------------------------


def passed(model: Model, sets: int, **bounds: Any) -> Counter[str]:
    """How often the gate approved of each figure of a model, and of all together."""
    settings = Settings(**{"min_accuracy": None, "min_sensitivity": None, **bounds})
    approved: Counter[str] = Counter()
    for seed in range(sets):
        labels, groups, noise, _ = drawn(seed)
        seen = metrics.figures(model.predictions(labels, noise), Sample(labels, groups, seed))
        values: dict[str, Any] = {"ensemble": seen, "runs": ("run",) * 6}
        values |= {"per_run": {}, "slices": (), "smoke_difference": 0.0}
        evaluation = Evaluation.model_construct(**values)
        checks = judge(Case("", evaluation), settings)
        approved.update(check.name for check in checks if check.passed)
        approved["all"] += all(check.passed for check in checks)
    return approved


def test_a_model_just_under_its_bounds_is_hardly_ever_approved() -> None:
    under = Model(sensitivity=0.78, specificity=0.68)
    approved = passed(
        under,
        SETS,
        min_sensitivity=under.sensitivity + 0.02,
        min_specificity=under.specificity + 0.02,
        min_accuracy=under.accuracy + 0.02,
        min_balanced_accuracy=under.accuracy + 0.02,
        min_auc=under.auc + 0.02,
    )
    for name in ("sensitivity", "specificity", "accuracy", "balanced accuracy", "AUC", "all"):
        assert approved[name] < 0.05 * SETS, name


def test_a_model_well_above_its_bounds_is_approved() -> None:
    good = Model(sensitivity=0.93, specificity=0.8)
    approved = passed(good, SETS // 10, min_sensitivity=0.8, min_accuracy=0.75, min_auc=0.85)
    assert approved["all"] > 0.9 * SETS / 10
