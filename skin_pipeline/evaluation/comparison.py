"""Compares challenger and champion, image by image on the same test images.

seen = compare(Predictions(ours, threshold), Predictions(theirs, other), sample, version="…",
               excluded=3)
seen.auc                     # the challenger's minus the champion's, with an interval
"""

from __future__ import annotations

import math

import numpy as np

from skin_pipeline import tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Comparison, Evaluation, Scored, load
from skin_pipeline.evaluation.metrics import Predictions, Sample, figures
from skin_pipeline.intervals import Floats, Statistic, auc_statistic, difference, resampled
from skin_pipeline.storage import Store


def with_champion(
    store: Store, settings: Settings, key: str, challenger: Evaluation, champion: Scored | None
) -> Comparison | None:
    """Compares a challenger with the champion on the test images that the champion was scored on.

    Only these are used for both models: the champion may have been trained on the other test
    images, on which it would look better than it is, and figures on different images could differ
    because the images do.

    Args:
        store: The store.
        settings: Their seed and prevalences are used.
        key: Key of the challenger's evaluation.
        challenger: Its evaluation.
        champion: The champion's scores on the challenger's test set; None if there is no champion.

    Returns:
        The comparison; None if there is nothing to compare with.

    Raises:
        KeyError: The champion was scored on an image that the challenger was not scored on.
    """
    if champion is None or champion.problem or champion.evaluation == key:
        return None
    ours = tables.read_scores(store, challenger.predictions).set_index("key")
    theirs = tables.read_scores(store, champion.predictions).set_index("key")
    shared = ours.loc[theirs.index]
    champion_threshold = load(store, champion.evaluation, Evaluation).threshold
    return compare(
        Predictions(shared["probability"].to_numpy(), challenger.threshold),
        Predictions(theirs["probability"].to_numpy(), champion_threshold),
        Sample.of(shared, settings.seed, settings.prevalence_list),
        version=champion.name,
        excluded=champion.excluded,
    )


def compare(
    challenger: Predictions,
    champion: Predictions,
    sample: Sample,
    *,
    version: str,
    excluded: int,
) -> Comparison:
    """Returns the challenger's figures minus the champion's, with intervals.

    The bootstrap is paired: both models are judged on the same draws of whole groups. An image that
    is hard is hard for both, so their difference varies less than either figure. Equal predictions
    differ by exactly 0, with an interval of [0, 0]. If a probability is NaN, so are all
    differences.

    Args:
        challenger: Its predictions of the images.
        champion: Its predictions of the same images, in the same order.
        sample: The images.
        version: The champion's version.
        excluded: How many test images were left out before.
    """
    gain = _correct(challenger, sample) - _correct(champion, sample)
    drawn = resampled(_statistic(challenger, champion, sample, gain), sample.groups, sample.seed)
    accuracy, sensitivity, specificity, auc = (difference(d, sample.independent) for d in drawn.T)
    ours, theirs = int((gain > 0).sum()), int((gain < 0).sum())
    return Comparison(
        champion=version,
        images=len(sample.labels),
        excluded=excluded,
        champion_figures=figures(champion, sample),
        accuracy=accuracy,
        sensitivity=sensitivity,
        specificity=specificity,
        auc=auc,
        only_challenger=ours,
        only_champion=theirs,
        p_value=math.nan if math.isnan(accuracy.value) else mcnemar(ours, theirs),
    )


def mcnemar(ours: int, theirs: int) -> float:
    """Returns the exact p-value (McNemar 1947) of the hypothesis that both are as often correct.

    It treats the images as independent of one another.

    Args:
        ours: How many images only one of the models classified correctly.
        theirs: How many images only the other did.
    """
    from scipy.stats import binomtest  # slow to import, and only beside a champion needed

    return float(binomtest(ours, ours + theirs).pvalue) if ours + theirs else 1.0


def _correct(predictions: Predictions, sample: Sample) -> Floats:
    """Returns 1 for each correctly classified image and 0 for others (n,).

    All are NaN if any probability is.
    """
    if not predictions.known:
        return np.full(len(sample.labels), math.nan)
    return np.asarray(predictions.malignant == sample.malignant, np.float64)


def _statistic(
    challenger: Predictions, champion: Predictions, sample: Sample, gain: Floats
) -> Statistic:
    """Returns a function from how often each image counts (m, n) to the differences of accuracy,
    sensitivity, specificity and AUC (m, 4)."""
    malignant = sample.malignant
    # The images by which each share is divided: all, the malignant, the benign.
    parts = np.stack([malignant | True, malignant, ~malignant], axis=1).astype(np.float64)
    ours, theirs = (
        auc_statistic(model.probabilities, sample.labels) for model in (challenger, champion)
    )

    def statistic(times: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            shares = (times * gain) @ parts / (times @ parts)
        return np.column_stack([shares, ours(times) - theirs(times)])

    return statistic
