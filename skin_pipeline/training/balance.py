"""Balances the classes of training images; validation and test images stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.errors import BadInput
from skin_pipeline.training.inputs import Activations, Ints, Made
from skin_pipeline.training.stages import Examples

NEIGHBOURS = 5  # between which SMOTE makes new examples


def balanced(
    inputs: Any,
    rows: Ints,
    labels: Ints,
    how: str,
    seed: int,
    views: int = 0,
    sources: Ints | None = None,
) -> Examples:
    """Returns training examples, balanced in one of these ways:

    `undersample` is done by the split already, so that nothing is left to do here. `class_weights`
    gives each class half of the loss. `oversample` repeats images of the smaller class. `smote`
    makes new ones between neighbours (Chawla et al. 2002), separately in each view. Of several
    sources each class of each source counts the same, so that no source tells the label.

    Args:
        inputs: What the images are read from; SMOTE requires `Activations`.
        rows: Rows of the training images (n,).
        labels: 1 for malignant (n,).
        how: The setting `balance`.
        seed: Seed of the run.
        views: How many views there are; those of the activations by default.
        sources: The number of the source of each image (n,), from 0; one source by default.

    Raises:
        BadInput: SMOTE is required, and a class has fewer than two images.
    """
    views = views or inputs.views
    kinds = labels if sources is None else 2 * sources + labels
    if how == "oversample":
        drawn = _repeated(kinds, seed)
        return Examples(inputs, rows[drawn], labels[drawn], views)
    if how == "smote":
        made = [_smote(_view(inputs, rows, view), kinds, seed) for view in range(views)]
        features, new = (np.concatenate(parts) for parts in zip(*made, strict=True))
        # What SMOTE makes is no view of any image: each example is an image with one view.
        return Examples(Made(features), np.arange(len(new)), new % 2)
    weights = None
    if how == "class_weights":
        _, places, counts = np.unique(kinds, return_inverse=True, return_counts=True)
        weights = (len(kinds) / (len(counts) * counts))[places].astype(np.float32)
    return Examples(inputs, rows, labels, views, weights)


def _view(inputs: Activations, rows: Ints, view: int) -> NDArray[np.float32]:
    return np.asarray(inputs.take(rows, np.full(len(rows), view))[0])


def _repeated(kinds: Ints, seed: int) -> Ints:
    """Returns all indices, and some of the smaller kinds again until all are equally large."""
    from imblearn.over_sampling import RandomOverSampler

    indices = np.arange(len(kinds))[:, None]
    drawn: Ints = RandomOverSampler(random_state=seed).fit_resample(indices, kinds)[0]
    return drawn[:, 0]


def _smote(view: NDArray[np.float32], kinds: Ints, seed: int) -> tuple[NDArray[np.float32], Ints]:
    """Returns features and kinds that are equally frequent, made from one view of the images."""
    from imblearn.over_sampling import SMOTE

    counts = np.unique(kinds, return_counts=True)[1]
    fewest = int(counts.min()) if len(counts) > 1 else 0
    if fewest < 2:
        raise BadInput(
            "balance=smote needs two images of each class of each source to train on. "
            f"Received: {fewest} of one. "
            "Choose another balance, or add images"
        )
    resample = SMOTE(k_neighbors=min(NEIGHBOURS, fewest - 1), random_state=seed).fit_resample
    features, drawn = resample(view, kinds)
    return features.astype(np.float32), drawn
