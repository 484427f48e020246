"""Judges the ensemble by kind of image, and among images where no shortcut helps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.contracts import Slice, Within
from skin_pipeline.data import audit, manifest
from skin_pipeline.evaluation.metrics import Predictions, Sample, figures
from skin_pipeline.intervals import Floats, Statistic, resampled, share
from skin_pipeline.progress import reported

# A stratum: the rows of its malignant images (m,) and of its benign images (b,), and for each pair
# of them whether the malignant one has the higher score (m, b).
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], Floats]
AGE_BANDS = {"under 30": 30, "30 to 44": 45, "45 to 59": 60, "60 to 74": 75, "75 and over": 999}
UNKNOWN, OTHER = "unknown", "other"
COMMON = 0.05  # share of the images from which on an original size is a slice of its own
SMALL = 10  # images of a class: the figures of a slice with fewer are too uncertain
STRATA = 5  # these remove most of what a score explains (Cochran 1968)


def features(rows: pd.DataFrame) -> dict[str, pd.Series[str]]:
    """Returns what images are sliced by: by its name, the value of each image as text.

    Args:
        rows: Rows of the manifest.
    """
    age = pd.to_numeric(rows["age"], errors="coerce")
    bands = pd.cut(age, [-1, *(end - 1 for end in AGE_BANDS.values())], labels=list(AGE_BANDS))
    size = rows["width"].astype(int).astype(str) + " x " + rows["height"].astype(int).astype(str)
    common = size.value_counts(normalize=True)
    sources = {manifest.SOURCE: rows[manifest.SOURCE]} if manifest.SOURCE in rows else {}
    return {
        **sources,
        "sex": _known(rows["sex"]),
        "age": bands.astype(object).where(bands.notna(), UNKNOWN),
        "site": _known(rows["site"]),
        "original size": size.where(size.map(common) >= COMMON, OTHER),
    }


def _known(column: pd.Series[str]) -> pd.Series[str]:
    text = column.fillna("").astype(str).str.strip().str.casefold()
    return text.where(text != "", UNKNOWN)


def slices(rows: pd.DataFrame, predictions: Predictions, seed: int) -> tuple[Slice, ...]:
    """Returns the figures of each part of the test images, the largest first within a feature.

    A feature that is the same for all images, or known of none, is left out.

    Args:
        rows: The test images' rows of the manifest (n).
        predictions: The ensemble's, of these images (n,).
        seed: Of the bootstrap.
    """
    sample = Sample.of(rows, seed)
    parts = [
        (name, str(value), (values == value).to_numpy())
        for name, values in features(rows).items()
        if values.nunique() > 1
        for value in values.value_counts().index
    ]
    return tuple(
        _slice(name, value, predictions.at(here), sample.at(here))
        for name, value, here in reported(parts, "slices judged", len(parts))
    )


def _slice(feature: str, value: str, predictions: Predictions, part: Sample) -> Slice:
    seen, images, malignant = figures(predictions, part), len(part.labels), int(part.labels.sum())
    return Slice(
        feature=feature,
        value=value,
        images=images,
        malignant=malignant,
        accuracy=seen.accuracy,
        sensitivity=seen.sensitivity,
        specificity=seen.specificity,
        auc=seen.auc,
        small=min(malignant, images - malignant) < SMALL,
    )


def within(
    table: pd.DataFrame,
    is_test: NDArray[np.bool_],
    scores: Floats,
    shortcuts: Sequence[str],
    seed: int,
) -> tuple[Within, ...]:
    """Returns for each shortcut the AUC among test images that agree in it.

    Images agree if a forest that sees nothing but the shortcut gives them a score in the same fifth
    (subclassification on a score, Rosenbaum & Rubin 1984). Within a fifth the shortcut cannot tell
    malignant from benign: what remains of the AUC there comes from something else. The forest is
    trained on images that are not in the test set, or it would know their labels.

    Args:
        table: The readable images' rows of the manifest (n).
        is_test: Which of them are test images (n,).
        scores: The ensemble's probabilities (n,).
        shortcuts: Names of the trivial features that predict the label, as the audit found.
        seed: Of the forest and the bootstrap.
    """
    known = audit.scores(table, is_test, shortcuts, seed)
    sample = Sample.of(table[is_test], seed)
    return tuple(
        _within(name, strata(known[name]), scores[is_test], sample)
        for name in reported(shortcuts, "shortcuts judged", len(shortcuts))
    )


def strata(scores: Floats) -> NDArray[np.int64]:
    """Returns the number of the fifth that each score is in (n,); equal scores stay together."""
    edges = np.quantile(scores, np.arange(1, STRATA) / STRATA)
    return np.searchsorted(edges, scores, side="left")


def _within(name: str, fifths: NDArray[np.int64], scores: Floats, sample: Sample) -> Within:
    parts = list(_pairs(fifths, scores, sample.malignant))
    agreeing = sum(wins.size for _, _, wins in parts)
    every = int(sample.malignant.sum() * (~sample.malignant).sum())
    aucs = resampled(_statistic(parts), sample.groups, sample.seed)
    return Within(
        shortcut=name,
        strata=len(np.unique(fifths)),
        pairs=agreeing / every if every else 0.0,
        auc=share(aucs, sample.independent),
    )


def auc_within(
    numbers: NDArray[np.int64], scores: Floats, malignant: NDArray[np.bool_]
) -> Statistic:
    """Returns a function from how often each image counts (r, n) to AUCs over agreeing pairs (r,).

    Args:
        numbers: Of the stratum of each image (n,); a pair agrees if both are in one.
        scores: Higher where an image looks more malignant (n,).
        malignant: Which images are (n,).
    """
    return _statistic(list(_pairs(numbers, scores, malignant)))


def _pairs(
    numbers: NDArray[np.int64], scores: Floats, malignant: NDArray[np.bool_]
) -> Iterator[Pairs]:
    for number in np.unique(numbers):
        hits = np.flatnonzero((numbers == number) & malignant)
        misses = np.flatnonzero((numbers == number) & ~malignant)
        difference = scores[hits][:, None] - scores[misses]
        yield hits, misses, np.heaviside(difference, 0.5)  # a tie is half a win


def _statistic(parts: Sequence[Pairs]) -> Statistic:
    """Returns a function from how often each image counts (r, n) to the AUC over pairs within
    strata (r,)."""

    def statistic(times: Floats) -> Floats:
        won, pairs = np.zeros(len(times)), np.zeros(len(times))
        for hits, misses, wins in parts:
            won += ((times[:, hits] @ wins) * times[:, misses]).sum(axis=1)
            pairs += times[:, hits].sum(axis=1) * times[:, misses].sum(axis=1)
        return np.asarray(np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))

    return statistic
