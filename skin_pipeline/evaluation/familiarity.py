"""How familiar an image is to a model, and when the model abstains from a decision.

    known = fitted(pooled, labels, validating)      # pooled features of training, validation images
    known.of(pooled)                                # (n,) 0…1: 0.01 for a very unusual image

The distance of an image is that to the nearer of the two classes, by Mahalanobis, in some
directions of the trunk's features (Lee et al. 2018). Its familiarity is the share of validation
images that are at least as far away: a conformal p-value (Bates et al. 2023). So of new images of
the same origin, a share of at most `bound` have a familiarity below the bound, however features
are distributed.

Unusual images are not those that a model gets wrong most often: those are near the threshold. So a
model can abstain from both (`Abstention`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from skin_pipeline import arrays
from skin_pipeline.contracts import Abstention
from skin_pipeline.data import splitting
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import space
from skin_pipeline.evaluation.space import Space
from skin_pipeline.intervals import Floats, Ints
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store
from skin_pipeline.training import inputs

log = logging.getLogger(__name__)

LEAST = 20  # images of each class, and validation images: with fewer, nothing can be said
MOST = 4000  # images that it is fitted to
TOGETHER = 512  # images that are in memory at once
DIRECTIONS = 30  # monitoring looks at fewer, as it compares many images, not one
EDGE = 1e-7  # probabilities nearer to 0 or 1 than this count as so near; their logit is infinite
OF_SPACE = ("centre", "spread", "axes")
NAMES = (*OF_SPACE, "means", "precision", "distances")


@dataclass(frozen=True)
class Familiarity:
    """What images look like that a model knows.

    Attributes:
        space: Directions of the trunk's features.
        means: Of each class there (2, k).
        precision: The inverse of the covariance within the classes (k, k).
        distances: Of the validation images, in increasing order (m,).
    """

    space: Space
    means: Floats
    precision: Floats
    distances: Floats

    def of(self, pooled: NDArray[np.float32]) -> Floats:
        """Returns the familiarity (n,) of images, above 0 and at most 1.

        Args:
            pooled: What the layer `stem` of the released model gives for the images as they are
                (n, d).

        Raises:
            ValueError: The features are not those of this model's trunk.
        """
        farther = len(self.distances) - np.searchsorted(self.distances, self.distance(pooled))
        return np.asarray((farther + 1) / (len(self.distances) + 1))

    def distance(self, pooled: NDArray[np.float32]) -> Floats:
        """Returns the squared distance (n,) of images from the nearer class."""
        return _distance(self.space.embed(pooled), self.means, self.precision)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns all arrays, by name."""
        own = {name: getattr(self, name) for name in NAMES[len(OF_SPACE) :]}
        return {name: getattr(self.space, name) for name in OF_SPACE} | own


def fitted(
    pooled: NDArray[np.float32], labels: Ints, validating: NDArray[np.float32]
) -> Familiarity:
    """Returns what is familiar, from pooled features.

    Args:
        pooled: Of training images (n, d).
        labels: 1 for malignant (n,); both classes are there.
        validating: Of validation images (m, d), none of which is a training image.
    """
    from sklearn.covariance import LedoitWolf  # slow to import

    found = space.fitted(pooled, DIRECTIONS)
    placed = found.embed(pooled).astype(np.float64)
    means = np.stack([placed[labels == label].mean(axis=0) for label in (0, 1)])
    precision = LedoitWolf(assume_centered=True).fit(placed - means[labels]).precision_
    distances = np.sort(_distance(found.embed(validating), means, precision))
    return Familiarity(found, means, np.asarray(precision), distances)


def _distance(placed: NDArray[Any], means: Floats, precision: Floats) -> Floats:
    away = placed.astype(np.float64)[:, None] - means
    return np.asarray(np.einsum("ncj,jk,nck->nc", away, precision, away).min(axis=1))


# --- of the images of a split --------------------------------------------------------------------


def learned(source: inputs.Source, held_out: Floats, channels: int) -> Familiarity | None:
    """Returns what is familiar to the runs of a split; None if there are too few images to say.

    It is fitted to images that some run learned from and none validated with, and its distances are
    those of validation images. No test image has a part in it.

    Args:
        source: What the runs read.
        held_out: The probability of each image by runs that it validates (n,); NaN for others.
        channels: How many pooled features, from the first, the trunk of the released model gives;
            0 if it has none.
    """
    if not channels:
        log.warning("no_familiarity channels=0: the released model shows no features of an image")
        return None
    test = splitting.on_side(source.table, splitting.TEST)
    validating = np.isfinite(held_out) & ~test
    learning = splitting.on_side(source.table, splitting.TRAIN) & ~test & ~validating
    rows, others = (drawn(source.table, side, MOST) for side in (learning, validating))
    labels = source.labels[rows]
    if min(np.bincount(labels, minlength=2)) < LEAST or len(others) < LEAST:
        log.warning("no_familiarity learned=%d validation=%d", len(rows), len(others))
        return None
    return fitted(
        pooled_of(source, rows)[:, :channels], labels, pooled_of(source, others)[:, :channels]
    )


