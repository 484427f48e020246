"""Where the ensemble is good and where not: figures by group of people, and within shortcuts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.contracts import Slice, Within
from skin_pipeline.data import audit, manifest
from skin_pipeline.evaluation.metrics import figures
from skin_pipeline.intervals import Floats, Statistic, independent, resampled, share

# Of a stratum its malignant (m,) and its benign images (b,), and which of the first score higher
# than which of the second (m, b).
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], Floats]
AGE_BANDS = {"under 30": 30, "30 to 44": 45, "45 to 59": 60, "60 to 74": 75, "75 and over": 999}
UNKNOWN, OTHER = "unknown", "other"
COMMON = 0.05  # share of the images from which an original size is a class of its own
SMALL = 10  # a slice with fewer images of a class says little
STRATA = 5  # five remove most of what a score explains (Cochran 1968)


def features(rows: pd.DataFrame) -> dict[str, pd.Series[str]]:
    """What images are sliced by, as text for each image; "unknown" where it is not known.

    Args:
        rows: Of the manifest.
    """
    age = pd.to_numeric(rows["age"], errors="coerce")
    bands = pd.cut(age, [-1, *(end - 1 for end in AGE_BANDS.values())], labels=list(AGE_BANDS))
    size = rows["width"].astype(int).astype(str) + " x " + rows["height"].astype(int).astype(str)
    common = size.value_counts(normalize=True)
    return {
        "sex": _known(rows["sex"]),
        "age": bands.astype(object).where(bands.notna(), UNKNOWN),
        "site": _known(rows["site"]),
        "original size": size.where(size.map(common) >= COMMON, OTHER),
    }


def _known(column: pd.Series[str]) -> pd.Series[str]:
    text = column.fillna("").astype(str).str.strip().str.casefold()
    return text.where(text != "", UNKNOWN)


def slices(rows: pd.DataFrame, scores: Floats, threshold: float, seed: int) -> tuple[Slice, ...]:
    """Figures of each part of the test images, the largest first within a feature.

    A feature that is the same for all images, or known of none, is left out.

    Args:
        rows: Test images, of the manifest (n).
        scores: Their probabilities (n,).
        threshold: Images that score as high or higher are called malignant.
        seed: Of the bootstrap.
    """
    return tuple(
        _slice(name, str(value), rows, (values == value).to_numpy(), scores, threshold, seed)
        for name, values in features(rows).items()
        if values.nunique() > 1
        for value in values.value_counts().index
    )


def _slice(
    feature: str,
    value: str,
    rows: pd.DataFrame,
    here: NDArray[np.bool_],
    scores: Floats,
    threshold: float,
    seed: int,
) -> Slice:
    part = rows[here]
    labels = manifest.labels(part)
    seen = figures(scores[here], labels, part["group"].to_numpy(object), threshold, seed)
    malignant = int(labels.sum())
    return Slice(
        feature=feature,
        value=value,
        images=len(part),
        malignant=malignant,
        accuracy=seen.accuracy,
        sensitivity=seen.sensitivity,
        specificity=seen.specificity,
        auc=seen.auc,
        small=min(malignant, len(part) - malignant) < SMALL,
    )


def within(
    table: pd.DataFrame,
    is_test: NDArray[np.bool_],
    scores: Floats,
    shortcuts: Sequence[str],
    seed: int,
) -> tuple[Within, ...]:
    """AUC among test images that agree in a shortcut, for each.

    Images agree if a forest that sees the shortcut alone gives them a score in the same fifth
    (subclassification on a score, Rosenbaum & Rubin 1984). It learns on images that are not in the
    test set.

    Args:
        table: Readable images, of the manifest (n).
        is_test: Which of them are test images (n,).
        scores: The ensemble's probabilities (n,).
        shortcuts: Names of the trivial features that the audit found to predict the label.
        seed: Of the forest and the bootstrap.
    """
    known = audit.scores(table, is_test, shortcuts, seed)
    rows = table[is_test]
    labels, groups = manifest.labels(rows), rows["group"].to_numpy(object)
    return tuple(
        _within(name, _strata(known[name]), scores[is_test], labels, groups, seed)
        for name in shortcuts
    )


def _strata(scores: Floats) -> NDArray[np.int64]:
    """The fifth (n,) that each score is in; equal scores stay together."""
    edges = np.quantile(scores, np.arange(1, STRATA) / STRATA)
    return np.searchsorted(edges, scores, side="left")


def _within(
    name: str,
    strata: NDArray[np.int64],
    scores: Floats,
    labels: NDArray[np.int64],
    groups: NDArray[np.object_],
    seed: int,
) -> Within:
    parts = list(_pairs(strata, scores, labels == 1))
    agreeing = sum(wins.size for _, _, wins in parts)
    every = int((labels == 1).sum() * (labels != 1).sum())
    aucs = resampled(_statistic(parts), groups, seed)
    return Within(
        shortcut=name,
        strata=len(np.unique(strata)),
        pairs=agreeing / every if every else 0.0,
        auc=share(aucs, independent(labels, groups)),
    )


def _pairs(
    strata: NDArray[np.int64], scores: Floats, malignant: NDArray[np.bool_]
) -> Iterator[Pairs]:
    for number in np.unique(strata):
        hits = np.flatnonzero((strata == number) & malignant)
        misses = np.flatnonzero((strata == number) & ~malignant)
        difference = scores[hits][:, None] - scores[misses]
        yield hits, misses, np.heaviside(difference, 0.5)  # a tie is half a win


def _statistic(parts: Sequence[Pairs]) -> Statistic:
    """The AUC (r,) over pairs within strata, of images that count so many times (r, n)."""

    def statistic(times: Floats) -> Floats:
        won, pairs = np.zeros(len(times)), np.zeros(len(times))
        for hits, misses, wins in parts:
            won += ((times[:, hits] @ wins) * times[:, misses]).sum(axis=1)
            pairs += times[:, hits].sum(axis=1) * times[:, misses].sum(axis=1)
        return np.asarray(np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0))

    return statistic
