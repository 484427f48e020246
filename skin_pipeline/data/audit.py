"""Audits the images for shortcuts: whether something trivial can predict the label.

If it can, a model may learn that instead of the lesion. Each trivial feature alone is given to a
small random forest, which is cross-validated by group and judged by its AUC. The audit describes
the data and chooses nothing, so it may look at all images, those of the test set too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.contracts import Interval, Shortcut
from skin_pipeline.data import manifest
from skin_pipeline.intervals import auc_interval
from skin_pipeline.progress import reported

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

log = logging.getLogger(__name__)

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

FOLDS = 5
MOST_IMAGES = 5_000  # more would not change the answer; whole groups are drawn
FEWEST_GROUPS = 2 * FOLDS  # with images of the rarer class, about two in each fold
TREES = 60


def audit(table: pd.DataFrame, bound: float, seed: int) -> tuple[Shortcut, ...]:
    """Returns the AUC of each trivial feature that the table knows, in the order of `features`.

    Args:
        table: The manifest with the column `group`; quarantined images are left out.
        bound: AUC above which a feature does not pass. The figure itself is compared, not an end
            of its interval: in a small set an uncertain shortcut is still worth a look.
        seed: Of the sample, the folds, the forests and the bootstrap.

    Returns:
        One shortcut for each feature; none if there are too few images to judge by.
    """
    rows = _sample(table[table["readable"]], seed)
    malignant = rows["label"] == "malignant"
    scarce = min(rows.loc[side, "group"].nunique() for side in (malignant, ~malignant))
    if scarce < FEWEST_GROUPS:
        log.warning("audit_left_out groups_of_rarer_class=%d needed=%d", scarce, FEWEST_GROUPS)
        return ()
    labels, groups = np.asarray(malignant, np.int64), rows["group"].to_numpy(object)
    folds = _folds(labels, groups, seed)
    known = {name: values for name, values in features(rows).items() if values.shape[1]}
    aucs = {
        name: auc_interval(_out_of_fold(values, labels, folds, seed), labels, groups, seed)
        for name, values in reported(known.items(), "features audited", len(known))
    }
    return tuple(_judged(name, len(rows), auc, bound) for name, auc in aucs.items())


def _judged(name: str, images: int, auc: Interval, bound: float) -> Shortcut:
    passed = auc.value <= bound
    log.log(
        logging.INFO if passed else logging.WARNING,
        'shortcut name="%s" auc=%.3f low=%.3f high=%.3f bound=%.2f verdict="%s"',
        name,
        auc.value,
        auc.low,
        auc.high,
        bound,
        "passed" if passed else "failed (warning)",
    )
    return Shortcut(name=name, images=images, auc=auc, bound=bound, passed=passed)


def features(rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Returns trivial features by name, each (n, columns).

    Columns that are the same for all images are left out.
    """
    pixels = rows["width"] * rows["height"]
    size = rows[["width", "height"]].assign(
        aspect=rows["width"] / rows["height"], megapixels=pixels / 1e6
    )
    known = {
        "border ring colour": rows[["ring_red", "ring_green", "ring_blue", "ring_spread"]],
        "original size": size,
        "file size": rows[["bytes"]],
        "mean colour": rows[["red", "green", "blue", "brightness", "contrast"]],
        "metadata": _metadata(rows),
        manifest.SOURCE: pd.get_dummies(rows.get(manifest.SOURCE, pd.Series("", rows.index))),
    }
    return {name: _varying(frame) for name, frame in known.items()}


def scores(
    table: pd.DataFrame, is_test: NDArray[np.bool_], names: Sequence[str], seed: int
) -> dict[str, NDArray[np.float64]]:
    """Returns scores of test images by forests that see one trivial feature each.

    Args:
        table: Readable images, of the manifest (n).
        is_test: Which of them are test images (n,): the forests learn on the others only.
        names: Of the features; each must vary.
        seed: Of the sample and the forests.

    Returns:
        The scores (test images,) in 0…1, by the feature's name.
    """
    known = features(table)
    learned = table.index.isin(_sample(table[~is_test], seed).index)
    labels = manifest.labels(table)
    made = {}
    for name in reported(names, "features learned from", len(names)):
        forest = _forest(seed).fit(known[name][learned], labels[learned])
        made[name] = np.asarray(forest.predict_proba(known[name][is_test])[:, 1])
    return made


def _metadata(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns age, sex and site as numbers.

    That something is not known is a value too: it may predict the label as well as any other, for
    instance where the metadata of one class come from another clinic.
    """
    age = pd.to_numeric(rows["age"], errors="coerce")
    kinds = pd.get_dummies(rows[["sex", "site"]].apply(lambda column: column.str.casefold()))
    return kinds.astype(float).assign(age=age.fillna(-1.0))


def _varying(frame: pd.DataFrame) -> NDArray[np.float64]:
    return frame.loc[:, frame.nunique() > 1].to_numpy(np.float64)


def _sample(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns all rows, or those of groups drawn at random that have up to 5,000 images in all."""
    if len(rows) <= MOST_IMAGES:
        return rows
    sizes = rows.groupby("group").size().sample(frac=1, random_state=seed)
    return rows[rows["group"].isin(sizes.index[sizes.cumsum() <= MOST_IMAGES])]


def _folds(labels: NDArray[np.int64], groups: NDArray[np.object_], seed: int) -> list[Fold]:
    """Returns the rows to learn from and those to score, five times; no group is on both sides.

    Images of one patient are alike. If some were learned from and others scored, the forest would
    know the patient again, and any feature would seem to predict the label.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    return list(folds.split(labels, labels, groups))


def _out_of_fold(
    values: NDArray[np.float64], labels: NDArray[np.int64], folds: list[Fold], seed: int
) -> NDArray[np.float64]:
    """Returns each image's score from a forest that has seen no image of its group."""
    from sklearn.model_selection import cross_val_predict

    made: NDArray[np.float64] = cross_val_predict(
        _forest(seed), values, labels, cv=folds, method="predict_proba"
    )[:, 1]
    return made


def _forest(seed: int) -> RandomForestClassifier:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, min_samples_leaf=5, random_state=seed)