def of_rows(known: Familiarity, source: inputs.Source, rows: Ints) -> Floats:
    """Returns the familiarity of some images of a source (b,), some in memory at a time."""
    starts = range(0, len(rows), TOGETHER)
    parts = [
        known.of(pooled_of(source, rows[start : start + TOGETHER])[:, : known.space.channels])
        for start in reported(starts, "batches compared with what is familiar", len(starts))
    ]
    return np.concatenate([np.zeros(0), *parts])


def pooled_of(source: inputs.Source, rows: Ints) -> NDArray[np.float32]:
    """Returns the cached features of images (b, channels), in the view as they are."""
    (pooled,) = source.pooled().take(rows, np.zeros_like(rows))
    return np.asarray(pooled, np.float32)


def drawn(table: pd.DataFrame, wanted: NDArray[np.bool_], most: int) -> Ints:
    """Returns the rows of the wanted images (n,): all, or whole groups with about `most` images."""
    rows = np.flatnonzero(wanted)
    if len(rows) <= most:
        return rows
    share = most / len(rows)
    # `in_test` draws groups by the digest of their names; a name with a prefix is drawn anew.
    chosen = [splitting.in_test(f"reference:{name}", share) for name in table["group"].iloc[rows]]
    return np.asarray(rows[np.array(chosen)])


# --- files ---------------------------------------------------------------------------------------


def write(path: Path, known: Familiarity) -> None:
    """Writes what is familiar to a model as an `.npz` file."""
    np.savez(path, **known.arrays())  # type: ignore[arg-type]


def read(path: Path) -> Familiarity:
    """Returns what `write` wrote.

    Raises:
        ValueError: The file was not written by `write`.
    """
    with path.open("rb") as file:
        found = arrays.several(file)
    return _made(found)


def of_store(store: Store, key: str) -> Familiarity:
    """Returns what `write` wrote into the store.

    Raises:
        BadInput: The file is missing or damaged.
    """
    try:
        return _made(arrays.several_of(store, key))
    except ValueError as error:
        raise BadInput(f"{key} is damaged: {error}. Run evaluate again") from None


def _made(found: dict[str, NDArray[Any]]) -> Familiarity:
    if missing := [name for name in NAMES if name not in found]:
        raise ValueError(f"it has no {', '.join(missing)}")
    if not all(found[name].dtype.kind == "f" and np.isfinite(found[name]).all() for name in NAMES):
        raise ValueError("its arrays have other values than finite numbers")
    (channels, *_), (*_, axes) = (found[name].shape or (0,) for name in ("centre", "axes"))
    shapes = {
        **{"centre": (channels,), "spread": (channels,), "axes": (channels, axes)},
        **{"means": (2, axes + 1), "precision": (axes + 1, axes + 1)},
        "distances": (found["distances"].size,),
    }
    if any(found[name].shape != shape or not channels for name, shape in shapes.items()):
        raise ValueError("its arrays do not fit together")
    own = (found[name] for name in NAMES[len(OF_SPACE) :])
    return Familiarity(Space(*(found[name] for name in OF_SPACE)), *own)


# --- decisions -----------------------------------------------------------------------------------


def margin(probabilities: Floats, threshold: float) -> Floats:
    """Returns how far probabilities (n,) are from a threshold, in logits."""
    near = np.clip(np.append(probabilities, threshold), EDGE, 1 - EDGE)
    logits = logit(near)
    return np.asarray(np.abs(logits[:-1] - logits[-1]))


def abstention(held_out: Floats, threshold: float, *, near: float, unusual: float) -> Abstention:
    """Returns when a model abstains.

    Args:
        held_out: Probabilities of validation images by runs that they validate (m,).
        threshold: Of the model.
        near: The share of such images from whose probability the threshold is not told apart.
        unusual: The share of such images that are too unusual.
    """
    width = float(np.quantile(margin(held_out, threshold), near)) if near else 0.0
    return Abstention(margin=width, near=near, familiarity=unusual)


def abstained(
    rule: Abstention, probabilities: Floats, familiarity: Floats, threshold: float
) -> NDArray[np.bool_]:
    """Returns from which images (n,) a model abstains.

    Args:
        rule: When it does.
        probabilities: Of the images (n,).
        familiarity: Of the images (n,); NaN for a model without a trunk, which knows none.
        threshold: Of the model.
    """
    return (margin(probabilities, threshold) < rule.margin) | (familiarity < rule.familiarity)
